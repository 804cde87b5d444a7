"""What `forecast` returns: futures of each sequence, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from ..observations import ObservationSpec
from ..settings import Share, must_fit
from .categories import are_categories, words_of
from .columns import ids_of_rows, table_file, to_frame, write_csv, write_npz
from .past import Past
from .sample import tempered_note
from .scores import names_of

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # in tables


class Interval(NamedTuple):
    """Two ends for each number, [steps, D]."""

    low: Array
    high: Array


def quantile_of(samples: Array, q: float | Sequence[float]) -> Array:
    """Quantiles of samples [S, ...] over S: [...], or [len(q), ...].

    With the i-th smallest of S samples at i / (S + 1), so that a new draw is below the quantile with probability q, on
    average over the samples; below 1 / (S + 1) it is the smallest one.
    """
    return np.asarray(np.quantile(samples, q, axis=0, method="weibull"))


def interval_of(samples: Array, level: float) -> Interval:
    """The central interval of this probability."""
    return Interval(*quantile_of(samples, [(1 - level) / 2, (1 + level) / 2]))


def _shares(samples: Array, *, column: int, size: int) -> Array:
    """How often each of the V categories of a column is in samples [S, steps, D]: [steps, V]."""
    shares: Array = (samples[:, :, column, None] == np.arange(size)).mean(axis=0)
    return shares


@dataclass(frozen=True, repr=False, eq=False)
class Forecast:
    """S futures of each of N sequences, in the data's units, and estimates from them.

    Attributes:
        model: name of the model.
        spec: what one observation is.
        past: what the latents of the past were drawn by, "filter" or "posterior", see `tasks.past`; "exact" of a model
            without latents.
        particles: K of the filter, else 1.
        seed: of the random numbers.
        temperature: 1: the model's distribution.
        top_p: likewise.
        ids: [N] of the sequences.
        names: of the D numbers of a step, or None.
        samples: [S, steps, D] for each sequence; of categories [S, steps].
    """

    model: str
    spec: ObservationSpec
    past: Past | Literal["exact"]
    particles: int
    seed: int
    temperature: float
    top_p: float
    ids: tuple[Any, ...]
    names: tuple[str, ...] | None
    samples: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"<Forecast: {self.steps} steps of {len(self)} sequences; {self.kind}; {self.model}>"

    @property
    def num_samples(self) -> int:
        """S."""
        return len(self.samples[0])

    @property
    def steps(self) -> int:
        """How many, of each future."""
        return int(self.samples[0].shape[1])

    @property
    def kind(self) -> str:
        """What the numbers are, in words."""
        filtered = f"a particle filter with {self.particles} particles"
        past = {"filter": f"the past by {filtered}", "posterior": "the past by the model's posterior"}
        note = tempered_note(temperature=self.temperature, top_p=self.top_p)
        parts = [f"estimate by {self.num_samples} samples from the model", past.get(self.past, ""), note]
        return "; ".join(filter(None, parts))

    # ---- numbers

    @cached_property
    def mean(self) -> tuple[Array, ...] | None:
        """[steps, D] for each sequence; of 0 and 1 the probability of 1. None of categories, NaN of columns of them."""
        return None if self._categories else self._numbers(lambda x: x.mean(axis=0, dtype=np.float64))

    @cached_property
    def std(self) -> tuple[Array, ...] | None:
        """[steps, D] for each sequence, the standard deviation. None of categories, NaN of columns of them."""
        return None if self._categories else self._numbers(lambda x: x.std(axis=0, dtype=np.float64))

    def quantile(self, q: float | Sequence[float]) -> tuple[Array, ...]:
        """[steps, D], or [len(q), steps, D], for each sequence: what a number is below with these probabilities.

        Raises:
            UserError: q is not in (0, 1), or the observations are categories.
        """
        for one in np.ravel(q).tolist():
            must_fit(one, Share, "q")
        self._refuse_categories("quantiles")
        return self._numbers(lambda x: quantile_of(x, q))

    def interval(self, level: float) -> tuple[Interval, ...]:
        """The central interval of each number, of this probability, for each sequence.

        Each number by itself: all of a future are within theirs with a smaller probability.

        Raises:
            UserError: level is not in (0, 1), or the observations are categories.
        """
        must_fit(level, Share, "level")
        self._refuse_categories("intervals")
        ends = self._numbers(lambda x: np.stack(interval_of(x, level)))
        return tuple(Interval(low, high) for low, high in ends)

    # ---- categories and bits

    @cached_property
    def probabilities(self) -> tuple[Array, ...] | None:
        """Of categories [steps, V], of bits that of 1 [steps, D], for each sequence; None of other numbers."""
        if self.spec.kind == "binary":
            return self.mean
        categories = np.arange(self.spec.size)
        return self._each(lambda x: (x[:, :, None] == categories).mean(axis=0)) if self._categories else None

    @cached_property
    def column_probabilities(self) -> dict[str, tuple[Array, ...]]:
        """Of mixed observations, for each column of categories by its name: [steps, V] for each sequence, by the codes
        0..V-1. Empty of other observations.
        """
        return {self._features[d]: shares for d, shares in self._shares_of_columns.items()}

    @cached_property
    def _shares_of_columns(self) -> dict[int, tuple[Array, ...]]:
        return {d: self._each(partial(_shares, column=d, size=len(words))) for d, words in self._words.items()}

    @cached_property
    def _words(self) -> dict[int, tuple[str, ...]]:
        return words_of(self.spec)

    @cached_property
    def most_likely(self) -> tuple[Array, ...] | None:
        """Of categories [steps], of bits [steps, D], each by itself, for each sequence; None of other numbers."""
        if self.probabilities is None:
            return None
        if self._categories:
            return tuple(p.argmax(axis=-1) for p in self.probabilities)
        return tuple((p >= 0.5).astype(np.int64) for p in self.probabilities)

    # ---- as a table

    def columns(self) -> dict[str, Array]:
        """Columns of a table, `step` being how many steps ahead, from 1.

        Of numbers a row for each: sequence, step, feature, mean, std, and quantiles, q5, q25, q50, q75 and q95. Of
        categories a row for each that was drawn: sequence, step, category, probability, the most likely one first. Of
        columns of both such rows of both, with the category's name, if it has one.
        """
        return self._columns_of_categories() if self._categories else self._columns_of_numbers()

    def to_frame(self) -> Any:
        """The same as a pandas data frame. Raises UserError where pandas isn't installed."""
        return to_frame(self.columns())

    def save(self, path: str | Path) -> Path:
        """Write the columns to a .csv file, or to an .npz the futures themselves.

        The .npz has `samples` [N, S, steps, D] (of categories [N, S, steps]), `sequence` [N], and, of numbers, `names`,
        `mean`, `std`, `levels` and `quantiles` [N, levels, steps, D]; of categories `most_likely`; of a column of
        categories `probability_NAME` [N, steps, V] and what the V are, `categories_NAME`.

        Raises:
            UserError: another suffix, or a file that can't be written.
        """
        file = table_file(path, "forecasts")
        if file.suffix.lower() == ".npz":
            write_npz(file, self._arrays())
        else:
            write_csv(file, self.columns())
        return file

    def _arrays(self) -> Mapping[str, Array]:
        whole = {"samples": np.stack(self.samples), "sequence": ids_of_rows(self.ids, [1] * len(self))}
        if self.mean is None or self.std is None:
            return whole | {"most_likely": np.stack(self.most_likely or ())}
        whole |= {"names": np.array(self._features), "mean": np.stack(self.mean), "std": np.stack(self.std)}
        whole |= {"levels": np.array(QUANTILES), "quantiles": np.stack(self.quantile(QUANTILES))}
        for d, shares in self._shares_of_columns.items():
            name = self._features[d]
            whole |= {f"probability_{name}": np.stack(shares), f"categories_{name}": np.array(self._words[d])}
        return whole

    def _columns_of_numbers(self) -> dict[str, Array]:
        assert self.mean is not None and self.std is not None, "numbers have both"  # noqa: PT018  # for mypy
        size = len(self._features)
        quantiles = np.stack(self.quantile(QUANTILES), axis=1)  # [levels, N, steps, D]
        which = {
            "sequence": ids_of_rows(self.ids, [self.steps * size] * len(self)),
            "step": np.tile(np.repeat(np.arange(1, self.steps + 1), size), len(self)),
            "feature": np.tile(np.array(self._features), self.steps * len(self)),
        }
        numbers = {
            "mean": np.concatenate(self.mean).reshape(-1),
            "std": np.concatenate(self.std).reshape(-1),
            **{f"q{100 * q:g}": quantiles[i].reshape(-1) for i, q in enumerate(QUANTILES)},
        }
        return self._with_categories(which, numbers) if self._words else which | numbers

    def _with_categories(self, which: dict[str, Array], numbers: dict[str, Array]) -> dict[str, Array]:
        """The same with a row for each category that was drawn, in place of that of its column."""
        rows = [(at, *of) for at in range(len(which["step"])) for of in self._drawn_at(at)]
        at, category, probability = (np.array(values) for values in zip(*rows, strict=True))
        drawn = {"category": category, "probability": probability}
        return {k: v[at] for k, v in which.items()} | drawn | {k: v[at] for k, v in numbers.items()}

    def _drawn_at(self, row: int) -> list[tuple[str, float]]:
        """The categories of a row of numbers, and their probabilities, the most likely one first."""
        sequence, step, d = map(int, np.unravel_index(row, (len(self), self.steps, len(self._features))))
        if d not in self._words:
            return [("", np.nan)]
        shares = self._shares_of_columns[d][sequence][step]
        order = np.argsort(-shares, kind="stable")
        return [(self._words[d][v], float(shares[v])) for v in order if shares[v] > 0]

    def _columns_of_categories(self) -> dict[str, Array]:
        counted = [np.unique(x[:, t], return_counts=True) for x in self.samples for t in range(self.steps)]
        order = [np.argsort(-counts, kind="stable") for _, counts in counted]
        rows = [len(values) for values, _ in counted]
        of_sequences = np.asarray(rows).reshape(len(self), self.steps).sum(axis=1).tolist()
        return {
            "sequence": ids_of_rows(self.ids, of_sequences),
            "step": np.repeat(np.tile(np.arange(1, self.steps + 1), len(self)), rows),
            "category": np.concatenate([values[i] for (values, _), i in zip(counted, order, strict=True)]),
            "probability": np.concatenate([counts[i] for (_, counts), i in zip(counted, order, strict=True)])
            / self.num_samples,
        }

    @property
    def _categories(self) -> bool:
        return self.spec.kind == "categorical"

    @property
    def _features(self) -> Sequence[str]:
        return names_of(self.names, self.samples[0].shape[-1])

    def _refuse_categories(self, what: str) -> None:
        if self._categories:
            raise UserError(f"categories have no order, and so no {what}: take probabilities, or most_likely")

    def _numbers(self, f: Callable[[Array], Array]) -> tuple[Array, ...]:
        """[..., D] of each sequence, NaN of columns of categories."""
        if self.spec.columns is None:
            return self._each(f)
        return self._each(lambda x: np.where(are_categories(self.spec), np.nan, f(x)))

    def _each(self, f: Callable[[Array], Array]) -> tuple[Array, ...]:
        return tuple(f(x) for x in self.samples)
