"""Resampling of particles: from K weights to K indices, among which particle k appears K w_k times on average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Uniform = Callable[[int, Tensor], Tensor]
"""(n, weights [K, B]) -> uniform numbers in [0, 1), [n, B], of the weights' type"""


def by_torch(n: int, weights: Tensor) -> Tensor:
    """By torch's global generator."""
    return torch.rand(n, weights.shape[1], dtype=weights.dtype, device=weights.device)


class Resampler(Protocol):
    """Weights [K, B], summing to 1 over K -> indices [K, B], by uniform numbers."""

    def __call__(self, weights: Tensor, uniform: Uniform = by_torch) -> Tensor: ...


def multinomial(weights: Tensor, uniform: Uniform = by_torch) -> Tensor:
    """Multinomial resampling: K independent draws. N. Gordon, D. Salmond, A. Smith, 1993."""
    return at_points(weights, uniform(len(weights), weights))


def systematic(weights: Tensor, uniform: Uniform = by_torch) -> Tensor:
    """Systematic resampling: the points (u + k) / K, one uniform number u. J. Carpenter et al., 1999."""
    return inverse_cdf(weights, uniform(1, weights).expand(len(weights), -1))


def stratified(weights: Tensor, uniform: Uniform = by_torch) -> Tensor:
    """Stratified resampling: the points (u_k + k) / K, a uniform number u_k for each. G. Kitagawa, 1996."""
    return inverse_cdf(weights, uniform(len(weights), weights))


def inverse_cdf(weights: Tensor, u: Tensor) -> Tensor:
    """The particles in whose interval of the cumulative weights the points (u_s + s) / S lie, [S, B].

    Args:
        weights: [K, B], summing to 1 over K.
        u: Numbers in [0, 1), [S, B], S mostly being K: one for all points (systematic), or one each (stratified).
    """
    S = len(u)
    return at_points(weights, (u + torch.arange(S, dtype=weights.dtype, device=weights.device)[:, None]) / S)


def at_points(weights: Tensor, points: Tensor) -> Tensor:
    """The particles in whose interval of the cumulative weights points in [0, 1) lie, [S, B]."""
    cumulative = weights.cumsum(0)
    cumulative = cumulative / cumulative[-1]  # rounding may leave the last one below 1, and so below a point
    index = torch.searchsorted(cumulative.t().contiguous(), points.t().contiguous(), right=True)
    return index.clamp(max=len(weights) - 1).t()


def effective_sample_size(weights: Tensor) -> Tensor:
    """The effective sample size 1 / sum_k w_k^2, between 1 and K, [K, B] -> [B]."""
    return 1 / weights.square().sum(0)


RESAMPLERS: dict[str, Resampler] = {"multinomial": multinomial, "systematic": systematic, "stratified": stratified}
