"""Notes as sound: each a few harmonics that die away like a plucked string's. Deterministic, and never clipped."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 22050  # samples per second: the highest note of a piano has 4186 Hz
HARMONICS = 6
HALF_LIFE = 0.6  # seconds of the fundamental of A4; higher ones die away sooner, as strings do
ATTACK, RELEASE = 0.005, 0.06  # seconds in which a note begins and ends, without a click
LONGEST = 8.0  # seconds: a held note can't be heard any longer
PEAK = 0.9  # of the loudest sample that 16 bits have
A4 = 69  # its MIDI number; it has 440 Hz


class Sounding(NamedTuple):
    """A note: its MIDI number, and when it begins and how long it is held, in seconds."""

    pitch: int
    start: float
    seconds: float


def synthesize(notes: Iterable[Sounding], seconds: float) -> NDArray[np.int16]:
    """The sound of notes.

    A note of frequency f is sum over k of k^-1 2^(-k t / half-life) sin(2 pi k f t), k f below half the sample rate,
    under an envelope that rises and falls linearly. The sum of all is scaled so that its loudest sample is 0.9.

    Args:
        notes: Any number of notes, in any order.
        seconds: How long it all lasts, at least; what still sounds after the last note is let die away.

    Returns:
        [N] int16, at `RATE` samples per second; zeros where there is no note.
    """
    played = list(notes)
    end = max([seconds, *(note.start + min(note.seconds, LONGEST) + RELEASE for note in played)])
    sound = np.zeros(int(np.ceil(end * RATE)) + 1)
    for note in played:
        tone = _tone(note.pitch, min(note.seconds, LONGEST))
        first = round(note.start * RATE)
        sound[first : first + len(tone)] += tone[: len(sound) - first]
    loudest = float(np.abs(sound).max())
    return np.rint(sound * (PEAK * 32767 / loudest if loudest else 0.0)).astype(np.int16)


@lru_cache(maxsize=256)
def _tone(pitch: int, seconds: float) -> NDArray[np.float64]:
    """One note, with its release behind it. Of music, whose notes are alike, most are here already."""
    frequency = 440.0 * 2 ** ((pitch - A4) / 12)
    half_life = HALF_LIFE * (440.0 / frequency) ** 0.5
    time = np.arange(round((seconds + RELEASE) * RATE)) / RATE
    first = np.exp((2j * np.pi * frequency - np.log(2) / half_life) * time)
    tone: NDArray[np.float64] = first.imag.copy()
    power = first
    for k in range(2, HARMONICS + 1):
        if k * frequency >= RATE / 2:
            break
        power = power * first  # 2^(-k t / half-life) exp(2 pi i k f t)
        tone += power.imag / k
    rise, fall = round(ATTACK * RATE), round(RELEASE * RATE)
    tone[:rise] *= np.arange(rise) / rise
    tone[-fall:] *= np.arange(fall, 0, -1) / fall
    return tone
