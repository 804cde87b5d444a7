"""Which of two models explains the same sequences better, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounds import ELBO, Bound, Orders
from ..data import SequenceDataset
from ..errors import UserError
from ..models import DensityModel
from .evaluation import Evaluation
from .likelihood import evaluate

SIGNS = {"exact": "=", "at least": "≥", "at most": "≤", "of bounds": "~"}
TELLING = ("chains", "temperatures", "resampling", "threshold", "look_ahead")  # settings that make a bound another one


@dataclass(frozen=True)
class Measured:
    """A model's nats of the same sequences, of one or several runs that differ by their seed.

    Attributes:
        evaluations: of each run.
        nats: [S, N], of S runs and N sequences.
    """

    evaluations: tuple[Evaluation, ...]
    nats: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Nats per sequence, mean over runs."""
        each: list[float] = self.nats.mean(0).tolist()
        return math.fsum(each) / len(each)

    @property
    def shared_error(self) -> float | None:
        """Of `mean`, from what its bound estimated once for all sequences of a run; None where that is nothing."""
        errors = [one.shared_error for one in self.evaluations if one.shared_error is not None]
        return math.hypot(*errors) / len(self.evaluations) if errors else None


@dataclass(frozen=True)
class Comparison:
    """How much better the first model explains sequences than the second.

    With a_n and b_n the nats of sequence n under each, the mean over its runs,

        difference = mean_n d_n,  d_n = a_n - b_n,  standard_error = std(d_n) / sqrt(N).

    Sequences that are hard are hard for both: this error is smaller, often by much, than those of the two means. The
    error over seeds isn't in it, nor it in that one, nor in either what is wrong by the same number on all sequences.

    Attributes:
        difference: nats per sequence.
        standard_error: of it, over sequences, in pairs; None of one sequence.
        seeds_error: of it, over seeds: sqrt(s_a^2 / S_a + s_b^2 / S_b), s the standard deviation of the runs' means;
            None where a model has one run.
        shared_error: of it, from what the bound estimates once for all sequences of a run, such as log Z (bounds `ais`
            and `chib`): sqrt(e_a^2 + e_b^2); None where it estimates nothing so.
        better: share of the sequences with d_n > 0.
        equal: share of those with d_n = 0.
        relation: what the difference is of that of log p(x): "exact", "at least" (a bound less an exact number), "at
            most" (the reverse) or "of bounds", which is neither, and of estimates too.
        first: nats per sequence.
        second: nats per sequence.
        num_sequences: N.
        runs: S_a and S_b.
    """

    difference: float
    standard_error: float | None
    seeds_error: float | None
    better: float
    equal: float
    relation: str
    first: float
    second: float
    num_sequences: int
    runs: tuple[int, int]
    shared_error: float | None = None

    @property
    def is_clear(self) -> bool | None:
        """Whether the difference is more than twice each of its errors; None where it has none."""
        every = (self.standard_error, self.seeds_error, self.shared_error)
        errors = [error for error in every if error is not None]
        return all(abs(self.difference) > 2 * error for error in errors) if errors else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        over = (
            f" (over {self.num_sequences} sequences, in pairs)" if error else " (one sequence: no error can be given)"
        )
        seeds = (
            ""
            if self.seeds_error is None
            else f" ± {self.seeds_error:.2f} (over seeds: {self.runs[0]}, {self.runs[1]})"
        )
        shared = "" if self.shared_error is None else f" ± {self.shared_error:.2g} (of log Z, on all alike)"
        return f"{SIGNS[self.relation]} {self.difference:+.2f}{error}{over}{seeds}{shared} nats per sequence"


