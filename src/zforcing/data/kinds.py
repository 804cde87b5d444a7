"""Which kind each column of mixed observations has: as the user declares it, or as its numbers look."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import UserError
from ..files.cells import is_number
from ..files.reading import Array, listed
from ..files.rows import Rows
from ..observations import (
    COLUMNS,
    BinaryColumn,
    CategoryColumn,
    Column,
    CountColumn,
    Known,
    Normalization,
    RealColumn,
    refuse_in_column,
)

Kinds = Literal["auto"] | Mapping[str, str] | Sequence[str]
"""The kind of each column, by name or in their order; `auto`, or a column without one: as its numbers look."""
WITH_SIZE = re.compile(r"([\w.-]+)\((\d+)\)")  # category(5)
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
MISSING = ("na", "n/a", "#n/a", "null", "none", "missing", "-", "--", "?", ".")  # as programs write what they lack
FEW = 20  # names may be as many, in however few rows
SMALL = 1000  # whole numbers up to here look like counts


@dataclass(frozen=True)
class Choice:
    """The kind of one column. size: of `category(5)`; declared: by the user, and not recognized."""

    cls: type[Column]
    size: int | None = None
    declared: bool = True


def check_kinds(kinds: object, option: str) -> None:
    """Raise UserError about what no kinds are, or kinds that there aren't."""
    if kinds == "auto" or kinds is None:
        return
    named = list(kinds.values()) if isinstance(kinds, Mapping) else kinds
    if isinstance(named, str) or not isinstance(named, Sequence) or not all(isinstance(kind, str) for kind in named):
        raise UserError(
            f"{option}kinds is {kinds!r}; it must be auto, kinds by the columns' names such as {{pen: binary}}, or a "
            "list of them"
        )
    for kind in named:
        _declared(kind, option)


def choose_kinds(rows: Rows, kinds: Kinds | None) -> tuple[Choice, ...]:
    """The kind of each column, in their order. Raises UserError about kinds that name no column, or can't be one's."""
    by_index = _by_index(rows, kinds)
    return tuple(
        _sized(
            _declared(by_index[i], rows.option) if i in by_index else Choice(_recognized(rows, i), declared=False),
            _observed(rows, i),
        )
        for i in range(rows.values.shape[1])
    )


def fit_columns(train: Rows, choices: Sequence[Choice]) -> tuple[Column, ...]:
    """The columns of a training split. Raises UserError about a value that a column's kind doesn't have."""
    return tuple(_fitted(train, index, choice) for index, choice in enumerate(choices))


def fit_scaling(train: Rows, columns: Sequence[Column]) -> Normalization:
    """Mean and standard deviation of the columns that are scaled, 0 and 1 for the others."""
    scaled = np.array([column.scaled for column in columns])
    mean, std = np.zeros(len(columns)), np.ones(len(columns))
    if scaled.any():
        values = train.values if train.observed is None else np.where(train.observed, train.values, np.nan)
        fitted = Normalization.fit(values[:, scaled])
        mean[scaled], std[scaled] = fitted.mean, fitted.std
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))


def recognized_remark(rows: Rows, choices: Sequence[Choice]) -> str:
    """What was recognized of the columns, for the user to correct."""
    found = [f"{rows.feature(i)} as {c.cls.name}" for i, c in enumerate(choices) if not c.declared]
    return f"recognized {', '.join(found)} ({rows.option}kinds says otherwise)" if found else ""


def bits_remark(rows: Rows) -> str:
    """The remark about columns of real data that hold only 0 and 1."""
    bits = [i for i in range(rows.values.shape[1]) if _only(_observed(rows, i), (0, 1), both=True)]
    if not bits:
        return ""
    example = f"such as {{{rows.columns[bits[0]]}: binary}}" if rows.columns else "a list of each one's, or auto"
    which = " and ".join(rows.feature(i) for i in bits[:3]) + (f" and {len(bits) - 3} more" if len(bits) > 3 else "")
    return (
        f"{which} hold{'s' if len(bits) == 1 else ''} only 0 and 1: a Gaussian density there grows without "
        f"end, and its nats mean nothing; declare it by {rows.option}kinds, {example}"
    )


