"""A particle filter: what a model expects of each observation, given those before it and nothing after it.

K particles draw z_t from m, and carry the weights w_{t-1}. Of every x_t the filter gives

    p(x_t | x_<t)  ~  sum_k w_{t-1}^k p(x_t | z_<=t^k, x_<t) p(z_t^k) / m(z_t^k),     w_t^k  =  (its term) / (the sum)

and after it resamples where the effective sample size 1 / sum_k w_k^2 has fallen below half of K. The product over t is
an unbiased estimate of p(x_1..x_T). Without latents one particle gives the exact densities.

By the proposal `prior` m is p(z_t | past): the bootstrap filter of N. Gordon, D. Salmond and A. Smith, 1993, which
never asks the model's `encode` and `posterior`. What the prior rarely draws, few particles explain: with a KL of many
nats at each step, exp(KL) of them are needed. By the proposal `mixture` m is that of the prior and the model's
posterior, whose context is x_t alone (`models.proposal`). What is expected of x_t before it is seen stays with draws
from the prior. The logarithm of an estimate that one particle carries is too low; the effective sample size after x_t
says where.

All random numbers of step t are a function of the seed and of t, the same for every sequence: a sequence has the same
scores by itself, in a batch, step by step in a stream, and after a pause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..bounds.resampling import inverse_cdf
from ..distributions import reparameterize
from ..files.reading import Array
from ..models.sequence import SequenceModel
from ..models.state import State, copies
from ..models.stepper import Stepper
from ..observations import SequenceBatch, missing_mark
from ..runtime.device import place_of
from .proposals import MIXTURE, Proposal, mixture_for

RESAMPLED_BELOW = 0.5  # of K
LEAST = -1e300  # nats: finite, where a particle's are not
BLOCK = 32  # steps whose random numbers are drawn together


@dataclass(frozen=True)
class FilterState:
    """All that a filter of B sequences and K particles knows between two steps."""

    model: State
    """the model's state, a NamedTuple of tensors [K B, ...]; fields that no prior and no emission reads mean nothing"""
    log_weights: Array
    """[K, B] float64, log w of the particles, whose w of each sequence sum to 1"""
    steps: int
    """how many have been read"""
    seed: int
    """of all random numbers"""
    proposal: Proposal
    """what the particles are drawn from once x_t is known"""


class OfStep(NamedTuple):
    """The random numbers of a step."""

    normal: Tensor
    """standard normal, [K, Z]"""
    uniform: float
    """in [0, 1), of resampling"""
    by_prior: Tensor
    """[K] bool, which particles the prior draws of a mixture with the posterior"""


class Noise:
    """The random numbers of each step, for any number of sequences: a function of the seed and the step alone.

    Args:
        seed: Of them.
        particles: K.
        size: Z.
        like: A parameter of the model, for device and type.
    """

    def __init__(self, seed: int, particles: int, size: int, like: Tensor):
        self.seed, self.shape, self.like = seed, (particles, size), like
        self._number, self._normal = -1, like.new_empty(0)
        self._uniform, self._by_prior = np.empty(0), like.new_empty(0)

    def at(self, step: int) -> OfStep:
        """The numbers of step t, from 0."""
        number, row = divmod(step, BLOCK)
        if number != self._number:
            rng = np.random.default_rng([self.seed, number])
            self._uniform = rng.random(BLOCK)
            normal = torch.from_numpy(rng.standard_normal((BLOCK, *self.shape), dtype=np.float32))
            self._number, self._normal = number, normal.to(self.like.device, self.like.dtype)
            by_prior = torch.from_numpy(MIXTURE.components(self.shape[0], rng, steps=BLOCK))
            self._by_prior = by_prior.to(self.like.device)
        return OfStep(self._normal[row], float(self._uniform[row]), self._by_prior[row])

    def of_steps(self, start: int, stop: int) -> Tensor:
        """The normal numbers of the steps start..stop-1, [K, steps, Z]."""
        return torch.stack([self.at(t)[0] for t in range(start, stop)], dim=1)


