"""Read .csv tables: a header, and one row per step. Without a sequence column they are one sequence."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..settings import brief
from .cells import is_number, names_nothing
from .labels import Encoded, encoded
from .reading import Array, listed
from .rows import Layout, Rows, grouped
from .times import Times, in_order, parsed

CHUNK = 512  # csv rows held as text at a time; the garbage collector makes 65,536 take four times as long
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
SAVED_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # as pandas names columns that had no name
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
        if header[-1] == "" and len(header) > 1:
            raise UserError(
                f"{source}: the last column has no name, as where line 1 ends with a comma; name it, leave that comma "
                f"out, or set data.columns"
            )
        for name in filter(SAVED_INDEX.fullmatch, chosen):
            raise UserError(
                f"{source}: column {name!r} is an index, by its name; save without it (pandas: index=False) or "
                f"set data.columns"
            )
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


def rows_of_table(
    source: str,
    values: Array,
    columns: tuple[str, ...],
    *,
    layout: Layout,
    lines: NDArray[np.int64] | None = None,
    sequences: NDArray[np.int64] | None,
    names: Array,
    times: Times | None,
    text: Mapping[str, Encoded],
) -> Rows:
    """Make `Rows` of a table [R, D + U]; row r is in sequence names[sequences[r]], or all in one if that is None."""
    if len(values) == 0:
        raise UserError(f"{source}: has a header and no rows; save 1 step or more")
    x, u = values[:, : len(columns)], values[:, len(columns) :]
    at = np.arange(len(values))
    table = Rows(source, x, np.array([len(values)], dtype=np.int64), columns=columns, lines=lines, at=at)
    table = replace(table, times=None if times is None else times.given, order=layout.order)
    if layout.input_columns:
        table = replace(table, inputs=u, input_names=layout.input_columns)
    if sequences is not None:
        order = grouped(sequences)
        table = replace(table.reordered(np.arange(len(values))[order.index]), lengths=order.lengths)
        table = replace(table, names=names[order.names])
        times = None if times is None else replace(times, at=times.at[order.index])
    if text:
        table = replace(
            table,
            labels=tuple(text[name].labels if name in text else None for name in columns),
            spelled=tuple(text[name].spelled if name in text else None for name in columns),
        )
    return table if times is None else in_order(table, times, layout)


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
    text_cells: dict[str, list[str | None]] = {name: [] for name in _columns_of_text(file, layout, source)}
    with file.open(encoding="utf-8-sig", newline="") as text:
        records = _records(text, source)
        header = _header(records, source)
        columns = features(header, layout, source)
        body = _body(records, len(header), source)
        read = [name for name in (*columns, *layout.input_columns) if name not in text_cells]
        values, lines, sequences = [np.empty((0, len(read)))], [np.empty(0, dtype=np.int64)], []
        times: list[str] = []
        numbers: dict[str, int] = {}  # number of each sequence by name, in the order of their first rows
        while chunk := list(islice(body, CHUNK)):
            values.append(_values(chunk, read, header, source))
            for name, cells in text_cells.items():
                cells += [record[header.index(name)].strip() or None for _, record in chunk]
            lines.append(np.array([line for line, _ in chunk], dtype=np.int64))
            if layout.sequence is not None:
                names = _names(chunk, header.index(layout.sequence), layout.sequence, source)
                sequences.append(np.array([numbers.setdefault(n, len(numbers)) for n in names], dtype=np.int64))
            if layout.order is not None:
                times += [record[header.index(layout.order)] for _, record in chunk]
    at = np.concatenate(lines)
    codes = {name: encoded(cells) for name, cells in text_cells.items()}
    table = np.concatenate(values)
    if codes:
        by_name = dict(zip(read, table.T, strict=True)) | {name: column.codes for name, column in codes.items()}
        table = np.column_stack([by_name[name] for name in (*columns, *layout.input_columns)])
    return rows_of_table(
        source,
        table,
        columns,
        layout=layout,
        lines=at,
        sequences=np.concatenate(sequences) if sequences else None,
        names=np.array(list(numbers), dtype=object),
        times=None if layout.order is None else parsed(times, at.tolist(), column=layout.order, source=source),
        text=codes,
    )


def _columns_of_text(file: Path, layout: Layout, source: str) -> list[str]:
    """The features that hold text, where the layout lets them: those with a cell that is no number."""
    if not layout.text and not layout.labelled:
        return []
    with file.open(encoding="utf-8-sig", newline="") as text:
        records = _records(text, source)
        header = _header(records, source)
        found = set(layout.labelled)
        left = {name: header.index(name) for name in features(header, layout, source) if name not in found}
        for _, cells in _body(records, len(header), source) if layout.text else ():
            new = [name for name, at in left.items() if cells[at].strip() and not is_number(cells[at])]
            found |= {*new}
            left = {name: at for name, at in left.items() if name not in found}
    return [name for name in header if name in found]


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
            if reader.line_num == 1:
                _refuse_other_separators([_first_line(Path(text.name))], source)
            raise UserError(f"{source}: line {reader.line_num} is not CSV ({error}); check its quotes") from error
        yield reader.line_num, cells


def _first_line(file: Path) -> str:
    with file.open(encoding="utf-8-sig") as text:
        return text.readline()


def _first_line_not_in_utf8(file: Path) -> int:
    """Find the line, which the reader doesn't know: it decodes many lines at once."""
    with file.open("rb") as lines:
        return next(n for n, line in enumerate(lines, start=1) if line.decode(errors="ignore").encode() != line)


