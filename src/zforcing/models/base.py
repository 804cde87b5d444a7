"""The contract of a model: a stochastic recurrent network is a few conditional densities and a state.

Step t emits x_t, t = 1..T; x_0 is the start (zeros, a start symbol, or a frame that is conditioned on):

    state   = model.initial_state(n)                   all that is known before the first step
    context = model.encode(batch, state=state)         what the posterior may look at: x_t, or the future
    for t in 1..T:
        p_z   = model.prior(state)                     p(z_t | past)
        q_z   = model.posterior(state, context_t)      q(z_t | past, context)
        state = model.after_latent(state, z_t)
        p_x   = model.emission(state)                  p(x_t | z_<=t, x_<t)
        aux   = model.auxiliary(state, context_t)      Z-Forcing's term; zero elsewhere
        state = model.after_observation(state, x_t)

Sampling is the same loop with `prior` and `emission` alone: what is trained is what generates. A state is a NamedTuple
of tensors [n, ...]: particles repeat it, resampling indexes it, streaming carries it. A deterministic network is a
model whose latent has size 0. In training, word dropout may feed `after_observation` another x_t than is scored and
encoded (`SequenceBatch.fed`): the state knows of the past what it was fed. Arguments after the state and what it reads
are keyword-only, so that exogenous inputs u_t can join `after_observation` and `initial_state` later without a change
to the models that have none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ..distributions import log_prob_of_observed, reparameterize, stack
from ..errors import UserError
from ..observations import ObservationSpec, SequenceBatch, masked_sum

State = Any  # a NamedTuple of tensors [n, ...], each model's own


def map_state(f: Callable[..., Tensor], *states: State) -> State:
    """f applied to each tensor of a state (or to the matching tensors of several), as a state of the same kind."""
    return type(states[0])(*(f(*tensors) for tensors in zip(*states, strict=True)))


def where_rows(rows: Tensor, new: State, old: State) -> State:
    """The new state where `rows` [n] is True, the old one elsewhere."""
    return map_state(lambda a, b: torch.where(rows.reshape(-1, *[1] * (a.dim() - 1)), a, b), new, old)


class Unroll:
    """A model run over a batch, all steps. Distributions have the batch shape [N, T]; where a sequence has ended they
    hold values that mean nothing, while the terms [N, T] are 0 there. Terms are in nats. N is B, or K B for K
    particles: row i + j B is copy j of sequence i. Terms are computed when they are asked for, with the weights and in
    the autocast and gradient modes of that moment: ask before the weights change.

    batch:            what was run, [N, T]
    prior, posterior: of z_t, event [Z]
    latents:          [N, T, Z], drawn from the posterior
    emission:         of x_t, event [D] or []
    log_px:           log p(x_t | z_<=t, x_<t), of the observed numbers
    kl:               KL(posterior || prior) >= 0, given the sampled past
    auxiliary:        log p(b_t | z_t) for Z-Forcing (or minus the squared error); 0 for models without
    backward:         log p(x_{t-1} | b_t) for Z-Forcing, for the x_{t-1} that exist; 0 for models without
    state:            after each sequence's own last step
    """

    def __init__(
        self,
        batch: SequenceBatch,
        *,
        prior: Distribution,
        posterior: Distribution,
        latents: Tensor,
        emission: Distribution,
        auxiliary: Callable[[], Tensor],
        backward: Callable[[], Tensor],
        state: Callable[[], State],
    ):
        """`auxiliary` and `backward` give [N, T], not masked; `state` the last state. They are called once, if ever."""
        self.batch, self.prior, self.posterior, self.latents, self.emission = batch, prior, posterior, latents, emission
        self._auxiliary, self._backward, self._state = auxiliary, backward, state

    @cached_property
    def log_px(self) -> Tensor:
        """[N, T]."""
        batch = self.batch
        if batch.observed is None:
            return self._existing(self.emission.log_prob(batch.x))
        return self._existing(log_prob_of_observed(self.emission, batch.x, batch.scored))

    @cached_property
    def kl(self) -> Tensor:
        """[N, T]."""
        return self._existing(kl_divergence(self.posterior, self.prior))

    @cached_property
    def auxiliary(self) -> Tensor:
        """[N, T]."""
        return self._existing(self._auxiliary())

    @cached_property
    def backward(self) -> Tensor:
        """[N, T]."""
        return self._existing(self._backward())

    @cached_property
    def state(self) -> State:
        """[N, ...]."""
        return self._state()

    def _existing(self, term: Tensor) -> Tensor:
        return torch.where(self.batch.mask, term, torch.zeros_like(term))


class Step(NamedTuple):
    """What one step of an unroll says, [N, ...]: the densities, and what was drawn."""

    prior: Distribution
    posterior: Distribution
    latent: Tensor
    emission: Distribution


Resample = Callable[[int, Step], Tensor | None]
"""resample(t, step) -> index [N] int64 or None: after step t (from 0) row i goes on from the state of row index[i].

