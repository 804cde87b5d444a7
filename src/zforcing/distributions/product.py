"""The product of one density for each column of an observation, as of a table's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from .combine import Combinable
from .missing import LogProbs, log_prob_of_observed, log_probs_of_observed
from .mode import most_likely
from .tempered import draw_tempered


@dataclass(frozen=True)
class Factor:
    """The density of neighbouring columns of one kind.

    columns: C, how many there are; size: P, the parameters of each; density: maps parameters [..., C, P] to a
    distribution with batch [..., C] and event [].
    """

    columns: int
    size: int
    density: Callable[[Tensor], Distribution]


class ColumnProduct(Combinable):
    """p(x) = prod_d p_d(x_d), where columns may have densities of different families, or probabilities.

    Args:
        parameters: [..., sum of C P], of all columns; the batch is [...], the event [D].
        factors: Of the columns, in their order.
    """

    arg_constraints = {}  # noqa: RUF012  # torch's distributions declare theirs so

    def __init__(self, parameters: Tensor, factors: Sequence[Factor]):
        self.parameters, self.factors = parameters, tuple(factors)
        columns = sum(factor.columns for factor in self.factors)
        super().__init__(parameters.shape[:-1], torch.Size([columns]), validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """See `combine`."""
        return ColumnProduct(f(self.parameters, *(d.parameters for d in others)), self.factors)

    @cached_property
    def each(self) -> list[Distribution]:
        """The distribution of each factor, batch [..., C], event []."""
        parts = self.parameters.split([factor.columns * factor.size for factor in self.factors], dim=-1)
        shapes = [(factor.columns, factor.size) for factor in self.factors]
        return [f.density(p.unflatten(-1, s)) for f, p, s in zip(self.factors, parts, shapes, strict=True)]

    @property
    def mean(self) -> Tensor:
        """The mean of each column [..., D]; NaN for categories, which have none."""
        return self._joined([distribution.mean for distribution in self.each])

    @property
    def variance(self) -> Tensor:
        """The variance of each column [..., D]; NaN for categories."""
        return self._joined([distribution.variance for distribution in self.each])

    def log_prob_of_each(self, value: Tensor) -> Tensor:
        """log p_d(value_d) of each column, [..., D] -> [..., D], in nats."""
        columns = value.split([factor.columns for factor in self.factors], dim=-1)
        return self._joined([p.log_prob(x) for p, x in zip(self.each, columns, strict=True)])

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value), [..., D] -> [...], in nats."""
        return self.log_prob_of_each(value).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  # torch's own default
        """Draw samples, [..., D]."""
        with torch.no_grad():
            return self._joined([distribution.sample(torch.Size(sample_shape)) for distribution in self.each])

    def _joined(self, columns: Sequence[Tensor]) -> Tensor:
        """[..., C] of each factor -> [..., D], in the parameters' type."""
        return torch.cat([column.to(self.parameters.dtype) for column in columns], dim=-1)


@most_likely.register(ColumnProduct)
def _(distribution: ColumnProduct) -> Tensor:
    return distribution._joined([most_likely(each) for each in distribution.each])


@log_prob_of_observed.register(ColumnProduct)
def _(distribution: ColumnProduct, x: Tensor, observed: Tensor) -> Tensor:
    return log_probs_of_observed(distribution, x, observed).total


@log_probs_of_observed.register(ColumnProduct)
def _(distribution: ColumnProduct, x: Tensor, observed: Tensor | None) -> LogProbs:
    each = distribution.log_prob_of_each(x)
    each = each if observed is None else torch.where(observed, each, torch.zeros_like(each))
    return LogProbs(each.sum(-1), each)


@draw_tempered.register(ColumnProduct)
def _(distribution: ColumnProduct, temperature: float, top_p: float) -> Tensor:
    """Each column by the rule of its kind."""
    return distribution._joined([draw_tempered(each, temperature, top_p) for each in distribution.each])
