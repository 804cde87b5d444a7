"""The filtering bound: a particle filter's estimate of log p(x), differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..distributions import log_prob_of_observed, reparameterize
from ..errors import UserError
from ..models.base import SequenceModel, map_state, where_rows
from ..sequences import SequenceBatch
from .base import Bound, BoundResult, Weights, check_bound
from .particles import log_mean, repeat_batch
from .resampling import RESAMPLERS, effective_sample_size


@dataclass(frozen=True)
class FIVO(Bound):
    """log p(x) >= E[ log p_hat ], p_hat a particle filter's unbiased estimate of p(x), proposals from the posterior.

    C. Maddison et al., "Filtering variational objectives", NIPS 2017, arXiv 1705.09279 (also A. Le et al., AESMC, and
    C. Naesseth et al., VSMC, both 2018). log p_hat is the sum, over the segments between resamplings, of the log of the
    mean weight accumulated in the segment. Whether it filters or smooths is the model's: its posterior sees what its
    `encode` has seen.

    The gradient through the particles' values leaves out that the choice of ancestors depends on the parameters, as the
    papers recommend; `resampling_gradient` adds that term, (log p_hat - what was known before) d log P(ancestors),
    which makes it unbiased and much noisier. It needs multinomial resampling, whose probabilities are those weights.
    """

    particles: int = 8
    """K, how many particles"""
    resampling: Literal["multinomial", "systematic", "stratified"] = "systematic"
    """how ancestors are drawn"""
    threshold: float = 0.5
    """resample where the effective sample size is below this fraction of K; 0: never, above 1: always"""
    resampling_gradient: bool = False
    """add the gradient of the choice of ancestors (multinomial only): unbiased, and much noisier"""

    def __post_init__(self) -> None:
        check_bound(self)
        if self.threshold < 0:
            raise UserError(f"bound.threshold is {self.threshold}; it must be 0 or more")
        if self.resampling_gradient and self.resampling != "multinomial":
            raise UserError(f"bound.resampling_gradient needs bound.resampling multinomial; it is {self.resampling}")

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """The bound of each sequence, by the contract's own steps."""
        K, B, T = self.particles, len(batch), batch.x.shape[1]
        rows = repeat_batch(batch, K)
        context = model.encode(batch)
        backward = torch.where(batch.mask, model.backward_log_prob(batch, context), 0.0).sum(1, dtype=torch.float64)
        context = context.repeat(K, 1, 1)
        noise = model.draw_noise(rows)
        state = model.initial_state(K * B, start=rows.start)

        zeros = torch.zeros(B, dtype=torch.float64, device=batch.x.device)
        log_w, log_p = zeros.expand(K, B), zeros  # weights since the last resampling; log p_hat up to it
        weighed, objective = log_w, log_p  # the same with weights.kl: for the loss
        log_px, kl, auxiliary = zeros, zeros, zeros  # means over particles
        choices: list[tuple[Tensor, Tensor]] = []  # log P(ancestors) and log p_hat at each resampling, [B]
        steps = zip(
            rows.x.unbind(1),
            rows.read.unbind(1),
            rows.scored.unbind(1),
            context.unbind(1),
            noise.unbind(1),
            strict=True,
        )
        for t, (x, read, scored, c, e) in enumerate(steps):
            exists = t < rows.lengths
            prior, posterior = model.prior(state), model.posterior(state, c)
            z = reparameterize(posterior, e)
            following = model.after_latent(state, z)
            emission = model.emission(following)
            likelihood = emission.log_prob(x) if batch.observed is None else log_prob_of_observed(emission, x, scored)
            ratio = prior.log_prob(z) - posterior.log_prob(z)

            def counted(term: Tensor, exists: Tensor = exists) -> Tensor:
                return torch.where(exists, term, torch.zeros_like(term)).double().reshape(K, B)

            log_w = log_w + counted(likelihood) + counted(ratio)
            weighed = weighed + counted(likelihood) + weights.kl * counted(ratio)
            log_px = log_px + counted(likelihood.detach()).mean(0)
            kl = kl - counted(ratio.detach()).mean(0)
            auxiliary = auxiliary + counted(model.auxiliary(following, c)).mean(0)
            state = where_rows(exists, model.after_observation(following, read), state)
            if t + 1 < T:
                p = log_w.detach().softmax(0)
                due = (effective_sample_size(p) < self.threshold * K) & (t + 1 < batch.lengths)  # [B]
                if bool(due.any()):
                    p = torch.where(due, p, torch.full_like(p, 1 / K))  # a sequence without a finite weight has no p
                    ancestors = torch.where(
                        due, RESAMPLERS[self.resampling](p), torch.arange(K, device=p.device)[:, None]
                    )
                    log_p = torch.where(due, log_p + log_mean(log_w), log_p)
                    objective = torch.where(due, objective + log_mean(weighed), objective)
                    if self.resampling_gradient:
                        chosen = log_w.log_softmax(0).gather(0, ancestors).sum(0)
                        choices.append((torch.where(due, chosen, torch.zeros_like(chosen)), objective.detach()))
                    log_w = torch.where(due, torch.zeros_like(log_w), log_w)
                    weighed = torch.where(due, torch.zeros_like(weighed), weighed)
                    index = (ancestors * B + torch.arange(B, device=p.device)).reshape(-1)
                    state = map_state(lambda v: v[index], state)  # noqa: B023 - used at once
        value, objective = log_p + log_mean(log_w), objective + log_mean(weighed)
        loss = -objective - weights.auxiliary * auxiliary - weights.backward * backward
        for chosen, known in choices:  # only what comes after a choice can depend on it
            loss = loss - (objective.detach() - known) * chosen
        return BoundResult(
            value=value.detach(),
            loss=loss,
            terms={"log_px": log_px, "kl": kl},
            kind="lower bound" if model.latent_size else "exact",
        )
