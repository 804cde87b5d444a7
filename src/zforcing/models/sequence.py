"""The base class of models of sequences: the contract (`models.contract`), run over all steps the fast way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NoReturn

from torch import Tensor

from ..errors import UserError
from ..observations import SequenceBatch, masked_sum
from . import fast
from .contract import RecurrentModel, Resample
from .density import DensityModel, Draws
from .in_chunks import draws_of_long, steps_at_once
from .state import State
from .unroll import Unroll


class SequenceModel(RecurrentModel):
    """Base class of models of sequences with one latent per step.

    A subclass defines `name`, `Config` and the contract's methods, and is constructed as `Model(spec, config)`.

    Attributes:
        backend: How `unroll` runs: `reference` is the loop (`walk`); `fast` is what is derived from the contract
            (`models.fast`), or that loop where nothing can be.
    """

    backend: Literal["reference", "fast"] = "fast"

    def deterministic_states(self, batch: SequenceBatch, *, state: State | None = None) -> dict[str, Tensor]:
        """The fields that `deterministic` names, as `after_inputs` leaves them at each step: [B, T, ...] by name.

        Args:
            batch: B sequences.
            state: The state that the batch continues from, B rows; None is the beginning.
        """
        first = self.initial_state(len(batch), start=batch.start) if state is None else state
        if self.backend == "reference":
            return self.walk_deterministic(batch, first)
        return fast.deterministic_states(self, batch, first, carried=state is not None)

    def draw(
        self,
        batch: SequenceBatch,
        *,
        particles: int = 1,
        noise: Tensor | None = None,
        latents: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> Draws:
        """Draw the latents of all steps: `unroll`, with its arguments, and its terms summed over time."""
        self.check_batch(batch)
        self._check_shapes(batch, noise=noise, latents=latents, state=state, context=context, particles=particles)
        if latents is None and steps_at_once(self, T := batch.x.shape[1], rows=particles * len(batch)) < T:
            noise = self.draw_noise(batch, particles=particles) if noise is None else noise
            return draws_of_long(self, batch, noise=noise, particles=particles, state=state, context=context)
        run = self.unroll(batch, particles=particles, noise=noise, latents=latents, state=state, context=context)

        def total(term: Callable[[], Tensor]) -> Callable[[], Tensor]:
            return lambda: masked_sum(term(), run.batch.mask)

        return Draws(
            run.latents,
            log_px=total(lambda: run.log_px),
            log_pz=total(lambda: run.prior.log_prob(run.latents)),
            log_qz=total(lambda: run.posterior.log_prob(run.latents)),
            kl_parts=lambda: run.kl,
            parts_exist=run.batch.mask,
            costs={name: total(partial(run.cost, name)) for name in run.cost_names},
            state=lambda: run.state,
        )

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

        Args:
            batch: B sequences of T steps.
            noise: [N, T, Z] standard normal, from which z_t = mean + std * noise_t; None draws it.
            latents: [N, T, Z], z_t itself instead of draws from the posterior.
            state: State to continue from, N rows, which has read x_0; None starts from the batch's x_0.
            context: what `encode` returned for these steps; None computes it.
            particles: K. The run has N = K B rows, copy after copy of the batch, each with its own latents.
            resample: Called after each step but the last; returns which rows continue (a particle filter's ancestors).

        Returns:
            The densities, latents and terms of all steps.

        Raises:
            ValueError: The arguments' shapes don't fit each other or the model.
        """
        self.check_batch(batch)
        self._check_shapes(batch, noise=noise, latents=latents, state=state, context=context, particles=particles)
        if latents is None and noise is None:
            noise = self.draw_noise(batch, particles=particles)
        run = self.walk if self.backend == "reference" else partial(fast.unroll, self)
        return run(
            batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
        )

    def _check_shapes(
        self,
        batch: SequenceBatch,
        *,
        noise: Tensor | None,
        latents: Tensor | None,
        state: State | None,
        context: Tensor | None,
        particles: int,
    ) -> None:
        """Raise ValueError where arguments of `unroll` don't fit each other."""
        if latents is not None and noise is not None:
            raise ValueError("unroll takes noise or latents, not both")
        if particles < 1:
            raise ValueError(f"particles is {particles}; it must be 1 or more")
        expected = [particles * len(batch), batch.x.shape[1], self.latent_size]
        for name, tensor in (("noise", noise), ("latents", latents)):
            if tensor is not None and list(tensor.shape) != expected:
                raise ValueError(f"{name} is {list(tensor.shape)}; with {particles} particles it must be {expected}")
        if context is not None and context.shape[:2] != batch.x.shape[:2]:
            raise ValueError(f"context is {list(context.shape)}; it must be [B, T, ...] for x {list(batch.x.shape)}")
        if state is not None and len(state[0]) != expected[0]:
            raise ValueError(f"the state has {len(state[0])} rows; with {particles} particles there are {expected[0]}")


def of_sequences(model: DensityModel, *, needed_by: str) -> SequenceModel:
    """The model, if it is one of sequences. Raises UserError otherwise."""
    if not isinstance(model, SequenceModel):
        refuse_without_steps(model.name, needed_by=needed_by)
    return model


def refuse_without_steps(name: str, *, needed_by: str) -> NoReturn:
    """Raise UserError: a model of this name has no time steps."""
    raise UserError(f"{needed_by} needs a model of sequences; {name} has no time steps")
