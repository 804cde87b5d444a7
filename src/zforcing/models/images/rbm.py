"""A restricted Boltzmann machine: two vectors of bits, v and u, with no bonds within either.

p(v, u) = exp(b v + c u + v W u) / Z;   p(u_j = 1 | v) = sigmoid(c + v W)_j;   p(v_i = 1 | u) = sigmoid(b + W u)_i
log of the sum over u of exp(...) = -F(v) = b v + sum_j softplus(c + v W)_j
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distributions import at_least_float32


class RBM(NamedTuple):
    """The parameters, and what follows from them."""

    W: Tensor
    """[V, U]"""
    b: Tensor
    """[V]"""
    c: Tensor
    """[U]"""

    @property
    def turned(self) -> RBM:
        """The same machine with the roles of v and u exchanged: the same Z."""
        return RBM(self.W.t(), self.c, self.b)

    def hidden_logits(self, v: Tensor) -> Tensor:
        """Of p(u | v), [n, U]."""
        return torch.addmm(self.c, v, self.W)

    def visible_logits(self, u: Tensor) -> Tensor:
        """Of p(v | u), [n, V]."""
        return torch.addmm(self.b, u, self.W.t())

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log p(v) - log Z, [n] float64, in nats."""
        return -(v @ self.b).double() - total_softplus(self.hidden_logits(v))

    @torch.no_grad()
    def gibbs(self, v: Tensor, *, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """v [n, V] after steps of u ~ p(u | v), v ~ p(v | u), which leave p(v) as it is."""
        for _ in range(steps):
            u = drawn_bits(self.hidden_logits(v), generator)
            v = drawn_bits(self.visible_logits(u), generator)
        return v


def drawn_bits(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Independent bits with these logits, by torch's global generator or another.

    Uniform numbers in bfloat16 would be multiples of 1/256, and rare bits come too often.
    """
    p = torch.sigmoid(at_least_float32(logits))
    u = torch.rand(p.shape, dtype=p.dtype, device=p.device, generator=generator)
    return (u < p).to(logits.dtype)


def total_softplus(logits: Tensor) -> Tensor:
    """sum_j log(1 + exp(logit_j)) of each row, [n] float64."""
    return F.softplus(at_least_float32(logits)).sum(-1, dtype=torch.float64)
