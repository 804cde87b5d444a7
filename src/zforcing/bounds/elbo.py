"""The evidence lower bound, with the KL in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..errors import UserError
from ..models.base import SequenceModel, State
from ..observations import SequenceBatch, masked_sum
from .base import Bound, BoundResult, Weights, check_bound, is_needed


@dataclass(frozen=True)
class ELBO(Bound):
    """log p(x) >= E_q[ sum_t log p(x_t | z_<=t, x_<t) - KL(q(z_t | .) || p(z_t | .)) ], one sample of z.

    The KL is analytic given the sampled past. What is minimized is, per sequence,

        - sum_t log p(x_t | .) + w_kl max(KL_t, free_nats) - alpha log p(b_t | z_t) - beta log p(x_{t-1} | b_t),

    the last two terms being Z-Forcing's (Goyal et al., NIPS 2017). For a model without latents it is exact.
    """

    name: ClassVar[str] = "elbo"

    particles: ClassVar[int] = 1  # type: ignore[misc]  # no setting here: a field elsewhere
    capturable = True
    carries_state = True

    free_nats: float = 0.0
    """free bits: a step's KL below this many nats costs as if it were this many (D. Kingma et al., NIPS 2016)"""

    def __post_init__(self) -> None:
        check_bound(self)
        if self.free_nats < 0:
            raise UserError(f"bound.free_nats is {self.free_nats}; it must be 0 or more")

    def __call__(
        self,
        model: SequenceModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """noise: [B, T, Z], standard normal; None draws it. state, context: as for `SequenceModel.unroll`; of a batch
        that goes on from a state the bound is on log p(x_1..x_T | all before).
        """
        run = model.unroll(batch, noise=noise, state=state, context=context)
        log_px, kl = (masked_sum(term, batch.mask) for term in (run.log_px, run.kl))
        costed_kl = masked_sum(run.kl.clamp(min=self.free_nats), batch.mask) if self.free_nats else kl
        loss = -log_px + weights.kl * costed_kl
        terms = {"log_px": log_px, "kl": kl}
        for name in ("auxiliary", "backward"):  # computed only where they count
            weight = getattr(weights, name)
            if is_needed(weight):
                terms[name] = masked_sum(getattr(run, name), batch.mask)
                loss = loss - weight * terms[name]
        return BoundResult(
            value=(log_px - kl).detach(),
            loss=loss,
            terms=terms,
            kind="lower bound" if model.latent_size else "exact",
            state=None if state is None else run.state,
        )
