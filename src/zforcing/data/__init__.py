"""The data sets, by the name that recipes and the command line use."""

from .arrays import Arrays
from .audio import read_recording, to_samples, write_wav
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
from .speech import Speech
from .synthetic import LinearGaussianData, MarkovData

DATA: dict[str, type[DataModule]] = {
    "arrays": Arrays,
    "digits": Digits,
    "lgssm": LinearGaussianData,
    "markov": MarkovData,
    "speech": Speech,
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
    "Speech",
    "Split",
    "collate",
    "read_recording",
    "to_samples",
    "write_wav",
]
