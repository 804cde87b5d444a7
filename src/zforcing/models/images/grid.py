"""Vectors of D pixels as images of H rows and W columns."""

from __future__ import annotations

import math

from ...errors import UserError


def shape_of(pixels: int, width: int | None) -> tuple[int, int]:
    """(H, W) of images with D pixels, W columns wide; None: square.

    Raises:
        UserError: No image has so many pixels.
    """
    columns = math.isqrt(pixels) if width is None else width
    if pixels % columns or (width is None and columns**2 != pixels):
        asked = "square" if width is None else f"{width} columns wide"
        raise UserError(f"an image of {pixels} pixels isn't {asked}: set model.width to how many columns it has")
    return pixels // columns, columns