def _header(records: Iterator[Record], source: str) -> list[str]:
    _, cells = next(records, (0, []))
    header = [cell.strip() for cell in cells]
    if not header:
        raise UserError(f"{source}: is empty, or its first line is; that line must name the columns")
    if all(is_number(cell) for cell in header):
        raise UserError(f"{source}: line 1 holds numbers; it must name the columns, separated by commas")
    _refuse_other_separators(header, source)
    refuse_twins(header, source)
    return header


def _refuse_other_separators(header: Sequence[str], source: str) -> None:
    """Raise UserError where the only column's name holds what other programs separate columns by."""
    for sign, name in SEPARATORS.items():
        if len(header) == 1 and sign in header[0] and "," not in header[0]:
            raise UserError(
                f"{source}: line 1 is separated by {name}; separate cells by commas, with decimal points "
                f"(in pandas: pd.read_csv(file, sep={sign!r}, decimal=',').to_csv(new_file, index=False))"
            )


def refuse_twins(header: Sequence[str], source: str) -> None:
    """Raise UserError about two columns of one name."""
    twins = [name for name, count in Counter(header).items() if count > 1]
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
    places = {name: place for place, name in enumerate(header)}
    positions = [places[name] for name in columns]
    cells = [[record[i] for i in positions] for _, record in chunk]
    if not any("_" in ",".join(row) for row in cells):  # NumPy takes 1_5 for 15
        try:
            return np.array(cells, dtype=np.float64)
        except ValueError:  # an empty cell or text: check each cell
            pass
    filled = [[cell.strip() or "nan" for cell in row] for row in cells]
    for (line, _), row in zip(chunk, filled, strict=True):
        for name, cell in zip(columns, row, strict=True):
            if not is_number(cell):
                raise UserError(
                    f"{source}: line {line}, column {name!r} holds {brief(cell)}, not a number; leave the cell empty "
                    f"if it is missing, or the column out of data.columns and data.inputs (commas separate cells)"
                )
    return np.array(filled, dtype=np.float64)


def _names(chunk: Sequence[Record], position: int, column: str, source: str) -> list[str]:
    names = [record[position].strip() for _, record in chunk]
    for (line, _), name in zip(chunk, names, strict=True):
        if names_nothing(name):
            said = f"holds {name!r}" if name else "is empty"
            raise UserError(f"{source}: line {line}, column {column!r} {said}; every row must name its sequence")
    return names
