"""The data sets, by the name that recipes and the command line use."""

from .arrays import Arrays
from .base import (
    AudioFormat,
    DataDescription,
    DataModule,
    Example,
    InMemory,
    Normalization,
    SequenceDataset,
    Split,
    collate,
)
from .digits import Digits
from .synthetic import LinearGaussianData, MarkovData

DATA: dict[str, type[DataModule]] = {
    "arrays": Arrays,
    "digits": Digits,
    "lgssm": LinearGaussianData,
    "markov": MarkovData,
}

__all__ = [
    "DATA",
    "Arrays",
    "AudioFormat",
    "DataDescription",
    "DataModule",
    "Digits",
    "Example",
    "InMemory",
    "LinearGaussianData",
    "MarkovData",
    "Normalization",
    "SequenceDataset",
    "Split",
    "collate",
]
