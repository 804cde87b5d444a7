"""How far a reconstruction is off, in the data's units, and a guess that knows no step beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..files.reading import Array
from ..observations import ObservationSpec


class Errors(NamedTuple):
    """Root mean square errors in the data's units; of bits and categories shares of wrong values; NaN of no number."""

    total: float
    """over all numbers that were observed and that the model emits; of columns of several kinds the mean over columns,
    each error divided by that of the constant guess"""
    features: Array
    """[D], of each number of a step"""
    sequences: Array
    """[N], as `total`"""


def unit_of(spec: ObservationSpec) -> str:
    """What `total` is."""
    if spec.kind == "mixed":
        return "error in units of a constant guess's, mean over columns"
    return "root mean square error" if ordered(spec)[0] else "share of wrong values"


def ordered(spec: ObservationSpec) -> Array:
    """Of which numbers of a step a distance means something, [D] bool."""
    if spec.columns is not None:
        return np.array([column.ordered for column in spec.columns])
    return np.full(1 if spec.kind == "categorical" else spec.size, spec.kind in ("real", "quantized"))


def constant_guess(truth: Sequence[Array], spec: ObservationSpec) -> Array:
    """[D]: the mean of each number over all steps [T_i, D], or its most frequent value; NaN is missing."""
    columns = zip(np.concatenate(truth).T, ordered(spec), strict=True)
    return np.array([_mean(values) if has_mean else _most_frequent(values) for values, has_mean in columns])


def errors_of(made: Sequence[Array], truth: Sequence[Array], spec: ObservationSpec) -> Errors:
    """Between [T_i, D] and the truth, NaN where it is missing."""
    distance = ordered(spec)
    off = [_off(x, known, distance) for x, known in zip(made, truth, strict=True)]
    features = _by_feature(np.concatenate(off), distance)
    if spec.kind != "mixed":
        root = 0.5 if distance[0] else 1.0
        sequences = np.array([_mean(v) for v in off]) ** root
        return Errors(_mean(np.concatenate(off)) ** root, features, sequences)
    one = constant_guess(truth, spec)
    guessed = np.concatenate([_off(np.broadcast_to(one, known.shape), known, distance) for known in truth])
    scale = _by_feature(guessed, distance)
    scale = np.where(scale > 0, scale, 1)  # of a constant column
    sequences = np.array([_mean(_by_feature(v, distance) / scale) for v in off])
    return Errors(_mean(features / scale), features, sequences)


def _off(x: Array, truth: Array, distance: Array) -> Array:
    """Squared distances, or 1 where a value is wrong, [T, D]; NaN where the truth is missing."""
    wrong: Array = np.where(np.isnan(truth), np.nan, truth != x)
    squared: Array = np.where(distance, (truth - x) ** 2, wrong)
    return squared


def _by_feature(off: Array, distance: Array) -> Array:
    means = np.array([_mean(v) for v in off.T])
    features: Array = np.where(distance, np.sqrt(means), means)
    return features


def _mean(values: Array) -> float:
    """Of what isn't NaN; NaN where there is nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _most_frequent(values: Array) -> float:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.nan
    found, counts = np.unique(known, return_counts=True)
    return float(found[counts.argmax()])
