"""Images: each a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...files.reading import Array
from ...observations import DataDescription, ImageFormat
from ..blocks import Line, picture
from .base import Gallery

SIDE = 84  # CSS pixels, about, of the smaller side


def show(x: Array, description: DataDescription) -> Sequence[Any]:
    """The pixels, in reading order; what is missing of an image that isn't whole is grey."""
    kind = description.format
    assert isinstance(kind, ImageFormat), "the gallery of images"
    pixels = np.asarray(kind.to_units(x, description), dtype=np.float64).reshape(-1)
    if len(pixels) > kind.pixels:
        return [Line(f"{len(pixels)} pixels, more than an image has")]
    whole = np.concatenate([pixels, np.full(kind.pixels - len(pixels), 0.5)])
    scale = max(1, SIDE // min(kind.height, kind.width))
    label = f"{kind.height} by {kind.width} pixels, {pixels.mean():.0%} of them white"
    return [picture(whole.reshape(kind.height, kind.width), scale=scale, label=label)]


IMAGE = Gallery("image", show, samples=16, narrow=True)
