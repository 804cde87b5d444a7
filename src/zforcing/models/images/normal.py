"""Binary images whose latents are N(0, I)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from ...distributions import diagonal_gaussian
from .latent import LatentImageModel


class NormalLatents(LatentImageModel):
    """Base class of models of binary vectors with z ~ N(0, I)."""

    latent_kind = "normal"

    def draw_prior(self, n: int) -> Tensor:
        """z ~ N(0, I)."""
        like = next(self.parameters())
        return torch.randn(n, self.size_of_z, dtype=like.dtype, device=like.device)

    def log_prior(self, z: Tensor) -> Tensor:
        """log N(z; 0, I)."""
        return log_density(standard(z), z)


def standard(like: Tensor) -> Distribution:
    """N(0, I) with the shape of a tensor [n, Z]."""
    return diagonal_gaussian(torch.zeros_like(like), torch.zeros_like(like))


def log_density(p: Distribution, z: Tensor) -> Tensor:
    """log p(z) [n] of independent numbers, summed in float64."""
    assert isinstance(p, Independent), f"the numbers of {type(p).__name__} aren't independent"
    each: Tensor = p.base_dist.log_prob(z)
    return each.sum(-1, dtype=torch.float64)
