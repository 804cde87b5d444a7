"""The user's own sequences in tables: a row is a step, a column a feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import UserError
from ...files.reading import listed
from ...files.rows import Layout, Rows
from ...files.sequences import ARRAYS, TABLES, feature_names, read
from ...observations import TableFormat
from .dataset import FileDataModule


@dataclass(frozen=True)
class Table(FileDataModule):
    """Sequences in a .csv or .parquet file. Rows of one name are one sequence, in the file's order; without a column of
    names the file is one sequence.
    """

    name: ClassVar[str] = "table"

    sequence: str | None = None
    """column with the name of each row's sequence (its rows may stand anywhere)"""

    columns: list[str] | None = None
    """columns of the features; without it, all but data.sequence, data.inputs and data.order"""

    inputs: list[str] | None = None
    """columns of known inputs, such as control signals or the calendar, which models read and nobody scores"""

    order: str | None = None
    """column of the time of each row, by which those of a sequence are sorted: numbers, or moments like 2024-03-01
    12:30; without it they keep the file's order"""

    gaps: Literal["keep", "split", "fill"] = "keep"
    """with data.order: what becomes of an interval of more than data.max_gap median ones: keep it, split the sequence
    there, or fill it with missing steps"""

    max_gap: float = Layout.max_gap
    """in median intervals"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gaps != "keep" and self.order is None:
            raise UserError(f"data.gaps {self.gaps} needs the time of each row; name its column in data.order")
        if not self.max_gap > 1:
            raise UserError(f"data.max_gap is {self.max_gap}; it must be more than 1 median interval")

    @property
    def format(self) -> TableFormat:
        timing: dict[str, Any] = {"order": self.order, "gaps": self.gaps, "max_gap": self.max_gap}
        return TableFormat(None, self.sequence, **timing)

    @property
    def may_miss(self) -> bool:
        return super().may_miss or self.gaps == "fill"

    def read_file(self, path: str, *, setting: str, labelled: tuple[str, ...] = ()) -> Rows:
        if Path(path).suffix.lower() in ARRAYS:
            raise UserError(
                f"{setting} {path}: holds arrays; set --data.name arrays, or take recipe arrays-zforcing-aux or "
                f"arrays-rnn"
            )
        rows = read(path, replace(self._layout, labelled=labelled), setting=setting, suffixes=TABLES)
        if rows.columns is not None and path != self.path and self.columns is None:
            self._check_names(rows.columns, rows.source)
        return rows

    @property
    def _layout(self) -> Layout:
        columns = None if self.columns is None else tuple(self.columns)
        timing: dict[str, Any] = {"order": self.order, "gaps": self.gaps, "max_gap": self.max_gap}
        text, inputs = self._declared.row_kind == "mixed", tuple(self.inputs or ())
        return Layout(sequence=self.sequence, columns=columns, input_columns=inputs, text=text, **timing)

    def _check_names(self, names: tuple[str, ...], source: str) -> None:
        """The same columns in another order would pass for the same features."""
        trained_on = feature_names(self.path, self._layout, setting="data.path")
        if names != trained_on:
            raise UserError(
                f"{source}: its features are {listed(names)}, those of data.path {listed(trained_on)}; name those to "
                f"use in data.columns"
            )
