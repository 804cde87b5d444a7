"""Pictures as PNG files: grids of images, and of sequences of numbers as lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_SEQUENCES, MOST_COLUMNS, MOST_STEPS = 12, 6, 2000  # of a picture of lines
LONGEST_NAME = 16  # characters of a column's


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
    """Write a PNG of the first columns of the first sequences, the more sequences the fewer columns there are; NaN is a
    gap. Of long sequences the end is drawn.

    Args:
        path: Of the file.
        tables: [T_i, D] of each sequence.
        names: Of the D columns.
        given: Steps at the beginning of each that weren't drawn by a model, which stand on grey.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    labels = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..." for name in names[:MOST_COLUMNS]]
    in_a_row, height = min(3, len(tables)), len(labels)
    blocks = min(math.ceil(min(len(tables), MOST_SEQUENCES) / in_a_row), max(1, MOST_COLUMNS // height))
    look: dict[Any, Any] = {"axes.spines.top": False, "axes.spines.right": False}  # its own type lists every name
    look |= {"axes.xmargin": 0.01, "text.parse_math": False, "font.size": 7}
    with mpl.rc_context(look):
        figure = Figure((3 * in_a_row, 0.8 * height * blocks + 0.4), layout="constrained")
        grid = figure.subplots(height * blocks, in_a_row, squeeze=False, sharex=True)
        for column, label in enumerate(labels):
            row_of_blocks = grid[column::height]
            for axes in row_of_blocks.flat[1:]:
                axes.sharey(row_of_blocks[0, 0])
            for axes, table, before in zip(row_of_blocks.flat, tables, given, strict=False):
                first = max(0, len(table) - MOST_STEPS)
                steps = np.arange(first, len(table))
                if before > first:
                    axes.axvspan(first - 0.5, before - 0.5, color="#e5e5e5")
                axes.plot(steps, table[first:, column], f"C{column}", linewidth=0.8, marker=".", markersize=2)
            for axes in row_of_blocks.flat[len(tables) :]:
                axes.set_axis_off()
            for axes in row_of_blocks[:, 0]:
                axes.set_ylabel(label)
        figure.supxlabel("steps", fontsize=7)
        figure.savefig(path, format="png", dpi=120)
