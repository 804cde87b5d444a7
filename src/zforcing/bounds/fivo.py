"""The filtering bound: a particle filter's estimate of log p(x), differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributions import log_prob_of_observed
from ..errors import UserError
from ..models.base import SequenceModel, Step
from ..observations import SequenceBatch, masked_sum
from .base import Bound, BoundResult, Weights, check_bound, is_needed
from .particles import log_mean
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

    name: ClassVar[str] = "fivo"

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
        """The bound of each sequence: the filter runs inside of the model's unroll; here its numbers are added up."""
        K, B = self.particles, len(batch)
        noise = model.draw_noise(batch, particles=K)
        filtering = _Filter(self, batch)
        run = model.unroll(batch, noise=noise, particles=K, resample=filtering)

        def of_particles(term: Tensor) -> Tensor:
            """[K B, T] -> [K, B, T], 0 in the padding."""
            exists = run.batch.mask
            return torch.where(exists, term, torch.zeros_like(term)).double().reshape(K, B, -1)

        likelihood = of_particles(run.log_px)
        ratio = of_particles(run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents))
        log_w = filtering.by_segment(likelihood + ratio)
        value = log_mean(log_w).sum(-1)
        weighed = log_mean(filtering.by_segment(likelihood + weights.kl * ratio))  # [B, S]
        loss = -weighed.sum(-1)
        if is_needed(weights.auxiliary):
            loss = loss - weights.auxiliary * of_particles(run.auxiliary).mean(0).sum(-1)
        if is_needed(weights.backward):
            loss = loss - weights.backward * masked_sum(run.backward[:B], batch.mask)
        if self.resampling_gradient:  # only what comes after a choice can depend on it
            chosen = filtering.log_choices(log_w)  # [B, S - 1]
            later = (weighed.sum(-1, keepdim=True) - weighed.cumsum(-1))[:, :-1].detach()
            loss = loss - (later * chosen).sum(-1)
        return BoundResult(
            value=value.detach(),
            loss=loss,
            terms={"log_px": likelihood.detach().mean(0).sum(-1), "kl": -ratio.detach().mean(0).sum(-1)},
            kind="lower bound" if model.latent_size else "exact",
        )


class _Filter:
    """Which particles go on after each step, without gradients; remembers what it chose."""

    def __init__(self, settings: FIVO, batch: SequenceBatch):
        self.settings, self.batch = settings, batch
        self.rows = batch.repeat(settings.particles)
        self.log_w = torch.zeros(settings.particles, len(batch), dtype=torch.float64, device=batch.x.device)
        self.segments = torch.zeros_like(batch.lengths)  # [B], of the step at work: how often was resampled
        self.of_steps: list[Tensor] = []  # the segment of each step before
        self.ancestors: list[tuple[Tensor, Tensor]] = []  # at a resampling: due [B], ancestors [K, B]

    @torch.no_grad()
    def __call__(self, t: int, step: Step) -> Tensor | None:
        """The particles [K B] from which step t + 1 goes on, if any sequence is due."""
        K, B = self.log_w.shape
        x = self.rows.x[:, t]
        if self.batch.observed is None:
            likelihood = step.emission.log_prob(x)
        else:
            likelihood = log_prob_of_observed(step.emission, x, self.rows.scored[:, t])
        added = likelihood + step.prior.log_prob(step.latent) - step.posterior.log_prob(step.latent)
        exists = t < self.batch.lengths
        self.log_w += torch.where(exists, added.double().reshape(K, B), 0.0)
        self.of_steps.append(self.segments)
        p = self.log_w.softmax(0)
        due = (effective_sample_size(p) < self.settings.threshold * K) & (t + 1 < self.batch.lengths)
        if not bool(due.any()):
            return None
        p = torch.where(due, p, torch.full_like(p, 1 / K))  # a sequence without a finite weight has no p
        themselves = torch.arange(K, device=p.device)[:, None]
        ancestors = torch.where(due, RESAMPLERS[self.settings.resampling](p), themselves)
        self.ancestors.append((due, ancestors))
        self.log_w = torch.where(due, torch.zeros_like(self.log_w), self.log_w)
        self.segments = self.segments + due
        return (ancestors * B + torch.arange(B, device=p.device)).reshape(-1)

    def by_segment(self, terms: Tensor) -> Tensor:
        """Sums over the steps between resamplings, [K, B, T] -> [K, B, S]; 0 where a sequence has fewer segments."""
        K, B, T = terms.shape
        missing = T - len(self.of_steps)  # the last step, after which nobody asks
        of_steps = torch.stack([*self.of_steps, *[self.segments] * missing], dim=1)  # [B, T]
        sums = terms.new_zeros(K, B, int(self.segments.max()) + 1)
        return sums.scatter_add(2, of_steps.expand(K, B, T), terms)

    def log_choices(self, log_w: Tensor) -> Tensor:
        """log P(ancestors) at the end of each segment but the last, [B, S - 1]; 0 where nothing was resampled."""
        B, S = log_w.shape[1:]
        total = log_w.new_zeros(B, S - 1)
        done = torch.zeros(B, dtype=torch.int64, device=log_w.device)
        log_p = log_w.log_softmax(0)
        for due, ancestors in self.ancestors:
            at = F.one_hot(done, S)[:, :-1] * due[:, None]  # [B, S - 1]
            of_segment = log_p.gather(2, done.expand(len(log_w), B)[..., None])[..., 0]  # [K, B]
            chosen = of_segment.gather(0, ancestors).sum(0)
            total = total + torch.where(at.bool(), chosen[:, None], torch.zeros_like(total))
            done = done + due
        return total
