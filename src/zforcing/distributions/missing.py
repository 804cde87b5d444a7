"""Log-densities of partially observed vectors: missing values are integrated out."""

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
