"""Gaussians, with densities in at least float32."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

# These distributions skip torch's argument checks: the parameters are valid by construction, a check waits for the GPU
# at every call, and a NaN should reach the loss, where the training loop reports the step and the batch.


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half-precision parameters of densities to float32: a log-density in bfloat16 has two or three digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def diagonal_gaussian(mean: Tensor, log_variance: Tensor, *, min_std: float = 0.0) -> Distribution:
    """Return N(mean, diag(std^2)), std = min_std + exp(log_variance / 2); parameters [..., D], event [D]."""
    std = torch.exp(0.5 * at_least_float32(log_variance))
    if min_std:
        std = std + min_std
    return Independent(Normal(at_least_float32(mean), std, validate_args=False), 1, validate_args=False)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute log N(x; mean, diag(exp(log_variance))), [..., D] -> [...], in nats.

    It equals `diagonal_gaussian(mean, log_variance).log_prob(x)` with half the passes over memory. The three have one
    shape: nothing is broadcast. Differentiable once.
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
    """Return the distribution of a latent of size 0, with batch [...] of like [..., F]: log-density and KL are 0."""
    empty = like[..., :0]
    return diagonal_gaussian(empty, empty)


def gaussian(mean: Tensor, scale_tril: Tensor) -> Distribution:
    """Return N(mean, L L^T), mean [..., Z], L = scale_tril [..., Z, Z], lower triangular with a positive diagonal."""
    return MultivariateNormal(mean, scale_tril=scale_tril, validate_args=False)


def reparameterize(distribution: Distribution, noise: Tensor) -> Tensor:
    """Sample a Gaussian by z = mean + std * noise, or mean + L noise: differentiable in its parameters.

    Args:
        distribution: A diagonal Gaussian or a `MultivariateNormal`, event [Z].
        noise: [..., Z], standard normal.

    Returns:
        z [..., Z].
    """
    if isinstance(distribution, MultivariateNormal):
        return distribution.loc + (distribution.scale_tril @ noise[..., None])[..., 0]
    if isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal):
        return distribution.base_dist.loc + distribution.base_dist.scale * noise  # `stddev` is the root of the square
    return distribution.mean + distribution.stddev * noise


def gaussian_log_ratio(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """log q(z) - log p(z), [...], of two Gaussians with event [Z]; of diagonal ones in half the operations."""
    if not (_is_diagonal(q) and _is_diagonal(p)):
        return torch.as_tensor(q.log_prob(z) - p.log_prob(z))
    (m, s), (n, t) = ((d.base_dist.loc, d.base_dist.scale) for d in (q, p))  # type: ignore[attr-defined]  # see _is_diagonal
    a, b = (z - n) / t, (z - m) / s
    each: Tensor = torch.log(t / s) + 0.5 * ((a + b) * (a - b))
    return each.sum(-1)


def _is_diagonal(distribution: Distribution) -> bool:
    return isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal)
