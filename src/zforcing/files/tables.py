"""Read .csv and .parquet tables: a header, and one row per step. Without a sequence column they are one sequence."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Array, listed, readable
from .rows import Layout, Rows, grouped
from .times import Times, in_order, of_arrow, parsed

CHUNK = 512  # csv rows held as text at a time; the garbage collector makes 65,536 take four times as long
Record = tuple[int, list[str]]  # the number of its last line in the file, from 1, and its cells


def features(header: Sequence[str], layout: Layout, source: str) -> tuple[str, ...]:
    """Choose the columns that are features. Raises UserError for a setting that names a column that doesn't exist."""
    named = {
        "sequence": [layout.sequence],
        "columns": layout.columns or (),
        "inputs": layout.input_columns,
        "order": [layout.order],
    }
    for setting, names in named.items():
        for name in names:
            if name is not None and name not in header:
                raise UserError(f"{source}: has no column {name!r}, it has {listed(header)}; set data.{setting}")
    if layout.columns is not None:
        chosen = layout.columns
        if {layout.sequence, layout.order} & set(chosen) or len(set(chosen)) < len(chosen):
            other = "not data.sequence" if layout.order is None else "neither data.sequence nor data.order"
            raise UserError(f"data.columns is {listed(chosen)}: name each feature once, and {other}")
    else:
        others = (layout.sequence, layout.order, *layout.input_columns)
        chosen = tuple(name for name in header if name not in others)
        if {"", "__index_level_0__"} & set(chosen):  # a pandas index, which isn't a feature
            raise UserError(f"{source}: has a column without a name, an index?; save without it or set data.columns")
    _check_input_columns(chosen, layout)
    if not chosen:
        raise UserError(f"{source}: no column is left for features, it has {listed(header)}; set data.columns")
    return chosen


def _check_input_columns(chosen: Sequence[str], layout: Layout) -> None:
    """Raise UserError about an input that is named twice, or is something else too."""
    inputs = layout.input_columns
    taken = (*chosen, layout.sequence, layout.order)
    twice = [name for name in inputs if inputs.count(name) > 1 or name in taken]
    if twice:
        raise UserError(
            f"data.inputs has {twice[0]!r}; name each input once, and neither data.sequence nor one of data.columns"
        )


def _rows(
    source: str,
    values: Array,
    columns: tuple[str, ...],
    *,
    layout: Layout,
    lines: NDArray[np.int64] | None = None,
    sequences: NDArray[np.int64] | None,
    names: Array,
    times: Times | None,
) -> Rows:
    """Make `Rows` of a table [R, D + U]; row r is in sequence names[sequences[r]], or all in one if that is None."""
    if len(values) == 0:
        raise UserError(f"{source}: has a header and no rows; save 1 step or more")
    x, u = values[:, : len(columns)], values[:, len(columns) :]
    table = Rows(source, x, np.array([len(values)], dtype=np.int64), columns=columns, lines=lines)
    if layout.input_columns:
        table = replace(table, inputs=u, input_names=layout.input_columns)
    if sequences is not None:
        order = grouped(sequences)
        table = replace(table.reordered(np.arange(len(values))[order.index]), lengths=order.lengths)
        table = replace(table, names=names[order.names])
        times = None if times is None else replace(times, at=times.at[order.index])
    return table if times is None else in_order(table, times, layout)


# ---- csv


def csv_columns(file: Path, source: str) -> list[str]:
    """Read the names of all columns from the header."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        return _header(_records(text, source), source)


def csv_features(file: Path, layout: Layout, source: str) -> tuple[str, ...]:
    """Read the names of the features from the header."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        return features(_header(_records(text, source), source), layout, source)


def read_csv(file: Path, layout: Layout, source: str) -> Rows:
    """Read the sequences of a CSV file (commas, UTF-8); empty cells become NaN. See `read` in sequences.py."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        records = _records(text, source)
        header = _header(records, source)
        columns = features(header, layout, source)
        body = _body(records, len(header), source)
        read = (*columns, *layout.input_columns)
        values, lines, sequences = [np.empty((0, len(read)))], [np.empty(0, dtype=np.int64)], []
        times: list[str] = []
        numbers: dict[str, int] = {}  # number of each sequence by name, in the order of their first rows
        while chunk := list(islice(body, CHUNK)):
            values.append(_values(chunk, read, header, source))
            lines.append(np.array([line for line, _ in chunk], dtype=np.int64))
            if layout.sequence is not None:
                names = _names(chunk, header.index(layout.sequence), layout.sequence, source)
                sequences.append(np.array([numbers.setdefault(n, len(numbers)) for n in names], dtype=np.int64))
            if layout.order is not None:
                times += [record[header.index(layout.order)] for _, record in chunk]
    at = np.concatenate(lines)
    return _rows(
        source,
        np.concatenate(values),
        columns,
        layout=layout,
        lines=at,
        sequences=np.concatenate(sequences) if sequences else None,
        names=np.array(list(numbers), dtype=object),
        times=None if layout.order is None else parsed(times, at.tolist(), column=layout.order, source=source),
    )


def _records(text: TextIO, source: str) -> Iterator[Record]:
    reader = csv.reader(text, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            line = _first_line_not_in_utf8(Path(text.name))
            raise UserError(f"{source}: line {line} is not UTF-8; save the file as UTF-8") from error
        except csv.Error as error:
            raise UserError(f"{source}: line {reader.line_num} is not CSV ({error}); check its quotes") from error
        yield reader.line_num, cells


def _first_line_not_in_utf8(file: Path) -> int:
    """Find the line, which the reader doesn't know: it decodes many lines at once."""
    with file.open("rb") as lines:
        return next(n for n, line in enumerate(lines, start=1) if line.decode(errors="ignore").encode() != line)


