"""Importance weights of K particles per sequence, and the log of their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.base import Unroll
from ..observations import masked_sum
from .base import Weights, is_needed


def log_weights(run: Unroll, *, kl: float = 1.0) -> Tensor:
    """Compute sum_t log p(x_t | .) + kl (log p(z_t | .) - log q(z_t | .)) of each row, float64 [N]."""
    ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    return masked_sum(run.log_px, run.batch.mask) + kl * masked_sum(ratio, run.batch.mask)


def extra_terms(run: Unroll, weights: Weights) -> Tensor:
    """Compute Z-Forcing's sum_t alpha log p(b_t | z_t) + beta log p(x_{t-1} | b_t) of each row, float64 [N]."""
    total = run.log_px.new_zeros(len(run.batch), dtype=torch.float64)
    if is_needed(weights.auxiliary):
        total = total + weights.auxiliary * masked_sum(run.auxiliary, run.batch.mask)
    if is_needed(weights.backward):
        total = total + weights.backward * masked_sum(run.backward, run.batch.mask)
    return total


def log_mean(log_w: Tensor) -> Tensor:
    """Compute log (1/K) sum_k exp(log_w), [K, B] -> [B]."""
    return torch.logsumexp(log_w, dim=0) - torch.log(torch.tensor(float(len(log_w)), dtype=log_w.dtype))
