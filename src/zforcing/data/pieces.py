"""Long sequences cut into pieces, each a sequence of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pieces:
    """M sequences cut from recordings: which recording, from which of its frames on, and how many frames, each [M]."""

    recording: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    @classmethod
    def cut(cls, frames: NDArray[np.int64], *, first: int, chunk: int | None) -> Pieces:
        """Pieces of `chunk` scored frames (None: all), the last one shorter, of recordings with so many frames [N].

        The `first` frames of a piece (0 or 1) are read and not scored: they are the last ones of the piece before.
        """
        scored = frames - first
        length = int(scored.max()) if chunk is None else chunk
        pieces = -(-scored // length)
        recording = np.repeat(np.arange(len(frames)), pieces)
        number = np.arange(len(recording)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        start = number * length
        return cls(recording, start, np.minimum(length, scored[recording] - start) + first)
