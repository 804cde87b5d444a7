"""Piano rolls to look at and to listen to.

A roll says which pitches sound, not which are struck: consecutive steps of one pitch are written as one note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data.base import MusicFormat
from .data.midi import import_symusic
from .errors import UserError

TICKS = 480  # of a MIDI file in a quarter note, about
VELOCITY = 80  # of MIDI's 0 to 127: a roll knows no loudness
WIDTH = 1600  # pixels that a picture should have, about
GREYS = {"octave": 0.15, "gap": 0.5}


def write_midi(path: Path, roll: NDArray[Any], music: MusicFormat) -> None:
    """A roll [T, D] of 0 and 1 as a MIDI file of one track, piano.

    Raises UserError where symusic isn't installed, or the roll is none.
    """
    symusic = import_symusic(str(path))
    per_step = max(1, TICKS // music.steps_per_quarter)
    score = symusic.Score(per_step * music.steps_per_quarter)
    score.tempos.append(symusic.Tempo(0, music.quarters_per_minute))
    track = symusic.Track(name="zforcing", program=0, is_drum=False)
    for pitch, start, steps in held_notes(roll):
        track.notes.append(symusic.Note(start * per_step, steps * per_step, music.lowest_pitch + pitch, VELOCITY))
    score.tracks.append(track)
    score.dump_midi(path)


def held_notes(roll: NDArray[Any]) -> list[tuple[int, int, int]]:
    """(column, first step, steps) of each stretch of ones in a column of a roll [T, D], in the order of time."""
    values = np.asarray(roll)
    if values.ndim != 2 or not ((values == 0) | (values == 1)).all():
        raise UserError(f"a roll of {values.dtype} {list(values.shape)} is no music; it must be [T, D] of 0 and 1")
    silence = np.zeros((1, values.shape[1]), dtype=np.int8)
    changes = np.diff(np.concatenate([silence, values.astype(np.int8), silence]), axis=0).T  # [D, T + 1]
    column, start = np.nonzero(changes == 1)
    _, stop = np.nonzero(changes == -1)
    order = np.lexsort((column, start))
    notes = np.stack([column, start, stop - start], axis=1)[order]
    return [(int(c), int(s), int(n)) for c, s, n in notes]


def write_pianoroll(path: Path, rolls: Sequence[NDArray[Any]]) -> None:
    """A PNG of rolls [T_i, D], numbers from 0 (white) to 1 (black), under each other: time goes right, pitch up.

    Pale lines are the As, with which the octaves of MIDI's pitch 21 begin: every 12th row from the lowest on.
    """
    from matplotlib.image import imsave

    steps = max(len(roll) for roll in rolls)
    panels = [_panel(np.asarray(roll, dtype=np.float32), steps) for roll in rolls]
    gap = np.full((2, steps), GREYS["gap"], dtype=np.float32)
    picture = np.concatenate([gap, *(part for panel in panels for part in (panel, gap))])
    wide = max(2, min(8, WIDTH // steps))
    imsave(path, picture.repeat(2, axis=0).repeat(wide, axis=1), cmap="gray_r", vmin=0, vmax=1)


def _panel(roll: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """[D, steps], the highest pitch on top."""
    panel = np.zeros((steps, roll.shape[1]), dtype=np.float32)
    panel[:, ::12] = GREYS["octave"]
    panel[: len(roll)] = np.maximum(panel[: len(roll)], roll)
    return np.flipud(panel.T)
