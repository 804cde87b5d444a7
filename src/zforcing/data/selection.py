"""Steps of rows that are chosen as sequences, in the user's units. Nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.reading import Array
from ..files.rows import Rows, TimeColumn
from .pieces import Pieces

Labels = NDArray[Any]  # [N] groups


def as_labels(labels: Sequence[Any]) -> Labels:
    """Labels of any type as an array [N]."""
    result = np.empty(len(labels), dtype=object)  # of tuples numpy would make an array [N, 2]
    result[:] = labels
    return result


@dataclass(frozen=True, eq=False)
class Selection:
    """N sequences: the rows that they are cut from, which steps of these, and perhaps the group of each."""

    rows: Rows
    pieces: Pieces
    groups: Labels | None = None

    @classmethod
    def of(cls, rows: Rows, groups: Labels | None) -> Selection:
        """All sequences of rows, each whole."""
        starts = np.cumsum(rows.lengths) - rows.lengths
        return cls(rows, Pieces(np.arange(len(rows.lengths)), starts, rows.lengths), groups)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[N] steps."""
        return self.pieces.length

    def take(self, index: NDArray[np.int64]) -> Selection:
        """Those with these numbers, in this order."""
        return replace(self, pieces=self.pieces.take(index), groups=None if self.groups is None else self.groups[index])

    def between(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> Selection:
        """Of each sequence, its steps first..last-1, [N] each."""
        return replace(self, pieces=self.pieces.between(first, last))

    def windows(self, length: int, *, stride: int, keep_last: bool, least: int) -> Selection:
        """See `Pieces.windows`; those of one sequence are one group, where there are no groups."""
        pieces, origin = self.pieces.windows(length, stride=stride, keep_last=keep_last, least=least)
        return replace(self, pieces=pieces, groups=pieces.recording if self.groups is None else self.groups[origin])

    def steps(self, index: int) -> slice:
        """The rows of a sequence."""
        start = int(self.pieces.start[index])
        return slice(start, start + int(self.lengths[index]))

    def numbers(self, index: int) -> Array:
        """A sequence, [T, D] float64 with NaN for missing numbers."""
        steps = self.steps(index)
        numbers = self.rows.values[steps].astype(np.float64)
        if self.rows.observed is not None:
            numbers[~self.rows.observed[steps]] = np.nan
        return numbers

    def categories(self, index: int) -> Array:
        """A sequence of categories, [T] int64 with -1 for missing ones."""
        steps = self.steps(index)
        values, observed = self.rows.values[steps], self.rows.observed
        categories: Array = values if observed is None else np.where(observed[steps], values, -1)
        return categories.astype(np.int64)[:, 0]

    @property
    def ids(self) -> list[Any]:
        """[N] names of the sequences, or their numbers among the rows'."""
        number, names = self.pieces.recording, self.rows.names
        return number.tolist() if names is None else list(names[number])

    @property
    def time_column(self) -> TimeColumn | None:
        """The times of their steps, where rows were ordered by a column."""
        return self.rows.times_of([self.steps(index) for index in range(len(self.lengths))])

    @property
    def missing_share(self) -> float:
        """Percentage of the numbers that is missing."""
        observed = self.rows.observed
        if observed is None:
            return 0.0
        before = np.concatenate([[0], np.cumsum(observed.sum(axis=1))])  # observed before each row
        start = self.pieces.start
        seen = (before[start + self.lengths] - before[start]).sum()
        return float(100 * (1 - seen / (self.lengths.sum() * observed.shape[1])))

    def own_rows(self) -> Rows:
        """The rows of these sequences, each once, to fit a description to."""
        chosen = np.zeros(len(self.rows.values), dtype=bool)
        for index in range(len(self.lengths)):
            chosen[self.steps(index)] = True
        return replace(self.rows.reordered(np.flatnonzero(chosen)), lengths=self.lengths)