def _header(records: Iterator[Record], source: str) -> list[str]:
    _, cells = next(records, (0, []))
    header = [cell.strip() for cell in cells]
    if not header:
        raise UserError(f"{source}: is empty, or its first line is; that line must name the columns")
    if all(_is_number(cell) for cell in header):
        raise UserError(f"{source}: line 1 holds numbers; it must name the columns, separated by commas")
    _refuse_twins(header, source)
    return header


def _refuse_twins(header: Sequence[str], source: str) -> None:
    twins = [name for name in header if header.count(name) > 1]
    if twins:
        raise UserError(f"{source}: two columns are called {twins[0]!r}; give each its own name")


def _body(records: Iterator[Record], cells_per_line: int, source: str) -> Iterator[Record]:
    """Yield the rows. Blank lines are allowed at the end; elsewhere one may be a missing value, and is an error."""
    blank: int | None = None
    for line, cells in records:
        if not cells:
            blank = blank or line
            continue
        if blank is not None:
            raise UserError(f"{source}: line {blank} is blank; delete it, or write its cells ({cells_per_line})")
        if len(cells) != cells_per_line:
            raise UserError(
                f"{source}: line {line} has {len(cells)} cells, the header {cells_per_line}; write one per column"
            )
        yield line, cells


def _values(chunk: Sequence[Record], columns: Sequence[str], header: Sequence[str], source: str) -> Array:
    """Parse cells to [R, D] float64, NaN where a cell is empty."""
    positions = [header.index(name) for name in columns]
    cells = [[record[i] for i in positions] for _, record in chunk]
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:  # an empty cell or text: check each cell
        filled = [[cell.strip() or "nan" for cell in row] for row in cells]
    for (line, _), row in zip(chunk, filled, strict=True):
        for name, cell in zip(columns, row, strict=True):
            if not _is_number(cell):
                raise UserError(
                    f"{source}: line {line}, column {name!r} holds {cell!r}, not a number; leave the cell empty if "
                    f"it is missing, or the column out of data.columns and data.inputs (cells are separated by commas)"
                )
    return np.array(filled, dtype=np.float64)


def _names(chunk: Sequence[Record], position: int, column: str, source: str) -> list[str]:
    names = [record[position].strip() for _, record in chunk]
    if "" in names:
        line, _ = chunk[names.index("")]
        raise UserError(f"{source}: line {line}, column {column!r} is empty; every row must name its sequence")
    return names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# ---- parquet


def parquet_columns(file: Path, source: str) -> list[str]:
    """Read the names of all columns from the header."""
    with _open_parquet(file, source) as parquet:
        names: list[str] = parquet.schema_arrow.names
        return names


def parquet_features(file: Path, layout: Layout, source: str) -> tuple[str, ...]:
    """Read the names of the features from the header."""
    with _open_parquet(file, source) as parquet:
        return features(parquet.schema_arrow.names, layout, source)


def read_parquet(file: Path, layout: Layout, source: str) -> Rows:
    """Read the sequences of a Parquet file; nulls become NaN. See `read` in sequences.py."""
    with _open_parquet(file, source) as parquet:
        header = parquet.schema_arrow.names
        _refuse_twins(header, source)
        columns = features(header, layout, source)
        with readable(source):
            read = (*columns, *layout.input_columns)
            table = parquet.read(columns=[*read, *filter(None, [layout.sequence, layout.order])])
    values = np.column_stack([_numbers(table[name], name, source) for name in read])
    sequences, names = None, np.empty(0)
    if layout.sequence is not None:
        sequences, names = _encoded(table[layout.sequence], layout.sequence, source)
    times = None if layout.order is None else of_arrow(table[layout.order], layout.order, source)
    return _rows(source, values, columns, layout=layout, sequences=sequences, names=names, times=times)


def _open_parquet(file: Path, source: str) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f"{source}: reading Parquet needs pyarrow; pip install zforcing[parquet]") from error
    with readable(source):
        return ParquetFile(file)


def _numbers(column: Any, name: str, source: str) -> Array:
    """A column [R] as numbers: float32 unchanged, all others as float64."""
    kind = str(column.type)
    if not kind.startswith(("bool", "int", "uint", "halffloat", "float", "double", "decimal")):
        raise UserError(
            f"{source}: column {name!r} holds {kind}, not numbers; leave it out of data.columns and data.inputs"
        )
    # Integers have no NaN for nulls.
    numbers: Array = (column if kind == "float" else column.cast("float64", safe=False)).to_numpy()
    return numbers


def _encoded(column: Any, name: str, source: str) -> tuple[NDArray[np.int64], Array]:
    """Encode names [R] as numbers [R], with the name of each number."""
    if column.null_count:
        raise UserError(f"{source}: column {name!r} has {column.null_count} nulls; every row must name its sequence")
    if column.type.num_fields:
        raise UserError(f"{source}: column {name!r} holds {column.type}; name sequences by numbers or strings")
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy(zero_copy_only=False)
