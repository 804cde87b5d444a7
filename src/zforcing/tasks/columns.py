"""Results with a row for each step of each sequence, as columns: for data frames, .csv and .npz files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from ..files.rows import TimeColumn
from ..files.time_text import text_of_times
from ..files.writing import file_to_write, whole_file


def ids_of_rows(ids: Sequence[Any], lengths: Sequence[int]) -> Array:
    """The id of each row's sequence, [R]; ids of several types, or of several parts, as text."""
    alike = np.asarray(ids) if len({type(i) for i in ids}) == 1 else np.array([str(i) for i in ids])
    return np.repeat(alike if alike.ndim == 1 else np.array([str(i) for i in ids]), lengths)


def by_step(
    ids: Sequence[Any], steps: Sequence[Array], own: dict[str, Array], *, times: TimeColumn | None
) -> dict[str, Array]:
    """The columns of a table of steps: sequence (its id), step, the time where there is one, and the table's own.

    The time's column is called as in the data, or order_NAME where the table has another one of that name; of its own
    columns, `step` and `sequence` are called data_step and data_sequence.

    Args:
        ids: [N] of the sequences.
        steps: for each sequence, which of its steps the rows are of.
        own: a value for each row.
        times: of all steps of the sequences.
    """
    rows = {"sequence": ids_of_rows(ids, list(map(len, steps))), "step": np.concatenate(steps)}
    named = {_apart(name, rows, own): column for name, column in own.items()}
    if times is not None:
        name = f"order_{times.name}" if times.name in rows | named else times.name
        rows[name] = _in_a_row([values[at] for values, at in zip(times.values, steps, strict=True)])
    return rows | named


def _apart(name: str, rows: Mapping[str, Array], own: Mapping[str, Array]) -> str:
    """A name that no other column of the table has."""
    apart = name
    while apart in rows or (apart != name and apart in own):
        apart = f"data_{apart}"
    return apart


def _in_a_row(parts: Sequence[Array]) -> Array:
    """Parts of one kind, or of numbers; others as text."""
    kinds = {part.dtype.kind for part in parts}
    return np.concatenate(parts if len(kinds) == 1 or kinds <= {*"iuf"} else [as_text(part) for part in parts])


def as_text(column: Array) -> Array:
    """Each value as text."""
    return np.array(text_of_times(column) if column.dtype.kind in "mM" else list(map(str, column.tolist())), dtype=str)


def to_frame(columns: Mapping[str, Array]) -> Any:
    """A pandas data frame. Raises UserError where pandas isn't installed."""
    try:
        import pandas as pd
    except ImportError:
        raise UserError("to_frame needs pandas: pip install pandas, or use columns()") from None
    return pd.DataFrame(columns)


def table_file(path: str | Path, what: str, *others: str) -> Path:
    """The path of a .csv or .npz file to write. Raises UserError for another suffix, and as `file_to_write`.

    Args:
        path: as the user gave it.
        what: is written.
        others: suffixes that it may have too.
    """
    file = file_to_write(path)
    if file.suffix.lower() not in (".csv", ".npz", *others):
        raise UserError(f"{path}: its suffix is {file.suffix!r}; {what} are written to .csv or .npz")
    return file


def check_lengths(columns: Mapping[str, Array]) -> None:
    """Raise UserError about columns of several lengths."""
    lengths = {name: len(column) for name, column in columns.items()}
    rows = next(iter(lengths.values()))
    for name in lengths:
        if lengths[name] != rows:
            raise UserError(f"column {name} has {lengths[name]} values for the table's {rows} rows; give one for each")


def write_csv(file: Path, columns: Mapping[str, Array]) -> None:
    """A header, and a row for each step; an empty cell is NaN. Raises UserError about columns of several lengths."""
    check_lengths(columns)
    with whole_file(file) as part, part.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*map(_cells, columns.values()), strict=True))


def write_npz(file: Path, arrays: Mapping[str, Array]) -> None:
    """Arrays by name; what only a pickle could hold, such as moments with a zone, as text."""
    plain = {name: as_text(array) if array.dtype.hasobject else array for name, array in arrays.items()}
    with whole_file(file) as part, ZipFile(part, "w", ZIP_DEFLATED) as archive:  # savez has names of its own: file
        for name, array in plain.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as opened:
                np.lib.format.write_array(opened, np.asanyarray(array), allow_pickle=False)


def _cells(column: Array) -> Iterator[Any]:
    """As short as they are read back the same; nothing for NaN."""
    if column.dtype.kind in "mM":
        return iter(text_of_times(column))
    if column.dtype == np.float32:  # a float of Python's would gain digits
        return ("" if value != value else str(value) for value in column)
    return ("" if value != value else value for value in column.tolist())
