"""Resampling: from weights to the indices of the particles that go on, each particle K w_k times in expectation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Resampler = Callable[[Tensor], Tensor]  # weights [K, B], summing to 1 over K -> indices [K, B]


def multinomial(weights: Tensor) -> Tensor:
    """K independent draws. N. Gordon, D. Salmond, A. Smith, 1993."""
    return torch.multinomial(weights.t(), len(weights), replacement=True).t()


def systematic(weights: Tensor) -> Tensor:
    """One uniform number u; the points (u + k) / K on the cumulative weights. J. Carpenter et al., 1999."""
    u = torch.rand(1, weights.shape[1], dtype=weights.dtype, device=weights.device)
    return _at(weights, u.expand(len(weights), -1))


def stratified(weights: Tensor) -> Tensor:
    """A uniform number u_k in each of K strata; the points (u_k + k) / K. G. Kitagawa, 1996."""
    return _at(weights, torch.rand_like(weights))


def _at(weights: Tensor, u: Tensor) -> Tensor:
    """The particles on whose stretch of the cumulative weights the points (u_k + k) / K lie."""
    K = len(weights)
    points = (u + torch.arange(K, dtype=weights.dtype, device=weights.device)[:, None]) / K
    cumulative = weights.cumsum(0)
    cumulative = cumulative / cumulative[-1]  # rounding: the last point must find a particle
    found = torch.searchsorted(cumulative.t().contiguous(), points.t().contiguous(), right=True)
    return found.clamp(max=K - 1).t()


def effective_sample_size(weights: Tensor) -> Tensor:
    """1 / sum_k w_k^2, between 1 and K, [B]."""
    return 1 / weights.square().sum(0)


RESAMPLERS: dict[str, Resampler] = {"multinomial": multinomial, "systematic": systematic, "stratified": stratified}
