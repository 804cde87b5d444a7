"""Exact densities of binary vectors by the chain rule, in one order of the numbers or in several.

    p(x) = prod_i p(x_{o_i} | x_{o_1}, ..., x_{o_{i-1}}),   or the mean of M such products, each in an order of its own

A model gives the logits of all conditionals at once. Log-likelihood, samples, completions and log p of a part of an
image follow from them here, in the same words for all.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from ...observations import ObservationSpec, SequenceBatch
from ..density import DensityModel, Draws, Generated
from .reading import check_pixels, log_bernoulli, pixels_of, refuse_holes

Order = Literal["raster", "random"]


class AutoregressiveModel(DensityModel):
    """Base class of exact models of binary vectors. A subclass defines `logits`, and may define a faster `fill`.

    With M > 1 members, the model is their equal mixture: log p(x) is the log-mean-exp over members. That is what `draw`
    and `log_likelihood` give in eval mode. In train mode, which a new model is in, they take one of them at random for
    each batch, whose mean log-density is below that of the mixture.

    Args:
        spec: Binary vectors of D numbers, which a model without time reads as one step.
        config: The settings.
        order: `raster`, as the vector has them, or `random`: drawn from torch's generator, and saved.
        members: M.
    """

    place: Tensor
    """[M, D], of each number in the order of each member: 1..D"""

    def __init__(self, spec: ObservationSpec, config: Any, *, order: Order = "raster", members: int = 1):
        super().__init__(spec, config)
        check_pixels(self.name, spec)
        if members > 1 or spec.missing:  # the host chooses the member, and is asked for gaps (`refuse_holes`)
            self.capturable = False
        places = [torch.randperm(spec.size) if order == "random" else torch.arange(spec.size) for _ in range(members)]
        self.register_buffer("place", torch.stack(places).to(torch.get_default_dtype()) + 1)

    @property
    def latent_size(self) -> int:
        """0: there is no latent."""
        return 0

    @abstractmethod
    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """The logits of p(x_d = 1 | x_before d) [n, D] under one member, for n vectors x [n, D] of 0 and 1."""

    def order(self, member: int = 0) -> Tensor:
        """The numbers in the order of a member, [D] int64."""
        return self.place[member].argsort()

    # ---- what every density model has

    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """The exact log p(x), in train mode of a member at random, and a KL of 0."""
        x, known = self._read(batch)
        nothing = x.new_zeros(particles * len(x))
        return Draws(
            nothing[:, None, None][..., :0],
            log_px=lambda: self._log_px(x, known).repeat(particles),
            log_pz=lambda: nothing,
            log_qz=lambda: nothing,
            kl_parts=lambda: nothing[:, None],
        )

    @torch.no_grad()
    def sample(self, num_samples: int) -> Generated:
        """Draw n vectors: each from one of the members, number by number in its order."""
        x = self.place.new_zeros(num_samples, self.spec.size)
        return self._filled(x, torch.zeros_like(x, dtype=torch.bool))

    @torch.no_grad()
    def complete(self, batch: SequenceBatch) -> Generated:
        """Draw what is missing, exactly where it comes after all that is observed in the order."""
        return self._filled(*self._read(batch))

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        """Draw the numbers [n, D] that aren't known, in the order of a member, each given those before it."""
        x = torch.where(known, x, torch.zeros_like(x))
        for d in self.order(member).tolist():
            if not bool(known[:, d].all()):
                drawn = torch.bernoulli(torch.sigmoid(self.logits(x, member=member)[:, d]))
                x[:, d] = torch.where(known[:, d], x[:, d], drawn)
        return x

    # ---- how

    def _log_px(self, x: Tensor, known: Tensor) -> Tensor:
        """log p of what is known [n] float64: of the mixture, or in training of a member at random."""
        members = range(len(self.place))
        if self.training and len(members) > 1:
            return self._log_p(x, known, int(torch.randint(len(members), ())))
        each = torch.stack([self._log_p(x, known, member) for member in members])
        return each.logsumexp(0) - math.log(len(members))

    def _log_p(self, x: Tensor, known: Tensor, member: int) -> Tensor:
        return log_bernoulli(self.logits(x, member=member), x, known)

    def _filled(self, x: Tensor, known: Tensor) -> Generated:
        """Each row filled by a member that is drawn by its p(member | known)."""
        each = torch.stack([self._log_p(x, known, member) for member in range(len(self.place))], dim=1)
        chosen = torch.multinomial(each.softmax(1), 1)[:, 0]
        filled, logits = x.clone(), torch.zeros_like(x)
        for member in chosen.unique().tolist():
            rows = chosen == member
            filled[rows] = self.fill(x[rows], known[rows], member=member)
            logits[rows] = self.logits(filled[rows], member=member)
        emission = Independent(Bernoulli(logits=logits[:, None]), 1)
        return Generated(filled[:, None], x.new_zeros(len(x), 1, 0), emission)

    def _read(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """x and what is known of it, [B, D]."""
        x, known = pixels_of(self, batch)
        for member in range(len(self.place)):
            refuse_holes(self, batch, order=self.order(member))
        return x, known
