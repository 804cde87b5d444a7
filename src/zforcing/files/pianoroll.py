"""Pictures of piano rolls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 1600  # pixels of a picture, approximately
GREYS = {"octave": 0.15, "gap": 0.5}


def write_pianoroll(path: Path, rolls: Sequence[NDArray[Any]]) -> None:
    """Write a PNG of rolls, one below the other: time to the right, pitch upward.

    Every 12th row from the lowest is light gray: the As of a piano, if column 0 is MIDI pitch 21.

    Args:
        path: The file.
        rolls: [T_i, D], from 0 (white) to 1 (black).
    """
    from matplotlib.image import imsave

    steps = max(len(roll) for roll in rolls)
    panels = [_panel(np.asarray(roll, dtype=np.float32), steps) for roll in rolls]
    gap = np.full((2, steps), GREYS["gap"], dtype=np.float32)
    picture = np.concatenate([gap, *(part for panel in panels for part in (panel, gap))])
    wide = max(2, min(8, WIDTH // steps))
    imsave(path, picture.repeat(2, axis=0).repeat(wide, axis=1), cmap="gray_r", vmin=0, vmax=1)


def _panel(roll: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """The picture of one roll, [D, steps], with the highest pitch on top."""
    panel = np.zeros((steps, roll.shape[1]), dtype=np.float32)
    panel[:, ::12] = GREYS["octave"]
    panel[: len(roll)] = np.maximum(panel[: len(roll)], roll)
    return np.flipud(panel.T)
