"""Binary images whose latents are N(0, I), and whose pixels are independent given them: any pixel may be missing."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ...observations import SequenceBatch
from .normal import NormalLatents
from .reading import log_bernoulli


class IndependentPixels(NormalLatents):
    """Base class of models z ~ N(0, I), p(x | z) = Bernoulli(f(z)): a subclass defines `logits`, which is f."""

    @abstractmethod
    def logits(self, z: Tensor) -> Tensor:
        """f(z) [n, D]."""

    def log_pixels(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        """log p(x | z): pixels are independent given z, so that missing ones are left out."""
        copies = len(z) // len(x)
        return self.log_given(self.logits(z), x.repeat(copies, 1), known.repeat(copies, 1))

    def log_given(self, logits: Tensor, x: Tensor, known: Tensor) -> Tensor:
        """log p(what is known of x | z) [n], with the logits [n, D] of z."""
        return log_bernoulli(logits, x, known)

    def drawn_by(self, batch: SequenceBatch, *, particles: int, noise: Tensor | None, latents: Tensor | None) -> Tensor:
        """What `draw` makes z of, [N, Z]: z where it is given, else noise, which is drawn where it isn't given."""
        given = noise if latents is None else latents
        return (self.draw_noise(batch, particles=particles) if given is None else given)[:, 0]

    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """All missing pixels at once."""
        logits = self.logits(z)
        return torch.where(known, x, torch.bernoulli(torch.sigmoid(logits))), logits


def kl_from_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)) [...] float64, of parameters [..., Z]."""
    nats = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1)
    return nats.sum(-1, dtype=torch.float64)
