"""Piano rolls to look at and to listen to.

A roll says which pitches sound, not which are struck: consecutive steps of one pitch are written as one note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 1600  # pixels that a picture should have, about
GREYS = {"octave": 0.15, "gap": 0.5}


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
