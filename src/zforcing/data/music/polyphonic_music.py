"""The four published sets of polyphonic music (Nottingham, JSB chorales, MuseData, Piano-midi.de), as files.

N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "Modeling temporal dependencies in high-dimensional sequences:
application to polyphonic music generation and transcription", ICML 2012 (https://arxiv.org/abs/1206.6392).

Numbers compare only where the files are the same. The SRNN authors read the same four sets in steps of their own, in
about twice as many for the JSB chorales, and their nats per step have nothing to do with those of these files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...errors import UserError
from ...files.midi import SUFFIXES as MIDI
from ...files.midi import TimeStep
from ...files.pickles import PICKLES
from ..splits import Split
from .dataset import MusicDataModule, StepsPerQuarter, existing_path
from .known import compare_with_known
from .polyphonic import read_mat_music, read_pickled_music
from .rolls import Collection, refuse_short

FILES = "a .pickle or .mat file of music (data.name midi-folder reads a folder of MIDI files)"


@dataclass(frozen=True)
class PolyphonicMusic(MusicDataModule):
    """A file with its makers' splits: a pickle {split: [sequence: [step: (MIDI pitch, ...)]]}, or the same as .mat."""

    name: ClassVar[str] = "polyphonic"
    paper: ClassVar[str] = (
        "N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "
        '"Modeling Temporal Dependencies in High-Dimensional Sequences: '
        'Application to Polyphonic Music Generation and Transcription", ICML 2012, arXiv 1206.6392'
    )

    path: str = ""
    """file of a published set, .pickle or .mat"""

    first_observation: Literal["scored", "conditioned"] = "scored"
    """whether a sequence's first step counts in the likelihood, or is only conditioned on"""

    steps_per_quarter: StepsPerQuarter = 2
    """steps in a quarter note when samples are written as MIDI: a choice, since the files don't say what a step is"""

    @property
    def time_step(self) -> TimeStep:
        return TimeStep(self.steps_per_quarter)

    def read_splits(self) -> dict[Split, Collection]:
        file, source = existing_path(self.path, is_folder=False, what=FILES)
        suffix = file.suffix.lower()
        if suffix not in (*PICKLES, ".mat"):
            raise UserError(
                f"{source}: its suffix is {file.suffix!r}; it must be .mat, .p, .pickle or .pkl{_instead(suffix)}"
            )
        splits = (read_mat_music if suffix == ".mat" else read_pickled_music)(file, source)
        refuse_short(splits, self._first, source)
        notes = compare_with_known(splits, source)
        return {split: Collection(rolls, origin=notes.get(split, "")) for split, rolls in splits.items()}


def _instead(suffix: str) -> str:
    """Which data set reads the other files of music."""
    if suffix == ".npz":
        return " (data.name srnn-music reads the SRNN authors' .npz)"
    return " (data.name midi-folder reads a folder of MIDI files)" if suffix in MIDI else ""
