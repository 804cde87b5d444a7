"""Data frames of pandas, polars and pyarrow as rows of sequences, through narwhals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files.intervals import Timeline, fill, report, split_at
from ..files.labels import Encoded, encoded
from ..files.reading import Array, listed
from ..files.rows import Gaps, Rows, grouped
from ..files.tables import SAVED_INDEX
from ..settings import must_be, must_fit
from .frame_ids import SOURCE, groups_of_rows, ids_of, is_text, one_each, times_of

TRUTHS = ("False", "True")
INDEX_NAMES = re.compile(r"index|level_\d+|rownames")  # as pandas and R call one, or a user something else


@dataclass(frozen=True, eq=False)
class FrameRows:
    """The rows of a frame, the group of each sequence [N], and what a reader should know."""

    rows: Rows
    groups: NDArray[Any] | None
    remark: str


def read_frame(
    frame: Any,
    *,
    keys: Sequence[str],
    order: str | None,
    columns: Sequence[str] | None,
    inputs: Sequence[str] | None,
    group: str | None,
    gaps: Gaps,
    max_gap: float,
    text: bool = False,
) -> FrameRows:
    """See `Sequences.from_frame`; keys: the columns of `by`."""
    _check_options(order, group, gaps, max_gap)
    columns, known = _names(columns, "columns"), _names(inputs, "inputs") or []
    table, index_remark = _native(frame, [*keys, order, group])
    _check_header(table.columns, keys=keys, order=order, columns=columns, inputs=known, group=group)
    ids, names = ids_of(table, keys)  # before the features: an id that is missing is the graver mistake
    times = None if order is None else times_of(table, order)
    chosen, dropped = _features(table, {*keys, order, group, *known}, columns, text=text)
    _refuse_text(table, known, "name others in inputs")
    values, read_as = _values(table, chosen)
    labels = None if group is None else groups_of_rows(table, group)
    arranged = grouped(ids)
    rank = np.repeat(np.arange(len(arranged.lengths)), arranged.lengths)
    index = np.arange(len(ids))[arranged.index]
    if times is not None:
        index = index[np.lexsort((times.at[index], rank))]
    rows = Rows(
        SOURCE,
        values[index],
        arranged.lengths,
        names=None if not keys else names[arranged.names],
        columns=tuple(chosen),
        option="",
        inputs=np.column_stack([_numbers(table, name) for name in known])[index] if known else None,
        input_names=tuple(known) or None,
        labels=tuple(column.labels for column in read_as),
        spelled=tuple(column.spelled for column in read_as),
        times=None if times is None else times.given[index],
        order=order,
    )
    groups = rows.names if labels is None else one_each(labels[index], rows, str(group))
    remarks = [index_remark, dropped]
    if times is not None:
        timeline = Timeline(times.at[index], times.unit, str(order), max_gap)
        remarks.append(report(rows, timeline))
        if gaps == "split":
            rows, groups = split_at(rows, timeline, groups)
        if gaps == "fill":
            rows = fill(rows, timeline)
    return FrameRows(rows, groups, "; ".join(part for part in remarks if part))


def _check_options(order: str | None, group: str | None, gaps: Gaps, max_gap: float) -> None:
    for option, name in (("order", order), ("group", group)):
        if name is not None:
            must_be(name, str, option, "the name of a column")
    if gaps not in get_args(Gaps):
        raise UserError(f"gaps is {gaps!r}; it must be {' or '.join(get_args(Gaps))}")
    if gaps != "keep" and order is None:
        raise UserError(f"gaps is {gaps!r}, which needs the time of each row; name its column in order")
    must_fit(max_gap, float, "max_gap")
    if not max_gap > 1:
        raise UserError(f"max_gap is {max_gap}; it must be more than 1 median interval")


# ---- the frame and its columns


def keys_of(by: str | Sequence[str] | None) -> list[str]:
    """The columns that name each row's sequence."""
    if isinstance(by, str):
        return [by]
    must_be([] if by is None else by, Iterable, "by", "the name of a column, or a list of them")
    keys = [] if by is None else list(by)
    for name in keys:
        must_be(name, str, "a column of by", "the name of a column")
    return keys


