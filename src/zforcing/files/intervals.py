"""The time between the steps of a sequence: gaps reported, cut at, or filled with missing steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Array
from .rows import Rows
from .time_text import text_of_times

MOST_FILLED = 20  # steps on the grid for each that is there, at most


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times of rows [R], sorted within each sequence.

    at:      numbers, or integers that count what `unit` says: datetime64[ns], timedelta64[us] and the like
    column:  what the times are called
    max_gap: an interval of more than so many median ones is a gap
    """

    at: Array
    unit: str
    column: str
    max_gap: float

    def duration(self, interval: float) -> str:
        """An interval for a message."""
        if not self.unit:
            return f"{interval:g}"
        seconds = interval / {"ns": 1e9, "us": 1e6, "ms": 1e3}[self.unit[-3:-1]]
        for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if seconds >= size:
                return f"{seconds / size:g} {name}"
        return f"{seconds:g} s"

    def moment(self, row: int) -> str:
        """A time for a message."""
        if not self.unit.startswith("datetime64"):
            return self.duration(self.at[row])
        return re.sub(r"\.0+$", "", str(self.at[row].astype(self.unit))).replace("T", " ")


def _intervals(rows: Rows, times: Timeline) -> NDArray[np.float64]:
    """[R]: the time since the step before, NaN for the first of each sequence. Two of one time are refused."""
    since: NDArray[np.float64] = np.diff(times.at, prepend=times.at[:1]).astype(np.float64)
    since[np.cumsum(rows.lengths) - rows.lengths] = np.nan
    twice = since == 0
    if twice.any():
        row = int(np.argmax(twice))
        sequence = int(np.searchsorted(np.cumsum(rows.lengths), row, side="right"))
        raise UserError(
            f"{rows.source}: {rows.sequence(sequence)} has two rows at {times.column} {times.moment(row)} "
            f"(repeated times in all: {int(twice.sum())}); leave one of them, or name the column that tells them apart "
            f"in {'data.sequence' if rows.option else 'by'}"
        )
    return since


def _gaps(since: NDArray[np.float64], max_gap: float) -> tuple[float, NDArray[np.bool_]]:
    """The median interval, and which steps [R] come after a gap."""
    known = since[~np.isnan(since)]
    if not len(known):
        return np.nan, np.zeros(len(since), dtype=bool)
    median = float(np.median(known))
    return median, since > max_gap * median


def report(rows: Rows, times: Timeline) -> str:
    """For a remark: how many steps come after a gap, and the longest; empty without."""
    since = _intervals(rows, times)
    median, gap = _gaps(since, times.max_gap)
    if not gap.any():
        return ""
    row = int(np.nanargmax(since))
    sequence = int(np.searchsorted(np.cumsum(rows.lengths), row, side="right"))
    return (
        f"{int(gap.sum())} of {int((~np.isnan(since)).sum())} steps come more than {times.max_gap:g} median intervals "
        f"({times.duration(median)}) after the one before; the longest, {times.duration(float(since[row]))}, before "
        f"{times.column} {times.moment(row)} of {rows.sequence(sequence)}"
    )


def split_at(rows: Rows, times: Timeline, groups: NDArray[Any] | None) -> tuple[Rows, NDArray[Any]]:
    """A sequence of its own after each gap; the parts of one sequence keep its name, and are one group."""
    _, gap = _gaps(_intervals(rows, times), times.max_gap)
    begins = gap.copy()
    begins[np.cumsum(rows.lengths) - rows.lengths] = True
    starts = np.flatnonzero(begins)
    origin = np.searchsorted(np.cumsum(rows.lengths), starts, side="right")
    names = None if rows.names is None else rows.names[origin]
    parts = replace(rows, lengths=np.diff(starts, append=len(rows.values)), names=names)
    return parts, origin if groups is None else groups[origin]


def fill(rows: Rows, times: Timeline) -> Rows:
    """Missing steps (NaN) where time has gaps, so that steps are one median interval apart.

    Raises UserError where two steps would be at one place of the grid, the grid would be far longer than the data, or
    the steps that it adds would need inputs.
    """
    since = _intervals(rows, times)
    median, _ = _gaps(since, times.max_gap)
    jump = np.where(np.isnan(since), 1, np.rint(since / median))  # a float: no integer holds every gap
    if (jump < 1).any():
        row = int(np.argmax(jump < 1))
        raise UserError(
            f"{rows.source}: gaps 'fill' needs regular steps, but {times.column} {times.moment(row)} comes "
            f"{times.duration(float(since[row]))} after the one before, where the median is {times.duration(median)}; "
            f"resample the data, or use {_splitting(rows)}"
        )
    total = float(jump.sum())
    if total > MOST_FILLED * len(jump):
        raise UserError(
            f"{rows.source}: gaps 'fill' would make {total:.12g} steps of {len(jump)}; use {_splitting(rows)}, or "
            f"leave out what is far away"
        )
    if rows.inputs is not None and total > len(jump):
        raise UserError(
            f"{rows.source}: gaps 'fill' adds {int(total) - len(jump)} steps, whose inputs nobody knows; give the "
            f"data these rows with their inputs (and empty features), or use {_splitting(rows)}"
        )
    place = np.cumsum(jump.astype(np.int64)) - 1  # [R], of each row among the filled ones
    values = np.full((int(total), rows.values.shape[1]), np.nan)
    values[place] = rows.values
    known = np.zeros(values.shape, dtype=bool)
    known[place] = True if rows.observed is None else rows.observed
    at = np.full(len(values), -1)
    at[place] = -1 if rows.at is None else rows.at
    last = place[np.cumsum(rows.lengths) - 1]
    next_row = np.searchsorted(place, np.arange(len(values)))  # the first at or behind each filled step
    return replace(
        rows,
        values=values,
        observed=known,
        lengths=np.diff(last, prepend=-1),
        lines=None if rows.lines is None else rows.lines[next_row],
        inputs=None if rows.inputs is None else rows.inputs[next_row],
        times=None if rows.times is None else _times_on_grid(rows.times, times, place),
        at=None if rows.at is None else at,
    )


def _times_on_grid(given: Array, times: Timeline, place: NDArray[np.int64]) -> Array:
    """The times [R] in their places, and between them those of the filled steps; where they are text, in UTC."""
    if given.dtype.kind == "O":  # in UTC: differences of Python's moments in one zone know nothing of its summer time
        in_utc = _spread(np.array([moment.astimezone(UTC) for moment in given], dtype=object), place)
        return np.array([moment.astimezone(given[0].tzinfo) for moment in in_utc], dtype=object)
    if given.dtype.kind != "U":
        return _spread(given, place)
    text = text_of_times(_spread(times.at.astype(times.unit), place))
    for step, cell in zip(place.tolist(), given.tolist(), strict=True):
        text[step] = cell
    return np.array(text)


def _spread(values: Array, place: NDArray[np.int64]) -> Array:
    """Values [R] in their places, and between them what goes evenly from one to the next; whole, but for floats."""
    wide = values.astype(np.int64) if values.dtype.kind in "iu" else values
    step = np.arange(place[-1] + 1)
    before = np.searchsorted(place, step, side="right") - 1
    after = np.minimum(before + 1, len(place) - 1)
    interval, parts = wide[after] - wide[before], np.maximum(place[after] - place[before], 1)
    each = interval / parts if values.dtype.kind == "f" else interval // parts
    spread: Array = (wide[before] + each * (step - place[before])).astype(values.dtype)
    return spread


def _splitting(rows: Rows) -> str:
    """What to set, on the command line or as an argument."""
    return "data.gaps split" if rows.option else "gaps='split'"
