"""Names of categories in rows, with the codes that a model's columns give them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import UserError
from ...files.cells import is_number
from ...files.labels import Labels
from ...files.reading import Array, listed
from ...files.rows import Rows
from ..columns import labels_of
from ..spec import ObservationSpec


def with_labels_of(rows: Rows, spec: ObservationSpec) -> Rows:
    """The same rows, names of categories having the codes that they have in the spec.

    Raises UserError about a name that the spec doesn't have, or names in a column of numbers.
    """
    known = tuple(labels_of(column) for column in spec.columns or ())
    own = rows.labels or (None,) * len(known)
    if own == known or len(own) != len(known):  # another size is refused as such
        return rows
    values = rows.values
    for index, (of_rows, of_spec) in enumerate(zip(own, known, strict=True)):
        if of_rows != of_spec:
            codes = _codes(rows, index, of_rows, of_spec)
            values = np.column_stack([values[:, :index], codes, values[:, index + 1 :]])
    return replace(rows, values=values, labels=known, spelled=None)


def _codes(rows: Rows, index: int, own: Labels | None, known: Labels | None) -> Array:
    """The codes of a column, [R], 0 where nothing is observed. Numbers are codes, unless they may be names."""
    values, column = rows.values[:, index], f"{rows.source}: {rows.feature(index)}"
    if known is None:
        text = next((name for name in own or () if not is_number(name)), own[0] if own else "")
        raise UserError(f"{column} holds text, such as {text!r}; in the training split it holds numbers")
    own = own if own is not None or rows.spelled is None else rows.spelled[index]
    if own is None:
        if rows.labels is not None and any(map(is_number, known)):
            raise UserError(f"{column} holds numbers; in the training split it is text, {listed(known)}: give it text")
        return values
    code = {name: number for number, name in enumerate(known)}
    codes = np.array([code.get(name, -1) for name in own], dtype=values.dtype)
    there = np.ones(len(values), dtype=bool) if rows.observed is None else rows.observed[:, index]
    found: Array = np.zeros(len(values), dtype=values.dtype)
    found[there] = codes[values[there].astype(np.int64)]
    if (found < 0).any():
        row = int(np.argmin(found))
        raise UserError(
            f"{rows.source}: {own[int(values[row])]!r} at {rows.place(row, index)}; the training split has the "
            f"categories {listed(known)}: correct it, or train with data that has it"
        )
    return found
