"""Baselines: what simple models, fitted to the training split in closed form, make of what a model is scored on.

real           independent Gaussian, full Gaussian of a step, VAR(1) or AR(p) (`gaussian_baselines`)
binary         independent Bernoulli: each number of a step by its share of ones
categorical    unigram: each category by its share; quantized too, its levels being categories
mixed          independent columns: each by the density of its kind (`column_baseline`; the likeliest, by L-BFGS)

All are exact and read no known inputs. Where the training split is large, some of its sequences are used, at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data import SequenceDataset
from ..errors import UserError
from ..observations import Example, ObservationSpec
from .column_baseline import IndependentColumns
from .gaussian_baselines import Autoregression, IndependentGaussian, Padded, Steps, most_lags

Floats = NDArray[np.float64]
Lengths = NDArray[np.int64]
FIT_ON = 2_000_000  # numbers
AT_ONCE = 2_000_000
SLOW = 1e10  # multiplications of a filter over gaps: some ten seconds
A_STEP = 1e6  # as many take as long as NumPy's calls of a step


@dataclass(frozen=True)
class BaselineScore:
    """What a baseline makes of the data of an evaluation: exact, in nats per sequence; raw: in the data's units."""

    name: str
    """such as VAR(1)"""
    nats_per_sequence: float
    """mean over sequences, of normalized data as in `Evaluation`"""
    raw_nats_per_sequence: float | None
    """the same in the data's units; None for data that wasn't normalized"""


def scores_from_json(values: object) -> tuple[BaselineScore, ...]:
    """The inverse of `asdict` on each. Raises UserError."""
    names = {"name": str, "nats_per_sequence": (int, float), "raw_nats_per_sequence": (int, float, type(None))}

    def is_score(value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(value.get(k, ...), t) for k, t in names.items())  # type: ignore[arg-type]  # types and tuples of them

    if not isinstance(values, list | tuple) or not all(map(is_score, values)):
        raise UserError(f"evaluation.baselines is {values!r}; it must be a list of {', '.join(names)}")
    return tuple(BaselineScore(**{name: value[name] for name in names}) for value in values)


def scores_to_json(scores: Iterable[BaselineScore]) -> list[dict[str, Any]]:
    """As plain JSON values."""
    return [asdict(score) for score in scores]