It is not asked after the last step, and must leave a row alone whose sequence has ended. The step is good during the
call alone: its memory is used again.
"""


class SequenceModel(nn.Module, ABC):
    """A model of sequences with a latent per step. See the module's docstring for the loop that uses it.

    A subclass names itself (`name`, as recipes know it) and its settings (`Config`, a frozen dataclass), takes
    `(spec, config)`, and defines the abstract methods. It may define `fast_unroll`, something faster than the
    contract's loop that gives the same values and gradients (tests hold it to that).
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    backend: Literal["reference", "fast"] = "fast"  # how `unroll` runs
    capturable: ClassVar[bool] = True  # whether a CUDA graph can hold it: nothing in it waits for a number from the GPU

    def __init__(self, spec: ObservationSpec, config: Any):
        super().__init__()
        self.spec = spec
        self.config = config

    @property
    def label(self) -> str:
        """The name in reports: `name`, and what makes this one something else than the paper's model of that name."""
        return self.name

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """Z; 0 for a deterministic network, whose likelihood is exact."""

    @abstractmethod
    def initial_state(self, n: int, *, start: Tensor | None = None) -> State:
        """What is known before the first step, n times. start: x_0 [n, D] or [n]; None is the spec's blank one."""

    @abstractmethod
    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """What the posterior may look at, [B, T, C]. Padding must not change it.

        state: where the batch goes on from, B rows, for a context that reads the past too; None: the beginning.
        """

    @abstractmethod
    def prior(self, state: State) -> Distribution:
        """p(z_t | past): batch [n], event [Z]."""

    @abstractmethod
    def posterior(self, state: State, context: Tensor) -> Distribution:
        """q(z_t | past, context_t [n, C]): batch [n], event [Z]."""

    @abstractmethod
    def after_latent(self, state: State, z: Tensor) -> State:
        """The state that has read z_t [n, Z] and emits x_t."""

    @abstractmethod
    def emission(self, state: State) -> Distribution:
        """p(x_t | z_<=t, x_<t): batch [n], event [D] or []."""

    @abstractmethod
    def after_observation(self, state: State, x: Tensor) -> State:
        """The state that has read x_t (`batch.past`), [n, D] or [n]; NaN, or -1 for categories, where it is missing."""

    def auxiliary(self, state: State, context: Tensor) -> Tensor:
        """What z_t is made to say of context_t [n, C], [n] in nats, maximized; `state` has read z_t. 0 by default."""
        return context.new_zeros(context.shape[0])

    def backward_log_prob(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """log p(x_{t-1} | context_t), [B, T] in nats: trains a backward network of its own. 0 by default."""
        return context.new_zeros(context.shape[:2])

    def log_likelihood(self, batch: SequenceBatch) -> Tensor:
        """log p(x_1..x_T) of each sequence, [B] in nats, where it is exact. Raises UserError where it isn't."""
        if self.latent_size:
            raise UserError(f"model {self.name} has no exact likelihood: use a bound such as elbo, iwae or fivo")
        self.check_batch(batch)
        return masked_sum(self.unroll(batch).log_px, batch.mask)

    def check_batch(self, batch: SequenceBatch, *, noise: Tensor | None = None, latents: Tensor | None = None) -> None:
        """Raise ValueError for a batch of another kind or size than the model's spec (its values aren't looked at), and
        for noise and latents together.
        """
        if latents is not None and noise is not None:
            raise ValueError("unroll takes noise or latents, not both")
        x, spec = batch.x, self.spec
        size = None if x.dim() == 2 else x.shape[2]
        if spec.kind == "categorical":
            fits, wanted = size is None and not x.is_floating_point(), "[B, T] int64"
        else:
            fits, wanted = size == spec.size and x.is_floating_point(), f"[B, T, {spec.size}] float"
        if not fits:
            raise ValueError(f"x is {x.dtype} {list(x.shape)}; a model of {spec.kind} observations reads {wanted}")

    def draw_noise(self, batch: SequenceBatch, *, particles: int = 1) -> Tensor:
        """Standard normal [K B, T, Z] from torch's global generator: all the randomness of an unroll in eval mode."""
        self.check_batch(batch)
        reference = next(self.parameters())
        size = (particles * len(batch), batch.x.shape[1], self.latent_size)
        return torch.randn(size, device=reference.device, dtype=reference.dtype)

    def unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
        particles: int = 1,
        resample: Resample | None = None,
    ) -> Unroll:
        """All steps of a batch, the latents drawn from the posterior.

        noise:     [N, T, Z], standard normal; None draws it
        latents:   [N, T, Z], the latents themselves instead of draws: the densities of given z, whatever the posterior
        state:     where the batch goes on from (it has read x_0), N rows; None starts with the batch's own x_0
        context:   [B, T, C], what `encode` gave already (of more than this batch, cut to its steps); None encodes it
        particles: K; N = K B rows, copy after copy of the batch, with latents of their own
        resample:  says after each step which rows go on (a particle filter's choice of ancestors)

        `backend` says how: `reference` walks the contract, `fast` takes the model's own fast path. They are equal.
        """
        self.check_batch(batch, noise=noise, latents=latents)
        if particles < 1:
            raise ValueError(f"particles is {particles}; it must be 1 or more")
        wanted = [particles * len(batch), batch.x.shape[1], self.latent_size]
        for name, given in (("noise", noise), ("latents", latents)):
            if given is not None and list(given.shape) != wanted:
                raise ValueError(f"{name} is {list(given.shape)}; with {particles} particles it must be {wanted}")
        if context is not None and context.shape[:2] != batch.x.shape[:2]:
            raise ValueError(f"context is {list(context.shape)}; it must be [B, T, C] for x {list(batch.x.shape)}")
        if state is not None and len(state[0]) != wanted[0]:
            raise ValueError(f"the state has {len(state[0])} rows; with {particles} particles there are {wanted[0]}")
        if latents is None and noise is None:
            noise = self.draw_noise(batch, particles=particles)
        run = self.walk if self.backend == "reference" or self._must_walk(noise, resample) else self.fast_unroll
        return run(
            batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
        )

    def _must_walk(self, noise: Tensor | None, resample: Resample | None) -> bool:
        """Whether the choice of ancestors needs the contract's loop: it must see each step's densities before the next
        step, of given latents too, and of the masks by which dropout made them.
        """
        dropout = self.training and bool(getattr(self.config, "dropout", 0.0))
        return resample is not None and (noise is None or self.latent_size == 0 or dropout)

    def fast_unroll(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        latents: Tensor | None,
        state: State | None,
        context: Tensor | None,
        particles: int,
        resample: Resample | None,
    ) -> Unroll:
        """What `unroll` does, faster than step by step, where a model knows how. Exactly one of noise and latents, the
        former where ancestors are chosen; and none are with dropout in training, or without latents.
        """
        return self.walk(
            batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
        )

    def walk(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
        particles: int = 1,
        resample: Resample | None = None,
    ) -> Unroll:
        """What `unroll` does by the contract's loop: the definition of the model."""
        draws = latents if noise is None else noise
        if draws is None:
            draws = self.draw_noise(batch, particles=particles)
        rows = batch.repeat(particles)
        state = self.initial_state(len(rows), start=rows.start) if state is None else state
        if context is None:  # the copies of a row have one past of observations, so the first one stands for all
            context = self.encode(batch, state=map_state(lambda v: v[: len(batch)], state))
        given, contexts = context, context.repeat(particles, 1, 1)
        steps, auxiliary = [], []
        # unbind, not contexts[:, t]: the backward pass of indexing writes a full-size zero tensor at every step
        columns = (rows.past.unbind(1), contexts.unbind(1), draws.unbind(1), rows.mask.unbind(1))
        for t, (x, c, draw, exists) in enumerate(zip(*columns, strict=True)):
            prior, posterior = self.prior(state), self.posterior(state, c)
            z = reparameterize(posterior, draw) if latents is None else draw
            following = self.after_latent(state, z)
            steps.append(Step(prior, posterior, z, self.emission(following)))
            auxiliary.append(self.auxiliary(following, c))
            state = where_rows(exists, self.after_observation(following, x), state)
            index = None if resample is None or t + 1 == len(rows.x[0]) else resample(t, steps[-1])
            if index is not None:
                state = map_state(lambda v: v[index], state)  # noqa: B023 - used at once
        last = state
        return Unroll(
            rows,
            prior=stack([s.prior for s in steps], dim=1),
            posterior=stack([s.posterior for s in steps], dim=1),
            latents=torch.stack([s.latent for s in steps], dim=1),
            emission=stack([s.emission for s in steps], dim=1),
            auxiliary=lambda: torch.stack(auxiliary, dim=1),
            backward=lambda: self.backward_log_prob(batch, given).repeat(particles, 1),
            state=lambda: last,
        )
