"""What a particle filter draws z_t from once x_t is known: the prior and the model's own posterior, mixed.

    m(z_t)  =  s p(z_t | past)  +  (1 - s) q(z_t | past, context_t),      z_t weighs  p(z_t | past) / m(z_t)  <=  1 / s

T. Hesterberg's defensive mixture ("Weighted average importance sampling and defensive mixture distributions", 1995).
Any context is valid: here the one that `encode` makes of x_t alone, as if the sequence ended there. A posterior that
was trained to read the future (Z-Forcing, SRNN) knows less then; where it knows nothing, the prior's share is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import gaussian_log_ratio, log_probs_of_observed, reparameterize
from ..observations import SequenceBatch, is_missing
from .contract import RecurrentModel
from .state import State


@dataclass(frozen=True)
class Mixture:
    """The mixture m of prior and posterior."""

    one_in: int
    """one of so many draws is the prior's: 1 / s, the largest weight"""

    def components(self, particles: int, rng: np.random.Generator, *, steps: int) -> NDArray[np.bool_]:
        """Which of K particles the prior draws, at N steps: [N, K] bool, one at random of each `one_in` in a row.

        Each by itself is a draw of m. Copies of a particle, which stand side by side, so share prior and posterior as m
        does. The choices are independent: to take, from a random first, every so many-th leaves an error at any K.
        """
        blocks = -(-particles // self.one_in)
        chosen = rng.integers(self.one_in, size=(steps, blocks, 1)) == np.arange(self.one_in)
        return np.asarray(chosen.reshape(steps, -1)[:, :particles])

    def draw(
        self, prior: Distribution, posterior: Distribution, *, noise: Tensor, by_prior: Tensor
    ) -> tuple[Tensor, Tensor]:
        """z_t [n, Z] and log p(z_t) - log m(z_t) [n], from noise [n, Z] and whose the draw is, by_prior [n] bool."""
        z = torch.where(by_prior[:, None], reparameterize(prior, noise), reparameterize(posterior, noise))
        more = gaussian_log_ratio(posterior, prior, z) + math.log(1 - 1 / self.one_in)
        return z, -torch.logaddexp(more, torch.full_like(more, -math.log(self.one_in)))


def context_of_step(model: RecurrentModel, x: Tensor, u: Tensor | None, *, before: State, begun: State) -> Tensor:
    """What `encode` makes of x_t alone, [n, C] or like x.

    Args:
        model: The model.
        x: x_t [n, D] or [n], NaN or -1 where it is missing.
        u: u_t [n, U]; None where the data has no inputs.
        before: The state after step t - 1, n rows.
        begun: What `after_inputs` made of it.
    """
    one = torch.ones(len(x), dtype=torch.int64, device=x.device)
    observed = ~is_missing(x)[:, None] if model.spec.missing else None
    batch = SequenceBatch(x[:, None], one, torch.zeros_like(x), observed, None if u is None else u[:, None])
    known = {name: getattr(begun, name)[:, None] for name in model.deterministic}
    return model.context(batch, state=before, begun=known)[:, 0]


def log_weights(model: RecurrentModel, emission: Distribution, x: Tensor, log_ratio: Tensor | None) -> Tensor:
    """log p(x_t | z_t) of all that is observed and of each number, [n, 1 + D]; [n, 1] where those have no closed form.

    Args:
        model: The model.
        emission: p(x_t | z_t), n rows.
        x: x_t [n, D] or [n], NaN or -1 where it is missing.
        log_ratio: [n], what is added: log p(z_t) - log m(z_t).
    """
    observed = ~is_missing(x) if model.spec.missing else None
    seen = x if observed is None else torch.where(observed, x, torch.zeros_like(x))
    found = log_probs_of_observed(emission, seen, observed)
    total = found.total[:, None]
    parts = total if found.each is None else torch.cat([total, found.each], dim=1)
    return parts if log_ratio is None else parts + log_ratio[:, None]


def something_seen(model: RecurrentModel, x: Tensor) -> Tensor | None:
    """Where at least one number of x_t [n, D] or [n] is there, [n] bool; None of a model whose data has no gaps."""
    if not model.spec.missing:
        return None
    return (~is_missing(x)).reshape(len(x), -1).any(1)
