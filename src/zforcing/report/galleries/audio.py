"""Recordings: their waves, and how they sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files.reading import Array
from ...observations import AudioFormat, DataDescription
from ..blocks import Line, sound
from ..charts import colour, drawing
from .base import Gallery

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SECONDS = 5.0  # of sound: a page holds a dozen of them
COLUMNS = 300  # of a wave


def show(x: Array, description: DataDescription) -> Sequence[Any]:
    """The wave of a recording, or of its beginning."""
    kind = description.format
    assert isinstance(kind, AudioFormat), "the gallery of recordings"
    samples, clipped = kind.to_samples(x, description)
    heard = samples[: int(SECONDS * kind.sample_rate)]
    length = len(samples) / kind.sample_rate
    label = f"first {SECONDS:g} of {length:.1f} seconds" if len(heard) < len(samples) else f"{length:.2f} seconds"
    notes = [Line(f"{clipped} of {len(samples)} samples were clipped to 16 bits")] if clipped else []
    return [_wave(heard, kind.sample_rate), sound(heard, kind.sample_rate, label=label), *notes]


def _wave(samples: Array, rate: int) -> Any:
    """The smallest and the largest sample of each column."""
    parts = np.array_split(samples.astype(np.float64) / 32768, min(COLUMNS, len(samples)))
    low, high = np.array([part.min() for part in parts]), np.array([part.max() for part in parts])
    at = np.linspace(0, len(samples) / rate, len(parts))

    def draw(axes: Axes) -> None:
        axes.fill_between(at, low, high, color=colour(0), linewidth=0.6)
        axes.set_xlabel("seconds")
        axes.set_xlim(0, at[-1] or 1)

    return drawing(draw, label="the wave, of full scale 1", size=(3.6, 1.2))


AUDIO = Gallery("audio", show, samples=3)
