"""PixelVAE: a latent z says what an image is, and a gated PixelCNN that hears z in all its gates draws the pixels.

    p(x) = ∫ prod_d p(x_d | x_<d, z) N(z; 0, I) dz,    q(z | x) = N(mean(x), diag(std(x)^2)) by a convolutional encoder

log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), the KL in closed form. A decoder that reads the pixels before may
do without z: the KL then goes to 0, and p(x) is the PixelCNN's. A weight of the KL that grows from 0 counters that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ...distributions import diagonal_gaussian
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count
from ..density import Draws, Examples
from .gated import GatedPixels, GatedSettings, keep_the_size
from .grid import shape_of
from .marginals import set_to_marginals
from .normal import NormalLatents, log_density, standard
from .reading import log_bernoulli, pixels_of, refuse_holes


@dataclass(frozen=True)
class PixelVAEConfig(GatedSettings):
    """Settings of PixelVAE, whose decoder is the gated network."""

    latent_size: Count = 16
    """latents of an image, Z"""
    encoder_channels: Count = 32
    """channels of the encoder's first two layers; the others have twice as many"""


class PixelVAE(NormalLatents):
    """A variational autoencoder whose decoder is a gated PixelCNN: the paper's without upsampling.

    I. Gulrajani, K. Kumar, F. Ahmed, A. Ali Taiga, F. Visin, D. Vazquez, A. Courville, "PixelVAE: a latent variable
    model for natural images", ICLR 2017, arXiv 1611.05013. A bias for each pixel, at first its marginal logit, is ours.

    Args:
        spec: Binary vectors: images, row after row.
        config: The settings.

    Raises:
        UserError: The vectors are no images of this width.
    """

    name = "pixelvae"
    paper = (
        "I. Gulrajani, K. Kumar, F. Ahmed, A. Ali Taiga, F. Visin, D. Vazquez, A. Courville, "
        '"PixelVAE: A Latent Variable Model for Natural Images", ICLR 2017, arXiv 1611.05013'
    )
    Config = PixelVAEConfig

    def __init__(self, spec: ObservationSpec, config: PixelVAEConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        if spec.missing:
            self.capturable = False  # `refuse_holes` waits for the GPU
        self.shape = shape_of(spec.size, config.width)
        self.encoder = Encoder(self.shape, config.encoder_channels, config.latent_size)
        self.pixels = GatedPixels.of(config, latent_size=config.latent_size)
        self.b = nn.Parameter(torch.zeros(spec.size))

    def begin_with(self, data: Examples) -> None:
        """Set the pixels' biases to their marginal logits."""
        set_to_marginals(self.b, data)

    # ---- p(x, z)

    def log_pixels(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        """log p(x | z), exact for what is known, which comes before all that isn't."""
        copies = len(z) // len(x)
        x, known = x.repeat(copies, 1), known.repeat(copies, 1)
        return log_bernoulli(self.logits(x, z), x, known)

    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel by pixel, each by the part of the decoder that reaches it."""
        image, known = (v.view(-1, *self.shape) for v in (x, known))
        x = self.pixels.fill(image, known, bias=self.b.view(self.shape), z=z).flatten(1)
        return x, self.logits(x, z)

    def logits(self, x: Tensor, z: Tensor) -> Tensor:
        """Of p(x_d = 1 | x_<d, z), of images x [n, D] and z [n, Z]."""
        logits: Tensor = self.pixels(x.view(-1, 1, *self.shape), z).flatten(1) + self.b
        return logits

    # ---- q(z | x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """One z for an image: noise and latents are [N, 1, Z]. The encoder reads what is missing as 0."""
        x, known = pixels_of(self, batch)
        refuse_holes(self, batch)
        mean, log_variance = (v.repeat(particles, 1) for v in self.encoder(x.view(-1, 1, *self.shape)))
        q = diagonal_gaussian(mean, log_variance)
        if latents is None:
            noise = self.draw_noise(batch, particles=particles) if noise is None else noise
            latents = (q.mean + q.stddev * noise[:, 0])[:, None]
        z = latents[:, 0]
        return Draws(
            latents,
            log_px=lambda: self.log_pixels(x, known, z),
            log_pz=lambda: self.log_prior(z),
            log_qz=lambda: log_density(q, z),
            kl_parts=lambda: kl_divergence(q, standard(z))[:, None],
        )


class Encoder(nn.Module):
    """mean and log std^2 of q(z | x): 3x3 convolutions, which halve the image three times, and a linear layer.

    Args:
        shape: (H, W) of the images.
        channels: E: the layers have E, E, 2 E, ..., 2 E channels.
        latent_size: Z.
    """

    def __init__(self, shape: tuple[int, int], channels: int, latent_size: int):
        super().__init__()
        E = channels
        sizes, strides = (1, E, E, 2 * E, 2 * E, 2 * E, 2 * E, 2 * E, 2 * E), (1, 2, 1, 2, 1, 2, 1, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(read, made, 3, stride, padding=1)
            for read, made, stride in zip(sizes[:-1], sizes[1:], strides, strict=True)
        )
        H, W = (-(-side // 8) for side in shape)
        self.output = nn.Linear(2 * E * H * W, 2 * latent_size)
        keep_the_size(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both [n, Z], of images [n, 1, H, W]."""
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        mean, log_variance = self.output(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance
