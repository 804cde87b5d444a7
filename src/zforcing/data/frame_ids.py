"""Which sequence and group each row of a data frame is of, and when it was."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files.cells import names_nothing
from ..files.reading import Array
from ..files.rows import Rows
from ..files.times import Times
from .selection import as_labels

SOURCE = "from_frame"


def is_text(table: Any, name: str) -> bool:
    """Whether a column holds text, or categories that have names."""
    import narwhals as nw

    return table.schema[name] in (nw.String, nw.Categorical, nw.Enum)


def _absent(table: Any, name: str) -> NDArray[np.bool_]:
    """[R]: where an id or a time is null, NaN or text that says nothing."""
    column, kind = table[name], table.schema[name]
    absent: NDArray[np.bool_] = column.is_null().to_numpy().astype(bool)
    if kind.is_float():
        absent = absent | column.fill_null(0).is_nan().to_numpy().astype(bool)  # polars tells NaN from null
    if is_text(table, name):
        absent = absent | np.array([cell is not None and names_nothing(str(cell)) for cell in column.to_list()])
    return absent


def _refuse_absent(table: Any, name: str, what: str) -> None:
    absent = _absent(table, name)
    if absent.any():
        where = f"row {int(np.argmax(absent))} (counted from 0)"
        more = f" and in {int(absent.sum()) - 1} more" if absent.sum() > 1 else ""
        raise UserError(
            f"{SOURCE}: column {name!r} is missing in {where}{more}; every row must {what}: leave such rows out, or "
            f"fill them"
        )


def _refuse_unhashable(table: Any, name: str, what: str) -> None:
    """Raise UserError about a column of lists, say, which can't be told apart by."""
    import narwhals as nw

    kind = table.schema[name]
    if kind.is_nested() or (
        kind == nw.Object and not all(isinstance(cell, Hashable) for cell in table[name].to_list())
    ):
        raise UserError(f"{SOURCE}: column {name!r} holds {kind}; {what} by numbers or text")


def ids_of(table: Any, keys: Sequence[str]) -> tuple[NDArray[np.int64], Array]:
    """Of each row [R], the number of its sequence; and what each number is called."""
    if len(table) == 0:
        raise UserError(f"{SOURCE}: the frame has no rows; it needs 1 step or more")
    if not keys:
        return np.zeros(len(table), dtype=np.int64), np.empty(0)
    for name in keys:
        _refuse_absent(table, name, "name its sequence")
        _refuse_unhashable(table, name, "name sequences")
    columns = [table[name].to_list() for name in keys]
    labels = columns[0] if len(keys) == 1 else list(zip(*columns, strict=True))
    numbers: dict[Any, int] = {}
    ids = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    return ids, as_labels(list(numbers))


def groups_of_rows(table: Any, group: str) -> Array:
    """The group of each row [R]. Raises UserError where one has none."""
    _refuse_absent(table, group, "have a group")
    _refuse_unhashable(table, group, "name groups")
    return as_labels(table[group].to_list())


def one_each(labels: Array, rows: Rows, group: str) -> Array:
    """The group of each sequence [N], from that of each row [R]."""
    starts = np.cumsum(rows.lengths) - rows.lengths
    own = np.repeat(labels[starts], rows.lengths)
    for index, (start, length) in enumerate(zip(starts.tolist(), rows.lengths.tolist(), strict=True)):
        other = [x for x in labels[start : start + length] if x != own[start]]
        if other:
            raise UserError(
                f"{SOURCE}: {rows.sequence(index)} has rows of {group} {own[start]!r} and {other[0]!r}; a sequence is "
                f"in one group"
            )
    own_group: Array = labels[starts]
    return own_group


def _as_wide(numbers: Array, order: str) -> Array:
    """[R] integers or floats of 64 bits, whose differences don't overflow. Raises UserError for infinite ones."""
    wide: Array = numbers if numbers.dtype.kind == "u" else numbers.astype(f"{numbers.dtype.kind}8")
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise UserError(
            f"{SOURCE}: column {order!r} is {numbers[row]} in row {row} (counted from 0); no time is infinite"
        )
    return wide


def times_of(table: Any, order: str) -> Times:
    """When each row was. Raises UserError about a row without a time, or a column that holds none."""
    import narwhals as nw

    _refuse_absent(table, order, "have its place in time")
    kind, column = table.schema[order], table[order]
    if kind.is_numeric():
        numbers: Array = column.to_numpy()
        return Times(_as_wide(numbers, order), "", numbers)
    if not kind.is_temporal() or kind == nw.Time:
        raise UserError(
            f"{SOURCE}: order {order!r} holds {kind}; it must hold numbers, dates or times (pandas.to_datetime, "
            f"polars' str.to_datetime)"
        )
    zoned = getattr(kind, "time_zone", None) is not None
    in_utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else column
    at: Array = in_utc.to_numpy()
    resolution = np.datetime_data(at.dtype)[0]
    fine = resolution if resolution in ("ns", "us", "ms") else "us"
    unit = f"{'timedelta' if at.dtype.kind == 'm' else 'datetime'}64[{fine}]"
    return Times(at.astype(unit).astype(np.int64), unit, as_labels(column.to_list()) if zoned else at)
