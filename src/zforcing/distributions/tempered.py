"""Draws that are more, or less, likely than a distribution's own: by a temperature, and from its most likely values.

A temperature T draws from p(x)^(1/T), normalized: below 1 likely values become likelier, and T -> 0 gives the most
likely one. top_p then keeps the smallest set of values whose probability is top_p or more (A. Holtzman et al., "The
curious case of neural text degeneration", ICLR 2020, arXiv 1904.09751). Both act on each number by itself. What is
drawn is no longer the distribution's, nor the model's that it is of.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily, Normal

from ..errors import UserError
from .combine import combine
from .logistic import DiscretizedLogisticMixture

MOST_LEVELS = 4096  # whose probabilities are all computed, for each number that is drawn


@singledispatch
def draw_tempered(distribution: Distribution, temperature: float, top_p: float) -> Tensor:
    """Draw x from p(x)^(1/T), normalized, within the smallest set of values of its probability top_p or more.

    - categories, bits, and quantized numbers of up to 4096 levels: exactly this
    - a Gaussian: p^(1/T) is one of standard deviation sqrt(T) std, and the set its central interval, of each number
    - a mixture of Gaussians: T as in sketch-rnn (D. Ha, D. Eck, "A neural representation of sketch drawings", ICLR
      2018, arXiv 1704.03477): of the weights and of each component by itself, for the mixture's own p^(1/T) has no
      closed form; top_p has no rule
    - the numbers of a vector that depend on each other in order: each given those before it

    Those of all emissions are registered here (`draw_tempered.register`).

    Args:
        distribution: Any distribution with a rule.
        temperature: T, positive.
        top_p: In (0, 1]; 1 keeps everything.

    Returns:
        Tensor shaped like a sample, by torch's global generator.

    Raises:
        UserError: There is no rule for this distribution.
    """
    raise UserError(
        f"temperature and top_p have no rule for {type(distribution).__name__}: leave both at 1, which draws from the "
        f"model, or register one in {__name__}"
    )


@draw_tempered.register(Independent)
def _(distribution: Independent[Any], temperature: float, top_p: float) -> Tensor:
    drawn: Tensor = draw_tempered(distribution.base_dist, temperature, top_p)
    return drawn


@draw_tempered.register(Categorical)
def _(distribution: Categorical, temperature: float, top_p: float) -> Tensor:
    return draw_category(distribution.logits, temperature, top_p)


@draw_tempered.register(Bernoulli)
def _(distribution: Bernoulli, temperature: float, top_p: float) -> Tensor:
    """Of 0 and 1, whose logits are 0 and that of 1; on a tie 1 is kept, as the most likely value is."""
    logits = distribution.logits
    is_0 = draw_category(torch.stack([logits, torch.zeros_like(logits)], dim=-1), temperature, top_p)
    return 1 - is_0.to(logits.dtype)


@draw_tempered.register(Normal)
def _(distribution: Normal, temperature: float, top_p: float) -> Tensor:
    """By the inverse of the cumulative distribution: u uniform within top_p around 1/2."""
    mean, std = distribution.loc, distribution.scale * math.sqrt(temperature)
    if top_p == 1:
        return mean + std * torch.randn_like(mean)
    u = (torch.rand_like(mean, dtype=torch.float64) - 0.5) * top_p + 0.5
    drawn: Tensor = mean + std * torch.special.ndtri(u).to(std.dtype)
    return drawn


@draw_tempered.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily, temperature: float, top_p: float) -> Tensor:
    """A component, and x of that one."""
    if top_p < 1:
        raise UserError("top_p has no rule for a mixture of Gaussians, which may have several peaks: leave it at 1")
    component = draw_category(distribution.mixture_distribution.logits, temperature, 1.0)

    def chosen(parameter: Tensor) -> Tensor:
        """Of each component, [..., k] or [..., k, D] -> of the one that was drawn."""
        index = component[(..., *[None] * (parameter.dim() - component.dim()))]
        return parameter.take_along_dim(index, dim=component.dim()).squeeze(component.dim())

    drawn: Tensor = draw_tempered(combine(chosen, distribution.component_distribution), temperature, 1.0)
    return drawn


@draw_tempered.register(DiscretizedLogisticMixture)
def _(distribution: DiscretizedLogisticMixture, temperature: float, top_p: float) -> Tensor:
    """Of all levels, as a category."""
    count = distribution.levels
    if count > MOST_LEVELS:
        raise UserError(
            f"temperature and top_p compute the probabilities of all levels, and there are {count}; at most "
            f"{MOST_LEVELS} are taken: leave both at 1, or train on audio of encoding mulaw, which has 256"
        )
    like = distribution.logits
    levels = torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device)
    every = combine(lambda v: v[..., None, :], distribution)  # [..., 1]
    return levels[draw_category(every.log_prob(levels), temperature, top_p)]


def draw_category(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Draw one of V categories by logits [..., V], [...] int64. See `tempered_probabilities`."""
    probabilities = tempered_probabilities(logits, temperature, top_p)
    drawn = torch.multinomial(probabilities.reshape(-1, logits.shape[-1]), 1)
    return drawn.reshape(logits.shape[:-1])


def tempered_probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """p^(1/T), normalized, and 0 outside of the smallest set of probability top_p or more, [..., V].

    Args:
        logits: [..., V].
        temperature: T, positive.
        top_p: In (0, 1]. Of equally likely categories the first ones are kept.
    """
    differences = (logits - logits.amax(-1, keepdim=True)).double() / temperature  # without inf / inf for a small T
    probabilities = torch.softmax(differences, dim=-1)
    if top_p == 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(before < top_p * (1 - 1e-9), ordered, torch.zeros_like(ordered))
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(-1, keepdim=True))
