"""Pictures as PNG files: grids of images, and of sequences of numbers as lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_SEQUENCES, MOST_COLUMNS, MOST_STEPS = 12, 6, 2000  # of a picture of lines


def image_grid(images: NDArray[Any], *, columns: int | None = None, gap: int = 1) -> NDArray[Any]:
    """Arrange images in a grid, with gray lines between them.

    Args:
        images: [n, height, width], in [0, 1].
        columns: Images in a row; None makes the grid about square.
        gap: Width of the lines, in pixels.

    Returns:
        Array [height of the grid, width of the grid], float32.
    """
    n, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), 0.5, dtype=np.float32)
    for i, image in enumerate(images):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def write_image_grid(path: Path, images: NDArray[Any], *, columns: int | None = None) -> None:
    """Write a PNG of `image_grid`, enlarged so that the smaller side of an image has about 64 pixels."""
    from matplotlib.image import imsave

    scale = max(1, 64 // min(images.shape[1:]))
    grid = image_grid(images, columns=columns).repeat(scale, axis=0).repeat(scale, axis=1)
    imsave(path, grid, cmap="gray", vmin=0, vmax=1)


def write_line_grid(path: Path, tables: Sequence[NDArray[Any]], names: Sequence[str], *, given: Sequence[int]) -> None:
    """Write a PNG of the first sequences, a line for each of the first columns; NaN is a gap.

    Args:
        path: Of the file.
        tables: [T_i, D] of each sequence.
        names: Of the D columns.
        given: Steps at the beginning of each that weren't drawn by a model, which stand on grey.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown, drawn = [table[:MOST_STEPS, :MOST_COLUMNS] for table in tables[:MOST_SEQUENCES]], names[:MOST_COLUMNS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with mpl.rc_context(
        {"text.parse_math": False, "font.size": 7, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure((3 * columns, 1.1 * rows + 0.6), layout="constrained")
        every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, table, before in zip(every, shown, given, strict=False):
            if before:
                axes.axvspan(-0.5, before - 0.5, color="#e5e5e5")
            axes.plot(np.arange(len(table)), table, linewidth=0.8, marker=".", markersize=2)
        for axes in every[len(shown) :]:
            axes.set_axis_off()
        figure.legend(every[0].lines, drawn, loc="outside upper left", ncols=len(drawn), frameon=False)
        figure.supxlabel("steps", fontsize=7)
        figure.savefig(path, format="png", dpi=120)
