"""The filtering variational objective: the differentiable log-likelihood estimate of a particle filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributions import row_noise
from ..errors import UserError
from ..models.density import DensityModel
from ..models.in_chunks import Chunk, unrolled
from ..models.sequence import SequenceModel, of_sequences, refuse_without_steps
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count, NotNegative
from .base import Bound, BoundResult, Weights, is_needed, kind_of, refuse, weighted_sum
from .particles import log_mean
from .resampling import RESAMPLERS, Uniform, by_torch, effective_sample_size


@dataclass(frozen=True)
class FIVO(Bound):
    """The filtering bound, of a particle filter's unbiased estimate p_hat of p(x).

        log p(x) >= E[ log p_hat ],  log p_hat = sum_s log (1/K) sum_k prod_{t in s} w_t^k
        w_t^k = p(x_t | .) p(z_t^k | .) / q(z_t^k | .),  z_t^k ~ q

    s are the segments between resamplings. C. Maddison et al., "Filtering variational objectives", NIPS 2017, arXiv
    1705.09279 (also T. A. Le et al., AESMC, and C. Naesseth et al., VSMC, both 2018). The posterior proposes the
    particles. The model decides whether the proposal filters or smooths: its posterior reads what its `encode` has
    read.

    As the papers recommend, the gradient ignores that the choice of ancestors depends on the parameters.
    `resampling_gradient` adds this term, (log p_hat of the later segments) d log P(ancestors), which makes the gradient
    unbiased and much noisier. It needs multinomial resampling, for which log P(ancestors) is known.

    Raises:
        UserError: `threshold` is negative, or `resampling_gradient` is used without multinomial resampling.

    Example:
        >>> import torch
        >>> import zforcing as zf
        >>> model = zf.LinearGaussian(zf.ObservationSpec("real", 1), latent_size=2)
        >>> batch = zf.SequenceBatch(torch.ones(3, 5, 1), torch.tensor([5, 4, 2]), torch.zeros(3, 1))
        >>> result = zf.FIVO(particles=8)(model, batch)
        >>> result.value.shape, result.value.dtype, result.kind
        (torch.Size([3]), torch.float64, 'lower bound')
    """

    name: ClassVar[str] = "fivo"
    paper: ClassVar[str] = 'C. Maddison et al., "Filtering Variational Objectives", NIPS 2017, arXiv 1705.09279'

    particles: Count = 8
    """K, the number of particles"""
    resampling: Literal["multinomial", "systematic", "stratified"] = "systematic"
    """how ancestors are drawn"""
    threshold: NotNegative = 0.5
    """resample where the effective sample size is below this fraction of K; 0: never, above 1: always"""
    resampling_gradient: bool = False
    """add the gradient of the choice of ancestors (multinomial only): unbiased, and much noisier"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resampling_gradient and self.resampling != "multinomial":
            raise UserError(f"bound.resampling_gradient needs bound.resampling multinomial; it is {self.resampling}")

    def check_model(self, model: type[DensityModel]) -> None:
        """See `Bound.check_model`."""
        super().check_model(model)
        if not issubclass(model, SequenceModel):
            refuse_without_steps(model.name, needed_by="bound fivo")

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
        """Compute the bound of each sequence. The filter itself runs inside of `model.unroll`. See `Bound`.

        Raises:
            UserError: The model isn't one of sequences, or `state` or `context` is given.
        """
        refuse(self, state=state, context=context)
        model = of_sequences(model, needed_by="bound fivo")
        K, B = self.particles, len(batch)
        noise = model.draw_noise(batch, particles=K) if noise is None else noise
        filtering = _Filter(self, batch)
        names = [name for name, weight in weights.costs.items() if is_needed(weight)]
        parts = unrolled(
            model,
            batch,
            noise=lambda start, stop: noise[:, start:stop],
            particles=K,
            resample=filtering,
            steps=batch.x.shape[1] if names else None,  # costs of the context are of whole sequences
        )
        log_px, log_ratio, kl, *costs_of_steps = _terms(parts, names)
        exists = batch.repeat(K).mask

        def by_particle(term: Tensor) -> Tensor:
            """[K B, T] -> [K, B, T], 0 in the padding."""
            return torch.where(exists, term, torch.zeros_like(term)).double().reshape(K, B, -1)

        def mean(term: Tensor) -> Tensor:
            """[K B, T] -> [B], the mean over particles of the sum over steps."""
            return by_particle(term).mean(0).sum(-1)

        likelihood, ratio = by_particle(log_px), by_particle(log_ratio)
        log_w = filtering.by_segment(likelihood + ratio)
        objective = log_mean(filtering.by_segment(likelihood + weights.kl * ratio))  # [B, S]
        costs = {name: mean(cost) for name, cost in zip(names, costs_of_steps, strict=True)}
        loss = -objective.sum(-1) - weighted_sum(costs, weights)
        if self.resampling_gradient:  # a choice of ancestors affects later segments only
            log_choices = filtering.log_choices(log_w)  # [B, S - 1]
            later = (objective.sum(-1, keepdim=True) - objective.cumsum(-1))[:, :-1].detach()
            loss = loss - (later * log_choices).sum(-1)
        with torch.no_grad():
            terms = {"log_px": likelihood.mean(0).sum(-1), "kl": mean(kl)} | costs
        return BoundResult(
            value=log_mean(log_w).sum(-1).detach(),
            loss=loss,
            terms={name: term.detach() for name, term in terms.items()},
            kind=kind_of(model),
        )


