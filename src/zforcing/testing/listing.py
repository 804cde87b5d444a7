"""log p(x) of tiny models with latents, by a sum over all latents or by quadrature: what bounds must stay below.

A model that knows p(x) up to a constant sums over all latents too, once more for the constant.

A model of images whose latents are few bits sums over all of them; one with one to three Gaussian latents is integrated
by Gauss and Hermite's rule, by its own functions or by what `draw` says of given latents; one with a density in any
order is averaged over all orders.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from ..bounds.ais import HasPartition
from ..bounds.orders import HasOrders
from ..models.density import DensityModel
from ..models.images import IndependentPixels, LatentImageModel
from ..observations import SequenceBatch

NODES = {1: 64, 2: 32, 3: 16}
"""points of the quadrature along each of so many latents"""


def all_bits(size: int) -> Tensor:
    """Every vector of D bits, [2^D, D] float64, in the order of the binary numbers."""
    return (torch.arange(2**size)[:, None] >> torch.arange(size - 1, -1, -1) & 1).double()


@torch.no_grad()
def listed_log_likelihood(model: DensityModel, batch: SequenceBatch) -> Tensor:
    """log p of what is known of each image of a batch, [B] float64.

    Args:
        model: Exact, with latents as the module says, or with densities in any order (images are then known whole).
        batch: B images.

    Raises:
        ValueError: It has more than three Gaussian latents, or others than a LatentImageModel may.
    """
    if model.is_exact:
        return model.log_likelihood(batch)
    if isinstance(model, LatentImageModel):
        return _over_latents(model, batch)
    if isinstance(model, HasPartition):
        terms = listed_terms(model, batch)
        return terms.log_joint.logsumexp(0) - terms.log_z
    if isinstance(model, HasOrders):
        orders = [torch.tensor(order) for order in permutations(range(model.spec.size))]
        return log_mean([model.log_likelihood_in(batch, order) for order in orders])
    return _over_given(model, batch)


class ListedTerms(NamedTuple):
    """Of all L vectors of bits and each of B images, float64, with gradient."""

    log_joint: Tensor
    """log p(x, h) + log Z [L, B]"""
    q: Tensor
    """q(h | x) [L, B], without gradient"""
    log_z: Tensor
    """log Z []"""


def listed_terms(model: DensityModel, batch: SequenceBatch) -> ListedTerms:
    """The terms of a model that knows p(x) up to a constant. Raises TypeError for another model."""
    if not isinstance(model, HasPartition):
        raise TypeError(f"model {model.name} has no unknown constant")
    bits = all_bits(model.latent_size)
    L, B = len(bits), len(batch)
    terms = model.unnormalized(batch, particles=L, latents=bits.repeat_interleave(B, 0)[:, None])
    log_joint, log_prior = ((v.view(L, B)) for v in (terms.log_px + terms.log_prior, terms.log_prior))
    return ListedTerms(log_joint, terms.log_q.view(L, B).detach().exp(), log_prior[:, 0].logsumexp(0))


def log_mean(values: list[Tensor]) -> Tensor:
    """log of the mean of exp."""
    return torch.stack(values).logsumexp(0) - float(np.log(len(values)))


def _over_latents(model: LatentImageModel, batch: SequenceBatch) -> Tensor:
    z, log_weight = _points(model)
    x = batch.x[:, 0]
    known = torch.ones_like(x, dtype=torch.bool) if batch.observed is None else batch.observed[:, 0]
    if isinstance(model, IndependentPixels):  # the logits are those of z alone
        copies = (model.logits(z).repeat_interleave(len(x), 0), x.repeat(len(z), 1), known.repeat(len(z), 1))
        log_px = model.log_given(*copies)
    else:
        log_px = model.log_pixels(x, known, z.repeat_interleave(len(x), 0))
    return (log_px.view(len(z), len(x)) + log_weight[:, None]).logsumexp(0)


def _over_given(model: DensityModel, batch: SequenceBatch) -> Tensor:
    """By p(x | z) p(z) / N(z; 0, I), as the model's `draw` has them."""
    z, log_weight = _gaussian(model.latent_size)
    like = model.draw(batch).latents.shape[1:]
    draws = model.draw(batch, particles=len(z), latents=z.repeat_interleave(len(batch), 0).view(-1, *like))
    standard = Normal(0.0, 1.0).log_prob(z).sum(1)
    log_px, log_pz = (nats.view(len(z), len(batch)) for nats in (draws.log_px, draws.log_pz))
    log_w = log_pz + (log_weight - standard)[:, None]
    total = float(log_w[:, 0].logsumexp(0).exp())
    if abs(total - 1) > 1e-4:
        raise ValueError(
            f"p(z) isn't one that N(0, I) integrates (it sums to {total:.3g}): images can't be listed; bits and other "
            "priors are listed of a LatentImageModel"
        )
    found: Tensor = (log_px + log_w).logsumexp(0)
    return found


def _points(model: LatentImageModel) -> tuple[Tensor, Tensor]:
    """Latents [P, Z], and the logarithms of their weights under the prior, [P]."""
    size = model.size_of_z
    if model.latent_kind == "bits":
        return (z := all_bits(size)), model.log_prior(z)
    return _gaussian(size)


def _gaussian(size: int) -> tuple[Tensor, Tensor]:
    """Points [P, Z] of N(0, I) and the logarithms of their weights, [P]."""
    if size not in NODES:
        raise ValueError(f"{size} Gaussian latents can't be integrated: check a smaller model, of at most {len(NODES)}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES[size])
    z = torch.cartesian_prod(*[torch.tensor(nodes)] * size).view(-1, size)
    log_w = torch.tensor(np.log(weights / weights.sum()))
    return z, torch.cartesian_prod(*[log_w] * size).view(-1, size).sum(1)
