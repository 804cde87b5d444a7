"""Scores of forecasts that are samples, for numbers that came.

Coverage is the share of numbers within an interval, which should be the interval's probability. The continuous ranked
probability score, E|X - x| - E|X - X'| / 2 with draws X and X' for what came, x, is in the data's own unit, is the
absolute error of a forecast without doubt, and is least in expectation for the true distribution (T. Gneiting, A.
Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 2007).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..files.reading import Array
from ..tasks.forecasts import quantile_of

LEVELS = (0.5, 0.8, 0.9, 0.95)  # of the intervals whose coverage is measured


class NumberScores(NamedTuple):
    """Scores of forecasts of numbers, [...]; NaN where one didn't come."""

    covered: Array
    """[levels, ...], 1 within the interval, 0 outside"""
    crps: Array
    """[...], in the number's unit"""
    error: Array
    """[...], |median - x|"""


def scored(samples: Array, x: Array) -> NumberScores:
    """Score samples [S, n] or [S, 1], S being 2 or more, for what came, x [n]."""
    ends = [(1 + sign * level) / 2 for sign in (-1, 1) for level in LEVELS]
    *quantiles, median = quantile_of(samples, [*ends, 0.5])  # in one call: sorting is most of the work
    low, high = np.split(np.stack(quantiles), 2)  # [levels, n or 1] each
    covered = np.where(np.isnan(x), np.nan, (low <= x) & (x <= high))
    return NumberScores(covered, crps(samples, x), np.abs(median - x))


def crps(samples: Array, x: Array) -> Array:
    """The continuous ranked probability score of samples [S, n] or [S, 1] for what came, x [n]; S is 2 or more.

        mean_i |X_i - x| - sum_{i<j} |X_i - X_j| / (S (S - 1))

    The fair estimate, whose expectation doesn't depend on S (C. Ferro, "Fair scores for ensemble forecasts", Quarterly
    Journal of the Royal Meteorological Society 2014). The last sum is sum_i (2 i - S - 1) X_(i), with X_(1) <= X_(2) ..
    """
    ordered = np.sort(samples, axis=0).astype(np.float64)
    S = len(ordered)
    weights = (2 * np.arange(1, S + 1) - S - 1) / (S * (S - 1))
    score: Array = np.abs(ordered - x).mean(axis=0) - weights @ ordered
    return score
