"""Columns of text as codes: 0, 1, ... for the names in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .reading import Array

Labels = tuple[str, ...]
TRUTH = {"false": 0.0, "true": 1.0}


def encoded(cells: Sequence[str | None], names: Iterable[str] | None = None) -> tuple[Array, Labels | None]:
    """Number text.

    Args:
        cells: [R], None where one is missing.
        names: What there may be, in their order; by default what there is, sorted.

    Returns:
        The codes [R] in float64, NaN where a cell is missing, and the names. Of a column of `true` and `false`, 1 and 0
        and no names.
    """
    there = {cell for cell in cells if cell is not None}
    if names is None and there and {name.lower() for name in there} <= set(TRUTH):
        return np.array([np.nan if cell is None else TRUTH[cell.lower()] for cell in cells]), None
    labels = tuple(sorted(there) if names is None else names)
    code = {label: float(number) for number, label in enumerate(labels)}
    return np.array([np.nan if cell is None else code[cell] for cell in cells]), labels


def cells_of_arrow(column: Any) -> list[str | None]:
    """The cells [R] of an Arrow column as text, in which one that is repeated is one object."""
    if not str(column.type).startswith("dictionary"):
        column = column.cast("string").dictionary_encode()
    cells: list[str | None] = []
    for chunk in column.chunks:
        names = [None if name is None else str(name) for name in chunk.dictionary.to_pylist()]
        cells += [None if at is None else names[at] for at in chunk.indices.to_pylist()]
    return cells
