"""Rows of observations that come one at a time, as lines of CSV or of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from ..errors import UserError
from ..files.reading import listed
from ..observations import DataDescription, TableFormat, labels_of

LONGEST = 10**7  # characters of a line: a device may go on without an end
Plain = Callable[[Any, str], float | None]


@dataclass(frozen=True)
class Row:
    """One step of one sequence, in the data's units; None is missing."""

    x: list[float | None]
    """[D], or one category"""
    inputs: list[float | None] | None
    """[U], of a model that reads known inputs"""
    sequence: str | None
    """its name, where a column says it"""


@dataclass(frozen=True)
class Columns:
    """The columns that a model reads."""

    features: int
    inputs: int
    names: tuple[str, ...] | None
    """of features and inputs, where the training data named them"""
    sequence: str | None
    """the column that names each row's sequence"""
    labels: tuple[tuple[str, ...] | None, ...] = ()
    """of the features, the names of categories; None of numbers"""

    @classmethod
    def of(cls, description: DataDescription) -> Columns:
        """Those of a model's data."""
        spec, kind = description.spec, description.format
        features = 1 if spec.kind == "categorical" else spec.size
        if not isinstance(kind, TableFormat):
            return cls(features, spec.inputs, None, None)
        inputs = kind.input_names or (() if not spec.inputs else None)
        names = None if kind.names is None or inputs is None else (*kind.names, *inputs)
        labels = tuple(labels_of(column) for column in spec.columns or ())
        return cls(features, spec.inputs, names, kind.sequence, labels)

    @property
    def size(self) -> int:
        """D + U."""
        return self.features + self.inputs

    def are_named_by(self, cells: Sequence[str]) -> bool:
        """Whether a first line of CSV is a header: it has the model's names, some of them, or nothing that a row has.

        A row may have names too: those of categories.
        """
        names = {*(self.names or ()), *filter(None, [self.sequence])}
        if self.names is None:
            return not all(map(_is_number, cells))
        if names <= set(cells):
            return True
        fits = [self._fits(place, cell) for place, cell in enumerate(cells)]
        return not all(fits) if names & set(cells) else not any(fits)

    def _fits(self, place: int, cell: str) -> bool:
        """Whether a cell in this place is a number, or one of the column's categories."""
        labels = self.labels[place] if place < len(self.labels) else None
        return _is_number(cell) or cell.strip() in (labels or ())

    def number(self, place: int, value: Any, where: str, *, plain: Plain) -> float | None:
        """A cell, or a value of JSON, in its place of the D + U: a category's code by its name, others by `plain`."""
        labels = self.labels[place] if place < len(self.labels) else None
        if labels is None or not isinstance(value, str) or not value.strip():
            return plain(value, where)
        if value.strip() not in labels:
            raise UserError(f"{where}: {value[:40]!r} is no category; the model knows {listed(labels)}")
        return float(labels.index(value.strip()))

    def row(self, values: Sequence[float | None], sequence: str | None, where: str) -> Row:
        """A row of D + U numbers. Raises UserError for another number of them."""
        if len(values) != self.size:
            of = f"{self.features} and {self.inputs} inputs" if self.inputs else f"{self.features}"
            raise UserError(f"{where}: has {len(values)} numbers; the model reads {of}")
        x, u = list(values[: self.features]), list(values[self.features :])
        return Row(x, u if self.inputs else None, sequence)


def lines_of(stream: TextIO) -> Iterator[str]:
    """The lines of a stream, as they come. Raises UserError about one of more than `LONGEST` characters."""
    number = 1
    while line := stream.readline(LONGEST):
        if len(line) == LONGEST and not line.endswith("\n"):
            raise UserError(f"line {number}: has no end within {LONGEST} characters; a row is a line")
        yield line
        number += 1


