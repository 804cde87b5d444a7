"""Resampling of particles: from K weights to K indices, among which particle k appears K w_k times on average."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Resampler = Callable[[Tensor], Tensor]  # weights [K, B], summing to 1 over K -> indices [K, B]


def multinomial(weights: Tensor) -> Tensor:
    """Multinomial resampling: K independent draws. N. Gordon, D. Salmond, A. Smith, 1993."""
    return torch.multinomial(weights.t(), len(weights), replacement=True).t()


def systematic(weights: Tensor) -> Tensor:
    """Systematic resampling: the points (u + k) / K, one uniform number u. J. Carpenter et al., 1999."""
    u = torch.rand(1, weights.shape[1], dtype=weights.dtype, device=weights.device)
    return inverse_cdf(weights, u.expand(len(weights), -1))


def stratified(weights: Tensor) -> Tensor:
    """Stratified resampling: the points (u_k + k) / K, a uniform number u_k for each. G. Kitagawa, 1996."""
    return inverse_cdf(weights, torch.rand_like(weights))


def inverse_cdf(weights: Tensor, u: Tensor) -> Tensor:
    """The particles in whose interval of the cumulative weights the points (u_s + s) / S lie, [S, B].

    Args:
        weights: [K, B], summing to 1 over K.
        u: Numbers in [0, 1), [S, B], S mostly being K: one for all points (systematic), or one each (stratified).
    """
    K, S = len(weights), len(u)
    points = (u + torch.arange(S, dtype=weights.dtype, device=weights.device)[:, None]) / S
    cumulative = weights.cumsum(0)
    cumulative = cumulative / cumulative[-1]  # rounding may leave the last one below 1, and so below a point
    index = torch.searchsorted(cumulative.t().contiguous(), points.t().contiguous(), right=True)
    return index.clamp(max=K - 1).t()


def effective_sample_size(weights: Tensor) -> Tensor:
    """The effective sample size 1 / sum_k w_k^2, between 1 and K, [K, B] -> [B]."""
    return 1 / weights.square().sum(0)


RESAMPLERS: dict[str, Resampler] = {"multinomial": multinomial, "systematic": systematic, "stratified": stratified}
