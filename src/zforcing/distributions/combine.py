"""Distributions of several steps or particles as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal


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
