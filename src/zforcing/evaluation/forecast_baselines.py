"""Forecasts that need no model: the last value with the errors that it usually has, and what there is at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import SequenceDataset
from ..errors import UserError
from ..files.reading import Array
from ..observations import DataDescription, Example
from .proper_scores import NumberScores, scored

MOST = 1000  # stretches of the training data


@dataclass(frozen=True, eq=False)
class Baselines:
    """Both, from stretches of the training data, taken at random.

    Attributes:
        stretches: [W, 1 + steps, D] in the data's units, NaN where something is missing.
        seed: of the choice among more than 1000 values.
    """

    stretches: Array
    seed: int

    @classmethod
    def of(cls, train: SequenceDataset, description: DataDescription, *, steps: int, seed: int) -> Baselines:
        """From up to 1000 stretches, all equally likely.

        Raises:
            UserError: no sequence has more than `steps` steps.
        """
        places = np.maximum(train.lengths - steps, 0)  # where one can begin
        if not places.any():
            raise UserError(
                f"no sequence of the training data has more than {steps} steps, from which the baselines take their "
                f"errors; the longest has {train.lengths.max()}: forecast fewer steps"
            )
        total = int(places.sum())
        chosen = np.sort(np.random.default_rng(seed).choice(total, size=min(MOST, total), replace=False))
        ends = np.cumsum(places)
        sequences = np.searchsorted(ends, chosen, side="right")
        starts = chosen - (ends - places)[sequences]
        pairs = zip(sequences.tolist(), starts.tolist(), strict=True)
        return cls(np.stack([in_units(train.piece(i, t, t + 1 + steps), description) for i, t in pairs]), seed)

    def values(self, feature: int) -> Array:
        """[W] values of a feature, at any time."""
        known = self.stretches[:, :, feature].reshape(-1)
        known = known[~np.isnan(known)]
        if len(known) <= MOST:
            return known
        return np.random.default_rng(self.seed).choice(known, size=MOST, replace=False)

    def errors(self, step: int, feature: int) -> Array:
        """[W] differences of a feature between a step and the one so many before it, from 1."""
        change = self.stretches[:, step, feature] - self.stretches[:, 0, feature]
        known: Array = change[~np.isnan(change)]
        return known

    def climatology(self, step: int, feature: int, x: Array, last: Array) -> NumberScores:
        """Of the values at any time, for what came, x [n]."""
        return scored(_some(self.values(feature)), x)

    def last_value(self, step: int, feature: int, x: Array, last: Array) -> NumberScores:
        """Of the last values [n] and their errors, for what came, x [n]; climatology where there is none (NaN)."""
        found = scored(_some(self.errors(step, feature)), x - last)
        if not np.isnan(last).any():
            return found
        usual = self.climatology(step, feature, x, last)
        return NumberScores(*(np.where(np.isnan(last), a, b) for a, b in zip(usual, found, strict=True)))


def in_units(example: Example, description: DataDescription) -> Array:
    """[T, D] float64 in the data's units, NaN where something is missing."""
    raw = np.asarray(description.format.to_units(example.x, description), dtype=np.float64)
    return raw if example.observed is None else np.where(example.observed, raw, np.nan)


def last_observed(x: Array) -> Array:
    """[T, D] -> [D], the last value of each feature that is there, NaN without any."""
    there = ~np.isnan(x)
    last = len(x) - 1 - there[::-1].argmax(axis=0)
    values: Array = x[last, np.arange(x.shape[1])]
    return values


def _some(values: Array) -> Array:
    """[S, 1]. Raises UserError where there are fewer than 2."""
    if len(values) < 2:
        raise UserError("the training data has fewer than 2 values of a feature, and so no baselines")
    return values[:, None]
