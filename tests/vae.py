"""A density model without time, as somebody else would write it: a small VAE of binary vectors, and its exact p(x)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from zforcing import DensityModel, Draws, Generated, ObservationSpec, SequenceBatch

PIXELS = ObservationSpec("binary", 3)


@dataclass(frozen=True)
class BinaryVAEConfig:
    hidden_size: int = 4
    """units of the two networks"""


class BinaryVAE(DensityModel):
    """p(z) = N(0, 1), p(x | z) Bernoulli, q(z | x) Gaussian: D. Kingma, M. Welling, ICLR 2014, arXiv 1312.6114."""

    name = "binary_vae"
    Config = BinaryVAEConfig
    cost_names = ("certain",)
    latent_size = 1

    def __init__(self, spec: ObservationSpec, config: BinaryVAEConfig):
        super().__init__(spec, config)
        H = config.hidden_size
        self.encoder = nn.Sequential(nn.Linear(spec.size, H), nn.Tanh(), nn.Linear(H, 2))
        self.decoder = nn.Sequential(nn.Linear(1, H), nn.Tanh(), nn.Linear(H, spec.size))

    def prior(self) -> Independent:
        return Independent(Normal(self.encoder[0].weight.new_zeros(1), 1.0), 1)

    def posterior(self, x: Tensor) -> Independent:
        mean, log_std = self.encoder(x).chunk(2, dim=-1)
        return Independent(Normal(mean, log_std.exp()), 1)

    def emission(self, z: Tensor) -> Independent:
        return Independent(Bernoulli(logits=self.decoder(z)), 1)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        x = batch.x.repeat(particles, 1, 1)  # [N, 1, D]
        p, q = self.prior(), self.posterior(x)
        if latents is None:
            latents = q.mean + q.stddev * (self.draw_noise(batch, particles=particles) if noise is None else noise)
        return Draws(
            latents,
            log_px=lambda: self.emission(latents).log_prob(x)[:, 0],
            log_pz=lambda: p.log_prob(latents)[:, 0],
            log_qz=lambda: q.log_prob(latents)[:, 0],
            kl_parts=lambda: kl_divergence(q, p.expand(q.batch_shape)),
            costs={"certain": lambda: -q.stddev[:, 0, 0]},
        )

    def sample(self, num_samples: int) -> Generated:
        z = self.prior().sample((num_samples, 1))  # [n, 1, 1]
        emission = self.emission(z)
        return Generated(emission.sample(), z, emission)


def exact(model: BinaryVAE, batch: SequenceBatch) -> Tensor:
    """log p(x) = log of the mean of p(x | z) over z ~ N(0, 1), by Gauss and Hermite's rule with 200 points, [B]."""
    points, weights = np.polynomial.hermite_e.hermegauss(200)
    z, w = torch.tensor(points)[:, None, None], torch.tensor(weights / weights.sum())
    with torch.no_grad():
        log_px = model.double().emission(z).log_prob(batch.x[:, 0].double())  # [200, B]
    return (log_px + w.log()[:, None]).logsumexp(0)


def vae(seed: int = 0, **settings: Any) -> BinaryVAE:
    """A model whose latent matters, and whose posterior is off."""
    torch.manual_seed(seed)
    model = BinaryVAE(PIXELS, BinaryVAEConfig(**settings))
    with torch.no_grad():
        model.decoder[2].weight.mul_(4.0)
    return model


def all_vectors() -> SequenceBatch:
    """Each of the 8 vectors of 3 bits, as a sequence of one step."""
    x = torch.tensor(list(product([0.0, 1.0], repeat=3)))[:, None]
    return SequenceBatch(x, torch.ones(8, dtype=torch.int64), torch.zeros(8, 3))
