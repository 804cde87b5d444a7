"""The sequences of a file as rows, one sequence after the other. A row is a step, a column a feature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Array, listed

Gaps = Literal["keep", "split", "fill"]
COUNTED = " (counted from 0)"


@dataclass(frozen=True)
class Layout:
    """The names of arrays and columns in a file, as the settings of data `arrays` and `table` with these names."""

    array: str = "x"
    lengths: str = "lengths"
    observed: str = "observed"
    sequence: str | None = None
    columns: tuple[str, ...] | None = None
    inputs: str | None = None
    input_columns: tuple[str, ...] = ()
    order: str | None = None
    gaps: Gaps = "keep"
    max_gap: float = 1.5
    text: bool = False  # whether columns may hold text, which is read as categories
    labelled: tuple[str, ...] = ()  # columns whose cells are text, also where they look like numbers


@dataclass(frozen=True, eq=False)
class TimeColumn:
    """When the steps of N sequences were: the column that the data was ordered by."""

    name: str
    """of the column"""
    values: tuple[Array, ...]
    """[T_i] for each sequence, as the user gave them: numbers, datetime64, timedelta64, text, or moments with a zone"""

    def take(self, index: Iterable[int]) -> Self:
        """That of the sequences with these numbers, in this order."""
        return replace(self, values=tuple(self.values[i] for i in index))

    @classmethod
    def joined(cls, parts: Sequence[TimeColumn | None]) -> TimeColumn | None:
        """That of the sequences of all parts, which have one name; None where one part has none."""
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return cls(known[0].name, tuple(values for part in known for values in part.values))


@dataclass(frozen=True, eq=False)
class Rows:
    """N sequences of D features, R steps in all.

    Attributes:
        source: The setting and the file, with which messages begin.
        values: [R, D], as in the file.
        lengths: [N], in steps; they sum to R.
        observed: [R, D] bool, if the file has a mask.
        names: [N], names of the sequences, if the file has them.
        columns: Names of the D features, if the file has them.
        lines: [R], the line of each row in a text file.
        option: What stands before an option's name in a message: `data.` of a recipe's, nothing of an argument.
        inputs: [R, U], the known inputs at each step, if there are some.
        input_names: Names of the U inputs, if they have some.
        number: What messages call one of a row's values.
        remark: What a reader should know, such as gaps in time.
        labels: Of the D features, the names that the codes 0, 1, ... stand for; None for a feature of numbers. None
            altogether of arrays, which hold no text.
        spelled: Of the D features, how the source writes 0 and 1 of one of true and false; None for the others.
        times: [R], the time of each row as the user gave it, if rows were ordered by a column.
        order: Name of that column.
        at: [R], which row of the file each one is, from 0; -1 of a step that was put in.
    """

    source: str
    values: Array
    lengths: NDArray[np.int64]
    observed: NDArray[np.bool_] | None = None
    names: Array | None = None
    columns: tuple[str, ...] | None = None
    lines: NDArray[np.int64] | None = None
    option: str = "data."
    inputs: Array | None = None
    input_names: tuple[str, ...] | None = None
    number: str = "feature"
    remark: str = ""
    labels: tuple[tuple[str, ...] | None, ...] | None = None
    spelled: tuple[tuple[str, ...] | None, ...] | None = None
    times: Array | None = None
    order: str | None = None
    at: NDArray[np.int64] | None = None

    @property
    def steps(self) -> list[slice]:
        """[N], the rows of each sequence."""
        ends = np.cumsum(self.lengths).tolist()
        return [slice(start, end) for start, end in pairwise([0, *ends])]

    def times_of(self, steps: Sequence[slice]) -> TimeColumn | None:
        """The times of sequences of these rows, the rows of each given; None where there are none."""
        if self.times is None or self.order is None:
            return None
        return TimeColumn(self.order, tuple(self.times[rows] for rows in steps))

    @property
    def of_inputs(self) -> Rows | None:
        """The inputs as rows of their own, which the checks of values read; None where there are none."""
        if self.inputs is None:
            return None
        return replace(
            self,
            values=self.inputs,
            observed=None,
            columns=self.input_names,
            inputs=None,
            input_names=None,
            number="input",
            labels=None,
            spelled=None,
        )

    def sequence(self, index: int) -> str:
        """Name a sequence in a message: by its name, or by its number from 0."""
        name = index if self.names is None else self.names[index : index + 1].tolist()[0]
        return f"sequence {name!r}"

    def place(self, row: int, feature: int) -> str:
        """Describe the position of a value in a message."""
        ends = np.cumsum(self.lengths)
        index = int(np.searchsorted(ends, row, side="right"))
        step = row - int(ends[index] - self.lengths[index])
        what = self.feature(feature).removesuffix(COUNTED)
        where = COUNTED if self.lines is None else f" (line {self.lines[row]})"
        return f"{self.sequence(index)}, step {step}, {what}{where}"

    def truths(self) -> Array:
        """The one column [R] of labels: numbers, 1 and 0 of true and false. Raises UserError where it is other text."""
        if self.labels is not None and self.labels[0] is not None:
            held = listed([repr(label) for label in self.labels[0][:3]])
            raise UserError(f"{self.source}: {self.feature(0)} holds text, such as {held}; labels must be 0 or 1")
        return self.values[:, 0]

    def feature(self, feature: int) -> str:
        """Name a feature in a message: by its column's name, or by its number."""
        return f"{self.number} {feature}{COUNTED}" if self.columns is None else f"column {self.columns[feature]!r}"

    def take(self, members: NDArray[np.bool_]) -> Rows:
        """Select the sequences where `members` [N] is True, in the same order."""
        if members.all():
            return self
        rows = np.flatnonzero(np.repeat(members, self.lengths))
        names = None if self.names is None else self.names[members]
        return replace(self.reordered(rows), lengths=self.lengths[members], names=names)

    def reordered(self, index: NDArray[np.int64]) -> Rows:
        """The same sequences with their rows in another order, `index` [R]."""
        return replace(
            self,
            values=self.values[index],
            observed=None if self.observed is None else self.observed[index],
            inputs=None if self.inputs is None else self.inputs[index],
            lines=None if self.lines is None else self.lines[index],
            times=None if self.times is None else self.times[index],
            at=None if self.at is None else self.at[index],
        )

    def between(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> Rows:
        """Of each sequence its steps first..last-1, [N] each, of which there are some."""
        step = np.arange(len(self.values)) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        inside = np.repeat(first, self.lengths) <= step
        inside &= step < np.repeat(last, self.lengths)
        return replace(self.reordered(np.flatnonzero(inside)), lengths=last - first)


@dataclass(frozen=True, eq=False)
class Order:
    """How to turn an array into rows.

    Attributes:
        axes: How many leading axes are flattened to steps: 2 for [N, T, ...], 1 for [R, ...].
        index: [R], which of these steps are rows, sequence by sequence; or a slice of all.
        lengths: [N], in steps.
        names: [N], names of the sequences, or None.
    """

    axes: int
    index: NDArray[np.int64] | slice
    lengths: NDArray[np.int64]
    names: Array | None = None

    def apply(self, array: Array) -> Array:
        """Turn an array [N, T, D], [N, T], [R, D] or [R] into rows [R, D]."""
        steps = int(np.prod(array.shape[: self.axes]))
        rows: Array = array.reshape(steps, -1)[self.index]
        return rows

    def rows_of(self, array: Array) -> NDArray[np.int64]:
        """[R], which of the flattened array's steps each row is."""
        return np.arange(int(np.prod(array.shape[: self.axes])))[self.index]


def grouped(names: Array) -> Order:
    """Group rows by the name of their sequence.

    Rows of one name are one sequence, in the file's order, also if other rows are between them. Sequences are in the
    order of their first rows.

    Args:
        names: [R], the name of each row's sequence.
    """
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    runs = np.diff(starts, append=len(names))
    # Rows of a sequence are usually consecutive: sorting runs of equal names is far less work than sorting rows.
    unique, first, inverse = np.unique(names[starts], return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    rank = np.argsort(appearance)
    sequence = np.repeat(rank[inverse], runs)  # [R]
    lengths = np.bincount(sequence).astype(np.int64)
    return Order(1, np.argsort(sequence, kind="stable"), lengths, unique[appearance])
