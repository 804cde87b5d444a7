"""MatNet: latents at the top and in modules at two resolutions, and a posterior that merges two ways through the image.

top-down t, at a quarter of the image's height and width and then at half of them:

    z_0 ~ N(0, I), t = f(z_0);   for each module m:  z_m ~ N(0, I),  t = t + conv(h),  h = lrelu(conv([z_m, t]))

and p(x | z) = Bernoulli(conv(t) + b). Bottom-up, residual modules read x, one beside each module: u_m. The posterior of
z_m merges them into what it has gathered, s:

    s = lrelu(s + conv(lrelu(conv([t, u_m, s])))),   q(z_m | x, z_<m) = N(a mean, diag(exp(a log_var))) by conv(s)

log p(x) >= E[log p(x | z) - sum_m KL(q(z_m | x, z_<m) || N(0, I))], each KL in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...distributions import at_least_float32, diagonal_gaussian
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, check
from ..density import Draws, Examples
from .grid import shape_of
from .independent import IndependentPixels, kl_from_standard
from .marginals import set_to_marginals
from .normal import log_density
from .reading import pixels_of

SLOPE = 0.2
"""of the leaky ReLUs below 0"""
GAIN = 1.1
"""of the orthogonal matrices that weights begin as"""
FIRST_SCALE = 0.2
"""what a, the scale of all means and log variances of the posterior, begins at"""


@dataclass(frozen=True)
class MatNetConfig:
    """Settings of a MatNet."""

    top_size: Count = 32
    """numbers in z_0"""
    latent_channels: Count = 4
    """numbers in z_m at each place"""
    coarse_modules: Count = 5
    """modules at a quarter of the image's height and width"""
    fine_modules: Count = 5
    """modules at half of them"""
    channels: Count = 64
    """channels of all convolutions"""
    hidden_size: Count = 128
    """units of the layers between z_0 and the convolutions, in both directions"""
    width: Count | None = None
    """columns of an image; null: it is square"""

    def __post_init__(self) -> None:
        check(self, "model")


