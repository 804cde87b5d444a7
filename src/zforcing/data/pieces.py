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

    def windows(self, length: int, *, stride: int, keep_last: bool, least: int = 1) -> tuple[Pieces, NDArray[np.int64]]:
        """Each piece cut into windows of `length` steps, one every `stride`; the last, shorter one, of `least` steps or
        more, is kept where steps are left over. And of each window, the number of the piece that it is cut from.
        """
        full = np.maximum(0, (self.length - length) // stride + 1)
        covered = np.where(full > 0, (full - 1) * stride + length, 0)
        rest = (self.length > covered) & (self.length - full * stride >= least) & keep_last
        count = full + rest
        piece = np.repeat(np.arange(len(count)), count)
        number = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
        inside = number * stride
        steps = np.minimum(length, self.length[piece] - inside)
        return Pieces(self.recording[piece], self.start[piece] + inside, steps), piece

    def between(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> Pieces:
        """Of each piece, its steps first..last-1, [N] each."""
        return Pieces(self.recording, self.start + first, last - first)

    def take(self, index: NDArray[np.int64]) -> Pieces:
        """Those with these numbers, in this order."""
        return Pieces(self.recording[index], self.start[index], self.length[index])

    @property
    def overlap(self) -> bool:
        """Whether two pieces share a step."""
        order = np.lexsort((self.start, self.recording))
        recording, start, length = self.recording[order], self.start[order], self.length[order]
        same = recording[1:] == recording[:-1]
        return bool((same & (start[1:] < start[:-1] + length[:-1])).any())
