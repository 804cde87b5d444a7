"""What we need of torch's distributions beyond what they offer: none of it is specific to a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

# Distributions made here skip torch's argument checks: the parameters are valid by construction, a check waits for the
# GPU at every call, and a NaN must reach the loss, where the training loop names the step and the batch.


def at_least_float32(x: Tensor) -> Tensor:
    """Parameters of densities leave half precision: a log-density in bfloat16 has two or three digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def diagonal_gaussian(mean: Tensor, log_variance: Tensor, *, min_std: float = 0.0) -> Distribution:
    """N(mean, diag(std^2)) over the last dimension, std = min_std + exp(log_variance / 2). Arguments [..., D]."""
    std = torch.exp(at_least_float32(log_variance) / 2)
    if min_std:
        std = std + min_std
    return Independent(Normal(at_least_float32(mean), std, validate_args=False), 1, validate_args=False)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, diag(exp(log_variance))), [..., D] -> [...]: `diagonal_gaussian(...).log_prob(x)` in half the
    passes over memory. Differentiable once.
    """
    arguments = (at_least_float32(v) for v in (x, mean, log_variance))
    result: Tensor = _GaussianLogProb.apply(*arguments)  # type: ignore[no-untyped-call]  # torch's is
    return result


class _GaussianLogProb(torch.autograd.Function):
    """-(d^2 exp(-v) + v + log 2 pi) / 2, d = x - mean: with u = d exp(-v), dmean = u, dx = -u, dv = (d u - 1) / 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        ctx.save_for_backward(x, mean, log_variance)
        error = x - mean
        cost = torch.exp(-log_variance).mul_(error).mul_(error).add_(log_variance).sum(-1)
        return (cost + math.log(2 * math.pi) * x.shape[-1]) * -0.5

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, log_variance = ctx.saved_tensors
        g, error = gradient[..., None], x - mean
        u = torch.exp(-log_variance).mul_(error)
        by_log_variance = error.mul_(u).sub_(1).mul_(0.5 * g)
        by_mean = u.mul_(g)
        return -by_mean if ctx.needs_input_grad[0] else None, by_mean, by_log_variance


def no_latent(like: Tensor) -> Distribution:
    """The distribution of a latent of size 0, with the batch shape of like [..., F]: its density is 1, every KL 0."""
    nothing = like[..., :0]
    return diagonal_gaussian(nothing, nothing)


def gaussian(mean: Tensor, scale_tril: Tensor) -> Distribution:
    """N(mean, L L^T) with L = scale_tril, [..., Z] and [..., Z, Z], lower triangular with a positive diagonal."""
    return MultivariateNormal(mean, scale_tril=scale_tril, validate_args=False)


def reparameterize(distribution: Distribution, noise: Tensor) -> Tensor:
    """z = mean + std * noise, or mean + L noise, [..., Z]: a Gaussian's sample with a path for the gradient."""
    if isinstance(distribution, MultivariateNormal):
        return distribution.loc + (distribution.scale_tril @ noise[..., None])[..., 0]
    return distribution.mean + distribution.stddev * noise


class Combinable(Distribution):
    """A distribution of our own, which says how others of its kind are combined with it."""

    def combined(self, f: Callable[..., Tensor], *others: Any) -> Distribution:
        """The distribution whose parameters are f of its own and those of the others."""
        raise NotImplementedError


class Softmax(Categorical, Combinable):
    """p(x) = softmax(logits)_x over V categories: logits [..., V], batch [...], event [].

    torch's `Categorical` normalizes by a logsumexp and a difference, and does so again whenever it is transposed or
    stacked: over the words of a language that is most of the work of an update. Here it is one log-softmax.

    normalized: whether the logits are log-probabilities already
    """

    def __init__(self, logits: Tensor, *, normalized: bool = False):
        self.logits = self._param = logits if normalized else torch.log_softmax(logits, dim=-1)
        self._num_events = logits.shape[-1]
        Distribution.__init__(self, logits.shape[:-1], validate_args=False)

    def combined(self, f: Callable[..., Tensor], *others: Distribution) -> Softmax:
        """See `combine`."""
        logits = [self.logits, *(other.logits for other in others if isinstance(other, Softmax))]
        return Softmax(f(*logits), normalized=True)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Softmax:
        """With the batch [*batch_shape]."""
        return Softmax(self.logits.expand(*batch_shape, self._num_events), normalized=True)


def combine(f: Callable[..., Tensor], *distributions: Distribution) -> Distribution:
    """The distribution whose parameters are f of the parameters of these, which are of one kind."""
    first = distributions[0]
    if isinstance(first, Combinable):
        return first.combined(f, *distributions[1:])
    if isinstance(first, MixtureSameFamily):
        mixtures = [d for d in distributions if isinstance(d, MixtureSameFamily)]
        weights = Categorical(logits=f(*(d.mixture_distribution.logits for d in mixtures)), validate_args=False)
        each = combine(f, *(d.component_distribution for d in mixtures))
        return MixtureSameFamily(weights, each, validate_args=False)
    if isinstance(first, Independent):
        base = combine(f, *(d.base_dist for d in distributions if isinstance(d, Independent)))
        return Independent(base, first.reinterpreted_batch_ndims, validate_args=False)
    names = tuple(first.arg_constraints)
    if isinstance(first, Bernoulli | Categorical):
        names = ("logits",)
    elif isinstance(first, MultivariateNormal):
        names = ("loc", "scale_tril")
    parameters: dict[str, Any] = {n: f(*(getattr(d, n) for d in distributions)) for n in names}
    return type(first)(**parameters, validate_args=False)


def stack(distributions: Sequence[Distribution], *, dim: int) -> Distribution:
    """Distributions of one kind with batches [n] as one with the batch [n, T] (dim=1) or [T, n] (dim=0)."""
    return combine(lambda *tensors: torch.stack(tensors, dim=dim), *distributions)


def batch_first(distribution: Distribution) -> Distribution:
    """The batch [T, n] as [n, T]: views, no copies."""
    return combine(lambda tensor: tensor.transpose(0, 1), distribution)


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
