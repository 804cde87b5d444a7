"""Grids of images as PNG files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
