"""The base class of models: a stochastic recurrent network is a few conditional densities and a state.

Step t emits x_t, t = 1..T; x_0 is the start (zeros, a start symbol, or an observation that is conditioned on):

    state   = model.initial_state(n)                   before the first step
    context = model.encode(batch, state=state)         what the posterior reads: x_t, or the future
    for t in 1..T:
        p_z   = model.prior(state)                     p(z_t | past)
        q_z   = model.posterior(state, context_t)      q(z_t | past, context)
        state = model.after_latent(state, z_t)
        p_x   = model.emission(state)                  p(x_t | z_<=t, x_<t)
        aux   = model.auxiliary(state, context_t)      Z-Forcing's auxiliary term; zero for other models
        state = model.after_observation(state, x_t)

Sampling runs the same loop with `prior` and `emission`, so that the trained densities are those that generate. A state
is a NamedTuple of tensors [n, ...]: particles repeat it, resampling indexes it, streaming carries it. A deterministic
network is a model whose latent has size 0. In training, word dropout may feed `after_observation` another x_t than the
one that is scored and encoded (`SequenceBatch.fed`). Later arguments are keyword-only, so that exogenous inputs u_t can
be added to `after_observation` and `initial_state` without a change to models that have none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ..distributions import log_prob_of_observed, reparameterize, stack
from ..errors import UserError
from ..observations import DataDescription, ObservationSpec, SequenceBatch, masked_sum
from ..settings import plain

C = TypeVar("C")


class HasDescription(Protocol):
    """What `for_data` asks of data."""

    @property
    def description(self) -> DataDescription:
        """What a model keeps of the data."""


State = Any  # a NamedTuple of tensors [n, ...], each model's own


def map_state(f: Callable[..., Tensor], *states: State) -> State:
    """Apply f to each tensor of a state, or to the corresponding tensors of several states.

    Args:
        f: A function of as many tensors as there are states.
        *states: States of the same type.

    Returns:
        A state of that type with the results.
    """
    return type(states[0])(*(f(*tensors) for tensors in zip(*states, strict=True)))


def where_rows(rows: Tensor, new: State, old: State) -> State:
    """Select the new state where `rows` [n] is True, and the old one elsewhere."""
    return map_state(lambda a, b: torch.where(rows.reshape(-1, *[1] * (a.dim() - 1)), a, b), new, old)


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
        auxiliary: Callable[[], Tensor],
        backward: Callable[[], Tensor],
        state: Callable[[], State],
    ):
        """Store the results, and functions for those that may not be needed; each is called at most once.

        Args:
            batch: See the class.
            prior: See the class.
            posterior: See the class.
            latents: See the class.
            emission: See the class.
            auxiliary: Returns the term [N, T], which is masked here.
            backward: Returns the term [N, T], which is masked here.
            state: Returns the state after each sequence's last step.
        """
        self.batch, self.prior, self.posterior, self.latents, self.emission = batch, prior, posterior, latents, emission
        self._auxiliary, self._backward, self._state = auxiliary, backward, state

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

    @cached_property
    def auxiliary(self) -> Tensor:
        """Z-Forcing's log p(b_t | z_t), or minus the squared error, [N, T]; 0 for other models."""
        return self._masked(self._auxiliary())

    @cached_property
    def backward(self) -> Tensor:
        """Z-Forcing's log p(x_{t-1} | b_t), for the x_{t-1} that exist, [N, T]; 0 for other models."""
        return self._masked(self._backward())

    @cached_property
    def state(self) -> State:
        """The model's state after each sequence's last step, N rows."""
        return self._state()

    def _masked(self, term: Tensor) -> Tensor:
        return torch.where(self.batch.mask, term, torch.zeros_like(term))


class Step(NamedTuple):
    """The densities and the latent of one step of an unroll, N rows each."""

    prior: Distribution
    posterior: Distribution
    latent: Tensor
    emission: Distribution


Resample = Callable[[int, Step], Tensor | None]
"""resample(t, step) -> index [N] int64 or None: after step t (from 0) row i continues from the state of row index[i].

It isn't called after the last step, and must not move rows whose sequence has ended. The step is valid only during the
call: its memory is reused.
"""


