"""What we need of torch's distributions beyond what they offer: none of it is specific to a model."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

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
    """log p(the observed numbers of x), the others integrated out. Every emission's distribution is registered here.

    x [..., D] or [...]; observed like x, bool; returns [...], in nats, exactly 0 where nothing is observed. What x
    holds where it isn't observed doesn't matter, as long as it is finite and in the support.
    """
    raise TypeError(f"{type(distribution).__name__} has no rule for missing values: register one in {__name__}")


@log_prob_of_observed.register(Independent)
def _(distribution: Independent[Any], x: Tensor, observed: Tensor) -> Tensor:
    each = distribution.base_dist.log_prob(x)
    return torch.where(observed, each, torch.zeros_like(each)).sum(-1)


@log_prob_of_observed.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily, x: Tensor, observed: Tensor) -> Tensor:
    """Of each component what it says of the observed numbers, mixed."""
    weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)
    of_each = log_prob_of_observed(distribution.component_distribution, x[..., None, :], observed[..., None, :])
    mixed = torch.logsumexp(weights + of_each, dim=-1)
    return torch.where(observed.any(-1), mixed, torch.zeros_like(mixed))


@log_prob_of_observed.register(Categorical)
def _(distribution: Categorical, x: Tensor, observed: Tensor) -> Tensor:
    each = distribution.log_prob(x)
    return torch.where(observed, each, torch.zeros_like(each))
