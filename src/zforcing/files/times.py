"""The time of each row of a table, and its rows in order of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..errors import SHOWN, UserError
from ..settings import brief
from .intervals import Timeline, fill, report, split_at
from .labels import cells_of_arrow
from .reading import Array, readable
from .rows import Layout, Rows

FINER = re.compile(r"[.,]\d{6}(\d{1,3})(\d*)")  # the digits behind those of microseconds
IN_NANOSECONDS = np.array(["1678-01-01", "2262-01-01"], dtype="datetime64[us]")  # what 64 bits hold of them
LONGEST = 500  # characters of a number


@dataclass(frozen=True, eq=False)
class Times:
    """at: [R], numbers; unit: what they count as NumPy calls it (datetime64[ns]), nothing where they are plain ones;
    given: [R], as the user gave them.
    """

    at: Array
    unit: str
    given: Array


def in_order(rows: Rows, times: Times, layout: Layout) -> Rows:
    """The rows of each sequence sorted by time, and what `layout.gaps` makes of long intervals.

    Args:
        rows: a table's, in the file's order.
        times: of these rows.
        layout: the column's name, and what a gap is.

    Returns:
        The rows; the remark says how many gaps there were.
    """
    assert layout.order is not None, "rows without a time have no order"
    rank = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
    index = np.lexsort((times.at, rank))
    ordered = rows.reordered(index)
    timeline = Timeline(times.at[index], times.unit, layout.order, layout.max_gap)
    remark = report(ordered, timeline)
    if layout.gaps == "split":
        ordered, _ = split_at(ordered, timeline, None)
    if layout.gaps == "fill":
        ordered = fill(ordered, timeline)
    return replace(ordered, remark=f"{remark}{_what_became(layout.gaps)}" if remark else "")


def _what_became(gaps: str) -> str:
    return {"split": "; sequences are split there", "fill": "; they are filled with missing steps"}.get(gaps, "")


def parsed(cells: Sequence[str], lines: Sequence[int] | None, *, column: str, source: str) -> Times:
    """Times as a CSV file has them: numbers, or moments in ISO 8601 (2024-03-01 12:30; UTC where no zone is given).

    Raises UserError about a cell that is neither, by its line, or its row where the file has no lines.
    """

    def where(row: int) -> str:
        place = f"row {row} (counted from 0)" if lines is None else f"line {lines[row]}"
        return f"{source}: {place}, column {column!r}"

    numbers = _numbers(cells)
    if numbers is not None:
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            raise UserError(f"{where(bad[0])} is {cells[bad[0]].strip()[:SHOWN]}; every row needs a finite time")
        return Times(numbers, "", numbers)
    moments = np.array([_moment(cell, row, where) for row, cell in enumerate(cells)], dtype="datetime64[us]")
    text = np.array([cell.strip() for cell in cells])
    nanoseconds = np.array([_nanoseconds(cell, row, where) for row, cell in enumerate(cells)], dtype=np.int64)
    if not nanoseconds.any():
        return Times(moments.astype(np.int64), "datetime64[us]", text)
    far = (moments < IN_NANOSECONDS[0]) | (moments > IN_NANOSECONDS[1])
    if far.any():
        row = int(np.argmax(far))
        raise UserError(f"{where(row)} is {text[row]}; with nanoseconds, times are in the years 1678 to 2261")
    return Times(moments.astype(np.int64) * 1000 + nanoseconds, "datetime64[ns]", text)


def _numbers(cells: Sequence[str]) -> Array | None:
    """Integers of 64 bits where they are, for no float holds every nanosecond; else floats; None for other text."""
    if any(len(cell) > LONGEST or "_" in cell for cell in cells):  # NumPy would make all as long, and of 1_5 15
        return None
    text = np.array(cells, dtype=str)
    for kind in (np.int64, np.float64):
        try:
            return text.astype(kind)
        except (ValueError, OverflowError):
            continue
    return None


def _moment(cell: str, row: int, where: Callable[[int], str]) -> datetime:
    """A moment, cut to microseconds."""
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise UserError(
            f"{where(row)} holds {brief(cell.strip())}; every row needs a time: a number, or a moment like "
            f"2024-03-01 or 2024-03-01T12:30:05"
        ) from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _nanoseconds(cell: str, row: int, where: Callable[[int], str]) -> int:
    """What a moment has beyond its microseconds."""
    finer = FINER.search(cell)
    if finer is None:
        return 0
    if finer[2].strip("0"):
        raise UserError(f"{where(row)} holds {brief(cell.strip())}; times are read to the nanosecond: give numbers")
    return int(finer[1].ljust(3, "0"))


def of_arrow(column: Any, name: str, source: str) -> Times:
    """Times of a Parquet column: numbers, dates, timestamps (UTC where they have a zone) or text as in a CSV file."""
    if column.null_count:
        raise UserError(f"{source}: column {name!r} has {column.null_count} nulls; every row must have its time")
    kind = str(column.type)
    if kind.startswith(("string", "large_string", "dictionary<values=string")):
        return parsed([str(cell) for cell in cells_of_arrow(column)], None, column=name, source=source)
    values: Array = column.to_numpy()
    if values.dtype.kind in "iuf" and (values.dtype.kind != "f" or np.isfinite(values).all()):
        return Times(values.astype(f"{values.dtype.kind}8"), "", values)
    if values.dtype.kind not in "mM":
        raise UserError(f"{source}: column {name!r} holds {kind}; times are finite numbers, dates or timestamps")
    resolution = np.datetime_data(values.dtype)[0]
    fine = resolution if resolution in ("ns", "us", "ms") else "us"
    unit = f"{'timedelta' if values.dtype.kind == 'm' else 'datetime'}64[{fine}]"
    given = values
    if getattr(column.type, "tz", None) is not None:
        with readable(source):  # Python has no moment before the year 1 or behind 9999
            given = np.array(column.to_pylist(), dtype=object)
    return Times(values.astype(unit).astype(np.int64), unit, given)
