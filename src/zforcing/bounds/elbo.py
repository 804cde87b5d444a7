"""The evidence lower bound, with the KL in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..models.sequence import SequenceModel
from ..models.state import State
from ..observations import SequenceBatch, masked_sum
from ..settings import NotNegative
from .base import Bound, BoundResult, Weights, is_needed


@dataclass(frozen=True)
class ELBO(Bound):
    """The evidence lower bound, estimated with one sample of z and a closed-form KL at each step.

        log p(x) >= E_q[ sum_t log p(x_t | z_<=t, x_<t) - KL(q(z_t | .) || p(z_t | .)) ]

    D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv 1312.6114; of sequences J. Chung et al.,
    NIPS 2015, arXiv 1506.02216, equation 11. With `Weights(kl, auxiliary=alpha, backward=beta)` a sequence's loss,

        sum_t - log p(x_t | .) + kl max(KL_t, free_nats) - alpha log p(b_t | z_t) - beta log p(x_{t-1} | b_t),

    has two terms of Z-Forcing (A. Goyal et al., NIPS 2017, arXiv 1711.05411). Without latents the value is exact.

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

    particles: ClassVar[int] = 1  # type: ignore[misc]  # no setting here: a field elsewhere
    capturable = True
    carries_state = True

    free_nats: NotNegative = 0.0
    """free bits, in nats per step: a smaller KL of a step costs this much (D. Kingma et al., NIPS 2016, 1606.04934)"""

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
        """Compute the ELBO of each sequence.

        Args:
            model: Any model.
            batch: B sequences.
            weights: Weights of the terms of the loss.
            noise: [B, T, Z] standard normal; None draws it from torch's global generator.
            state: State to continue from, as for `SequenceModel.unroll`. The bound is then on
                log p(x_1..x_T | everything before), and the result holds the last state.
            context: [B, T, C], what `model.encode` returned; None computes it.

        Returns:
            The bound of each sequence, in nats.
        """
        run = model.unroll(batch, noise=noise, state=state, context=context)
        log_px, kl = (masked_sum(term, batch.mask) for term in (run.log_px, run.kl))
        costed_kl = masked_sum(run.kl.clamp(min=self.free_nats), batch.mask) if self.free_nats else kl
        loss = -log_px + weights.kl * costed_kl
        terms = {"log_px": log_px, "kl": kl}
        for name in run.cost_names:  # only computed where their weights aren't 0
            weight = getattr(weights, name, 0.0)
            if is_needed(weight):
                terms[name] = masked_sum(run.cost(name), batch.mask)
                loss = loss - weight * terms[name]
        return BoundResult(
            value=(log_px - kl).detach(),
            loss=loss,
            terms=terms,
            kind="lower bound" if model.latent_size else "exact",
            state=None if state is None else run.state,
        )