def _declared(kind: str, option: str) -> Choice:
    match = WITH_SIZE.fullmatch(kind)
    cls = COLUMNS.find(match[1] if match else kind, setting=f"{option}kinds")
    if match and (not cls.takes_size or not int(match[2])):
        raise UserError(f"{option}kinds has {kind!r}; a category may have a size, as in category(5), and no other kind")
    return Choice(cls, int(match[2]) if match else None)


def _sized(choice: Choice, values: Array) -> Choice:
    """With the size that all rows show, so that no split of them has a category that another lacks."""
    if not choice.cls.takes_size or choice.size is not None or not len(values):
        return choice
    return replace(choice, size=int(values.max()) + 1)


def _by_index(rows: Rows, kinds: Kinds | None) -> dict[int, str]:
    """The declared kinds, by the column's number."""
    if kinds is None or isinstance(kinds, str):
        return {}
    size, option = rows.values.shape[1], rows.option
    if not isinstance(kinds, Mapping):
        if len(kinds) != size:
            raise UserError(
                f"{rows.source}: {option}kinds has {len(kinds)} kinds for {size} columns; give each its own"
            )
        return dict(enumerate(kinds))
    if rows.columns is None:
        raise UserError(
            f"{rows.source}: {option}kinds names columns, which have no names here; make it a list of the {size} kinds"
        )
    unknown = [name for name in kinds if name not in rows.columns]
    if unknown:
        raise UserError(
            f"{rows.source}: {option}kinds names {listed(unknown)}, which is no column; it has {listed(rows.columns)}"
        )
    return {rows.columns.index(name): kind for name, kind in kinds.items()}


def _recognized(rows: Rows, index: int) -> type[Column]:
    """0 and 1 are binary, text is a category, small whole numbers from 0 are counts, and all else is real."""
    values, labels = _observed(rows, index), _labels(rows, index)
    if labels is not None:
        _refuse_other_text(rows, index, labels)
        return CategoryColumn
    if _only(values, (0, 1)):
        return BinaryColumn
    whole = len(values) > 0 and bool(((values >= 0) & (values <= SMALL) & (values == np.floor(values))).all())
    return CountColumn if whole else RealColumn


def _refuse_other_text(rows: Rows, index: int, labels: Sequence[str]) -> None:
    """Raise UserError about text that is hardly the names of categories, where nobody said that it is."""
    what = f"{rows.source}: {rows.feature(index)} holds text, such as {labels[0]!r}"
    text = [label for label in labels if not is_number(label)]
    if len(text) < len(labels) and all(label.lower() in MISSING for label in text):
        raise UserError(
            f"{rows.source}: {rows.feature(index)} holds {text[0]!r} among numbers; leave the cell empty if it is "
            f"missing, or make the column a category by {rows.option}kinds"
        )
    if all(DECIMAL_COMMA.fullmatch(label) for label in labels):
        raise UserError(f"{what}, with decimal commas; write numbers with points (pandas.read_csv: decimal=',')")
    if len(labels) > max(FEW, len(rows.values) / 2):
        raise UserError(
            f"{what}, {len(labels)} different ones in {len(rows.values)} rows; leave it out of {rows.option}columns or "
            f"make it a category by {rows.option}kinds"
        )


def _fitted(train: Rows, index: int, choice: Choice) -> Column:
    labels, cls = _labels(train, index), choice.cls
    if labels is not None and not cls.takes_labels:
        raise UserError(
            f"{train.source}: {train.feature(index)} holds text, such as {labels[0]!r}; a {cls.name} column holds "
            f"numbers: correct it, or make it a category by {train.option}kinds"
        )
    if not len(_observed(train, index)):
        raise UserError(f"{train.source}: {train.feature(index)} is never observed in the training split; leave it out")
    refuse_in_column(train, index, cls.refused)
    return cls.fit(Known(_observed(train, index), labels, choice.size))


def _labels(rows: Rows, index: int) -> tuple[str, ...] | None:
    return None if rows.labels is None else rows.labels[index]


def _observed(rows: Rows, index: int) -> Array:
    values: Array = rows.values[:, index]
    return values if rows.observed is None else values[rows.observed[:, index]]


def _only(values: Array, numbers: tuple[int, int], *, both: bool = False) -> bool:
    """Whether values are only these two numbers, and `both` occur."""
    first, second = (values == number for number in numbers)
    return len(values) > 0 and bool((first | second).all()) and (not both or bool(first.any() and second.any()))
