"""DARN: one layer of stochastic bits h, which are autoregressive, under pixels that are autoregressive given h.

p(h_j = 1 | h_<j)    = sigmoid(b_j + W_j,<j h_<j)
p(x_i = 1 | x_<i, h) = sigmoid(c_i + R_i,<i x_<i + U_i h)
q(h_j = 1 | x)       = sigmoid(a_j),   a = V x + d
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from ...observations import ObservationSpec, SequenceBatch
from ...settings import Count, check
from ..density import Draws, Examples
from .latent import LatentImageModel
from .marginals import set_to_marginals
from .reading import log_bernoulli, pixels_of, refuse_holes


@dataclass(frozen=True)
class DARNConfig:
    """Settings of DARN."""

    latent_size: Count = 500
    """H, the bits in h"""

    def __post_init__(self) -> None:
        check(self, "model")


class DARN(LatentImageModel):
    """The deep autoregressive network with one stochastic layer, without deterministic layers.

    K. Gregor, I. Danihelka, A. Mnih, C. Blundell, D. Wierstra, "Deep autoregressive networks", ICML 2014, arXiv
    1310.8499. The gradient of the encoder is theirs (`SampledBits`): biased, but for functions that are quadratic in
    each bit; that of the entropy is exact, so train by the ELBO. Its KL has no closed form: the term is that of the
    drawn h, and may be negative.

    Args:
        spec: Binary vectors, in the order in which they are drawn.
        config: The settings.
    """

    name = "darn"
    paper = (
        "K. Gregor, I. Danihelka, A. Mnih, C. Blundell, D. Wierstra, "
        '"Deep Autoregressive Networks", ICML 2014, arXiv 1310.8499'
    )
    Config = DARNConfig
    latent_kind = "bits"

    def __init__(self, spec: ObservationSpec, config: DARNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        if spec.missing:
            self.capturable = False  # `refuse_holes` waits for the GPU
        D, H = spec.size, config.latent_size
        self.encoder = nn.Linear(D, H)
        self.W, self.b = nn.Parameter(torch.zeros(H, H)), nn.Parameter(torch.zeros(H))
        self.R, self.c = nn.Parameter(torch.zeros(D, D)), nn.Parameter(torch.zeros(D))
        self.U = nn.Linear(H, D, bias=False)

    def begin_with(self, data: Examples) -> None:
        """Set c to the pixels' marginal logits."""
        set_to_marginals(self.c, data)

    # ---- p(x, h)

    def draw_prior(self, n: int) -> Tensor:
        """Bit by bit."""
        h = self.b.new_zeros(n, len(self.b))
        return draw_chain(h, torch.zeros_like(h, dtype=torch.bool), self.b.repeat(n, 1), self.W)[0]

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(h) [n]."""
        return log_bernoulli(F.linear(z, self.W.tril(-1), self.b), z)

    def log_pixels(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        """log p(x | h) [n], up to the last pixel that is known. R x is computed once for all copies."""
        copies = len(z) // len(x)
        logits = F.linear(x, self.R.tril(-1), self.c).repeat(copies, 1) + self.U(z)
        return log_bernoulli(logits, x.repeat(copies, 1), known.repeat(copies, 1))

    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel by pixel."""
        return draw_chain(x, known, self.c + self.U(z), self.R)

    # ---- q(h | x)

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Draw h ~ q(h | x)."""
        x, known = pixels_of(self, batch)
        refuse_holes(self, batch)
        a = self.encoder(x).repeat(particles, 1)
        if latents is None:
            e = (self.draw_noise(batch, particles=particles) if noise is None else noise)[:, 0]
            h: Tensor = SampledBits.apply(a, torch.special.ndtr(e))  # type: ignore[no-untyped-call]  # torch's
        else:
            h = latents[:, 0]
        return Draws(
            h[:, None],
            log_px=lambda: self.log_pixels(x, known, h),
            log_pz=lambda: self.log_prior(h),
            log_qz=lambda: log_bernoulli(a, h),
            kl_parts=lambda: (-entropy(a) - self.log_prior(h))[:, None],
        )


class SampledBits(torch.autograd.Function):
    """Bits h = 1 where u < sigmoid(a), with the gradient of the DARN paper for E[f(h)] in a.

    df/da_j = sigmoid'(a_j) f'(h)_j / (2 q(h_j)), q(h_j) being the probability of the bit that was drawn: the mean over
    draws is exact where f is quadratic in h_j, as the mean of its slopes at 0 and 1 is then the chord's.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, u: Tensor) -> Tensor:
        """The bits [n, H] of logits and uniform numbers."""
        q = torch.sigmoid(a)
        h = (u < q).to(a.dtype)
        ctx.save_for_backward(torch.where(h > 0, 1 - q, q))  # sigmoid'(a) / q(h) = q (1 - q) / q(h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """df/da."""
        (other,) = ctx.saved_tensors
        return grad * other / 2, None


def entropy(a: Tensor) -> Tensor:
    """The entropy of independent bits of logits a [n, H] in nats, [n] float64."""
    return (F.softplus(a) - a * torch.sigmoid(a)).sum(1, dtype=torch.float64)


@torch.no_grad()
def draw_chain(x: Tensor, known: Tensor, logits: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what isn't known of bits x [n, D], one after the other: the logit of bit d is that given, plus W_d,<d x_<d.

    Returns:
        All bits, and the logits that they had.
    """
    x, logits = x.clone(), logits.clone()
    for d in range(x.shape[1]):
        x[:, d] = torch.where(known[:, d], x[:, d], torch.bernoulli(torch.sigmoid(logits[:, d])))
        logits[:, d + 1 :].addr_(x[:, d], W[d + 1 :, d])
    return x, logits
