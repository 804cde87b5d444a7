"""The four sets of polyphonic music as the SRNN authors read and cut them.

M. Fraccaro, S. K. Soenderby, U. Paquet, O. Winther, "Sequential Neural Models with Stochastic Layers", NIPS 2016
(https://arxiv.org/abs/1605.07571). The first step of a window is the one before it: it is read and never scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...errors import UserError
from ...files.midi import TimeStep
from ...files.pickles import PICKLES
from ...settings import Count
from ..splits import Split
from .dataset import MusicDataModule, StepsPerQuarter, existing_path
from .known import compare_with_known
from .rolls import Collection, refuse_short
from .srnn import read_srnn_music


@dataclass(frozen=True)
class SrnnMusic(MusicDataModule):
    """The authors' NAME_raw_batchsize16_seqlen100.npz: training and validation windows, whole test sequences."""

    name: ClassVar[str] = "srnn-music"
    paper: ClassVar[str] = (
        "M. Fraccaro, S. K. Sønderby, U. Paquet, O. Winther, "
        '"Sequential Neural Models with Stochastic Layers", NIPS 2016, arXiv 1605.07571; '
        "N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "
        '"Modeling Temporal Dependencies in High-Dimensional Sequences: '
        'Application to Polyphonic Music Generation and Transcription", ICML 2012, arXiv 1206.6392'
    )

    path: str = ""
    """the SRNN authors' .npz file of a set"""

    streams: Count | None = None
    """how many streams stand side by side in the file; without it, what its name says (batchsize16), or 16"""

    continue_streams: bool = True
    """whether the training windows of a stream are one sequence, as its authors train (with training.batch_size 16 and
    training.truncated_bptt_steps 100), or each window is a sequence of its own, as each validation window is"""

    steps_per_quarter: StepsPerQuarter = 2
    """steps in a quarter note when samples are written as MIDI: a choice, since the files don't say what a step is"""

    @property
    def first_observation(self) -> Literal["scored", "conditioned"]:
        return "conditioned"

    @property
    def time_step(self) -> TimeStep:
        return TimeStep(self.steps_per_quarter)

    def read_splits(self) -> dict[Split, Collection]:
        file, source = existing_path(self.path, is_folder=False, what="the SRNN authors' .npz file of a set")
        if file.suffix.lower() in (*PICKLES, ".mat"):
            raise UserError(
                f"{source}: its suffix is {file.suffix!r}; data.name polyphonic reads such files, and srnn-music the "
                f"SRNN authors' .npz"
            )
        splits = read_srnn_music(file, source, streams=self.streams, joined=self.continue_streams)
        refuse_short(splits, self._first, source)
        notes = compare_with_known(splits, source)
        return {split: Collection(rolls, origin=notes.get(split, "")) for split, rolls in splits.items()}
