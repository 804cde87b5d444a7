"""DLGM with Hamiltonian variational inference: a Gaussian VAE whose posterior draws move by leapfrog steps.

z ~ N(0, I);   p(x | z) = Bernoulli(f(z));   z_0 ~ q(z_0 | x), Gaussian;   v_0 ~ N(0, I)

A leapfrog step with g(z) = d log p(x, z) / dz and learned sizes e:   v += e/2 g(z);   z += e v;   v += e/2 g(z)

It moves z towards where p(x, z) is large, keeps volumes, and can be undone. After T steps, with a reverse model r,

    log p(x) >= E[ log p(x, z_T) + log r(v_T | x, z_T) - log q(z_0 | x) - log N(v_0; 0, I) ]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ...distributions import diagonal_gaussian
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, Range, check
from ..density import Draws, Examples
from .independent import IndependentPixels
from .marginals import set_to_marginals
from .normal import log_density, standard
from .reading import pixels_of

LARGEST_STEP, FIRST_STEP = 0.5, 0.05


@dataclass(frozen=True)
class DLGMConfig:
    """Settings of the DLGM."""

    latent_size: Count = 50
    """numbers in z"""
    hidden_size: Count = 300
    """units of each hidden layer of decoder, encoder and reverse model"""
    num_layers: Count = 2
    """hidden layers of decoder and encoder; the reverse model has one"""
    leapfrog_steps: Annotated[int, Range(at_least=0)] = 8
    """T, the steps that a draw from the encoder moves by; 0: the plain VAE"""

    def __post_init__(self) -> None:
        check(self, "model")


class DLGM(IndependentPixels):
    """The deep latent Gaussian model, with a posterior that is refined by T leapfrog steps.

    T. Salimans, D. Kingma, M. Welling, "Markov chain Monte Carlo and variational inference: bridging the gap", ICML
    2015, arXiv 1410.6460; with T = 0 D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv
    1312.6114. One draw of v, of unit mass (sizes of steps by dimension are as good), and no accept/reject step.

    `Draws.latents` are (z_T, v_T). With T > 0 the KL has no closed form: its term is of the draw, and may be negative.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "dlgm"
    paper = (
        "T. Salimans, D. Kingma, M. Welling, "
        '"Markov Chain Monte Carlo and Variational Inference: Bridging the Gap", ICML 2015, arXiv 1410.6460'
    )
    Config = DLGMConfig

    def __init__(self, spec: ObservationSpec, config: DLGMConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        D, H, Z = spec.size, config.hidden_size, config.latent_size
        self.steps = config.leapfrog_steps
        self.encoder = softplus_network(D, H, 2 * Z, layers=config.num_layers)
        self.hidden = nn.ModuleList(nn.Linear(Z if layer == 0 else H, H) for layer in range(config.num_layers))
        self.output = nn.Linear(H, D)
        for layer in [*self.encoder, *self.hidden, self.output]:  # PyTorch's own lets the latents die (docs/images.md)
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        if self.steps:
            self.step_logit = nn.Parameter(torch.full((Z,), FIRST_STEP / LARGEST_STEP).logit())
            self.reverse = softplus_network(D + Z, H, 2 * Z, layers=1)
            for p in self.reverse[-1].parameters():
                nn.init.zeros_(p)  # r begins at N(0, I)

    @property
    def label(self) -> str:
        """With the number of leapfrog steps."""
        return f"{self.name} ({self.steps} leapfrog steps)" if self.steps else f"{self.name} (plain VAE)"

    @property
    def latent_size(self) -> int:
        """Z, and as many for v."""
        size: int = self.config.latent_size
        return 2 * size if self.steps else size

    def begin_with(self, data: Examples) -> None:
        """Set the decoder's output biases to the pixels' marginal logits."""
        set_to_marginals(self.output.bias, data)

    # ---- p(x, z)

    def logits(self, z: Tensor) -> Tensor:
        """f(z) [n, D]."""
        for layer in self.hidden:
            z = F.softplus(layer(z))
        logits: Tensor = self.output(z)
        return logits

    def gradient(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        """d log p(x, z) / dz [n, Z], layer by layer: it can be differentiated, and needs no graph where nobody does."""
        h, slopes = z, []
        for layer in self.hidden:
            a = layer(h)
            slopes.append(torch.sigmoid(a))
            h = F.softplus(a)
        g = torch.where(known, x - torch.sigmoid(self.output(h)), torch.zeros_like(x)) @ self.output.weight
        for layer, slope in zip(reversed(self.hidden), reversed(slopes), strict=True):
            assert isinstance(layer, nn.Linear), "a module list forgets of what"
            g = (g * slope) @ layer.weight
        return g - z

    # ---- q(z, v | x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Draw (z_0, v_0), and move them by T steps; latents that are given are moved back."""
        x, known = pixels_of(self, batch)
        q = gaussian(self.encoder(x).repeat(particles, 1))
        x, known = x.repeat(particles, 1), known.repeat(particles, 1)
        if latents is None:
            e = (self.draw_noise(batch, particles=particles) if noise is None else noise)[:, 0]
            z_0, v_0 = q.mean + q.stddev * self._halves(e)[0], self._halves(e)[1]
            z, v = self.move(x, known, z_0, v_0)
        else:
            z, v = self._halves(latents[:, 0])
            z_0, v_0 = self.move(x, known, z, -v)  # which ends at -v_0, of the same density

        def log_q() -> Tensor:
            return log_density(q, z_0) + log_density(standard(v_0), v_0)

        def log_p() -> Tensor:
            return self.log_prior(z) + self._log_reverse(x, z, v)

        return Draws(
            torch.cat([z, v], dim=1)[:, None],
            log_px=lambda: self.log_pixels(x, known, z),
            log_pz=log_p,
            log_qz=log_q,
            kl_parts=lambda: (log_q() - log_p() if self.steps else kl_divergence(q, standard(z)))[:, None],
        )

    def move(self, x: Tensor, known: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """T leapfrog steps from (z, v), [n, Z] each; from (z_T, -v_T) they lead to (z_0, -v_0)."""
        if not self.steps:
            return z, v
        sizes = LARGEST_STEP * torch.sigmoid(self.step_logit)
        return leapfrog(z, v, gradient=lambda z: self.gradient(x, known, z), sizes=sizes, steps=self.steps)

    def _log_reverse(self, x: Tensor, z: Tensor, v: Tensor) -> Tensor:
        """log r(v_T | x, z_T) [n]; 0 without v."""
        if not self.steps:
            return z.new_zeros(len(z), dtype=torch.float64)
        return log_density(gaussian(self.reverse(torch.cat([x, z], dim=1))), v)

    def _halves(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What is z and what is v of [n, Z or 2 Z]."""
        Z = self.config.latent_size
        return values[:, :Z], values[:, Z:]


def leapfrog(
    z: Tensor, v: Tensor, *, gradient: Callable[[Tensor], Tensor], sizes: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Leapfrog steps of the energy v^2 / 2 - log p(z), whose gradient is that of log p."""
    g = gradient(z)
    for _ in range(steps):
        v = v + sizes / 2 * g
        z = z + sizes * v
        g = gradient(z)
        v = v + sizes / 2 * g
    return z, v


def softplus_network(inputs: int, hidden: int, outputs: int, *, layers: int) -> nn.Sequential:
    """`layers` hidden layers of softplus units, and a linear output."""
    sizes = [inputs, *[hidden] * layers]
    within = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.Softplus())]
    return nn.Sequential(*within, nn.Linear(hidden, outputs))


def gaussian(parameters: Tensor) -> Distribution:
    """The diagonal Gaussian [n, Z] of means and logarithms of variances, [n, 2 Z]."""
    return diagonal_gaussian(*parameters.chunk(2, dim=1))