class SequenceModel(nn.Module, ABC):
    """Base class of models of sequences with one latent per step.

    The module's docstring shows the loop that uses the methods. A subclass defines `name`, `Config` and the abstract
    methods, and is constructed as `Model(spec, config)`. It may override `fast_unroll` by something faster than the
    loop that gives the same values and gradients (`zforcing.testing.check_model` compares them).

    Attributes:
        name: The name in recipes, saved files and reports.
        Config: A frozen dataclass with the model's settings.
        backend: How `unroll` runs: `fast` calls `fast_unroll`, `reference` the loop (`walk`).
        capturable: Whether a CUDA graph can hold the model (it never waits for a value from the GPU).
        spec: What one observation is.
        config: The settings.
        description: What the model was trained on, with which the user's units become what it reads, and back; None
            where nobody said.
        starts: First observations of training sequences, [n, D] or [n], with which samples of a model that conditions
            on them begin; None where it has kept none.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    backend: Literal["reference", "fast"] = "fast"
    capturable: ClassVar[bool] = True

    def __init__(self, spec: ObservationSpec, config: Any):
        super().__init__()
        self.spec = spec
        self.config = config
        self.description: DataDescription | None = None
        self.starts: Tensor | None = None

    @classmethod
    def for_data(cls, data: HasDescription, **settings: Any) -> Self:
        """A new model of some data, which keeps the data's description. Its parameters come from torch's generator.

        Args:
            data: has a `description`, such as training sequences.
            **settings: those of the model's `Config` that differ from the defaults.

        Raises:
            UserError: the data has no description, or a setting is unknown or out of range.

        Example:
            model = ZForcing.for_data(train, hidden_size=64)
        """
        description = getattr(data, "description", None)
        if not isinstance(description, DataDescription):
            raise UserError(
                f"data is a {type(data).__name__}, which doesn't say what an observation is; it must be Sequences, or "
                f"another data set with a description ({cls.__name__}(spec, config) needs none)"
            )
        model = cls(description.spec, cls.make_config(None, settings))
        model.description = description
        return model

    @classmethod
    def make_config(cls, config: C | None, settings: Mapping[str, Any]) -> C:
        """The settings that a model was given: a `Config`, or some of its fields by name. Raises UserError for both, or
        for a field that there isn't.
        """
        if config is not None:
            if settings:
                raise UserError(f"model {cls.name} is given config and {', '.join(settings)}: put them into the config")
            return config
        known = {field.name for field in fields(cls.Config)}
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise UserError(f"model {cls.name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        made: C = cls.Config(**{name: plain(value) for name, value in settings.items()})
        return made

    @property
    def label(self) -> str:
        """The name in reports: `name`, and in parentheses how this model differs from the paper's."""
        return self.name

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """Z, the size of z_t; 0 for a deterministic network, whose likelihood is exact."""

    @abstractmethod
    def initial_state(self, n: int, *, start: Tensor | None = None) -> State:
        """Return the state before the first step.

        Args:
            n: Number of rows (sequences).
            start: x_0, [n, D] or [n]; None is the blank one of the spec.

        Returns:
            A NamedTuple of tensors [n, ...].
        """

    @abstractmethod
    def encode(self, batch: SequenceBatch, *, state: State | None = None) -> Tensor:
        """Compute what the posterior reads of the observations. Padding must not change it.

        Args:
            batch: B sequences.
            state: The state that the batch continues from, B rows, for models whose context also depends on the past;
                None is the beginning.

        Returns:
            The context [B, T, C].
        """

    @abstractmethod
    def prior(self, state: State) -> Distribution:
        """Return p(z_t | past), a Gaussian with batch [n], event [Z]."""

    @abstractmethod
    def posterior(self, state: State, context: Tensor) -> Distribution:
        """Return q(z_t | past, context_t), a Gaussian with batch [n], event [Z].

        Args:
            state: The state after step t - 1, n rows.
            context: [n, C], step t of what `encode` returned.
        """

    @abstractmethod
    def after_latent(self, state: State, z: Tensor) -> State:
        """Return the state that has read z_t [n, Z], from which `emission` gives x_t."""

    @abstractmethod
    def emission(self, state: State) -> Distribution:
        """Return p(x_t | z_<=t, x_<t), with batch [n], event [D] or []."""

    @abstractmethod
    def after_observation(self, state: State, x: Tensor) -> State:
        """Return the state after step t.

        Args:
            state: The state that `after_latent` returned, n rows.
            x: x_t [n, D] or [n] (a step of `batch.past`), NaN, or -1 for categories, where it is missing.
        """

    def auxiliary(self, state: State, context: Tensor) -> Tensor:
        """Return an auxiliary term that training maximizes, such as Z-Forcing's log p(b_t | z_t). 0 by default.

        Args:
            state: The state that `after_latent` returned, n rows.
            context: [n, C].

        Returns:
            Tensor [n], in nats.
        """
        return context.new_zeros(context.shape[0])

    def backward_log_prob(self, batch: SequenceBatch, context: Tensor) -> Tensor:
        """Return log p(x_{t-1} | context_t), which trains a backward network (Z-Forcing). 0 by default.

        Args:
            batch: B sequences.
            context: [B, T, C].

        Returns:
            Tensor [B, T], in nats.
        """
        return context.new_zeros(context.shape[:2])

    def log_likelihood(self, batch: SequenceBatch) -> Tensor:
        """Compute the exact log p(x_1..x_T) of each sequence.

        Args:
            batch: B sequences.

        Returns:
            Tensor [B], in nats.

        Raises:
            UserError: The model has latents, and no exact likelihood.
        """
        if self.latent_size:
            raise UserError(f"model {self.name} has no exact likelihood: use a bound such as elbo, iwae or fivo")
        self.check_batch(batch)
        return masked_sum(self.unroll(batch).log_px, batch.mask)

    def check_batch(self, batch: SequenceBatch, *, noise: Tensor | None = None, latents: Tensor | None = None) -> None:
        """Check that a batch fits the model's spec. Only shapes and types are checked, not values.

        Args:
            batch: The batch to check.
            noise: An argument of `unroll`.
            latents: An argument of `unroll`, not to be given together with `noise`.

        Raises:
            ValueError: The batch has observations of another kind or size, or both `noise` and `latents` are given.
        """
        if latents is not None and noise is not None:
            raise ValueError("unroll takes noise or latents, not both")
        x, spec = batch.x, self.spec
        size = None if x.dim() == 2 else x.shape[2]
        if spec.kind == "categorical":
            fits, expected = size is None and not x.is_floating_point(), "[B, T] int64"
        else:
            fits, expected = size == spec.size and x.is_floating_point(), f"[B, T, {spec.size}] float"
        if not fits:
            raise ValueError(f"x is {x.dtype} {list(x.shape)}; a model of {spec.kind} observations reads {expected}")

    def draw_noise(self, batch: SequenceBatch, *, particles: int = 1) -> Tensor:
        """Draw the standard normal noise of an unroll from torch's global generator.

        In eval mode this is all the randomness of an unroll.

        Args:
            batch: B sequences of T steps.
            particles: K, the copies of each sequence.

        Returns:
            Tensor [K B, T, Z], with the dtype and on the device of the parameters.
        """
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
        """Run the model over all steps of a batch, with latents drawn from the posterior.

        The attribute `backend` selects the implementation; values and gradients are the same.

        Args:
            batch: B sequences of T steps.
            noise: [N, T, Z] standard normal, from which z_t = mean + std * noise_t; None draws it.
            latents: [N, T, Z], z_t itself instead of draws from the posterior.
            state: State to continue from, N rows, which has read x_0; None starts from the batch's x_0.
            context: [B, T, C], what `encode` returned for these steps; None computes it.
            particles: K. The run has N = K B rows, copy after copy of the batch, each with its own latents.
            resample: Called after each step; returns which rows continue (the ancestors of a particle filter).

        Returns:
            The densities, latents and terms of all steps.

        Raises:
            ValueError: The arguments' shapes don't fit each other or the model.
        """
        self.check_batch(batch, noise=noise, latents=latents)
        if particles < 1:
            raise ValueError(f"particles is {particles}; it must be 1 or more")
        expected = [particles * len(batch), batch.x.shape[1], self.latent_size]
        for name, tensor in (("noise", noise), ("latents", latents)):
            if tensor is not None and list(tensor.shape) != expected:
                raise ValueError(f"{name} is {list(tensor.shape)}; with {particles} particles it must be {expected}")
        if context is not None and context.shape[:2] != batch.x.shape[:2]:
            raise ValueError(f"context is {list(context.shape)}; it must be [B, T, C] for x {list(batch.x.shape)}")
        if state is not None and len(state[0]) != expected[0]:
            raise ValueError(f"the state has {len(state[0])} rows; with {particles} particles there are {expected[0]}")
        if latents is None and noise is None:
            noise = self.draw_noise(batch, particles=particles)
        run = self.walk if self.backend == "reference" or self._must_walk(noise, resample) else self.fast_unroll
        return run(
            batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
        )

    def _must_walk(self, noise: Tensor | None, resample: Resample | None) -> bool:
        """Whether a `resample` function needs the loop: it is called between steps with each step's densities, which
        the fast paths only have there for latents drawn from noise, without dropout.
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
        """Do what `unroll` does, faster than step by step. The default is the loop (`walk`).

        Exactly one of `noise` and `latents` is given. `resample` is only given with noise, for a model with latents
        and without active dropout. The others are as for `unroll`.
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
        """Do what `unroll` does, with its arguments, by the loop of the module's docstring: what defines the model."""
        draws = latents if noise is None else noise
        if draws is None:
            draws = self.draw_noise(batch, particles=particles)
        rows = batch.repeat(particles)
        state = self.initial_state(len(rows), start=rows.start) if state is None else state
        if context is None:  # all copies of a row have read the same observations, so the first one is enough
            context = self.encode(batch, state=map_state(lambda v: v[: len(batch)], state))
        encoded, contexts = context, context.repeat(particles, 1, 1)
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
            backward=lambda: self.backward_log_prob(batch, encoded).repeat(particles, 1),
            state=lambda: last,
        )