class Baseline(Protocol):
    """A fitted baseline."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def log_prob(self, examples: Sequence[Example]) -> Floats:
        """[N, T] nats of each step, 0 in the padding."""


@dataclass(frozen=True, eq=False)
class OfReals:
    """A Gaussian baseline of examples."""

    model: IndependentGaussian | Autoregression
    name: str

    def log_prob(self, examples: Sequence[Example]) -> Floats:
        """[N, T] nats of each step, 0 in the padding."""
        return self.model.log_prob(Padded.of(examples))


@dataclass(frozen=True, eq=False)
class Bernoulli:
    """Each number of a binary step on its own: log p of a zero and of a one, [2, D]."""

    log_p: Floats
    name: str = "independent Bernoulli"

    @classmethod
    def fit(cls, train: Steps) -> Bernoulli:
        """By its share of ones, as if half a one and half a zero more had been seen."""
        ones, count = train.x.sum(0), train.seen.sum(0)
        return cls(np.log(np.stack([count - ones + 0.5, ones + 0.5]) / (count + 1)))

    def log_prob(self, examples: Sequence[Example]) -> Floats:
        """[N, T] nats of each step, 0 in the padding."""
        batch = Padded.of(examples)
        nats: Floats = np.where(batch.seen, np.where(batch.x > 0.5, self.log_p[1], self.log_p[0]), 0.0).sum(2)
        return nats


@dataclass(frozen=True, eq=False)
class Unigram:
    """Every symbol, or level, by its share: log p of each, [L]. symbols: of an example, [T] or [T, D], as integers."""

    log_p: Floats
    symbols: Callable[[Example], NDArray[np.int64]] = field(repr=False)
    name: str = "unigram"

    @classmethod
    def fit(cls, examples: Sequence[Example], size: int, symbols: Callable[[Example], NDArray[np.int64]]) -> Unigram:
        """By its share, as if half a symbol of each kind more had been seen."""
        counts = np.full(size, 0.5)
        for example in examples:
            seen = symbols(example) if example.observed is None else symbols(example)[example.observed]
            counts += np.bincount(seen.ravel(), minlength=size)
        return cls(np.log(counts / counts.sum()), symbols)

    def log_prob(self, examples: Sequence[Example]) -> Floats:
        """[N, T] nats of each step, 0 in the padding."""
        nats = np.zeros((len(examples), max(len(e.x) for e in examples)))
        for row, example in zip(nats, examples, strict=True):
            each = self.log_p[self.symbols(example)]
            if example.observed is not None:
                each = np.where(example.observed, each, 0.0)
            row[: len(each)] = each.reshape(len(each), -1).sum(1)
        return nats


class Scores:
    """What fitted baselines make of sequences, in any order. nats: by name, of each of N sequences."""

    def __init__(self, baselines: Sequence[Baseline], sequences: int, *, unscored: int):
        self.baselines, self.unscored = baselines, unscored
        self.nats = {baseline.name: np.zeros(sequences) for baseline in baselines}

    def add(self, indices: list[int], examples: Sequence[Example]) -> None:
        """These sequences, as many at a time as fit `AT_ONCE` numbers (one at least): the Gaussians make copies."""
        padded = max(e.x.size for e in examples)
        size = max(1, AT_ONCE // padded)
        for start in range(0, len(examples), size):
            part = slice(start, start + size)
            for baseline in self.baselines:
                nats = baseline.log_prob(examples[part])[:, self.unscored :].sum(1)
                self.nats[baseline.name][indices[part]] = nats

    def results(self, *, log_std: float | None) -> tuple[BaselineScore, ...]:
        """The means over sequences. log_std: sum over the scored numbers of ln std; None where nothing was scaled."""
        means = {name: (math.fsum(each), len(each)) for name, each in self.nats.items() if np.isfinite(each).all()}
        return tuple(
            BaselineScore(name, total / n, None if log_std is None else (total - log_std) / n)
            for name, (total, n) in means.items()
        )


def fit_baselines(train: SequenceDataset, spec: ObservationSpec, *, scored: Lengths) -> list[Baseline]:
    """The baselines of a kind of observation, fitted to a training split as a model reads it; none for other kinds.

    Args:
        train: the training split.
        spec: of its observations.
        scored: [N], the lengths of the sequences that will be scored. With gaps in many or large steps a filter would
            take minutes: what needs it is left out then.
    """
    fit = FITS.get(spec.kind)
    return [] if fit is None else fit(_some(train, spec), spec, scored)


def _bernoulli(examples: Sequence[Example], spec: ObservationSpec, scored: Lengths) -> list[Baseline]:
    return [Bernoulli.fit(Steps.of(examples))]


def _unigram(examples: Sequence[Example], spec: ObservationSpec, scored: Lengths) -> list[Baseline]:
    return [Unigram.fit(examples, spec.size, lambda example: example.x)]


def _levels(examples: Sequence[Example], spec: ObservationSpec, scored: Lengths) -> list[Baseline]:
    assert spec.levels is not None, "quantized observations have levels"
    top = spec.levels - 1
    return [Unigram.fit(examples, spec.levels, lambda e: np.rint((e.x + 1) / 2 * top).astype(np.int64))]


def _columns(examples: Sequence[Example], spec: ObservationSpec, scored: Lengths) -> list[Baseline]:
    assert spec.columns is not None, "mixed observations have columns"
    return [IndependentColumns.fit(Steps.of(examples), spec.columns)]


def _gaussian(examples: Sequence[Example], spec: ObservationSpec, scored: Lengths) -> list[Baseline]:
    steps = Steps.of(examples)
    most = most_lags([len(e.x) for e in examples]) if spec.size == 1 else 1
    found: list[IndependentGaussian | Autoregression | None] = [IndependentGaussian.fit(steps)]
    if spec.size > 1 and not (spec.missing and _slow(scored, spec.size, calls=0)):
        found.append(Autoregression.fit(steps, lags=[0]))
    if not (spec.missing and _slow(scored, spec.size * most, calls=int(scored.max()))):
        found.append(Autoregression.fit(steps, lags=range(1, most + 1)))
    return [OfReals(model, model.name) for model in found if model is not None]


FITS: dict[str, Callable[[Sequence[Example], ObservationSpec, Lengths], list[Baseline]]] = {
    "real": _gaussian,
    "binary": _bernoulli,
    "categorical": _unigram,
    "quantized": _levels,
    "mixed": _columns,
}


def _slow(scored: Lengths, size: int, *, calls: int) -> bool:
    """Whether filtering states of this size over sequences of these lengths takes too long."""
    return float(scored.sum()) * size**3 + A_STEP * calls > SLOW


def _some(train: SequenceDataset, spec: ObservationSpec) -> list[Example]:
    """Sequences of the training split, at random, until they have `FIT_ON` numbers; whole ones, but for a long last."""
    size = 1 if spec.kind == "categorical" else spec.size
    if int(train.lengths.sum()) * size <= FIT_ON:
        return [train[i] for i in range(len(train))]
    examples, left = [], max(2, FIT_ON // size)
    for index in np.random.default_rng(0).permutation(len(train)).tolist():
        length = min(int(train.lengths[index]), left)
        examples.append(train.piece(index, 0, length))
        left -= length
        if left < 1:
            break
    return examples