class Nats(NamedTuple):
    """Log-densities of one step of B sequences, or of T steps, float64 on the CPU."""

    total: Array
    """[B], or [B, T]: of all that was observed"""
    each: Array | None
    """[B, D], or [B, T, D]: of each number by itself; None where it has no closed form. The numbers of one step are
    dependent as far as the particles differ: they needn't sum to the total"""
    effective: Array
    """[B], or [B, T]: how many of the particles these stand on, 1 / sum_k w_k^2 of the weights after x_t, before
    resampling: 1 to K, and 0 where none of them can explain x_t"""


@dataclass(frozen=True, eq=False)
class Prediction:
    """p(x_t | x_<t) of B sequences, a mixture of the emissions of K particles that the prior has drawn."""

    emission: Distribution
    """p(x_t | z_<=t, x_<t) of each particle, batch [K B]"""
    log_weights: Array
    """[K, B] float64, of the mixture"""


def nats_of(log_w: Array) -> tuple[Nats, Array]:
    """log p(x_t | x_<t) and the weights after it [K, B], from log w_{t-1} plus what `Walk.weigh` gave [K, B, 1 + D]."""
    with np.errstate(divide="ignore", invalid="ignore"):  # where no particle can explain x_t, or one is not finite
        largest = np.maximum(log_w.max(0), LEAST)
        weights = np.exp(log_w - largest)
        sums = weights.sum(0)
        nats = np.log(sums) + largest
        weights = weights[:, :, 0] / sums[:, 0]
        effective = np.where(sums[:, 0] > 0, 1 / np.square(weights).sum(0), 0.0)
    return Nats(nats[:, 0], nats[:, 1:] if nats.shape[1] > 1 else None, effective), weights


class ParticleFilter:
    """Runs the filter of the module's docstring on B sequences, step by step: `predict` and `read` in turn.

    Gradients don't flow through it.

    Args:
        model: In eval mode. Its parameters must not change.
        state: Where to go on; see `begin`.

    Example:
        steps = ParticleFilter.begin(model, batch.start, particles=64, seed=0)
        for x in batch.x.unbind(1):
            steps.predict()
            nats = steps.read(x).total
    """

    def __init__(self, model: SequenceModel, state: FilterState):
        self._mixture = mixture_for(model, state.proposal)
        with torch.no_grad():  # with gradients it would walk
            self._stepper = Stepper(model, state.model, proposal=self._mixture)
        self._log_weights, self._steps, self._seed = state.log_weights, state.steps, state.seed
        self._noise = Noise(state.seed, len(state.log_weights), model.latent_size, next(model.parameters()))
        self._proposal = state.proposal
        self._random: OfStep | None = None  # of the step that has begun

    @classmethod
    @torch.no_grad()
    def begin(
        cls, model: SequenceModel, start: Tensor, *, particles: int, seed: int, proposal: Proposal = "prior"
    ) -> ParticleFilter:
        """Before the first step.

        Args:
            model: In eval mode. One without latents gets one particle.
            start: x_0 of each sequence, [B, D] or [B].
            particles: K.
            seed: Of all random numbers.
            proposal: See `tasks.proposals`.
        """
        K, B = particles_of(model, particles), len(start)
        even = np.full((K, B), -math.log(K))
        return cls(model, FilterState(model.initial_state(K * B, start=copies(start, K)), even, 0, seed, proposal))

    @torch.no_grad()
    def predict(self, u: Tensor | None = None) -> Prediction:
        """Begin a step: p(x_t | x_<t). u is u_t [B, U], of a model that reads known inputs."""
        assert self._random is None, "the step has begun"
        K, B = self._log_weights.shape
        prior = self._stepper.begin(None if u is None else copies(u, K))
        self._random = self._noise.at(self._steps)
        z = reparameterize(prior, _each_for(self._random.normal, B))
        return Prediction(self._stepper.emit(z), self._log_weights)

    @torch.no_grad()
    def read(self, x: Tensor, observed: Tensor | None = None) -> Nats:
        """End the step with x_t.

        Args:
            x: [B, D] or [B]; what is missing may be anything finite.
            observed: Like x, bool; None where nothing is missing.

        Returns:
            log p(x_t | x_<t) of what was observed, [B], and of each number, [B, D]; and the effective particles, [B].
        """
        assert self._random is not None, "the step hasn't begun"
        (K, B), numbers = self._log_weights.shape, self._random
        rows = copies(marked(x, observed), K)
        draw = () if self._mixture is None else (_each_for(numbers.normal, B), _each_for(numbers.by_prior, B))
        parts = self._stepper.weigh(rows, *draw).cpu().numpy()
        nats, weights = nats_of(parts.reshape(K, B, -1) + self._log_weights[:, :, None])
        self._stepper.read(rows)
        self._random, self._steps = None, self._steps + 1
        if K > 1:
            self._weigh(weights, numbers.uniform)
        return nats

    def _weigh(self, weights: Array, uniform: float) -> None:
        """Carry the weights [K, B]; in sequences with too few heavy particles these take the place of light ones."""
        K, B = weights.shape
        enough = np.square(weights).sum(0) * (RESAMPLED_BELOW * K) <= 1  # 1 / sum_k w_k^2 is at least half of K
        if not enough.all():
            weights = np.where(np.isfinite(weights), weights, 1 / K)  # where no particle could explain x_t
            chosen = inverse_cdf(torch.from_numpy(weights), torch.full((K, B), uniform, dtype=torch.float64))
            ancestors = np.where(enough, np.arange(K)[:, None], chosen.numpy())
            index = torch.from_numpy((ancestors * B + np.arange(B)).reshape(-1))
            self._stepper.reorder(index.to(self._noise.like.device))
            weights = np.where(enough, weights, 1 / K)
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(weights)

    @property
    def steps(self) -> int:
        """How many have been read."""
        return self._steps

    @property
    def state(self) -> FilterState:
        """The state after the last step that has been read; a step that has begun is not in it."""
        return FilterState(self._stepper.state, self._log_weights, self._steps, self._seed, self._proposal)


