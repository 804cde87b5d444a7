"""log p(x) of tiny models with latents, by a sum over all latents or by quadrature: what bounds must stay below.

A model of images whose latents are few bits sums over all of them; one with one or two Gaussian latents is integrated
by Gauss and Hermite's rule; one with a density in any order is averaged over all orders.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from ..bounds.orders import HasOrders
from ..models.density import DensityModel
from ..models.images import LatentImageModel
from ..observations import SequenceBatch

NODES = 64
"""points of the quadrature along each latent"""


def all_bits(size: int) -> Tensor:
    """Every vector of D bits, [2^D, D] float64, in the order of the binary numbers."""
    return (torch.arange(2**size)[:, None] >> torch.arange(size - 1, -1, -1) & 1).double()


@torch.no_grad()
def listed_log_likelihood(model: DensityModel, batch: SequenceBatch) -> Tensor | None:
    """log p of what is known of each image of a batch, [B] float64; None of a model that can't be listed.

    Args:
        model: Exact, with latents as the module says, or with densities in any order (images are then known whole).
        batch: B images.
    """
    if model.is_exact:
        return model.log_likelihood(batch)
    if isinstance(model, LatentImageModel):
        return _over_latents(model, batch)
    if isinstance(model, HasOrders):
        orders = [torch.tensor(order) for order in permutations(range(model.spec.size))]
        return log_mean([model.log_likelihood_in(batch, order) for order in orders])
    return None


def log_mean(values: list[Tensor]) -> Tensor:
    """log of the mean of exp."""
    return torch.stack(values).logsumexp(0) - float(np.log(len(values)))


def _over_latents(model: LatentImageModel, batch: SequenceBatch) -> Tensor:
    z, log_weight = _points(model)
    x = batch.x[:, 0]
    known = torch.ones_like(x, dtype=torch.bool) if batch.observed is None else batch.observed[:, 0]
    log_px = model.log_pixels(x, known, z.repeat_interleave(len(x), 0)).view(len(z), len(x))
    return (log_px + log_weight[:, None]).logsumexp(0)


def _points(model: LatentImageModel) -> tuple[Tensor, Tensor]:
    """Latents [P, Z], and the logarithms of their weights under the prior, [P]."""
    size = model.config.latent_size
    if model.latent_kind == "bits":
        return (z := all_bits(size)), model.log_prior(z)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    z = torch.cartesian_prod(*[torch.tensor(nodes)] * size).view(-1, size)
    log_w = torch.tensor(np.log(weights / weights.sum()))
    return z, torch.cartesian_prod(*[log_w] * size).view(-1, size).sum(1)