def read_rows(lines: Iterable[str], description: DataDescription) -> Iterator[Row]:
    """The rows of lines, as they come; empty lines are none.

    A line that begins with { or [ is JSON, another one CSV, whose first line may be a header (`Columns.are_named_by`).

    Raises:
        UserError: a line can't be read or lacks a column; it names the line.
    """
    columns = Columns.of(description)
    header: list[str] | None = None
    known = False  # whether the first line of CSV has been seen
    for number, line in enumerate(lines, start=1):
        text, where = line.strip().removeprefix("\ufeff"), f"line {number}"  # what Excel begins a file with
        if not text:
            continue
        if text[0] in "{[":
            yield _of_json(text, columns, where)
            continue
        cells = _cells(text, where)
        if not known and columns.are_named_by(cells):
            header, known = _checked(cells, columns, where), True
            continue
        known = True
        yield _of_cells(cells, header, columns, where)


def _cells(text: str, where: str) -> list[str]:
    try:
        return next(csv.reader([text]))
    except csv.Error as error:
        raise UserError(f"{where}: is no CSV: {error}") from None


def _of_json(text: str, columns: Columns, where: str) -> Row:
    """An object by names, or, where there are none, with `x` and `inputs`; or an array."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no JSON: {error}") from None
    if isinstance(values, list):
        return columns.row([columns.number(i, v, where, plain=_json_number) for i, v in enumerate(values)], None, where)
    sequence = None if columns.sequence is None else _sequence(_named(values, columns.sequence, where), columns, where)
    if columns.names is None:
        parts = ("x", "inputs") if columns.inputs else ("x",)
        whole = [value for part in parts for value in _listed(_named(values, part, where))]
    else:
        whole = [_named(values, name, where) for name in columns.names]
    numbers = [columns.number(i, v, where, plain=_json_number) for i, v in enumerate(whole)]
    return columns.row(numbers, sequence, where)


def _sequence(value: Any, columns: Columns, where: str) -> str:
    """The name of a row's sequence."""
    if value is None or not str(value).strip():
        raise UserError(f"{where}: {columns.sequence!r} is empty; it names the row's sequence")
    return str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _named(values: dict[str, Any], name: str, where: str) -> Any:
    if name not in values:
        raise UserError(f"{where}: has no {name!r}; it has {listed(list(values)) or 'nothing'}")
    return values[name]


def _json_number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float):
        with suppress(OverflowError):  # an integer of hundreds of digits
            return float(value)
    raise UserError(f"{where}: {str(value)[:40]!r} is not a number")


def _checked(header: list[str], columns: Columns, where: str) -> list[str]:
    """The header, which has what the model reads."""
    own = [name for name in header if name != columns.sequence]
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice:
        raise UserError(f"{where}: has column {listed(twice)} more than once; rename or leave out the others")
    lacking = [name for name in columns.names or () if name not in own]
    if columns.sequence is not None and columns.sequence not in header:
        lacking.append(columns.sequence)
    if lacking:
        raise UserError(f"{where}: has no column {listed(lacking)}, which the model reads; it has {listed(header)}")
    if columns.names is None and len(own) != columns.size:
        raise UserError(f"{where}: has {len(own)} columns of numbers; the model reads {columns.size}, in its order")
    return header


def _of_cells(cells: list[str], header: list[str] | None, columns: Columns, where: str) -> Row:
    if header is None:
        return columns.row([columns.number(i, cell, where, plain=_number) for i, cell in enumerate(cells)], None, where)
    if len(cells) != len(header):
        raise UserError(f"{where}: has {len(cells)} cells under {len(header)} columns")
    by_name = dict(zip(header, cells, strict=True))
    sequence = None if columns.sequence is None else _sequence(by_name[columns.sequence], columns, where)
    names = columns.names or [name for name in header if name != columns.sequence]
    return columns.row(
        [columns.number(i, by_name[name], where, plain=_number) for i, name in enumerate(names)], sequence, where
    )


def _number(cell: str, where: str) -> float | None:
    """A cell; an empty one is missing."""
    if not cell.strip():
        return None
    if not _is_number(cell):
        raise UserError(f"{where}: {cell[:40]!r} is not a number")
    return float(cell)


def _is_number(cell: str) -> bool:
    """Whether it is one, or empty."""
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
