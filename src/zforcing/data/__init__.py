"""The data sets, by the name that recipes and the command line use."""

from __future__ import annotations

from ..registry import Family
from .arrays.arrays import Arrays
from .audio.speech import Speech
from .dataset import InMemory, SequenceDataset
from .images.digits import Digits
from .images.mnist import DynamicMnist, Mnist
from .memory import Sequences
from .module import DataModule
from .music.chorales import Chorales
from .music.music import Music
from .splits import Split
from .synthetic import LinearGaussianData, MarkovData
from .text.text import Text

DATA: Family[DataModule] = Family(
    "data set",
    DataModule,
    classes=(Arrays, Chorales, Digits, LinearGaussianData, MarkovData, Mnist, DynamicMnist, Music, Speech, Text),
)
__all__ = [
    "DATA",
    "Arrays",
    "Chorales",
    "DataModule",
    "Digits",
    "DynamicMnist",
    "InMemory",
    "LinearGaussianData",
    "MarkovData",
    "Mnist",
    "Music",
    "SequenceDataset",
    "Sequences",
    "Speech",
    "Split",
    "Text",
]
