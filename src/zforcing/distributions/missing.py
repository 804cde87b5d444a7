"""Log-densities of partially observed vectors: missing values are integrated out."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
)


@singledispatch
def log_prob_of_observed(distribution: Distribution, x: Tensor, observed: Tensor) -> Tensor:
    """Compute log p(observed values of x), with the missing ones integrated out.

    The distributions of all emissions are registered here (`log_prob_of_observed.register`).

    Args:
        distribution: With event [D] or [].
        x: [..., D] or [...]; missing entries may have any finite value in the support.
        observed: Like x, bool.

    Returns:
        Tensor [...], in nats; exactly 0 where nothing is observed.

    Raises:
        TypeError: There is no rule for this distribution.
    """
    raise TypeError(f"{type(distribution).__name__} has no rule for missing values: register one in {__name__}")


@log_prob_of_observed.register(Independent)
def _(distribution: Independent[Any], x: Tensor, observed: Tensor) -> Tensor:
    each = distribution.base_dist.log_prob(x)
    return torch.where(observed, each, torch.zeros_like(each)).sum(-1)


@log_prob_of_observed.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily, x: Tensor, observed: Tensor) -> Tensor:
    """Mix the components' log-densities of the observed values."""
    weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)
    of_each = log_prob_of_observed(distribution.component_distribution, x[..., None, :], observed[..., None, :])
    mixed = torch.logsumexp(weights + of_each, dim=-1)
    return torch.where(observed.any(-1), mixed, torch.zeros_like(mixed))


@log_prob_of_observed.register(Categorical)
def _(distribution: Categorical, x: Tensor, observed: Tensor) -> Tensor:
    each = distribution.log_prob(x)
    return torch.where(observed, each, torch.zeros_like(each))


class LogProbs(NamedTuple):
    """Log-densities of an observation, in nats."""

    total: Tensor
    """[...], log p(all observed values)"""
    each: Tensor | None
    """[..., D], the log of each number's marginal density, 0 where it is missing; None where it has no closed form"""


@singledispatch
def log_probs_of_observed(distribution: Distribution, x: Tensor, observed: Tensor | None) -> LogProbs:
    """Compute log p(observed values of x), and the same of each number alone.

    Without a rule of its own (`log_probs_of_observed.register`) a distribution has no `each`.

    Args:
        distribution: With event [D] or [].
        x: [..., D] or [...]; missing entries may have any finite value in the support.
        observed: Like x, bool; None where nothing is missing.

    Returns:
        Both. A category is one number: D is 1.
    """
    return LogProbs(_total(distribution, x, observed), None)


@log_probs_of_observed.register(Independent)
def _(distribution: Independent[Any], x: Tensor, observed: Tensor | None) -> LogProbs:
    each = _of_each(distribution, x, observed)
    return LogProbs(each.sum(-1), each)


@log_probs_of_observed.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily, x: Tensor, observed: Tensor | None) -> LogProbs:
    """The marginals mix those of the components, by the same weights."""
    weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)
    seen = None if observed is None else observed[..., None, :]
    each = torch.logsumexp(
        weights[..., None] + _of_each(distribution.component_distribution, x[..., None, :], seen), dim=-2
    )
    each = each if observed is None else torch.where(observed, each, torch.zeros_like(each))
    return LogProbs(_total(distribution, x, observed), each)


@log_probs_of_observed.register(Categorical)
def _(distribution: Categorical, x: Tensor, observed: Tensor | None) -> LogProbs:
    total = _total(distribution, x, observed)
    return LogProbs(total, total[..., None])


def _total(distribution: Distribution, x: Tensor, observed: Tensor | None) -> Tensor:
    total: Tensor = distribution.log_prob(x) if observed is None else log_prob_of_observed(distribution, x, observed)
    return total


def _of_each(distribution: Distribution, x: Tensor, observed: Tensor | None) -> Tensor:
    """Of each number of an `Independent`, [..., D]."""
    assert isinstance(distribution, Independent), f"the numbers of {type(distribution).__name__} aren't independent"
    each: Tensor = distribution.base_dist.log_prob(x)
    return each if observed is None else torch.where(observed, each, torch.zeros_like(each))
