"""The evidence lower bound, with the KL in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..models.density import DensityModel, Draws
from ..models.sequence import of_sequences
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import NotNegative
from .base import Bound, BoundResult, Weights, costs_of, kind_of, weighted_sum


@dataclass(frozen=True)
class ELBO(Bound):
    """The evidence lower bound, estimated with one sample of z and a closed-form KL (at each step).

        log p(x) >= E_q[ sum_t log p(x_t | z_<=t, x_<t) - KL(q(z_t | .) || p(z_t | .)) ]

    D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv 1312.6114; of sequences J. Chung et al.,
    NIPS 2015, arXiv 1506.02216, equation 11. The loss of a sequence, with extra terms c of the model by their names,

        sum_t - log p(x_t | .) + weights.kl max(KL_t, free_nats) - sum_c weights.costs[c] c,

    has two more for Z-Forcing (A. Goyal et al., NIPS 2017, arXiv 1711.05411): `Weights(kl, auxiliary=alpha,
    backward=beta)`. Without latents the value is exact.

    Raises:
        UserError: `free_nats` is negative.

    Example:
        >>> import torch
        >>> import zforcing as zf
        >>> model = zf.VRNN(zf.ObservationSpec("real", 2), zf.VRNNConfig(hidden_size=8, latent_size=2, mlp_size=8))
        >>> batch = zf.SequenceBatch(torch.randn(3, 5, 2), torch.tensor([5, 4, 2]), torch.zeros(3, 2))
        >>> result = zf.ELBO()(model, batch)
        >>> result.value.shape, bool((result.terms["kl"] >= 0).all())
        (torch.Size([3]), True)
        >>> result.loss.mean().backward()
    """

    name: ClassVar[str] = "elbo"

    capturable = True
    carries_state = True

    free_nats: NotNegative = 0.0
    """free bits, in nats per step: a smaller KL of a step costs this much (D. Kingma et al., NIPS 2016, 1606.04934)"""

    def __call__(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """Compute the ELBO of each sequence. See `Bound`."""
        draws = self._draw(model, batch, noise=noise, state=state, context=context)
        log_px, kl, costs = draws.log_px, draws.kl, costs_of(draws, weights)
        costed_kl = draws.kl_above(self.free_nats) if self.free_nats else kl
        return BoundResult(
            value=(log_px - kl).detach(),
            loss=-log_px + weights.kl * costed_kl - weighted_sum(costs, weights),
            terms={"log_px": log_px, "kl": kl} | costs,
            kind=kind_of(model),
            state=None if state is None else draws.state,
        )

    def _draw(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        state: State | None,
        context: Tensor | None,
    ) -> Draws:
        """One draw a row. Only a model of sequences has a state and a context to start from."""
        if state is None and context is None:
            return model.draw(batch, noise=noise)
        steps = of_sequences(model, needed_by="a state or a context")
        return steps.draw(batch, noise=noise, state=state, context=context)
