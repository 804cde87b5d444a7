"""Columns of text as codes: 0, 1, ... for the names in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .reading import Array

Labels = tuple[str, ...]
TRUTH = {"false": 0.0, "true": 1.0}
SPELLINGS: tuple[Labels, ...] = (("false", "true"), ("False", "True"), ("FALSE", "TRUE"))


class Encoded(NamedTuple):
    """A column of text as codes.

    codes: [R] in float64, NaN where a cell is missing; labels: what they stand for, None of true and false, which are 1
    and 0; spelled: how the column writes 0 and 1 then, `false` and `true` where in several ways.
    """

    codes: Array
    labels: Labels | None
    spelled: Labels | None = None


def encoded(cells: Sequence[str | None], names: Iterable[str] | None = None) -> Encoded:
    """Number text.

    Args:
        cells: [R], None where one is missing.
        names: What there may be, in their order; by default what there is, sorted.

    Returns:
        The codes and their names; of a column of `true` and `false`, 1 and 0 and no names.
    """
    there = {cell for cell in cells if cell is not None}
    if names is None and there and {name.lower() for name in there} <= set(TRUTH):
        truths = np.array([np.nan if cell is None else TRUTH[cell.lower()] for cell in cells])
        return Encoded(truths, None, next((pair for pair in SPELLINGS if there <= {*pair}), SPELLINGS[0]))
    labels = tuple(sorted(there) if names is None else names)
    code = {label: float(number) for number, label in enumerate(labels)}
    return Encoded(np.array([np.nan if cell is None else code[cell] for cell in cells]), labels)


def cells_of_arrow(column: Any) -> list[str | None]:
    """The cells [R] of an Arrow column as text, in which one that is repeated is one object."""
    if not str(column.type).startswith("dictionary"):
        column = column.cast("string").dictionary_encode()
    cells: list[str | None] = []
    for chunk in column.chunks:
        names = [None if name is None else str(name) for name in chunk.dictionary.to_pylist()]
        cells += [None if at is None else names[at] for at in chunk.indices.to_pylist()]
    return cells
