"""What `impute` returns: draws of what is missing, their means and intervals, filled sequences, and tables of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from ..files.rows import TimeColumn
from ..observations import ObservationSpec, labels_of
from ..settings import Share, must_fit
from .categories import are_bits, in_words, values_in_words
from .columns import by_step, table_file, to_frame, write_csv, write_npz
from .filled import FilledSequence, Interval
from .forecasts import quantile_of
from .reconstruction_error import ordered
from .scores import names_of
from .smoothing import continuous

FEW = 20  # draws, of which a mean is no good


@dataclass(frozen=True, repr=False, eq=False)
class Imputation:
    """What is missing of N sequences given what is observed: an estimate by particle smoothing with K particles, or K
    independent draws of a model without time.

    Arrays are in the data's own units, one for each sequence, with its observed values where nothing is missing. What
    can't be drawn (of a first observation that the model only reads) stays NaN, or -1 of categories.

    Attributes:
        model: name of the model.
        particles: K draws, from which everything here is computed.
        lag: how many steps behind a gap were used for it; None: all.
        moves: of the draws, where particles come from few.
        seed: of the random numbers.
        level: of `interval`.
        num_samples: S.
        spec: what an observation is.
        ids: [N] of the sequences.
        names: of the D numbers of a step, or None.
        sequences: [N] what was observed and drawn.
        time_column: the column that the data was ordered by, or None.
        independent: whether the draws are the model's own, each from p(missing | observed).
    """

    model: str
    particles: int
    lag: int | None
    moves: int
    seed: int
    level: float
    num_samples: int
    spec: ObservationSpec
    ids: tuple[Any, ...]
    names: tuple[str, ...] | None
    sequences: tuple[FilledSequence, ...]
    time_column: TimeColumn | None = None
    independent: bool = False

    def __len__(self) -> int:
        return len(self.sequences)

    def __repr__(self) -> str:
        worth = f", worth {self.effective_draws:.0f} draws or more at 95% of the steps" if len(self._worth) else ""
        return f"<Imputation of {self.num_missing} numbers in {len(self)} sequences: {self.kind}{worth}>"

    @property
    def kind(self) -> str:
        """What the numbers are."""
        if self.independent:
            return f"{self.particles} independent draws"
        lag = "" if self.lag is None else f", lag {self.lag}"
        return f"estimate by particle smoothing with {self.particles} particles{lag}"

    @property
    def num_missing(self) -> int:
        """How many numbers were drawn."""
        return sum(s.draws.shape[1] for s in self.sequences)

    # ---- how good

    @property
    def effective(self) -> list[Array]:
        """[T_i]: how many independent draws the K of a step are worth; NaN where nothing was drawn.

        K draws that come in shares s_j from the smoother's particles are worth 1 / sum_j s_j^2; how far moves took them
        apart is estimated by how much they still resemble what they were after a tenth of the moves (`tasks.moves`).
        """
        return [self._of_steps(s, s.effective) for s in self.sequences]

    @property
    def ancestors(self) -> list[Array]:
        """[T_i]: how many particles of the smoother the K draws of a step come from; NaN where nothing was drawn."""
        return [self._of_steps(s, s.ancestors) for s in self.sequences]

    @property
    def effective_draws(self) -> float:
        """`effective` of the 5% quantile of the steps that have gaps; NaN without one."""
        return float(np.quantile(self._worth, 0.05)) if len(self._worth) else np.nan

    @property
    def remark(self) -> str:
        """A warning where the particles degenerate; else empty."""
        few = int((self._worth < FEW).sum())
        if self.independent or not few:
            return ""
        return (
            f"at {few} of {len(self._worth)} steps with gaps the {self.particles} draws are worth fewer than {FEW} "
            f"independent ones (the fewest {self._worth.min():.1f}), so that their spread is too small: take more "
            f"moves or particles"
        )

    @cached_property
    def _worth(self) -> Array:
        return np.concatenate([s.effective for s in self.sequences])

    @staticmethod
    def _of_steps(s: FilledSequence, values: Array) -> Array:
        whole = np.full(len(s.x), np.nan)
        whole[s.steps] = values
        return whole

    # ---- what is missing

    @property
    def samples(self) -> list[Array]:
        """[S, T_i, D] (of categories [S, T_i]) for each sequence: S draws of the whole sequence."""
        whole = []
        for s in self.sequences:
            repeated = np.repeat(self._marked(s)[None], self.num_samples, axis=0)
            whole.append(self._shaped(s.put(s.draws[: self.num_samples].astype(s.x.dtype), repeated)))
        return whole

    @property
    def mean(self) -> list[Array]:
        """[T_i, D]; of bits the probability of 1; NaN for a category. Raises UserError where all are categories."""
        return self._each("mean", lambda draws: draws.mean(axis=0))

    @property
    def std(self) -> list[Array]:
        """[T_i, D], the standard deviation of what is missing; 0 of what was observed."""
        known = [np.where(s.missing, np.nan, 0.0) for s in self.sequences]
        return self._each("std", lambda draws: draws.std(axis=0), known)

    def quantile(self, q: float) -> list[Array]:
        """[T_i, D]: what is missing is below it with probability q. Raises UserError for categories."""
        must_fit(q, Share, "q")
        return self._each("quantile", lambda draws: quantile_of(draws, q))

    def interval(self, level: float | None = None) -> Interval:
        """The interval that holds what is missing with this probability, as much of the rest below it as above.

        Args:
            level: between 0 and 1; None: that of `impute`.
        """
        level = self.level if level is None else level
        must_fit(level, Share, "level")
        return Interval(self.quantile((1 - level) / 2), self.quantile((1 + level) / 2))

    @property
    def probabilities(self) -> list[Array]:
        """Of each category [T_i, V], of bits that of 1 [T_i, D]; 0 and 1 where it was observed, NaN where nothing says.

        Raises UserError for real numbers.
        """
        if self.spec.kind == "binary":
            return self.mean
        if self.spec.kind != "categorical":
            instead = "gaps() has those of its values" if self.spec.columns else "ask for mean, std or quantile"
            raise UserError(f"{self.spec.kind} numbers have no probabilities here: {instead}")
        every = np.arange(self.spec.size)
        found = []
        for s in self.sequences:
            whole = np.where(s.missing, np.nan, s.x == every)  # [T, V]
            whole[s.drawn[:, 0]] = (s.draws[:, :, None] == every).mean(axis=0)
            found.append(whole)
        return found

    @property
    def filled(self) -> list[Array]:
        """[T_i, D] (of categories [T_i]): in place of what is missing the mean, of bits and categories what is most
        likely, of counts and quantized numbers the median.
        """
        return [self._shaped(s.put(self._best(s).astype(s.x.dtype), self._marked(s))) for s in self.sequences]

    def _best(self, s: FilledSequence) -> Array:
        """[M]."""
        draws = s.draws.astype(np.float64)
        d = np.nonzero(s.drawn)[1]
        by_mean = continuous(self.spec)[d] & (self.spec.levels is None)
        best = np.where(by_mean, draws.mean(axis=0), _median(draws))
        for m in np.flatnonzero(~ordered(self.spec)[d]):
            values, counts = np.unique(draws[:, m], return_counts=True)
            best[m] = values[counts.argmax()]
        return best

    def _marked(self, s: FilledSequence) -> Array:
        """[T, D] with NaN or -1 where something is missing."""
        mark = -1 if s.x.dtype.kind in "iu" else np.nan
        return np.where(s.missing, np.asarray(mark, dtype=s.x.dtype), s.x)

    def _shaped(self, x: Array) -> Array:
        return x[..., 0] if self.spec.kind == "categorical" else x

    def _each(self, what: str, of: Callable[[Array], Array], known: list[Array] | None = None) -> list[Array]:
        """What is computed of the draws among what is known of what was observed, x by default."""
        has_order = ordered(self.spec) | are_bits(self.spec)
        if not has_order.any():
            instead = "gaps() has their probabilities" if self.spec.columns else "ask for probabilities"
            raise UserError(f"categories have no {what}: {instead}")
        known = [np.where(s.missing, np.nan, s.x) for s in self.sequences] if known is None else known
        return [
            s.put(np.where(has_order[np.nonzero(s.drawn)[1]], of(s.draws), np.nan), whole)
            for s, whole in zip(self.sequences, known, strict=True)
        ]

    # ---- as tables

    def columns(self) -> dict[str, Array]:
        """Columns of a table with a row for each step: sequence (its id), step (from 0), the column that the data was
        ordered by, if it was (order_NAME where the table has another NAME), and the filled numbers, categories by their
        words.
        """
        whole = np.concatenate([x.reshape(len(x), -1) for x in self.filled])
        columns = {name: whole[:, d] for d, name in enumerate(names_of(self.names, whole.shape[1]))}
        for d, column in enumerate(self.spec.columns or ()):
            if labels := labels_of(column):
                columns[[*columns][d]] = in_words(whole[:, d], labels)
        return by_step(self.ids, [np.arange(len(s.x)) for s in self.sequences], columns, times=self.time_column)

    def gaps(self) -> dict[str, Array]:
        """Columns of a table with a row for each number that was drawn: those of its step, as in `columns`, name, value
        (the filled one), and what is known of it: std, lower and upper (`interval`), of bits, categories and counts the
        value's probability; effective, how many draws that is worth. Of columns of categories among others the value is
        NaN, and `category` its word.
        """
        at = [np.argwhere(s.drawn) for s in self.sequences]
        width = self.sequences[0].x.shape[1]
        names = np.array(names_of(self.names, width))
        values = [self._best(s) for s in self.sequences]
        varies, number = continuous(self.spec), np.concatenate([a[:, 1] for a in at])
        columns = {"name": names[number]} | values_in_words(np.concatenate(values), number, self.spec)
        if varies.any():
            for name, of in self._spread.items():
                each = np.concatenate([of(s.draws) for s in self.sequences])
                columns[name] = np.where(varies[number], each, np.nan)
        if not varies.all():
            shares = np.concatenate([(s.draws == v).mean(axis=0) for s, v in zip(self.sequences, values, strict=True)])
            columns["probability"] = np.where(varies[number], np.nan, shares)
        worth = [e[a[:, 0]] for e, a in zip(self.effective, at, strict=True)]
        columns["effective"] = np.concatenate(worth)
        return by_step(self.ids, [a[:, 0] for a in at], columns, times=self.time_column)

    @property
    def _spread(self) -> dict[str, Callable[[Array], Array]]:
        """What tables say of a number that varies continuously, by the name of its column."""
        return {
            "std": lambda draws: draws.std(axis=0),
            "lower": lambda draws: quantile_of(draws, (1 - self.level) / 2),
            "upper": lambda draws: quantile_of(draws, (1 + self.level) / 2),
        }

    def to_frame(self) -> Any:
        """`columns` as a pandas data frame. Raises UserError where pandas isn't installed."""
        return to_frame(self.columns())

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write the filled sequences to a .csv or .npz file, and `gaps` to a second one beside it, named -gaps.

        Returns:
            Both paths.

        Raises:
            UserError: another suffix, or a file that can't be written.
        """
        file = table_file(path, "filled sequences")
        (write_npz if file.suffix.lower() == ".npz" else write_csv)(file, self.columns())
        return file, self.save_gaps(file)

    def save_gaps(self, beside: str | Path) -> Path:
        """Write `gaps` beside a file of filled sequences, named -gaps: an .npz beside an .npz or .npy, else a .csv."""
        file = Path(beside)
        ending = "npz" if file.suffix.lower() in (".npz", ".npy") else "csv"
        path = table_file(file.with_name(f"{file.stem}-gaps.{ending}"), "gaps")
        (write_npz if ending == "npz" else write_csv)(path, self.gaps())
        return path


def _median(draws: Array) -> Array:
    """[M], one of the draws [K, M]."""
    return np.asarray(np.quantile(draws, 0.5, axis=0, method="inverted_cdf"))
