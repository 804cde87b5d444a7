"""Importance weights of K particles per sequence, and the log of their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.unroll import Unroll
from ..observations import masked_sum
from .base import Weights, is_needed


def log_weights(run: Unroll, *, kl: float = 1.0) -> Tensor:
    """Compute sum_t log p(x_t | .) + kl (log p(z_t | .) - log q(z_t | .)) of each row, float64 [N]."""
    ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    return masked_sum(run.log_px, run.batch.mask) + kl * masked_sum(ratio, run.batch.mask)


def auxiliary_costs(run: Unroll, weights: Weights) -> dict[str, Tensor]:
    """Sum log p(b_t | z_t) ("auxiliary") and log p(x_{t-1} | b_t) ("backward") of each row, float64 [N], if needed."""
    names = [name for name in run.cost_names if is_needed(getattr(weights, name, 0.0))]
    return {name: masked_sum(run.cost(name), run.batch.mask) for name in names}


def weighted_sum(costs: dict[str, Tensor], weights: Weights, *, like: Tensor) -> Tensor:
    """Compute alpha log p(b_t | z_t) + beta log p(x_{t-1} | b_t) from `auxiliary_costs`, float64, shaped as `like`."""
    total = torch.zeros_like(like, dtype=torch.float64)
    for name, cost in costs.items():
        total = total + getattr(weights, name) * cost
    return total


def log_mean(log_w: Tensor) -> Tensor:
    """Compute log (1/K) sum_k exp(log_w), [K, B] -> [B]."""
    return torch.logsumexp(log_w, dim=0) - torch.log(torch.tensor(float(len(log_w)), dtype=log_w.dtype))
