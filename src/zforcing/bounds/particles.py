"""The log of the mean of the particles' weights."""

from __future__ import annotations

import torch
from torch import Tensor


def log_mean(log_w: Tensor) -> Tensor:
    """Compute log (1/K) sum_k exp(log_w), [K, B] -> [B]."""
    return torch.logsumexp(log_w, dim=0) - torch.log(torch.tensor(float(len(log_w)), dtype=log_w.dtype))
