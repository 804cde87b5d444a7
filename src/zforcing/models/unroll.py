"""What running a model over a batch gives: the densities, latents and terms of all steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ..distributions import log_prob_of_observed
from ..errors import UserError
from ..observations import SequenceBatch
from .state import State


class Unroll:
    """The result of running a model over all steps of a batch: densities, latents and terms of the bound.

    N is B, or K B for K particles: row i + j B is copy j of sequence i. Distributions have the batch shape [N, T]; in
    the padding their values are meaningless. Terms [N, T] are in nats, and 0 in the padding. Each is computed at first
    access, with the parameters and in the autocast and gradient modes of that moment: access them before an optimizer
    changes the parameters.

    Attributes:
        batch: The batch that was run, N rows.
        prior: p(z_t | past), event [Z].
        posterior: q(z_t | past, context), event [Z].
        latents: [N, T, Z], z_t drawn from the posterior.
        emission: p(x_t | z_<=t, x_<t), event [D] or [].
    """

    def __init__(
        self,
        batch: SequenceBatch,
        *,
        prior: Distribution,
        posterior: Distribution,
        latents: Tensor,
        emission: Distribution,
        costs: Mapping[str, Callable[[], Tensor]],
        state: Callable[[], State],
        field: Callable[[str], Tensor],
    ):
        """Store the results, and functions for those that may not be needed; each is called at most once.

        Args:
            batch: See the class.
            prior: See the class.
            posterior: See the class.
            latents: See the class.
            emission: See the class.
            costs: By name, what returns the model's extra term [N, T], which is masked here.
            state: Returns the state after each sequence's last step.
            field: Returns a field of the state that the emission reads, by its name, of all steps.
        """
        self.batch, self.prior, self.posterior, self.latents, self.emission = batch, prior, posterior, latents, emission
        self._costs, self._state, self._field = costs, state, field
        self._computed: dict[str, Tensor] = {}

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x_t | z_<=t, x_<t) of the observed values, [N, T] in nats."""
        batch = self.batch
        if batch.observed is None:
            return self._masked(self.emission.log_prob(batch.x))
        return self._masked(log_prob_of_observed(self.emission, batch.x, batch.scored))

    @cached_property
    def kl(self) -> Tensor:
        """KL(posterior || prior) >= 0 of each step, given the sampled past, [N, T] in nats."""
        return self._masked(kl_divergence(self.posterior, self.prior))

    @property
    def cost_names(self) -> tuple[str, ...]:
        """The names of the model's extra terms."""
        return tuple(self._costs)

    def cost(self, name: str) -> Tensor:
        """One of the model's extra terms, [N, T] in nats, to be maximized. Raises UserError if it hasn't this one."""
        if name not in self._costs:
            raise UserError(f"the model has no cost {name!r}; it has {', '.join(self._costs) or 'none'}")
        if name not in self._computed:
            self._computed[name] = self._masked(self._costs[name]())
        return self._computed[name]

    def field(self, name: str) -> Tensor:
        """A field of the state that each step's emission reads, such as "h", [N, T, ...]; anything in the padding."""
        return self._field(name)

    @cached_property
    def state(self) -> State:
        """The model's state after each sequence's last step, N rows."""
        return self._state()

    def _masked(self, term: Tensor) -> Tensor:
        return torch.where(self.batch.mask, term, torch.zeros_like(term))
