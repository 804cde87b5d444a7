"""Rows of a file as sequences that a model reads: what is missing, what the numbers may be, how they are scaled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.reading import Array
from ...files.rows import Rows
from ..example import Example
from ..spec import ObservationSpec
from .base import Described

LARGEST = np.float64(np.finfo(np.float32).max)  # a numpy scalar: float16 data is compared as float64


def _refuse(rows: Rows, wrong: NDArray[np.bool_], fix: str) -> None:
    """Raise about the first number where `wrong` [R, D] is True."""
    if wrong.any():
        row, feature = divmod(int(np.argmax(wrong)), wrong.shape[1])
        raise UserError(f"{rows.source}: {rows.values[row, feature]} at {rows.place(row, feature)}; {fix}")


def with_gaps(rows: Rows, *, allowed: bool) -> Rows:
    """The same rows with `observed` complete and 0 where nothing is observed."""
    values, observed = rows.values, rows.observed
    if values.dtype.kind == "f":
        _refuse(rows, np.abs(values) > LARGEST, f"numbers must be finite, and at most {LARGEST:.1e} in size")
        nan = np.isnan(values)
        if not allowed:
            _refuse(
                rows,
                nan if observed is None else nan & observed,
                "if it is missing, data.missing allow accepts it, or in an .npz a bool array named by data.observed",
            )
        if nan.any():
            observed = ~nan if observed is None else observed & ~nan
    if observed is None:
        return rows
    return replace(rows, values=np.where(observed, values, np.zeros((), values.dtype)), observed=observed)


def check_kind(rows: Rows, kind: str) -> None:
    """Binary data is 0 or 1; categories are one whole number per step, from 0."""
    values = rows.values
    if kind == "binary":
        _refuse(rows, (values != 0) & (values != 1), "binary data is 0 or 1: mend the data or data.kind")
    if kind == "categorical":
        if values.shape[1] != 1:
            raise UserError(
                f"{rows.source}: has {values.shape[1]} numbers per step; data.kind categorical needs one: an array "
                f"[N, T], flat rows [R], or a single one of data.columns"
            )
        wrong = (values < 0) | (values != np.floor(values))
        _refuse(rows, wrong, "a category is a whole number from 0: mend the data or data.kind")


def check_values(rows: Rows, spec: ObservationSpec) -> None:
    """A file must have as many features as the model was trained on, and no other categories."""
    if spec.kind == "categorical":
        _refuse(
            rows,
            rows.values >= spec.size,
            f"categories are 0..{spec.size - 1}, as in the training split or by data.categories; to have more, train "
            f"with data.categories {int(rows.values.max()) + 1}",
        )
    elif rows.values.shape[1] != spec.size:
        raise UserError(
            f"{rows.source}: has {rows.values.shape[1]} features, the training split {spec.size}; give it the same"
        )


def as_read(rows: Rows, description: Described) -> list[Example]:
    """As a model reads them."""
    spec, scaling = description.spec, description.normalization
    if spec.kind == "categorical":
        x = rows.values[:, 0].astype(np.int64)  # [R]
        observed = None if rows.observed is None else rows.observed[:, 0]
    else:
        x = (rows.values if scaling is None else scaling.apply(rows.values)).astype(np.float32)  # [R, D]
        observed = rows.observed
        if observed is not None:
            x[~observed] = 0  # where the scaling moved it
    return _examples(x, observed, rows.lengths)


def _examples(x: Array, observed: Array | None, lengths: NDArray[np.int64]) -> list[Example]:
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    return [
        Example(x[start:end], None if observed is None else observed[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