def _terms(chunks: Iterable[Chunk], costs: Sequence[str]) -> list[Tensor]:
    """log p(x_t | .), log p(z_t | .) - log q(z_t | .), the KL, without gradient, and costs; of all steps, [N, T]."""
    found = []
    for chunk in chunks:
        run = chunk.run
        with torch.no_grad():
            kl = run.kl
        ratio = run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents)
        found.append([run.log_px, ratio, kl, *map(run.cost, costs)])
    return [of[0] if len(of) == 1 else torch.cat(of, dim=1) for of in zip(*found, strict=True)]


class _Filter:
    """Chooses after each step which particles continue, without gradients, and records the choices."""

    def __init__(self, settings: FIVO, batch: SequenceBatch):
        self.settings, self.batch = settings, batch
        self.log_w = torch.zeros(settings.particles, len(batch), dtype=torch.float64, device=batch.x.device)
        self.segments = torch.zeros_like(batch.lengths)  # [B], the number of resamplings so far
        self.segment_at: list[Tensor] = []  # [B], for each step so far the segment it belongs to
        self.ancestors: list[tuple[Tensor, Tensor]] = []  # for each resampling: due [B], ancestors [K, B]

    @torch.no_grad()
    def __call__(self, t: int, log_w: Tensor) -> Tensor | None:
        """The index [K B] of the particles that continue after step t; None if no sequence is resampled."""
        K, B = self.log_w.shape
        self.log_w += log_w.reshape(K, B)
        self.segment_at.append(self.segments)
        p = self.log_w.softmax(0)
        due = (effective_sample_size(p) < self.settings.threshold * K) & (t + 1 < self.batch.lengths)
        if not bool(due.any()):
            return None
        p = torch.where(due, p, torch.full_like(p, 1 / K))  # p is NaN where no weight of a sequence is finite
        unchanged = torch.arange(K, device=p.device)[:, None]
        ancestors = torch.where(due, RESAMPLERS[self.settings.resampling](p, self._uniform(t)), unchanged)
        self.ancestors.append((due, ancestors))
        self.log_w = torch.where(due, torch.zeros_like(self.log_w), self.log_w)
        self.segments = self.segments + due
        return (ancestors * B + torch.arange(B, device=p.device)).reshape(-1)

    def _uniform(self, t: int) -> Uniform:
        """The numbers that choose ancestors after step t: by the sequences' seeds, where they have some."""
        seeds = self.batch.seeds
        if seeds is None:
            return by_torch
        of_step = row_noise.derived(row_noise.derived(seeds, row_noise.RESAMPLING), t)
        return lambda n, weights: row_noise.uniform(of_step, (n,), dtype=weights.dtype).t()

    def by_segment(self, terms: Tensor) -> Tensor:
        """Sum over the steps between resamplings, [K, B, T] -> [K, B, S]; 0 where a sequence has fewer segments."""
        K, B, T = terms.shape
        missing = T - len(self.segment_at)  # `resample` isn't called after the last step
        segment_at = torch.stack([*self.segment_at, *[self.segments] * missing], dim=1)  # [B, T]
        sums = terms.new_zeros(K, B, int(self.segments.max()) + 1)
        return sums.scatter_add(2, segment_at.expand(K, B, T), terms)

    def log_choices(self, log_w: Tensor) -> Tensor:
        """log P(ancestors) at the end of each segment but the last, [B, S - 1]; 0 where a sequence wasn't resampled."""
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
