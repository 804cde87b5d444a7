"""Piano rolls: which of a piano's 88 keys sound at each step."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .base import Array, Example, SequenceDataset, Split
from .framed import Pieces

LOWEST = 21  # MIDI's number of A0
PITCHES = 88
HIGHEST = LOWEST + PITCHES - 1  # C8
NAMED = 20  # files that one message names

Roll = NDArray[np.uint8]  # [T, 88] of 0 and 1
Splits = dict[Split, list[Roll]]


@dataclass(frozen=True, eq=False)
class Collection:
    """The rolls of one split; `wrong` is why files more can't be used, by name, `left_out` notes no piano has, and
    `origin` what a reader should know of where the split comes from.
    """

    rolls: Sequence[Roll]
    wrong: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    origin: str = ""

    @property
    def remark(self) -> str:
        """What was left out, and the origin."""
        notes = [f"{self.left_out} notes outside of the {PITCHES} keys"] if self.left_out else []
        files = [f"{len(self.wrong)} MIDI files ({told(self.wrong)})"] if self.wrong else []
        left_out = f"left out: {' and '.join(files + notes)}" if files or notes else ""
        return "; ".join(part for part in (left_out, self.origin) if part)


def told(wrong: Mapping[str, str]) -> str:
    """Files and what is wrong with each, the first 20."""
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


def from_pitches(steps: Any, what: str) -> Roll:
    """Steps, each a list or a tuple of the MIDI numbers that sound -> [T, 88]. `what` they are, for messages.

    Raises UserError for what is no list of such steps, or has none of them; a step of no pitches is silence.
    """
    if not isinstance(steps, list | tuple) or not steps:
        raise UserError(f"{what} is {_brief(steps)}; it must be a list of steps, one or more")
    for t, step in enumerate(steps):
        if not isinstance(step, list | tuple):
            raise UserError(f"{what} has {_brief(step)} at step {t}; a step must be a tuple of MIDI numbers")
        if len(step) > PITCHES:
            raise UserError(f"{what} has {len(step)} pitches at step {t}; a piano has {PITCHES}")
    pitches = list(chain.from_iterable(steps))
    if not set(map(type, pitches)) <= {int} or not all(LOWEST <= pitch <= HIGHEST for pitch in pitches):
        _refuse_pitch(steps, what)
    roll = np.zeros((len(steps), PITCHES), dtype=np.uint8)
    at = np.repeat(np.arange(len(steps)), [len(step) for step in steps])
    roll[at, np.array(pitches, dtype=np.int64) - LOWEST] = 1
    return roll


def _refuse_pitch(steps: Sequence[Sequence[Any]], what: str) -> None:
    for t, step in enumerate(steps):
        for pitch in step:
            if type(pitch) is not int or not LOWEST <= pitch <= HIGHEST:
                raise UserError(
                    f"{what} has the pitch {_brief(pitch)} at step {t}; pitches are MIDI numbers of a piano's keys, "
                    f"whole, from {LOWEST} to {HIGHEST}"
                )


def from_matrix(values: Any, what: str) -> Roll:
    """A matrix [T, 88] of 0 and 1 of any type -> the same in bytes. Raises UserError for anything else."""
    matrix: Array = np.asarray(values)
    if matrix.ndim != 2 or matrix.shape[1] != PITCHES or len(matrix) == 0 or matrix.dtype.kind not in "biuf":
        raise UserError(
            f"{what} is {matrix.dtype} {list(matrix.shape)}; it must be numbers [T, {PITCHES}], 1 where a pitch sounds"
        )
    wrong = (matrix != 0) & (matrix != 1)
    if wrong.any():
        step, pitch = divmod(int(np.argmax(wrong)), PITCHES)
        raise UserError(
            f"{what} is {matrix[step, pitch]} at step {step}, pitch {LOWEST + pitch}; it must be 0 or 1 everywhere"
        )
    return matrix.astype(np.uint8)


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


def _brief(value: object) -> str:
    # a pickle of a few bytes may hold a list of lists of ... that is astronomically long
    try:
        text = reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python doesn't print
    return text if len(text) <= 40 else f"{text[:37]}..."