def _names(columns: Sequence[str] | None, option: str) -> list[str] | None:
    """Also of a pandas Index."""
    if isinstance(columns, str):
        raise UserError(f"{option} is {columns!r}; it must be a list: [{columns!r}]")
    must_be([] if columns is None else columns, Iterable, option, "a list of the columns' names")
    return None if columns is None else list(columns)


def _native(frame: Any, needed: Sequence[str | None]) -> tuple[Any, str]:
    """The frame for narwhals, and a remark about an index of pandas that isn't read."""
    import narwhals as nw

    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise UserError(
            f"{SOURCE}: a {type(frame).__name__} is not a data frame of pandas, polars or pyarrow (collect a lazy one)"
            f"; Sequences reads arrays and lists"
        ) from error
    except nw.exceptions.DuplicateError as error:
        header = getattr(frame, "column_names", frame.columns)  # pyarrow's columns are the columns themselves
        twice = [name for name, count in Counter(header).items() if count > 1]
        raise UserError(
            f"{SOURCE}: there are several columns {twice[0]!r}; give each its own name, or leave them out: "
            "frame.loc[:, ~frame.columns.duplicated()]"
        ) from error
    if not table.implementation.is_pandas_like():
        return table, ""
    wanted = [level for level, name in enumerate(frame.index.names) if name in {*needed} - {*table.columns, None}]
    if wanted:
        return _native(frame.reset_index(level=wanted), needed)
    names = [str(name) for name in frame.index.names if name is not None]
    if not names and frame.index.dtype.kind in "iu":
        return table, ""  # row numbers
    what = f"index ({listed(names)})" if names else "index"
    return table, f"pandas' {what} is not a feature and isn't read (frame.reset_index() makes columns of it)"


def _check_header(
    header: Sequence[Any],
    *,
    keys: Sequence[str],
    order: str | None,
    columns: list[str] | None,
    inputs: list[str],
    group: str | None,
) -> None:
    odd = [name for name in header if not isinstance(name, str)]
    if odd:
        raise UserError(f"{SOURCE}: a column is called {odd[0]!r}; names must be text: frame.columns = [...]")
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise UserError(
            f"{SOURCE}: the only column is called {header[0]!r}, so its file separates cells by semicolons or tabs; "
            f"read it with sep=';' (and decimal=',' if it writes 1,5 for one and a half)"
        )
    named = {"by": keys, "order": [order], "columns": columns or (), "inputs": inputs, "group": [group]}
    for option, names in named.items():
        for name in names:
            if name is not None and name not in header:
                raise UserError(
                    f"{SOURCE}: there is no column {name!r} for {option}; there are {listed(header)} (of pandas' index "
                    f"frame.reset_index() makes columns)"
                )
    twice = [name for name in columns or () if (columns or []).count(name) > 1 or name in (*keys, order)]
    if twice:
        raise UserError(f"columns has {twice[0]!r}; name each feature once, and neither by nor order")
    taken = [name for name in inputs if inputs.count(name) > 1 or name in (*keys, order, *(columns or ()))]
    if taken:
        raise UserError(f"inputs has {taken[0]!r}; name each input once, and neither by, order nor one of columns")


def _features(
    table: Any, others: set[str | None], columns: Sequence[str] | None, *, text: bool
) -> tuple[list[str], str]:
    """The columns that are features, and a remark on those that were left out. text: whether they may hold some."""
    candidates = [name for name in table.columns if name not in others]
    dropped = [] if columns is not None else [name for name in candidates if _numbers_the_rows(table, name)]
    chosen = [name for name in (candidates if columns is None else columns) if name not in dropped]
    numbers = [name for name in chosen if not (text and is_text(table, name))]
    _refuse_text(table, numbers, "name the features in columns, read text as categories (kinds='auto')")
    named = " and ".join(f"column {name!r}" for name in dropped)
    if not chosen:
        why = f"{named} only numbers the rows" if dropped else f"there are {listed(table.columns)}"
        raise UserError(f"{SOURCE}: no column is left for features: {why}; name the features in columns")
    if not dropped:
        return chosen, ""
    return chosen, f"left out: {named}, which only numbers the rows (if it is a feature, name it in columns)"


