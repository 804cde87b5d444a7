"""Draw what is missing of one observation, given the rest of it."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from ..distributions import ColumnProduct, log_prob_of_observed
from ..emissions import Autoregressive
from ..errors import UserError


@singledispatch
def draw_missing(p: Distribution, x: Tensor, observed: Tensor) -> Tensor:
    """Draw the missing numbers of n rows, from p(missing | observed) or what comes near it: see `log_weight_of`.

    Args:
        p: p(x_t | .), batch [n].
        x: [n, D] or [n]; anything finite where it is missing.
        observed: Like x, bool.

    Returns:
        The complete x.

    Raises:
        UserError: There is no way to draw a part of a step from this distribution.

    Without a rule of its own (`draw_missing.register`) a distribution may have whole steps missing, not parts of one.
    """
    whole = observed.flatten(1) if observed.dim() > 1 else observed[:, None]
    if not bool((~whole.any(1) | whole.all(1)).all()):
        raise UserError(
            f"a part of a step is missing, and there is no way to draw the rest from {type(p).__name__}: register one "
            f"in {__name__}.draw_missing"
        )
    return torch.where(observed, x, p.sample().to(x.dtype))


@singledispatch
def log_weight_of(p: Distribution, x: Tensor, observed: Tensor) -> Tensor:
    """log p(x) less the log of `draw_missing`'s density of its missing numbers: log p(observed), [n], by default."""
    if log_prob_of_observed.dispatch(type(p)) is log_prob_of_observed.dispatch(object):  # has no rule
        every = observed.flatten(1).all(1) if observed.dim() > 1 else observed
        return torch.where(every, p.log_prob(x), 0.0)
    return log_prob_of_observed(p, x, observed)


@draw_missing.register(Independent)
@draw_missing.register(ColumnProduct)
@draw_missing.register(Categorical)
def _(p: Distribution, x: Tensor, observed: Tensor) -> Tensor:
    return torch.where(observed, x, p.sample().to(x.dtype))


@draw_missing.register(MixtureSameFamily)
def _(p: MixtureSameFamily, x: Tensor, observed: Tensor) -> Tensor:
    """The component from its probability given what is observed, then the numbers from the component."""
    of_each = log_prob_of_observed(p.component_distribution, x[..., None, :], observed[..., None, :])
    logits = torch.log_softmax(p.mixture_distribution.logits, dim=-1) + of_each
    component = Categorical(logits=logits, validate_args=False).sample()
    each = p.component_distribution.sample()  # [n, k, D]
    drawn = each.gather(-2, component[..., None, None].expand(*component.shape, 1, x.shape[-1]))[..., 0, :]
    return torch.where(observed, x, drawn)


@draw_missing.register(Autoregressive)
def _(p: Autoregressive, x: Tensor, observed: Tensor) -> Tensor:
    """In the order of the vector, each missing number given those before it."""
    left = iter(range(x.shape[-1]))

    def choose(parameters: Tensor) -> Tensor:
        d = next(left)
        return torch.where(observed[..., d], x[..., d], p.scalar(parameters).sample().to(x.dtype))

    return p.network.draw(p.features, choose)


@log_weight_of.register(Autoregressive)
def _(p: Autoregressive, x: Tensor, observed: Tensor) -> Tensor:
    """The observed numbers given those before them."""
    each = p.scalar(p.network(p.features, x)).log_prob(x)
    return torch.where(observed, each, 0.0).sum(-1)
