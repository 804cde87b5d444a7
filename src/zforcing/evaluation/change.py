"""How far each step is from the one before it: a score of anomalies that needs no model."""

from __future__ import annotations

import numpy as np

from ..data import SequenceDataset
from ..files.reading import Array
from ..observations import DataDescription, Example
from ..tasks.categories import are_categories


def changes(data: SequenceDataset, clean: SequenceDataset, description: DataDescription) -> Array:
    """[R], the change of each step from the one before it, summed over its numbers d.

        (x_t,d - x_t-1,d)^2 / s_d,      of a category  [x_t,d != x_t-1,d] / s_d

    s_d is 1 where all numbers have one unit: one alone, bits, real ones that were normalized. Otherwise s_d is what
    the change is on average between two steps that are chosen at random: 2 Var(x_d), of a category the probability that
    two differ, 1 - sum_v p_v^2 (of a column of 0 and 1 both are the same). What is missing counts 0.

    Args:
        data: R steps in all.
        clean: What s is taken from.
        description: Of both.
    """
    spec = description.spec
    other = np.full(1, True) if spec.kind == "categorical" else are_categories(spec)
    alike = spec.columns is None and (spec.kind != "real" or description.normalization is not None)
    one_unit = alike or len(other) == 1
    scale = np.ones(len(other)) if one_unit else _scale(np.concatenate(_sequences(clean)), other)
    each = [np.nansum(_distance(x[1:], x[:-1], other) / scale, axis=1) for x in _sequences(data)]
    return np.concatenate([np.concatenate([[0.0], of_steps]) for of_steps in each])


def _sequences(data: SequenceDataset) -> list[Array]:
    return [_rows(data[i]) for i in range(len(data))]


def _rows(example: Example) -> Array:
    """[T, D] float64, NaN where something is missing."""
    rows: Array = example.x.astype(np.float64)
    if example.observed is not None:
        rows = np.where(example.observed, rows, np.nan)
    return rows.reshape(len(rows), -1)


def _distance(x: Array, before: Array, other: Array) -> Array:
    """[T, D]: squared, or whether it is another category; NaN where one of both is missing."""
    difference = x - before
    return np.asarray(np.where(other, np.where(np.isnan(difference), np.nan, difference != 0), np.square(difference)))


def _scale(rows: Array, other: Array) -> Array:
    """s [D] of steps [R, D]; 1 of a number that never changes, or was never observed."""
    return np.array([_usual(x[~np.isnan(x)], is_category) for x, is_category in zip(rows.T, other, strict=True)])


def _usual(x: Array, is_category: bool) -> float:
    if not len(x):
        return 1.0
    shares = np.unique(x, return_counts=True)[1] / len(x)
    usual = 1 - np.square(shares).sum() if is_category else 2 * x.var()
    return float(usual) if usual > 0 else 1.0
