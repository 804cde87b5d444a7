"""The data sets, by the name that recipes and the command line use."""

from __future__ import annotations

from ..registry import Family
from .arrays.arrays import Arrays
from .arrays.table import Table
from .audio.blizzard import Blizzard
from .audio.folder import AudioFolder
from .audio.timit import Timit
from .dataset import InMemory, SequenceDataset
from .images.digits import Digits
from .images.mnist import DynamicMnist, Mnist
from .memory import Sequences
from .module import DataModule
from .music.chorales import Chorales
from .music.midi_folder import MidiFolder
from .music.polyphonic_music import PolyphonicMusic
from .music.srnn_music import SrnnMusic
from .splits import Split
from .synthetic import LinearGaussianData, MarkovData, SwitchingData
from .text.reviews import Reviews
from .text.text import Text

DATA: Family[DataModule] = Family(
    "data set",
    DataModule,
    classes=(
        Arrays,
        AudioFolder,
        Blizzard,
        Chorales,
        Digits,
        DynamicMnist,
        LinearGaussianData,
        MarkovData,
        MidiFolder,
        Mnist,
        PolyphonicMusic,
        Reviews,
        SrnnMusic,
        SwitchingData,
        Table,
        Text,
        Timit,
    ),
)
__all__ = [
    "DATA",
    "Arrays",
    "AudioFolder",
    "Blizzard",
    "Chorales",
    "DataModule",
    "Digits",
    "DynamicMnist",
    "InMemory",
    "LinearGaussianData",
    "MarkovData",
    "MidiFolder",
    "Mnist",
    "PolyphonicMusic",
    "Reviews",
    "SequenceDataset",
    "Sequences",
    "Split",
    "SrnnMusic",
    "SwitchingData",
    "Table",
    "Text",
    "Timit",
]
