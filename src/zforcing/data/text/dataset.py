"""Sentences as numbers, those of a whole split one after the other: hundreds of thousands take a few megabytes."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ...observations import Example, Vocabulary
from ..dataset import SequenceDataset

AT_ONCE = 1 << 14  # sentences of a fingerprint that are int64 at a time


class TextDataset(SequenceDataset):
    """One split of N sentences: x [T] int64, the last one the end symbol.

    symbols:  [R] int32, those of all sentences, one after the other
    unknown:  how many of them stand for a word or a character that the vocabulary doesn't have
    left_out: how many more sentences the split's files have, with too few or too many words
    empty:    how many of their lines were empty
    """

    def __init__(
        self, symbols: NDArray[np.int32], ends: NDArray[np.int64], vocabulary: Vocabulary, *, left_out: int, empty: int
    ):
        self.symbols = symbols
        self.starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self.lengths = ends - self.starts
        self.unknown = 0 if vocabulary.unknown is None else int(np.count_nonzero(symbols == vocabulary.unknown))
        self.left_out = left_out
        self.empty = empty
        what = {"sentences with too few or too many words": left_out, "empty lines": empty}
        omitted = " and ".join(f"{count} {name}" for name, count in what.items() if count)
        self.remark = f"{omitted} were left out" if omitted else ""

    @property
    def unknown_share(self) -> float:
        """Of all words or characters; the end symbols are none."""
        return (self.unknown or 0) / max(1, len(self.symbols) - len(self))

    def __getitem__(self, index: int) -> Example:
        return self.piece(index, 0, int(self.lengths[index]))

    def piece(self, index: int, start: int, stop: int) -> Example:
        begin = int(self.starts[index])
        return Example(self.symbols[begin + start : begin + stop].astype(np.int64))

    def fingerprint(self) -> str:
        """That of the base class, in a tenth of its time: sentences are short, and there are hundreds of thousands."""
        digest = hashlib.sha256(self.lengths.tobytes())
        heads = {int(length): f"int64 ({length},)".encode() for length in np.unique(self.lengths)}
        for first in range(0, len(self), AT_ONCE):
            lengths = self.lengths[first : first + AT_ONCE].tolist()
            begin = int(self.starts[first])
            raw, at = self.symbols[begin : begin + sum(lengths)].astype(np.int64).tobytes(), 0
            for length in lengths:
                digest.update(heads[length] + raw[at : at + 8 * length])
                at += 8 * length
        return digest.hexdigest()[:12]