class MatNet(IndependentPixels):
    """The Matryoshka network, without an autoregressive decoder.

    P. Bachman, "An architecture for deep, hierarchical generative models", NIPS 2016, arXiv 1612.04739.

    z is z_0 and all z_m, from the top downwards. The parts of the KL are those of z_0 and of each module.

    Args:
        spec: Binary vectors: images, row after row.
        config: The settings.

    Raises:
        UserError: The vectors are no images of this width.
    """

    name = "matnet"
    paper = 'P. Bachman, "An Architecture for Deep, Hierarchical Generative Models", NIPS 2016, arXiv 1612.04739'
    Config = MatNetConfig

    def __init__(self, spec: ObservationSpec, config: MatNetConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        self.shape = shape_of(spec.size, config.width)
        rows, columns = self.shape
        half, quarter = ((-(-rows // by), -(-columns // by)) for by in (2, 4))
        C, Z = config.channels, config.latent_channels
        self.coarse_shape = (C, *quarter)
        modules = [quarter] * config.coarse_modules + [half] * config.fine_modules
        self.sizes = [config.top_size, *(Z * H * W for H, W in modules)]
        self.coarse = Level(C, Z, modules=config.coarse_modules, larger=half)
        self.fine = Level(C, Z, modules=config.fine_modules, larger=self.shape)
        self._make_ends(config, outputs=C * quarter[0] * quarter[1])
        self.finer = Enlarge(C, half)
        self.b = nn.Parameter(torch.zeros(spec.size))
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.orthogonal_(layer.weight, GAIN)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _make_ends(self, config: MatNetConfig, *, outputs: int) -> None:
        """The layers above and below the modules; the coarse ones have so many numbers."""
        C, H = config.channels, config.hidden_size
        self.input = nn.Sequential(nn.Conv2d(1, C, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE))
        self.down = nn.Sequential(nn.Conv2d(C, C, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE))
        self.to_top = nn.Sequential(nn.Flatten(), nn.Linear(outputs, H), nn.LeakyReLU(SLOPE))
        self.top = nn.Linear(H, 2 * config.top_size)
        self.gather = nn.Sequential(nn.Linear(H, outputs), nn.LeakyReLU(SLOPE))
        self.from_top = nn.Sequential(
            nn.Linear(config.top_size, H), nn.LeakyReLU(SLOPE), nn.Linear(H, outputs), nn.LeakyReLU(SLOPE)
        )
        self.output = nn.Conv2d(C, 1, 3, padding=1, bias=False)

    @property
    def size_of_z(self) -> int:
        """The numbers of z_0 and all z_m."""
        return sum(self.sizes)

    @property
    def latent_size(self) -> int:
        """The same."""
        return self.size_of_z

    def begin_with(self, data: Examples) -> None:
        """Set the pixels' biases to their marginal logits."""
        set_to_marginals(self.b, data)

    # ---- p(x | z)

    def logits(self, z: Tensor) -> Tensor:
        """Of the pixels [n, D], from the top downwards."""
        z_0, *parts = z.split(self.sizes, dim=1)
        t, z_of = self.from_top(z_0).view(-1, *self.coarse_shape), iter(parts)
        for level in (self.coarse, self.fine):
            for block in level.blocks:
                t = block(t, as_image(next(z_of), t))
            t = level.enlarge(F.leaky_relu(t, SLOPE))
        return self._pixels(t)

    def _pixels(self, t: Tensor) -> Tensor:
        logits: Tensor = self.output(t).flatten(1) + self.b
        return logits

    # ---- q(z | x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Noise and latents are [N, 1, size of z]. Missing pixels are read as 0."""
        x, known = pixels_of(self, batch)
        hidden, beside = self._upwards(x)
        hidden, beside = hidden.repeat(particles, 1), [u.repeat(particles, 1, 1, 1) for u in beside]
        x, known = x.repeat(particles, 1), known.repeat(particles, 1)
        e = self.drawn_by(batch, particles=particles, noise=noise, latents=latents)
        found = self._downwards(hidden, beside, e, given=latents is not None)
        z, mean, log_variance = (torch.cat(of_all, dim=1) for of_all in zip(*found.parts, strict=True))
        return Draws(
            z[:, None],
            log_px=lambda: self.log_given(found.logits, x, known),
            log_pz=lambda: self.log_prior(z),
            log_qz=lambda: log_density(diagonal_gaussian(mean, log_variance), z),
            kl_parts=lambda: torch.stack([kl_from_standard(m, v) for _, m, v in found.parts], dim=1),
        )

    def _upwards(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What all of x says [n, H], and what is beside each module [n, C, ...], from the top downwards."""
        u, beside = self.input(x.view(-1, 1, *self.shape)), []
        for level, onwards in ((self.fine, self.down), (self.coarse, self.to_top)):
            for block in reversed(level.beside):
                u = block(u)
                beside.append(u)
            u = onwards(F.leaky_relu(u, SLOPE))
        return u, beside[::-1]

    def _downwards(self, hidden: Tensor, beside: list[Tensor], e: Tensor, *, given: bool) -> Descent:
        """The logits, and z and q of each part, from noise e [N, size of z], or from z where given."""
        e_of, u_of = iter(e.split(self.sizes, dim=1)), iter(beside)
        parts = [self._part(self.top(hidden), next(e_of), given=given)]
        t, s = (f(v).view(-1, *self.coarse_shape) for f, v in ((self.from_top, parts[0].z), (self.gather, hidden)))
        for level in (self.coarse, self.fine):
            for block, merge, describe in zip(level.blocks, level.merges, level.posteriors, strict=True):
                s = F.leaky_relu(merge(s, t, next(u_of)), SLOPE)
                parts.append(self._part(describe(s), next(e_of), given=given))
                t = block(t, as_image(parts[-1].z, t))
            t = level.enlarge(F.leaky_relu(t, SLOPE))
            s = self.finer(s) if level is self.coarse else s
        return Descent(self._pixels(t), parts)

    def _part(self, parameters: Tensor, e: Tensor, *, given: bool) -> Part:
        """A part of z drawn by noise e [n, Z], or e itself where given, and its posterior by parameters [n, 2 ...]."""
        mean, log_variance = (v.flatten(1) for v in at_least_float32(self.scale * parameters).chunk(2, dim=1))
        return Part(e if given else mean + torch.exp(0.5 * log_variance) * e, mean, log_variance)


class Part(NamedTuple):
    """A part of z, and mean and log variance of its posterior, [n, Z] each."""

    z: Tensor
    mean: Tensor
    log_variance: Tensor


class Descent(NamedTuple):
    """Logits of pixels [n, D], and the parts of z that they are of."""

    logits: Tensor
    parts: list[Part]


class Level(nn.Module):
    """The modules at one resolution, the residual blocks beside them, their posteriors, and the way to `larger`.

    Args:
        channels: C.
        latents: Numbers in z_m at each place.
        modules: How many.
        larger: (H, W) of what the level below has.
    """

    def __init__(self, channels: int, latents: int, *, modules: int, larger: tuple[int, int]):
        super().__init__()
        C = channels
        self.blocks = nn.ModuleList(Residual(C, latents) for _ in range(modules))
        self.beside = nn.ModuleList(Residual(C) for _ in range(modules))
        self.merges = nn.ModuleList(Residual(C, 2 * C) for _ in range(modules))
        self.posteriors = nn.ModuleList(nn.Conv2d(C, 2 * latents, 3, padding=1) for _ in range(modules))
        self.enlarge = Enlarge(C, larger)


class Residual(nn.Module):
    """t + conv(lrelu(conv([t, others]))), t [n, C, H, W], 3x3 convolutions."""

    def __init__(self, channels: int, others: int = 0):
        super().__init__()
        self.first = nn.Conv2d(channels + others, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, t: Tensor, *others: Tensor) -> Tensor:
        """The same shape."""
        moved: Tensor = self.second(F.leaky_relu(self.first(torch.cat([t, *others], dim=1)), SLOPE))
        return t + moved


class Enlarge(nn.Module):
    """A transposed convolution to twice the height and width, cut to a shape, and a leaky ReLU."""

    def __init__(self, channels: int, shape: tuple[int, int]):
        super().__init__()
        self.shape = shape
        self.convolution = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)

    def forward(self, t: Tensor) -> Tensor:
        """[n, C, H, W] of this shape."""
        H, W = self.shape
        return F.leaky_relu(self.convolution(t)[:, :, :H, :W], SLOPE)


def as_image(z: Tensor, like: Tensor) -> Tensor:
    """z [n, Z H W] as [n, Z, H, W], with the height and width of another."""
    return z.view(len(z), -1, *like.shape[2:])
