"""Numbers in columns: a row is a step, a column a feature, and everything is in the units of the user's file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.archives import open_npz
from ...files.pictures import MOST_SEQUENCES, write_line_grid
from ...files.reading import Array, listed
from ...files.refill import Fillings, can_refill, refill
from ...files.rows import Gaps, Layout
from ...files.sequences import ARRAYS, TABLES, column_names, find, read
from ..columns import labels_of
from ..example import Example
from ..spec import ObservationSpec
from .base import Contents, Described, Format
from .drawn import Drawn, Written
from .labels import with_labels_of
from .rows import OF_TRAINED, as_read, check_inputs, check_kind, check_values, refuse, with_gaps

SEQUENCE = "sequence"  # the column that names a row's sequence, where the data had none
MOST_CELLS = 5_000_000  # of a .csv: more take minutes, and the .npz has them


@dataclass(frozen=True)
class TableFormat(Format):
    """An observation is a row of numbers, or one category.

    names:                    the features' columns, in the model's order; None where the data didn't name them
    sequence:                 the column (of an .npz the array) that names each row's sequence; None: there was none
    keys:                     the columns that named it together, where they were several: no table is read by them
    array, lengths, observed: an .npz file's arrays: see `zforcing.data.Arrays`
    inputs:                   its array of known inputs; None: `inputs`, where the model reads some
    input_names:              the known inputs' columns, in the model's order; None where the data didn't name them
    order, gaps, max_gap:     a table's column of times, by which rows are sorted, and what becomes of long intervals
    """

    name = "table"
    endings = ("csv", "png")
    hub_task = "time-series-forecasting"
    reads = (*TABLES, *ARRAYS)

    names: tuple[str, ...] | None = None
    sequence: str | None = None
    array: str = Layout.array
    lengths: str = Layout.lengths
    observed: str = Layout.observed
    inputs: str | None = None
    input_names: tuple[str, ...] | None = None
    order: str | None = None
    gaps: Gaps = "keep"
    max_gap: float = Layout.max_gap
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = [self.array, self.lengths, self.observed, *(self.names or ()), *(self.input_names or ())]
        texts += filter(None, [self.sequence, self.inputs, self.order, *self.keys])
        if self.gaps not in get_args(Gaps) or not isinstance(self.max_gap, int | float):
            raise UserError(f"data.format.gaps is {self.gaps!r} and max_gap {self.max_gap!r}; it holds no such gaps")
        if not all(isinstance(text, str) for text in texts):
            raise UserError("data.format holds a name that is not text")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TableFormat:
        """The inverse of `to_json`."""
        columns = {key: values.get(key) for key in ("names", "input_names")}
        names = {key: None if given is None else tuple(given) for key, given in columns.items()}
        return cls(**values | names | {"keys": tuple(values.get("keys", ()))})

    def problems(self, spec: ObservationSpec) -> list[str]:
        """A name for each feature, and for each input."""
        features = 1 if spec.kind == "categorical" else spec.size
        return [
            f"data.format.{field} has {len(names)} names for {size} {what}; it must have one for each"
            for field, names, size, what in (
                ("names", self.names, features, "features"),
                ("input_names", self.input_names, spec.inputs, "inputs"),
            )
            if names is not None and len(names) != size
        ]

    def read(self, path: str, description: Described) -> list[Example]:
        """See `contents`."""
        return self.contents(path, description).examples

    def contents(self, path: str, description: Described) -> Contents:
        """All sequences of an .npz, .npy, .csv or .parquet file: of a table the columns that the model was trained on,
        by name, wherever they stand.
        """
        spec = description.spec
        rows = read(path, self._layout(path, spec), setting="file")
        known = with_labels_of(with_gaps(rows, allowed=spec.missing, fix=OF_TRAINED), spec)
        if known.observed is not None and not spec.missing:
            refuse(rows, ~known.observed, OF_TRAINED)
        check_kind(known, spec.kind)
        check_values(known, spec)
        if rows.lengths.min() < 1 + spec.unscored_steps:
            raise UserError(
                f"{rows.source}: {rows.sequence(int(np.argmin(rows.lengths)))} has 1 step; the model conditions on a "
                "sequence's first one, and needs 2 or more"
            )
        names = None if rows.names is None else rows.names.tolist()
        return Contents(as_read(known, description), names, rows.times_of(rows.steps))

    def read_inputs(self, path: str, description: Described) -> tuple[list[Array], list[Any] | None]:
        """See `Format.read_inputs`: the inputs' columns of a table, or an array of an .npz, or an .npy."""
        rows = read(path, self._layout_of_inputs(path, description.spec), setting="--inputs")
        if rows.values.shape[1] != description.spec.inputs:
            raise UserError(
                f"{rows.source}: has {rows.values.shape[1]} inputs; the model reads {description.spec.inputs}"
            )
        check_inputs(replace(rows, inputs=rows.values, input_names=rows.columns))
        each = np.split(rows.values, np.cumsum(rows.lengths)[:-1])
        return each, None if rows.names is None else rows.names.tolist()

    def _layout_of_inputs(self, path: str, spec: ObservationSpec) -> Layout:
        """The layout of a file as if its inputs were observations."""
        file = find(path, "--inputs")
        if file.suffix.lower() == ".npy":
            return Layout()
        if file.suffix.lower() == ".npz":
            with open_npz(file, f"--inputs {path}") as archive:
                return Layout(self._array_of_inputs, sequence=self.sequence if self.sequence in archive.files else None)
        source = f"--inputs {path}"
        there, inputs = column_names(file, source), self._input_columns(source, spec)
        lacking = [name for name in inputs if name not in there]
        if lacking:
            raise UserError(f"{source}: has no column {listed(lacking)}, which the model reads; it has {listed(there)}")
        naming = next((name for name in (self.sequence, SEQUENCE) if name in there and name not in inputs), None)
        return Layout(sequence=naming, columns=inputs, order=self.order if self.order in there else None)

    def column(self, path: str, name: str, description: Described) -> Array:
        """See `Format.column`; of a .csv or .parquet file."""
        file = find(path, "file")
        if file.suffix.lower() in ARRAYS:
            return super().column(path, name, description)
        there = column_names(file, f"file {path}")
        if name not in there:
            raise UserError(f"file {path}: has no column {name!r}; it has {listed(there)}")
        layout = replace(
            self._layout(path, description.spec), columns=(name,), input_columns=(), text=True, labelled=()
        )
        return read(path, layout, setting="file").truths()

    def refill(
        self, path: str, out: Path, filled: Sequence[Array], drawn: Sequence[Array], description: Described
    ) -> bool:
        """See `Format.refill`: cells of a table, of which other columns stay too, or numbers of an array."""
        file, spec = find(path, "file"), description.spec
        if not can_refill(file, out):
            return False
        layout = self._layout(path, spec)
        rows = read(path, layout, setting="file")
        assert rows.at is not None, "files of tables and arrays have rows"
        size = rows.values.shape[1]
        row, feature = np.nonzero(np.concatenate(drawn) & (rows.at >= 0)[:, None])
        values = np.concatenate([x.reshape(-1, size) for x in filled])[row, feature]
        columns = rows.columns or ("",) * size
        spelled = [
            None if name in layout.labelled else pair
            for name, pair in zip(columns, rows.spelled or (None,) * size, strict=True)
        ]
        cells: list[Callable[[Any], str]] = [str if spec.kind == "real" else _whole] * size
        cells = cells if spec.columns is None else [column.cell for column in spec.columns]
        texts = [_spelled(cells[d](value), spelled[d]) for d, value in zip(feature, values, strict=True)]
        of_text = [name in layout.labelled or pair is not None for name, pair in zip(columns, spelled, strict=True)]
        refill(file, out, Fillings(rows.at[row], feature, columns, values, texts, of_text), layout)
        return True

    def _layout(self, path: str, spec: ObservationSpec) -> Layout:
        """The layout of a file."""
        file = find(path, "file")
        if file.suffix.lower() == ".npy":
            return Layout()
        if file.suffix.lower() == ".npz":
            naming = self._naming_array(file, f"file {path}")
            inputs = self._array_of_inputs if spec.inputs else None
            return Layout(self.array, self.lengths, self.observed, naming, inputs=inputs)
        return self._layout_of_table(f"file {path}", column_names(file, f"file {path}"), spec)

    def _layout_of_table(self, source: str, there: Sequence[str], spec: ObservationSpec) -> Layout:
        """The columns that the model reads, of those that are there."""
        inputs = self._input_columns(source, spec)
        lacking = [name for name in (*(self.names or ()), *inputs) if name not in there]
        if lacking:
            raise UserError(f"{source}: has no column {listed(lacking)}, which the model reads; it has {listed(there)}")
        if self.sequence is not None and self.sequence not in there:
            raise UserError(
                f"{source}: has no column {self.sequence!r}, which names the sequence of each row; it has "
                f"{listed(there)}"
            )
        if self.order is not None and self.order not in there:
            raise UserError(f"{source}: has no column {self.order!r}, the time of each row; it has {listed(there)}")
        naming = self.sequence or (SEQUENCE if SEQUENCE in there and SEQUENCE not in (self.names or ()) else None)
        if naming is None and self.keys:
            raise UserError(
                f"{source}: columns {listed(self.keys)} named the sequence of each row of the training data together; "
                f"join them into one column {SEQUENCE!r}"
            )
        timing: dict[str, Any] = {"order": self.order, "gaps": self.gaps, "max_gap": self.max_gap}
        texts: dict[str, Any] = {"text": spec.kind == "mixed", "labelled": self.labelled(spec)}
        return Layout(sequence=naming, columns=self.names, input_columns=inputs, **texts, **timing)

    def labelled(self, spec: ObservationSpec) -> tuple[str, ...]:
        """The columns whose cells are names of categories."""
        columns = zip(self.names or (), spec.columns or (), strict=False)
        return tuple(name for name, column in columns if labels_of(column))

    def _input_columns(self, source: str, spec: ObservationSpec) -> tuple[str, ...]:
        """A table's columns of known inputs. Raises UserError where they aren't known by their names."""
        if spec.inputs and self.input_names is None:
            raise UserError(
                f"{source}: the model reads {spec.inputs} inputs, which had no names in its training data, so that no "
                f"columns are known to hold them; give it an .npz with an array {self._array_of_inputs!r}"
            )
        return self.input_names or ()

    @property
    def _array_of_inputs(self) -> str:
        """The .npz file's array of known inputs."""
        return self.inputs or "inputs"

    def _naming_array(self, file: Path, source: str) -> str | None:
        """The array that names the sequence of each row; none where x [N, T, D] says it, as in samples."""
        if self.sequence is None:
            return None
        with open_npz(file, source) as archive:
            names = archive.files
            if self.sequence not in names and self.array in names and archive[self.array].ndim == 3:
                return None
        return self.sequence

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """STEM.csv: the sequences one after the other, each after its prefix; an empty cell is missing. STEM.png: the
        first columns of the first sequences, over the steps.
        """
        tables = list(self._tables(drawn, description))
        cells, features = sum(table.size for table in tables), tables[0].shape[1]
        names = self.names or (("x",) if features == 1 else tuple(f"x{i}" for i in range(features)))
        given = [0] * len(tables) if drawn.prefixes is None else [len(prefix) for prefix in drawn.prefixes]
        lines = [_with_nan(table) for table in tables[:MOST_SEQUENCES]]
        write_line_grid(Path(f"{path}.png"), lines, names, given=given)
        if cells > MOST_CELLS:
            return Written((f"{path}.png",), lacking=f"no .csv was written of {cells} numbers; the .npz has them")
        naming = self.sequence or (SEQUENCE if SEQUENCE not in names else f"{SEQUENCE}_number")
        with Path(f"{path}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([naming, *names])
            texts = self._texts(features, description)
            for number, table in enumerate(tables):
                writer.writerows([number, *map(_cell, row, texts)] for row in table)
        return Written((f"{path}.csv", f"{path}.png"))

    def _texts(self, features: int, description: Described) -> list[Callable[[Any], str]]:
        """How each feature's numbers are written."""
        columns = description.spec.columns
        return [str] * features if columns is None else [column.cell for column in columns]

    def _tables(self, drawn: Drawn, description: Described) -> Iterator[Array]:
        """Each sequence [T, D] in the user's units, NaN, or -1 of categories, where something is missing."""
        for i, x in enumerate(drawn.each):
            parts = [self.to_units(x, description)]
            if drawn.start is not None:
                parts.insert(0, self.to_units(drawn.start[i : i + 1], description))
            elif drawn.before is not None:
                parts.insert(0, self._with_gaps(drawn.before[i], description))
            yield np.concatenate([part.reshape(len(part), -1) for part in parts])

    def _with_gaps(self, example: Example, description: Described) -> Array:
        raw, observed = self.to_units(example.x, description), example.observed
        if observed is None:
            return raw
        mark = -1 if raw.dtype.kind == "i" else np.nan
        gaps: NDArray[Any] = np.where(observed, raw, mark)
        return gaps


def _whole(number: float) -> str:
    return str(int(number))


def _spelled(cell: str, truths: Sequence[str] | None) -> str:
    """A cell, 0 and 1 as a column of true and false writes them."""
    return cell if truths is None else {"0": truths[0], "1": truths[1]}.get(cell, cell)


def _with_nan(table: Array) -> Array:
    """-1, which stands for a missing category, as NaN."""
    gaps: Array = np.where(table < 0, np.nan, table) if table.dtype.kind == "i" else table
    return gaps


def _cell(number: np.generic, text: Callable[[Any], str]) -> str:
    """As short as it is read back the same; nothing for what is missing."""
    missing = number == -1 if number.dtype.kind == "i" else number != number  # NaN
    return "" if missing else text(number)
