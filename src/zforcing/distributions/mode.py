"""The likeliest value of a distribution."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)


@singledispatch
def most_likely(distribution: Distribution) -> Tensor:
    """The likeliest x, number by number, shaped like a sample: what greedy decoding takes.

    The mean of a Gaussian, of a mixture that of its heaviest component, the likelier value of a Bernoulli variable (1
    on a tie) or category. Every emission's distribution is registered here.
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


@most_likely.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily) -> Tensor:
    each = most_likely(distribution.component_distribution)
    heaviest = distribution.mixture_distribution.logits.argmax(-1)
    index = heaviest[(..., *[None] * (each.dim() - heaviest.dim()))]
    return each.take_along_dim(index, dim=heaviest.dim()).squeeze(heaviest.dim())
