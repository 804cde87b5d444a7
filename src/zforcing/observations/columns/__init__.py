"""The kinds of column that mixed observations have, by the name that `kinds` and saved files use."""

from __future__ import annotations

from typing import Any

from ...errors import UserError
from ...registry import Family
from .base import Column, DensitySettings, Known, Refusal, labels_of
from .binary import BinaryColumn
from .category import CategoryColumn
from .count import CountColumn
from .positive import PositiveColumn
from .read import Reading, neighbours
from .real import RealColumn

COLUMNS: Family[Column] = Family(
    "column", Column, classes=(RealColumn, PositiveColumn, CountColumn, BinaryColumn, CategoryColumn)
)


def columns_from_json(values: Any) -> tuple[Column, ...]:
    """The inverse of `Column.to_json` for each. Raises KeyError, TypeError or UserError for what no columns are."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, dict) for value in values):
        raise UserError(f"data.spec.columns is {values!r}; it must be a list of columns with their names")
    found = []
    for value in values:
        cls = COLUMNS.find(value["name"], setting="data.spec.columns")
        found.append(cls.from_json({key: v for key, v in value.items() if key != "name"}))
    return tuple(found)


__all__ = [
    "COLUMNS",
    "BinaryColumn",
    "CategoryColumn",
    "Column",
    "CountColumn",
    "DensitySettings",
    "Known",
    "PositiveColumn",
    "Reading",
    "RealColumn",
    "Refusal",
    "columns_from_json",
    "labels_of",
    "neighbours",
]
