"""The data sets, by the name that recipes and the command line use."""

from .arrays import Arrays
from .audio import read_recording, to_samples, write_wav
from .base import (
    AudioFormat,
    DataDescription,
    DataModule,
    Example,
    InMemory,
    MusicFormat,
    Normalization,
    SequenceDataset,
    Split,
    collate,
)
from .chorales import Chorales
from .digits import Digits
from .mnist import DynamicMnist, Mnist
from .music import Music
from .speech import Speech
from .synthetic import LinearGaussianData, MarkovData
from .text import Text
from .vocabulary import Vocabulary

DATA: dict[str, type[DataModule]] = {
    "arrays": Arrays,
    "chorales": Chorales,
    "digits": Digits,
    "lgssm": LinearGaussianData,
    "markov": MarkovData,
    "mnist": Mnist,
    "mnist-dynamic": DynamicMnist,
    "music": Music,
    "speech": Speech,
    "text": Text,
}

__all__ = [
    "DATA",
    "Arrays",
    "AudioFormat",
    "Chorales",
    "DataDescription",
    "DataModule",
    "Digits",
    "DynamicMnist",
    "Example",
    "InMemory",
    "LinearGaussianData",
    "MarkovData",
    "Mnist",
    "Music",
    "MusicFormat",
    "Normalization",
    "SequenceDataset",
    "Speech",
    "Split",
    "Text",
    "Vocabulary",
    "collate",
    "read_recording",
    "to_samples",
    "write_wav",
]
