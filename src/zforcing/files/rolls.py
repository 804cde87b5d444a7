"""Piano rolls as arrays [T, 88]: which of a piano's keys sound at each step."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Array

LOWEST = 21  # A0 in MIDI
PITCHES = 88
HIGHEST = LOWEST + PITCHES - 1  # C8
Roll = NDArray[np.uint8]  # [T, 88] of 0 and 1


def from_pitches(steps: Any, what: str) -> Roll:
    """Make a roll from the pitches of each step.

    Args:
        steps: A list of steps, each a list or tuple of MIDI numbers, empty for silence.
        what: The name of `steps` in messages.

    Returns:
        The roll [T, 88].

    Raises:
        UserError: `steps` isn't such a list, or is empty.
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
    """Make a roll from a matrix [T, 88] of 0 and 1 of any number type.

    Args:
        values: The matrix.
        what: Its name in messages.

    Raises:
        UserError: It isn't such a matrix.
    """
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


def _brief(value: object) -> str:
    # the text of a value from a small pickle may be astronomically long
    try:
        text = reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python doesn't print
    return text if len(text) <= 40 else f"{text[:37]}..."
