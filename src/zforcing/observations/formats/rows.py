"""Rows of numbers as sequences that a model reads: what is missing, what the numbers may be, how they are scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.reading import Array
from ...files.rows import Rows
from ..columns import Refusal
from ..example import Example
from ..normalization import Normalization
from ..spec import ObservationSpec
from .base import Described

SMALL = "all numbers there are so small that float32 holds 0: multiply them, or normalize"
LARGEST = np.float64(np.finfo(np.float32).max)  # a numpy scalar: float16 data is compared as float64


def refuse(rows: Rows, wrong: NDArray[np.bool_], fix: str) -> None:
    """Raise about the first number where `wrong` [R, D] is True."""
    if wrong.any():
        row, feature = divmod(int(np.argmax(wrong)), wrong.shape[1])
        raise UserError(f"{rows.source}: {rows.values[row, feature]} at {rows.place(row, feature)}; {fix}")


def refuse_large(rows: Rows) -> None:
    """Raise about an infinite number, or one that no float32 holds."""
    if rows.values.dtype.kind == "f":
        fix = f"numbers must be finite, and at most {LARGEST:.1e} in size"
        refuse(rows, np.abs(rows.values) > LARGEST, fix)


def mark_gaps(rows: Rows) -> Rows:
    """The same rows, NaN being missing, with `observed` complete (None without gaps) and 0 where nothing is."""
    values, observed = rows.values, rows.observed
    nan = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if nan.any():
        observed = ~nan if observed is None else observed & ~nan
    if observed is None:
        return rows
    return replace(rows, values=np.where(observed, values, np.zeros((), values.dtype)), observed=observed)


OF_TRAINING = "if it is missing, data.missing allow accepts it, or in an .npz a bool array named by data.observed"
OF_TRAINED = (
    "if it is missing: the model was trained on data without gaps, so fill it first (zforcing impute), or train with "
    "data.missing allow"
)


def with_gaps(rows: Rows, *, allowed: bool, fix: str = OF_TRAINING) -> Rows:
    """`mark_gaps`, after a look at the numbers. Raises UserError about one that is infinite, or where gaps aren't
    `allowed`, about a NaN that isn't known to be missing; fix: what to do about that.
    """
    marked = mark_gaps(rows)
    refuse_large(marked)
    check_inputs(rows)
    if not allowed and rows.values.dtype.kind == "f":
        nan = np.isnan(rows.values)
        refuse(
            rows,
            nan if rows.observed is None else nan & rows.observed,
            fix,
        )
    return marked


def check_inputs(rows: Rows) -> None:
    """Raise about an input that is infinite, too large for a float32, or missing: inputs are known."""
    inputs = rows.of_inputs
    if inputs is None:
        return
    refuse_large(inputs)
    if inputs.values.dtype.kind == "f":
        fix = "inputs are known at every step: fill it, or leave the input or the steps out"
        refuse(inputs, np.isnan(inputs.values), fix)


def check_kind(rows: Rows, kind: str) -> None:
    """Binary data is 0 or 1; categories are one whole number per step, from 0."""
    values, option = rows.values, rows.option
    if kind == "binary":
        refuse(rows, (values != 0) & (values != 1), f"binary data is 0 or 1: correct the data or {option}kind")
    if kind == "categorical":
        if values.shape[1] != 1:
            raise UserError(
                f"{rows.source}: has {values.shape[1]} numbers per step; {option}kind categorical needs one: an array "
                f"[N, T], flat rows [R], or a single one of {option}columns"
            )
        wrong = (values < 0) | (values != np.floor(values))
        refuse(rows, wrong, f"a category is a whole number from 0: correct the data or {option}kind")


def check_values(rows: Rows, spec: ObservationSpec) -> None:
    """Rows must have as many features and inputs as the model was trained on, and no other categories."""
    size = 0 if rows.inputs is None else rows.inputs.shape[1]
    if size != spec.inputs:
        raise UserError(f"{rows.source}: has {size} inputs, the training split {spec.inputs}; give it the same")
    if spec.kind == "categorical":
        refuse(
            rows,
            rows.values >= spec.size,
            f"categories are 0..{spec.size - 1}, as in the training split or by {rows.option}categories; to have more, "
            f"train with {rows.option}categories {int(rows.values.max()) + 1}",
        )
    elif rows.values.shape[1] != spec.size:
        raise UserError(
            f"{rows.source}: has {rows.values.shape[1]} features, the training split {spec.size}; give it the same"
        )
    for index, column in enumerate(spec.columns or ()):
        refuse_in_column(rows, index, column.refused)
        refuse_in_column(rows, index, column.unfit)


def refuse_in_column(rows: Rows, index: int, judge: Callable[[Array], Refusal | None]) -> None:
    """Raise about the first observed number of a column that can't be, as `judge` says of all of them [R]."""
    values = rows.values[:, index] if rows.observed is None else rows.values[rows.observed[:, index], index]
    refusal = judge(values) if len(values) else None
    if refusal is None or not refusal.wrong.any():
        return
    wrong = np.zeros(rows.values.shape, dtype=bool)
    wrong[slice(None) if rows.observed is None else rows.observed[:, index], index] = refusal.wrong
    refuse(rows, wrong, refusal.why)


def scaled(rows: Rows, description: Described) -> Rows:
    """The same rows as a model reads them: [R, D] float32, normalized, or [R, 1] int64; 0 where nothing is observed;
    inputs [R, U] float32, normalized.

    Raises UserError about a number that the normalization takes beyond what a float32 holds.
    """
    inputs = rows.of_inputs
    u = None if inputs is None else _normalized(inputs, description.input_normalization)
    if description.spec.kind == "categorical":
        return replace(rows, values=rows.values.astype(np.int64), inputs=u)
    x = _normalized(rows, description.normalization)
    if rows.observed is not None:
        x[~rows.observed] = 0  # where the scaling moved it
    return replace(rows, values=x, inputs=u)


def _normalized(rows: Rows, normalization: Normalization | None) -> Array:
    """The values [R, D] as float32."""
    if normalization is None:
        read: Array = rows.values.astype(np.float32)
        lost = (read == 0) & (rows.values != 0)
        if lost.any():  # a feature's few numbers next to 0 among others are 0
            refuse(rows, lost & ~(read != 0).any(axis=0), SMALL)
        return read
    with np.errstate(over="ignore"):
        x = normalization.apply(rows.values)
    refuse(
        rows,
        ~np.isfinite(x),
        "it is more of the training split's standard deviations away than a number can say, for that column hardly "
        "varies there: correct it, or leave the column out",
    )
    return x


def as_read(rows: Rows, description: Described) -> list[Example]:
    """Each sequence as a model reads it."""
    read = scaled(rows, description)
    return [example_of(read, steps.start, steps.stop, kind=description.spec.kind) for steps in read.steps]


def example_of(read: Rows, start: int, stop: int, *, kind: str) -> Example:
    """Rows start..stop-1 of `scaled` ones."""
    example = Example(read.values, read.observed, read.inputs).cut(start, stop)
    if kind != "categorical":
        return example
    return replace(example, x=example.x[:, 0], observed=None if example.observed is None else example.observed[:, 0])