def _each_for(of_particles: Tensor, B: int) -> Tensor:
    """[K, ...] -> [K B, ...]: the same for each sequence."""
    return of_particles if B == 1 else of_particles.repeat_interleave(B, dim=0)


def particles_of(model: SequenceModel, particles: int) -> int:
    """How many a filter takes: 1 without latents."""
    return particles if model.latent_size else 1


@torch.no_grad()
def filtered(
    model: SequenceModel, batch: SequenceBatch, *, particles: int, seed: int, proposal: Proposal = "prior"
) -> Nats:
    """log p(x_t | x_<t) at every step of a batch, by the filter.

    Args:
        model: In eval mode.
        batch: B sequences of T steps.
        particles: K.
        seed: Of all random numbers.
        proposal: See `tasks.proposals`.

    Returns:
        [B, T], of each number [B, T, D], and the effective particles [B, T]. In the padding they mean nothing.
    """
    batch = batch.to(*place_of(model))
    steps = ParticleFilter.begin(model, batch.start, particles=particles, seed=seed, proposal=proposal)
    found = []
    for x, seen, u in steps_of(batch):
        steps.predict(u)
        found.append(steps.read(x, seen))
    each = [nats.each for nats in found if nats.each is not None]
    return Nats(
        np.stack([nats.total for nats in found], axis=1),
        np.stack(each, axis=1) if each else None,
        np.stack([nats.effective for nats in found], axis=1),
    )


def steps_of(batch: SequenceBatch) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Of each step: x_t, what is observed of it, None where nothing is missing, and its known inputs, if there are."""
    nothing = [None] * batch.x.shape[1]
    observed = nothing if batch.observed is None else batch.scored.unbind(1)
    inputs = nothing if batch.inputs is None else batch.inputs.unbind(1)
    return zip(batch.x.unbind(1), observed, inputs, strict=True)


def marked(x: Tensor, observed: Tensor | None) -> Tensor:
    """x as models read it, with NaN or -1 where it is missing."""
    return x if observed is None else torch.where(observed, x, torch.full_like(x, missing_mark(x)))
