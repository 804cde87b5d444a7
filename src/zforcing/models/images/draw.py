"""DRAW: an image is painted in T glimpses, each with latents of its own, on a canvas that the encoder looks at.

For t = 1, ..., T with the canvas c_0 learned:

    r_t = read(x, x - sigmoid(c_t-1), d_t-1)          all of the image, or a window where the decoder wants it
    e_t = LSTM([r_t, d_t-1], e_t-1)                   encoder
    z_t ~ N(mean(e_t), diag(std(e_t)^2));             p(z_t) = N(0, I)
    d_t = LSTM(z_t, d_t-1)                            decoder
    c_t = c_t-1 + write(d_t)

p(x | z) = Bernoulli(sigmoid(c_T)), and log p(x) >= E[log p(x | z) - sum_t KL(q(z_t | x, z_<t) || N(0, I))].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...distributions import at_least_float32, gaussian_log_prob
from ...nn import lstm_update
from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, check
from ..density import Draws, Examples
from .attention import WholeReader, WindowReader, WindowWriter
from .grid import shape_of
from .independent import IndependentPixels, kl_from_standard
from .marginals import set_to_marginals
from .reading import pixels_of


@dataclass(frozen=True)
class DRAWConfig:
    """Settings of DRAW."""

    glimpses: Count = 64
    """T"""
    latent_size: Count = 100
    """numbers in z_t, Z"""
    hidden_size: Count = 256
    """units of the encoder's LSTM, and of the decoder's"""
    read_size: Count | None = 2
    """filters a side of the window that is read; null: the whole image is"""
    write_size: Count | None = 5
    """filters a side of the window that is written; null: the whole canvas is"""
    width: Count | None = None
    """columns of an image; null: it is square"""

    def __post_init__(self) -> None:
        check(self, "model")


class DRAW(IndependentPixels):
    """The deep recurrent attentive writer.

    K. Gregor, I. Danihelka, A. Graves, D. J. Rezende, D. Wierstra, "DRAW: a recurrent neural network for image
    generation", ICML 2015, arXiv 1502.04623.

    z is all z_t, one after the other: T Z numbers. The parts of the KL are those of the glimpses.

    Args:
        spec: Binary vectors: images, row after row.
        config: The settings.

    Raises:
        UserError: The vectors are no images of this width.
    """

    name = "draw"
    paper = (
        "K. Gregor, I. Danihelka, A. Graves, D. J. Rezende, D. Wierstra, "
        '"DRAW: A Recurrent Neural Network for Image Generation", ICML 2015, arXiv 1502.04623'
    )
    Config = DRAWConfig

    def __init__(self, spec: ObservationSpec, config: DRAWConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        D, H, Z = spec.size, config.hidden_size, config.latent_size
        shape = shape_of(D, config.width)
        self.read = (
            WholeReader(D, 4 * H)
            if config.read_size is None
            else WindowReader(shape, size=config.read_size, hidden=H, outputs=4 * H)
        )
        self.write = (
            nn.Linear(H, D, bias=False)
            if config.write_size is None
            else WindowWriter(shape, size=config.write_size, hidden=H)
        )
        self.encoder = nn.Linear(2 * H, 4 * H, bias=False)
        self.posterior = nn.Linear(H, 2 * Z)
        self.decoder = nn.Linear(Z + H, 4 * H)
        nn.init.zeros_(self.decoder.bias)  # else 64 glimpses write the same, and the canvas ends far from the marginals
        self.canvas = nn.Parameter(torch.zeros(D))
        self.encoder_start, self.decoder_start = nn.Parameter(torch.zeros(2, H)), nn.Parameter(torch.zeros(2, H))

    @property
    def label(self) -> str:
        """With whether it has attention."""
        return self.name if self.config.read_size or self.config.write_size else f"{self.name} (no attention)"

    @property
    def size_of_z(self) -> int:
        """T Z."""
        size: int = self.config.glimpses * self.config.latent_size
        return size

    @property
    def latent_size(self) -> int:
        """T Z."""
        return self.size_of_z

    def begin_with(self, data: Examples) -> None:
        """Set the canvas c_0 to the pixels' marginal logits."""
        set_to_marginals(self.canvas, data)

    # ---- p(x | z)

    def start(self, n: int) -> Painting:
        """What the decoder has before the first glimpse, n times."""
        h, c = self.decoder_start
        return Painting(*(v.expand(n, -1) for v in (self.canvas, h, c)))

    def paint(self, painting: Painting, z: Tensor) -> Painting:
        """Take z_t [n, Z] in, and write."""
        h, c = lstm_update(self.decoder(torch.cat([z, painting.h], dim=1)), painting.c)
        return Painting(painting.canvas + self.write(h), h, c)

    def logits(self, z: Tensor) -> Tensor:
        """The canvas c_T [n, D]."""
        painting = self.start(len(z))
        for z_t in z.split(self.config.latent_size, dim=1):
            painting = self.paint(painting, z_t)
        return painting.canvas

    # ---- q(z | x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Noise and latents are [N, 1, T Z]. Missing pixels are read as 0, and without an error."""
        x, known = pixels_of(self, batch)
        seen = self.read.once(x).repeat(particles, 1)
        x, known = x.repeat(particles, 1), known.repeat(particles, 1)
        e = self.drawn_by(batch, particles=particles, noise=noise, latents=latents)
        z, mean, log_variance, canvas = self._glimpses(x, known, seen, e, given=latents is not None)
        return Draws(
            z.flatten(1)[:, None],
            log_px=lambda: self.log_given(canvas, x, known),
            log_pz=lambda: self.log_prior(z.flatten(1)),
            log_qz=lambda: gaussian_log_prob(z, mean, log_variance).sum(1, dtype=torch.float64),
            kl_parts=lambda: kl_from_standard(mean, log_variance),
        )

    def _glimpses(self, x: Tensor, known: Tensor, seen: Tensor, e: Tensor, *, given: bool) -> tuple[Tensor, ...]:
        """z, and the means and log variances of q, [N, T, Z] each, and c_T, from noise e [N, T Z], or z where given."""
        painting, (h, c) = self.start(len(x)), (v.expand(len(x), -1) for v in self.encoder_start)
        glimpses = []
        for e_t in e.split(self.config.latent_size, dim=1):
            error = torch.where(known, x - torch.sigmoid(painting.canvas), torch.zeros_like(x))
            gates = self.read(seen, error, painting.h) + self.encoder(torch.cat([h, painting.h], dim=1))
            h, c = lstm_update(gates, c)
            mean, log_variance = at_least_float32(self.posterior(h)).chunk(2, dim=1)
            z_t = e_t if given else mean + torch.exp(0.5 * log_variance) * e_t
            glimpses.append((z_t, mean, log_variance))
            painting = self.paint(painting, z_t)
        return *(torch.stack(of_all, dim=1) for of_all in zip(*glimpses, strict=True)), painting.canvas


class Painting(NamedTuple):
    """The canvas c_t [n, D], logits of the pixels, and the decoder's LSTM, [n, H] each."""

    canvas: Tensor
    h: Tensor
    c: Tensor
