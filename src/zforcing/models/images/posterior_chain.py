"""p(x) Z of a deep belief network, by a Markov chain in its posterior p(h | x).

p(x) Z = p(x, h*) Z / p(h* | x) at any h*, and p(h* | x) is the mean over h ~ p(h | x) of T(h* <- h), where T is a
sweep: each h_j in turn from p(h_j | the others, x), with the layer above summed out. S states of a chain that passes
h*, at a place drawn uniformly, estimate it such that the mean of the ratio is p(x) Z.

I. Murray, R. Salakhutdinov, "Evaluating probabilities under high-dimensional latent variable models", NIPS 2009.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distributions import at_least_float32
from .rbm import RBM
from .reading import log_bernoulli

TOWARDS = 3
"""sweeps that take h* from q(h | x) to where p(h | x) is"""


class ByChain(NamedTuple):
    """Of n images."""

    estimate: Tensor
    """log of the estimate of p(known x) Z, [n] float64"""
    log_px: Tensor
    """log p(known x | h*), [n] float64"""


class Posterior(NamedTuple):
    """What p(h | x) of n images is made of."""

    first: RBM
    """of x and h"""
    top: RBM
    """of h and u"""
    x: Tensor
    """[n, D]"""
    known: Tensor
    """[n, D] bool, the pixels that h is given"""

    @property
    def size(self) -> int:
        """H, the bits in h."""
        return len(self.top.b)

    def sweep(
        self, h: Tensor, *, noise: Tensor | None = None, to: Tensor | None = None, backwards: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One sweep from h [n, H], and log T of where it led, [n] float64.

        Args:
            h: where it begins.
            noise: [n, H], uniform numbers, of which h_j becomes 1 below its probability.
            to: [n, H], where it is to lead instead.
            backwards: [n] bool: the rows that go from the last h_j to the first, which is the reverse of T; none.
        """
        # logits of pixels and of u, on which h acts: log p(h | x) has minus softplus of those, and plus that of these
        weights = torch.cat([self.first.W.t(), self.top.W], dim=1)  # [H, D + U]
        logits = torch.cat([self.first.visible_logits(h), self.top.hidden_logits(h)], dim=1)
        sign = torch.cat([-self.known.to(h.dtype), torch.ones_like(logits[:, self.x.shape[1] :])], dim=1)
        own = self.top.b + (self.x * self.known) @ self.first.W  # [n, H]
        rows, h, total = torch.arange(len(h), device=h.device), h.clone(), h.new_zeros(len(h), dtype=torch.float64)
        softplus = F.softplus(logits)
        for step in range(self.size):
            j = torch.full_like(rows, step)
            j = j if backwards is None else torch.where(backwards, self.size - 1 - step, j)
            before = h[rows, j]
            turned = torch.addcmul(logits, 1 - 2 * before[:, None], weights[step] if backwards is None else weights[j])
            softplus_turned = F.softplus(turned)
            gain = ((softplus_turned - softplus) * sign).sum(1) * (1 - 2 * before)
            logit = at_least_float32(own[rows, j] + gain)
            if to is not None:
                new = to[rows, j]
            else:
                assert noise is not None
                new = (noise[rows, j] < torch.sigmoid(logit)).to(h.dtype)
            total += _nats(logit, new).double()
            h[rows, j], turns = new, (new != before)[:, None]
            logits, softplus = torch.where(turns, turned, logits), torch.where(turns, softplus_turned, softplus)
        return h, total


def noise_steps(states: int) -> int:
    """How many times H uniform numbers a chain of S states needs."""
    return TOWARDS + states + 1


@torch.no_grad()
def log_by_chain(posterior: Posterior, h: Tensor, noise: Tensor) -> ByChain:
    """The estimate by S states.

    Args:
        posterior: of n images.
        h: [n, H], draws of q(h | x).
        noise: [n, `noise_steps(S)`, H], uniform numbers.
    """
    states = noise.shape[1] - TOWARDS - 1
    for number in range(TOWARDS):
        h, _ = posterior.sweep(h, noise=noise[:, number])
    chosen = h
    place = (noise[:, -1, 0] * states).long().clamp(max=states - 1)  # of h*'s neighbour among the S
    first, _ = posterior.sweep(chosen, noise=noise[:, TOWARDS], backwards=torch.ones_like(place, dtype=torch.bool))
    log_t, h = [posterior.sweep(first, to=chosen)[1]], first
    for step in range(1, states):  # forwards to the end, then from the place backwards to the beginning
        ahead = states - 1 - place
        back = step > ahead
        h = torch.where((ahead + 1 == step)[:, None], first, h)
        h, _ = posterior.sweep(h, noise=noise[:, TOWARDS + step], backwards=back)
        log_t.append(posterior.sweep(h, to=chosen)[1])
    log_posterior = torch.stack(log_t).logsumexp(0) - math.log(states)
    log_px = log_bernoulli(posterior.first.visible_logits(chosen), posterior.x, posterior.known)
    return ByChain(log_px - posterior.top.free_energy(chosen) - log_posterior, log_px)


def _nats(logits: Tensor, x: Tensor) -> Tensor:
    """log p of bits by their logits, each."""
    return -F.binary_cross_entropy_with_logits(at_least_float32(logits), x, reduction="none")
