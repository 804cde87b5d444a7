"""How good a model's forecasts are: of the last steps of each sequence, from the steps before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..data import SequenceDataset
from ..data.dataset import InMemory, check_dataset, description_of
from ..errors import UserError
from ..files.json_text import finite
from ..files.reading import Array
from ..models import DensityModel, of_sequences
from ..observations import DataDescription, Example
from ..settings import Count, Seed, must_be, must_fit
from ..tasks.categories import are_bits, are_categories
from ..tasks.forecast import forecast
from ..tasks.score import names_in
from ..tasks.scores import names_of
from .forecast_baselines import Baselines, in_units, last_observed
from .proper_scores import LEVELS, NumberScores, scored


@dataclass(frozen=True)
class ForecastRow:
    """Scores of one way to forecast, at some steps ahead: means over all numbers that came."""

    name: str
    """the model's, `last value` or `climatology`"""
    first: int
    """the first of the steps ahead, from 1"""
    last: int
    """the last one"""
    coverage: tuple[float, ...] | None
    """share of numbers within the intervals of the table's `levels`, of all features but bits; None of bits alone"""
    crps: tuple[float, ...]
    """[D], of each feature in its own unit; of bits the Brier score (p - x)^2; NaN where none came"""
    median_error: tuple[float, ...]
    """[D], |median - x|"""


@dataclass(frozen=True)
class ForecastTable:
    """Forecasts of held-out ends by a model, beside two that know nothing of it."""

    kind: str
    """how the model's forecasts were made"""
    steps: int
    """how many were held out"""
    sequences: int
    """whose ends were forecast"""
    too_short: int
    """sequences that were left out, having too few steps"""
    numbers: int
    """that came, of all features and steps; those of one sequence are alike, and say less than as many independent"""
    names: tuple[str, ...]
    """of the D features"""
    levels: tuple[float, ...]
    """probabilities of the intervals: what the coverage should be"""
    rows: tuple[ForecastRow, ...]
    """the model's first; of each the first, the middle and the last step ahead, and all of them"""

    @property
    def overall(self) -> tuple[ForecastRow, ...]:
        """The rows of all steps, the model's first."""
        return tuple(row for row in self.rows if (row.first, row.last) == (1, self.steps))

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where none came."""
        values: dict[str, Any] = finite(asdict(self))
        return values


def evaluate_forecast(
    model: DensityModel,
    data: SequenceDataset,
    *,
    steps: int = 24,
    train: SequenceDataset | None = None,
    num_samples: int = 100,
    particles: int = 64,
    seed: int = 0,
    max_rows: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> ForecastTable:
    """Hold out the last steps of each sequence, forecast them from those before, and score the forecasts.

    Beside the model stand two forecasts that a minute of work gives: `last value`, the last observed one plus the
    errors that it has as many steps ahead in the training data, and `climatology`, the training data's values at any
    time, both from up to 1000 stretches of it. Where one of them is better, use it.

        CRPS = E|X - x| - E|X - X'| / 2,  X, X' draws of the forecast, x what came

    Args:
        model: a trained model of sequences of numbers or bits.
        data: sequences that it wasn't trained on, each longer than `steps`; shorter ones are left out.
        steps: how many are held out and forecast.
        train: the training data, for the baselines; None: without them.
        num_samples: S, 2 or more. With fewer than 39 the intervals of 95 percent are too narrow: they end at the
            smallest and the largest sample.
        particles: K of the filter that reads the past.
        seed: of all random numbers.
        max_rows: see `forecast`.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        Coverage, and CRPS (`proper_scores`) and the median's error in the data's units; what is missing counts nowhere,
        and neither do columns of categories.

    Raises:
        UserError: no sequence is long enough, nothing was observed in the held-out steps, or the data are categories,
            which have no intervals.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> table = zf.evaluate_forecast(model, data, steps=1, train=data, num_samples=40)
        >>> table.levels
        (0.5, 0.8, 0.9, 0.95)
        >>> [row.name for row in table.overall]
        ['linear_gaussian', 'last value', 'climatology']
    """
    described = _checked(model, data, train, steps, num_samples, seed)
    sequences = data.described_as(described)
    whole = _longer_than(steps, sequences, first=described.spec.unscored_steps)
    past, ends = [x.cut(0, len(x.x) - steps) for x in whole], [x.cut(len(x.x) - steps, len(x.x)) for x in whole]
    ahead = forecast(
        model,
        _described(past, described),
        steps=steps,
        num_samples=num_samples,
        particles=particles,
        seed=seed,
        inputs=_inputs(ends, described),
        max_rows=max_rows,
        progress=progress,
    )
    came = np.stack([in_units(x, described) for x in ends])  # [N, steps, D]
    if described.spec.columns is not None:  # neither has a category an order in mixed observations
        came = np.where(are_categories(described.spec), np.nan, came)
    if np.isnan(came).all():
        raise UserError(f"nothing was observed in the last {steps} steps of any sequence: nothing can be scored")
    last = np.stack([last_observed(in_units(x, described)) for x in past])  # [N, D]
    found = {ahead.model: _of_each(_of_samples(ahead.samples), came, last)}
    if train is not None:
        known = Baselines.of(train.described_as(described), described, steps=steps, seed=seed)
        ways = {"last value": known.last_value, "climatology": known.climatology}
        found |= {name: _of_each(way, came, last) for name, way in ways.items()}
    return ForecastTable(
        kind=ahead.kind,
        steps=steps,
        sequences=len(whole),
        too_short=len(data) - len(whole),
        numbers=int((~np.isnan(came)).sum()),
        names=tuple(names_of(names_in(described, sequences), came.shape[-1])),
        levels=LEVELS,
        rows=_rows(found, steps, covered=~are_bits(described.spec) & ~np.isnan(came).all(axis=(0, 1))),
    )


def _checked(
    model: DensityModel,
    data: SequenceDataset,
    train: SequenceDataset | None,
    steps: int,
    num_samples: int,
    seed: int,
) -> DataDescription:
    """How the model reads the data."""
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    of_sequences(model, needed_by="a forecast")
    check_dataset(data, "data")
    if train is not None:
        check_dataset(train, "train")
    must_fit(steps, Count, "steps")
    must_fit(num_samples, Count, "num_samples")
    must_fit(seed, Seed, "seed")
    if num_samples < 2:
        raise UserError("num_samples is 1; scores take 2 samples or more")
    described = description_of(model, data)
    if described.spec.kind == "categorical":
        raise UserError("forecasts of categories have no intervals to score: evaluate measures their nats")
    return described


def _longer_than(steps: int, data: SequenceDataset, *, first: int) -> list[Example]:
    """The sequences that have a step more than are held out, behind the one that is only read, if there is one."""
    long = np.flatnonzero(data.lengths > steps + first).tolist()
    if not long:
        raise UserError(
            f"no sequence has more than {steps + first} steps, the longest has {data.lengths.max()}: hold out fewer"
        )
    return [data[i] for i in long]


def _described(examples: Sequence[Example], description: DataDescription) -> SequenceDataset:
    data = InMemory(examples)
    data.description = description
    return data


def _inputs(ends: Sequence[Example], description: DataDescription) -> list[Array] | None:
    """The known inputs of the held-out steps in the data's units, [steps, U] for each sequence."""
    scaling = description.input_normalization
    known = [x.inputs for x in ends if x.inputs is not None]
    return [u if scaling is None else scaling.invert(u) for u in known] or None


