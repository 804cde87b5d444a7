"""What a file of sequences becomes: rows, one sequence after the other. A row is a step, a column a feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .reading import Array


@dataclass(frozen=True)
class Layout:
    """Which array or column is what: the fields of `Arrays` with the same names."""

    array: str = "x"
    lengths: str = "lengths"
    observed: str = "observed"
    sequence: str | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """N sequences of D features, R steps in all.

    source:   the setting and the file, with which an error message begins
    values:   [R, D], as in the file
    lengths:  [N], steps; they sum to R
    observed: [R, D] bool, or None when the file doesn't say
    names:    [N], what the file calls its sequences, or None
    columns:  what the file calls its D features, or None
    lines:    [R], where a row stands in a text file, or None
    """

    source: str
    values: Array
    lengths: NDArray[np.int64]
    observed: NDArray[np.bool_] | None = None
    names: Array | None = None
    columns: tuple[str, ...] | None = None
    lines: NDArray[np.int64] | None = None

    def sequence(self, index: int) -> str:
        """How a message refers to a sequence: by its name, or by its number from 0."""
        name = index if self.names is None else self.names[index : index + 1].tolist()[0]
        return f"sequence {name!r}"

    def place(self, row: int, feature: int) -> str:
        """How a message refers to a number."""
        ends = np.cumsum(self.lengths)
        index = int(np.searchsorted(ends, row, side="right"))
        step = row - int(ends[index] - self.lengths[index])
        what = f"feature {feature}" if self.columns is None else f"column {self.columns[feature]!r}"
        where = "counted from 0" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.sequence(index)}, step {step}, {what} ({where})"

    def take(self, members: NDArray[np.bool_]) -> Rows:
        """The sequences where `members` [N] is True, in the same order."""
        if members.all():
            return self
        rows = np.repeat(members, self.lengths)  # [R]
        return Rows(
            source=self.source,
            values=self.values[rows],
            lengths=self.lengths[members],
            observed=None if self.observed is None else self.observed[rows],
            names=None if self.names is None else self.names[members],
            columns=self.columns,
            lines=None if self.lines is None else self.lines[rows],
        )


@dataclass(frozen=True, eq=False)
class Order:
    """How an array becomes rows: its first `axes` axes count steps, of which `index` picks the R that exist.

    index:   [R], sequence after sequence; or all of them, as they stand
    lengths: [N], steps
    names:   [N], or None
    """

    axes: int
    index: NDArray[np.int64] | slice
    lengths: NDArray[np.int64]
    names: Array | None = None

    def apply(self, array: Array) -> Array:
        """[N, T, D], [N, T], [R, D] or [R] -> [R, D]."""
        steps = int(np.prod(array.shape[: self.axes]))
        rows: Array = array.reshape(steps, -1)[self.index]
        return rows


def grouped(names: Array) -> Order:
    """Rows brought together by their sequence's name [R].

    Rows of one name are one sequence, in the file's order, wherever they stand; sequences come in the order of their
    first rows.
    """
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    runs = np.diff(starts, append=len(names))
    # Where a sequence's rows stand together, as they mostly do, sorting the runs is far less work than the rows.
    unique, first, inverse = np.unique(names[starts], return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    rank = np.argsort(appearance)
    sequence = np.repeat(rank[inverse], runs)  # [R]
    lengths = np.bincount(sequence).astype(np.int64)
    return Order(1, np.argsort(sequence, kind="stable"), lengths, unique[appearance])