def compare(
    first: DensityModel | Sequence[DensityModel],
    second: DensityModel | Sequence[DensityModel],
    data: SequenceDataset,
    *,
    bound: Bound = ELBO(),
    repeats: int = 1,
    seed: int = 0,
    max_rows: int = 256,
) -> Comparison:
    """Say which of two models explains the same sequences better, and how sure that is.

    Args:
        first: A trained model, or several that were trained alike with other seeds.
        second: Another one, or several.
        data: Sequences that none of them was trained on.
        bound: What is measured of log p(x), of both.
        repeats: How often; the mean is compared.
        seed: Of the bound's noise.
        max_rows: Sequences times particles in one batch.

    Returns:
        The difference in nats per sequence, with its error over sequences, in pairs, and over seeds.

    Raises:
        UserError: They read other numbers (another normalization, or kinds of columns), a side has none, several
            kinds of models or one twice, or `evaluate` raises it.

    Example:
        print(zf.compare(stochastic, plain, test, bound=zf.IWAE(16)))
    """

    def measured(models: DensityModel | Sequence[DensityModel]) -> Measured:
        nats: list[NDArray[np.float64]] = []
        if not isinstance(models, DensityModel) and len({id(model) for model in models}) < len(models):
            raise UserError("a model is given twice on one side; its seeds are other models")
        evaluations = tuple(
            evaluate(model, data, bound=bound, repeats=repeats, seed=seed, max_rows=max_rows, each=nats.append)
            for model in ([models] if isinstance(models, DensityModel) else models)
        )
        if not evaluations:
            raise UserError("compare needs a model on each side")
        return Measured(evaluations, np.stack(nats))

    return difference(measured(first), measured(second))


def difference(first: Measured, second: Measured) -> Comparison:
    """Compare what was measured of two models on the same sequences.

    Raises:
        UserError: They weren't measured on the same numbers, or not by the same bound.
    """
    for side in (first, second):
        check_seeds(side)
    check_same([*first.evaluations, *second.evaluations])
    each = first.nats.mean(0) - second.nats.mean(0)
    n = len(each)
    shared = [side.shared_error for side in (first, second) if side.shared_error is not None]
    return Comparison(
        difference=math.fsum(each) / n,
        standard_error=None if n < 2 else float(each.std(ddof=1)) / math.sqrt(n),
        seeds_error=_over_seeds(first.nats.mean(1), second.nats.mean(1)),
        better=float((each > 0).mean()),
        equal=float((each == 0).mean()),
        relation=_relation(first.evaluations[0].kind, second.evaluations[0].kind),
        first=first.mean,
        second=second.mean,
        num_sequences=n,
        runs=(len(first.nats), len(second.nats)),
        shared_error=math.hypot(*shared) if shared else None,
    )


def check_seeds(side: Measured) -> None:
    """Raise UserError where the runs of a side aren't of one model."""
    kinds = sorted({f"{one.model} ({one.kind}, {one.parameters} parameters)" for one in side.evaluations})
    if len(kinds) > 1:
        raise UserError(f"the runs of one side are seeds of one model; these are {', '.join(kinds)}")


def check_same(evaluations: Sequence[Evaluation]) -> None:
    """Raise UserError where evaluations are of other numbers, or by other bounds; an exact one can be beside any."""
    if len({(one.data_fingerprint, one.num_sequences, one.first_observation) for one in evaluations}) > 1:
        names = sorted({f"{one.data} ({one.num_sequences} sequences, {one.data_fingerprint})" for one in evaluations})
        raise UserError(
            f"the runs weren't measured on the same numbers: {'; '.join(names)}. Compare runs with the same data, "
            "split, normalization and first step"
        )
    mixtures = [one for one in evaluations if one.bound == Orders.name]
    for alike in ([one for one in evaluations if one.kind != "exact"], mixtures):
        bounds = sorted({f"{one.bound} {one.particles}{_settings(one)}" for one in alike})
        if len(bounds) > 1:
            raise UserError(f"the runs were measured by different bounds: {' and '.join(bounds)}")


def _over_seeds(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    if min(len(first), len(second)) < 2:
        return None
    return math.sqrt(sum(float(means.var(ddof=1)) / len(means) for means in (first, second)))


def _relation(first: str, second: str) -> str:
    if first == second == "exact":
        return "exact"
    bounded = {("lower bound", "exact"): "at least", ("exact", "lower bound"): "at most"}
    return bounded.get((first, second), "of bounds")


def _settings(one: Evaluation) -> str:
    """What else makes a bound another one: by how much log Z was estimated, when particles were drawn anew."""
    said = [f"{one.bound_settings[name]} {name}" for name in TELLING if one.bound_settings.get(name) is not None]
    return "".join(f", {text.replace('_', ' ')}" for text in said)
