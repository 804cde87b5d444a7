"""Binary images with one vector of latents: p(x) = sum or integral of p(x | z) p(z).

A model says what p(z) and p(x | z) are, and draws from its posterior; samples and completions follow from that here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from ...observations import ObservationSpec, SequenceBatch
from ..density import DensityModel, Generated, refuse_exact
from .reading import check_pixels, pixels_of

CANDIDATES = 100
"""draws from q(z | known) of which a completion takes one"""


class LatentImageModel(DensityModel):
    """Base class of models of binary vectors x [n, D] with latents z [n, Z]: a subclass defines what is abstract.

    The first Z numbers of `Draws.latents` are z; more of them may be auxiliary ones.

    Args:
        spec: Binary vectors of D numbers, which a model without time reads as one step.
        config: The settings.
    """

    def __init__(self, spec: ObservationSpec, config: Any):
        super().__init__(spec, config)
        check_pixels(self.name, spec)

    latent_kind: ClassVar[Literal["normal", "bits"]]
    """whether p(z) is N(0, I), or a probability of bits"""

    @classmethod
    def check_bound(cls, name: str) -> None:
        """Latents are not summed out."""
        if name == "exact":
            refuse_exact(cls.name)

    @property
    def size_of_z(self) -> int:
        """Z, the numbers of z that p(x | z) reads, by default the setting `latent_size`."""
        size: int = self.config.latent_size
        return size

    @abstractmethod
    def draw_prior(self, n: int) -> Tensor:
        """Draw n latents from p(z), [n, Z]."""

    @abstractmethod
    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) [n] float64."""

    @abstractmethod
    def log_pixels(self, x: Tensor, known: Tensor, z: Tensor) -> Tensor:
        """log p(what is known of x | z) [n] float64; z may be K copies of the rows of x and `known`."""

    @abstractmethod
    def fill(self, x: Tensor, known: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x with what isn't known drawn from p(missing | known, z), and the logits that each pixel had, [n, D]."""

    @torch.no_grad()
    def sample(self, num_samples: int) -> Generated:
        """Draw n vectors: z ~ p(z), and x ~ p(x | z)."""
        z = self.draw_prior(num_samples)
        x = z.new_zeros(num_samples, self.spec.size)
        return generated(*self.fill(x, torch.zeros_like(x, dtype=torch.bool), z), z)

    @torch.no_grad()
    def complete(self, batch: SequenceBatch) -> Generated:
        """Draw what is missing given what is known, by importance resampling.

        Of 100 draws of z from q(z | known), one is taken by its weight p(known, z) / q(z | known), anew for each row.
        So the rows are independent, but not quite from p(missing | known): the fewer draws matter, the less.
        """
        best, z = torch.full((len(batch),), -torch.inf, dtype=torch.float64), torch.empty(0)
        for _ in range(CANDIDATES):  # the largest of log w + Gumbel noise is one by its weight
            draws = self.draw(batch)
            drawn = draws.latents[:, 0, : self.size_of_z]
            gumbel = -torch.empty_like(draws.log_px).exponential_().log()
            score = draws.log_px + draws.log_ratio + gumbel
            better = score > best.to(score)
            z = torch.where(better[:, None], drawn, z) if len(z) else drawn
            best = score.maximum(best.to(score))
        return generated(*self.fill(*pixels_of(self, batch), z), z)


def generated(x: Tensor, logits: Tensor, z: Tensor) -> Generated:
    """Vectors [n, D], the logits they were drawn with and their latents, as observations of one step."""
    return Generated(x[:, None], z[:, None], Independent(Bernoulli(logits=logits[:, None]), 1))