Way = Callable[[int, int, Array, Array], NumberScores]
"""(step ahead from 1, feature, what came [N], the last values [N]) -> the scores of a way to forecast."""


def _of_samples(samples: Sequence[Array]) -> Way:
    """Samples [S, steps, D] of each sequence."""
    return lambda step, feature, x, last: scored(np.stack([s[:, step - 1, feature] for s in samples], axis=1), x)


def _of_each(way: Way, came: Array, last: Array) -> NumberScores:
    """Scores [..., N, steps, D] for what came, [N, steps, D]."""
    steps, size = came.shape[1:]
    found = [[way(t + 1, d, came[:, t, d], last[:, d]) for d in range(size)] for t in range(steps)]
    return NumberScores(
        *(np.stack([np.stack([each[i] for each in row], -1) for row in found], -2) for i in range(len(found[0][0])))
    )


def _rows(found: dict[str, NumberScores], steps: int, *, covered: Array) -> tuple[ForecastRow, ...]:
    """Of each way the first, the middle and the last step ahead, and all of them. covered: [D], what has intervals."""
    spans = dict.fromkeys([(1, 1), ((steps + 1) // 2,) * 2, (steps, steps), (1, steps)])
    return tuple(_row(name, scores, *span, covered=covered) for name, scores in found.items() for span in spans)


def _row(name: str, scores: NumberScores, first: int, last: int, *, covered: Array) -> ForecastRow:
    inside, crps, error = (values[..., first - 1 : last, :] for values in scores)
    coverage = tuple(_mean(inside[..., covered], axis=(-3, -2, -1)).tolist()) if covered.any() else None
    means = [tuple(_mean(values, axis=(-3, -2)).tolist()) for values in (crps, error)]
    return ForecastRow(name, first, last, coverage, *means)


def _mean(values: Array, *, axis: tuple[int, ...]) -> Array:
    """Over what came; NaN where nothing did."""
    came = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(came, values, 0.0).sum(axis=axis) / came.sum(axis=axis)
    return mean
