"""Music: piano rolls as pictures, and how they sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files.reading import Array
from ...files.synthesizer import RATE
from ...observations import DataDescription, MusicFormat
from ..blocks import Line, picture, sound
from .base import Gallery

SECONDS = 8.0  # of sound: a page holds a dozen of them
TAPS = 16  # of the low-pass filter, on either side
OCTAVE = 0.12  # how dark the row of every 12th key is


def show(x: Array, description: DataDescription) -> Sequence[Any]:
    """Time to the right, pitch upward; the sound is of its beginning."""
    kind = description.format
    assert isinstance(kind, MusicFormat), "the gallery of music"
    roll = np.asarray(kind.to_units(x, description)) > 0
    keys = np.flatnonzero(roll.any(0))
    low, high = (int(keys[0]), int(keys[-1]) + 1) if len(keys) else (0, roll.shape[1])
    seconds = kind.seconds_per_step or 60 / kind.quarters_per_minute / kind.steps_per_quarter
    steps = max(1, int(SECONDS / seconds))
    heard = f"first {steps * seconds:.0f} seconds" if steps < len(roll) else f"{len(roll) * seconds:.0f} seconds"
    label = f"piano roll of {len(roll)} steps, MIDI pitches {kind.lowest_pitch + low} to {kind.lowest_pitch + high - 1}"
    rolled = picture(_paper(roll, low, high), scale=4, label=label)
    if not roll[:steps].any():
        return [rolled, Line(f"Silence: {heard}.")]
    return [rolled, sound(_halved(kind.sound(roll[:steps])), RATE // 2, label=heard)]


def _halved(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """At half the rate, which holds the highest key of a piano and takes half the page: without what would alias."""
    lowpass = np.sinc(np.arange(-TAPS, TAPS + 1) / 2) * np.hamming(2 * TAPS + 1) / 2
    halved = np.rint(np.convolve(samples, lowpass, "same")[::2])
    return np.asarray(np.clip(halved, -32768, 32767), dtype=np.int16)


def _paper(roll: Array, low: int, high: int) -> Array:
    """[pitches, T]: notes black on white, As grey, the highest on top; a margin of two keys."""
    low, high = max(0, low - 2), min(roll.shape[1], high + 2)
    paper = np.ones(roll.T.shape)
    paper[::12] -= OCTAVE
    paper[roll.T] = 0
    return paper[low:high][::-1]


MUSIC = Gallery("music", show, samples=3, steps=128)
