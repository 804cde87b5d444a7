"""Piano rolls: which of a piano's 88 keys sound at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import UserError
from ...files.midi import TEMPO
from ...files.rolls import PITCHES, Roll
from ...observations import Example
from ..dataset import SequenceDataset
from ..pieces import Pieces
from ..splits import Split

NAMED = 20  # files that one message names
Splits = dict[Split, list[Roll]]


@dataclass(frozen=True, eq=False)
class Collection:
    """The rolls of one split; `wrong` is why files more can't be used, by name, `left_out` notes no piano has,
    `endless` notes without an end, `origin` what a reader should know of where the split comes from, and `tempo` the
    median of its files, quarters a minute, where it is known.
    """

    rolls: Sequence[Roll]
    wrong: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    endless: int = 0
    origin: str = ""
    tempo: float = TEMPO

    @property
    def remark(self) -> str:
        """What was left out, and the origin."""
        notes = [f"{self.left_out} notes outside of the {PITCHES} keys"] if self.left_out else []
        notes += [f"{self.endless} notes without an end"] if self.endless else []
        files = [f"{len(self.wrong)} MIDI files ({list_reasons(self.wrong)})"] if self.wrong else []
        left_out = f"left out: {' and '.join(files + notes)}" if files or notes else ""
        return "; ".join(part for part in (left_out, self.origin) if part)


def list_reasons(wrong: Mapping[str, str]) -> str:
    """Files and what is wrong with each, the first 20 of them."""
    some = [f"{name} {reason}" for name, reason in list(wrong.items())[:NAMED]]
    return "; ".join(some + ([f"and {len(wrong) - NAMED} more"] if len(wrong) > NAMED else []))


class Rolls(SequenceDataset):
    """One split of music: a sequence is a roll or a piece of it, a step is 88 binary numbers; a byte each in memory.

    first: steps of a sequence that are not scored, 0 or 1
    chunk: scored steps of the pieces that rolls are cut into, the last one shorter; None cuts none
    """

    def __init__(self, music: Collection, *, first: int = 0, chunk: int | None = None):
        self.music = music
        self.pieces = Pieces.cut(np.array([len(r) for r in music.rolls], dtype=np.int64), first=first, chunk=chunk)
        self.lengths = self.pieces.length
        self.skipped, self.remark = len(music.wrong), music.remark

    def __getitem__(self, index: int) -> Example:
        return self.piece(index, 0, int(self.lengths[index]))

    def piece(self, index: int, start: int, stop: int) -> Example:
        begin = int(self.pieces.start[index])
        return to_example(self.music.rolls[int(self.pieces.recording[index])][begin + start : begin + stop])


def to_example(roll: Roll) -> Example:
    """A roll as a model reads it, in float32."""
    return Example(roll.astype(np.float32))


def refuse_short(splits: Mapping[Split, Sequence[Roll]], first: int, source: str) -> None:
    """Raise about a split without sequences, or a sequence with nothing to score after `first` steps that aren't."""
    for split, rolls in splits.items():
        if not rolls:
            raise UserError(f"{source}: its {split} split is empty; it needs one sequence or more")
        lengths = [len(roll) for roll in rolls]
        if min(lengths) <= first:
            raise UserError(
                f"{source}: sequence {lengths.index(min(lengths))} (counted from 0) of the {split} split has 1 step; "
                f"data.first_observation conditioned needs 2 or more"
            )
