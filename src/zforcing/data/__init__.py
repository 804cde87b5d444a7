"""The data sets, by the name that recipes and the command line use."""

from __future__ import annotations

from .arrays.arrays import Arrays
from .audio.speech import Speech
from .dataset import InMemory, SequenceDataset
from .images.digits import Digits
from .images.mnist import DynamicMnist, Mnist
from .module import DataModule
from .music.chorales import Chorales
from .music.music import Music
from .splits import Split
from .synthetic import LinearGaussianData, MarkovData
from .text.text import Text

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
    "Speech",
    "Split",
    "Text",
]