def _refuse_text(table: Any, names: Sequence[str], remedy: str) -> None:
    """Raise UserError about columns that hold no numbers."""
    text = [name for name in names if not (table.schema[name].is_numeric() or table.schema[name] == _boolean())]
    if text:
        raise UserError(f"{SOURCE}: {_without_numbers(table, text, remedy)}")


def _values(table: Any, names: Sequence[str]) -> tuple[Array, list[Encoded]]:
    """The features [R, D], and each one alone, with the names that its codes stand for."""
    columns = [_column(table, name) for name in names]
    return np.column_stack([column.codes for column in columns]), columns


def _column(table: Any, name: str) -> Encoded:
    """A feature as numbers; true and false are spelled as pandas and polars write them."""
    if is_text(table, name):
        return _codes(table, name)
    return Encoded(_numbers(table, name), None, TRUTHS if table.schema[name] == _boolean() else None)


def _codes(table: Any, name: str) -> Encoded:
    """Text as codes: in the order of pandas' categories and of an enumeration, also of those that don't occur."""
    import narwhals as nw

    column, kind = table[name], table.schema[name]
    known = None
    if kind == nw.Categorical and table.implementation.is_pandas_like():
        known = map(str, column.to_native().cat.categories)
    if isinstance(kind, nw.Enum):
        known = map(str, kind.categories)
    null = column.is_null().to_list()
    return encoded([None if gone else str(cell) for cell, gone in zip(column.to_list(), null, strict=True)], known)


def _boolean() -> Any:
    import narwhals as nw

    return nw.Boolean


def _numbers_the_rows(table: Any, name: str) -> bool:
    """Whether a column is a saved index: called as pandas calls one without a name; called as one may be, and counting
    up by 1; or 0, 1, 2, ... or 1, 2, 3, ... down the frame.
    """
    if SAVED_INDEX.fullmatch(name):
        return True
    called, kind = INDEX_NAMES.fullmatch(name) is not None, table.schema[name]
    if not (kind.is_numeric() if called else kind.is_integer() and len(table) >= 3):
        return called
    if table[name].is_null().any():
        return False
    x = table[name].to_numpy().astype(np.float64)
    counts = x[0] == np.floor(x[0]) and (np.diff(x) == 1).all()
    return bool(counts and (called or x[0] in (0, 1)))


def _without_numbers(table: Any, text: Sequence[str], remedy: str) -> str:
    comma = [name for name in text if _decimal_comma(table, name)]
    if comma:
        return (
            f"column {comma[0]!r} holds text with decimal commas, such as {_first(table, comma[0])!r}; read the file "
            f"with decimal=','"
        )
    kinds = ", ".join(f"{name!r} ({table.schema[name]})" for name in text)
    return (
        f"no numbers in {kinds}; {remedy}, make numbers of them (pandas.to_numeric, polars' cast), "
        f"or category codes (0, 1, 2, ...: pandas.factorize, polars' to_physical)"
    )


def _first(table: Any, name: str) -> Any:
    filled = table[name].drop_nulls()
    return filled.to_list()[0] if len(filled) else None


def _decimal_comma(table: Any, name: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+,\d+\s*", str(_first(table, name))))


def _numbers(table: Any, name: str) -> Array:
    """[R]: bools, integers without nulls and floats as they are; else float64, NaN for null."""
    import narwhals as nw

    column, kind = table[name], table.schema[name]
    null = column.is_null().to_numpy().astype(bool)
    if null.any() or kind == nw.Decimal:
        values: Array = column.fill_null(False if kind == nw.Boolean else 0).cast(nw.Float64).to_numpy().copy()
        values[null] = np.nan
        return values
    plain: Array = column.to_numpy()
    return plain.astype(bool) if kind == nw.Boolean else plain
