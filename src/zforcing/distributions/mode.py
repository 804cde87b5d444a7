"""The most likely value of a distribution."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    NegativeBinomial,
    Normal,
)


@singledispatch
def most_likely(distribution: Distribution) -> Tensor:
    """Return the most likely value of each number, as greedy decoding uses it.

    This is the mean of a Gaussian, the mean of a mixture's component of the largest weight, the more likely value of a
    Bernoulli variable (1 on a tie), the most likely category or count, and the mode of a log-normal.
    The distributions of all emissions are registered here (`most_likely.register`).

    Args:
        distribution: Any distribution with a rule.

    Returns:
        Tensor shaped like a sample.

    Raises:
        TypeError: There is no rule for this distribution.
    """
    raise TypeError(f"{type(distribution).__name__} has no rule for greedy decoding: register one in {__name__}")


@most_likely.register(Independent)
def _(distribution: Independent[Any]) -> Tensor:
    return most_likely(distribution.base_dist)


@most_likely.register(Normal)
@most_likely.register(MultivariateNormal)
def _(distribution: Normal | MultivariateNormal) -> Tensor:
    return distribution.mean


@most_likely.register(Bernoulli)
def _(distribution: Bernoulli) -> Tensor:
    logits = distribution.logits
    return (logits >= 0).to(logits.dtype)


@most_likely.register(Categorical)
def _(distribution: Categorical) -> Tensor:
    return distribution.logits.argmax(-1)


@most_likely.register(LogNormal)
def _(distribution: LogNormal) -> Tensor:
    return distribution.mode


@most_likely.register(NegativeBinomial)
def _(distribution: NegativeBinomial) -> Tensor:
    """floor((r - 1) p / (1 - p)), and 0 for r <= 1."""
    return torch.floor((distribution.total_count - 1).clamp(min=0) * torch.exp(distribution.logits))


@most_likely.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily) -> Tensor:
    each = most_likely(distribution.component_distribution)
    heaviest = distribution.mixture_distribution.logits.argmax(-1)
    index = heaviest[(..., *[None] * (each.dim() - heaviest.dim()))]
    return each.take_along_dim(index, dim=heaviest.dim()).squeeze(heaviest.dim())
