"""A digest of sequences: of their numbers, in their order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..observations import Example

AT_MOST = 2**30  # bytes of sequences that wait for those before them


class Fingerprint:
    """12 hexadecimal digits, the same for the same numbers in the same order and units.

    Sequences may be added in any order, as they are read: those that come early wait for those before them, up to
    `at_most` bytes; what is beyond that is read again at the end.
    """

    def __init__(self, lengths: NDArray[np.int64], *, at_most: int = AT_MOST):
        """lengths: [N], steps of the sequences."""
        self.sha = hashlib.sha256(np.asarray(lengths, dtype=np.int64).tobytes())
        self.sequences, self.due, self.room = len(lengths), 0, at_most
        self.waiting: dict[int, Example] = {}

    def add(self, index: int, example: Example) -> None:
        """A sequence and its number."""
        if index == self.due:
            self._take(example)
            while self.due in self.waiting:
                waited = self.waiting.pop(self.due)
                self.room += _bytes(waited)
                self._take(waited)
        elif _bytes(example) <= self.room:
            self.room -= _bytes(example)
            self.waiting[index] = example

    def digits(self, read: Callable[[int], Example]) -> str:
        """The fingerprint. read: gives a sequence by its number, where it wasn't added or had no room to wait."""
        while self.due < self.sequences:
            self.add(self.due, read(self.due))
        return self.sha.hexdigest()[:12]

    def _take(self, example: Example) -> None:
        x, observed = np.asarray(example.x), example.observed
        self.sha.update(f"{x.dtype} {x.shape}".encode())
        if observed is not None and not observed.all():
            self.sha.update(observed.tobytes())
            x = np.where(observed, x, np.zeros((), x.dtype))  # the value in a gap doesn't count
        self.sha.update(x.tobytes())
        if example.inputs is not None:
            self.sha.update(f"inputs {example.inputs.dtype} {example.inputs.shape}".encode())
            self.sha.update(example.inputs.tobytes())
        self.due += 1


def _bytes(example: Example) -> int:
    """Of the numbers of a sequence."""
    return example.x.nbytes + (0 if example.inputs is None else example.inputs.nbytes)
