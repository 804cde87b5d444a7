"""K particles per sequence: K copies of a batch, one after the other, and the log-weights of what was drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.base import Unroll
from ..sequences import SequenceBatch, masked_sum
from .base import Weights


def repeat_batch(batch: SequenceBatch, k: int) -> SequenceBatch:
    """[B] -> [k B]: row i + j B is copy j of sequence i."""

    def times(x: Tensor) -> Tensor:
        return x.repeat(k, *[1] * (x.dim() - 1))

    observed = None if batch.observed is None else times(batch.observed)
    return SequenceBatch(times(batch.x), times(batch.lengths), times(batch.start), observed)


def log_weights(run: Unroll, batch: SequenceBatch, *, kl: float = 1.0) -> Tensor:
    """sum_t log p(x_t | .) + kl (log p(z_t | .) - log q(z_t | .)) of each row, float64 [k B]."""
    ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
    return masked_sum(run.log_px, batch.mask) + kl * masked_sum(ratio, batch.mask)


def extra_terms(run: Unroll, batch: SequenceBatch, weights: Weights) -> Tensor:
    """alpha log p(b_t | z_t) + beta log p(x_{t-1} | b_t) of each row, float64: maximized beside the bound."""
    auxiliary, backward = (masked_sum(term, batch.mask) for term in (run.auxiliary, run.backward))
    return weights.auxiliary * auxiliary + weights.backward * backward


def log_mean(log_w: Tensor) -> Tensor:
    """log (1/K) sum_k exp(log_w [K, B]), [B]."""
    return torch.logsumexp(log_w, dim=0) - torch.log(torch.tensor(float(len(log_w)), dtype=log_w.dtype))
