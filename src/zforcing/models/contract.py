"""The contract of models of sequences: a stochastic recurrent network is a few conditional densities and a state.

Step t emits x_t, t = 1..T; x_0 is the start (zeros, a start symbol, or an observation that is conditioned on):

    state   = model.initial_state(n, start=x_0)        before the first step
    context = model.encode(batch, state=state)         what the posterior reads: x_t, or the future
    for t in 1..T:
        state = model.after_inputs(state, u_t)         the step begins: its known inputs are read, if there are some
        p_z   = model.prior(state)                     p(z_t | past)
        q_z   = model.posterior(state, context_t)      q(z_t | past, context)
        state = model.after_latent(state, z_t)
        p_x   = model.emission(state)                  p(x_t | z_<=t, x_<t)
        state = model.after_observation(state, x_t)

Sampling runs the same loop with `prior` and `emission`, so that the trained densities are those that generate. A state
is a NamedTuple of tensors [n, ...]: particles repeat it, resampling indexes it, streaming carries it. It holds what was
read embedded: e(x_t) is computed once, in `after_observation`, so that one dropout mask is one mask wherever it is
used. A deterministic network is a model whose latent has size 0. In training, word dropout may feed `after_observation`
another x_t than the one that is scored and encoded (`SequenceBatch.past`).

Known inputs u_t, such as control signals or the calendar, are read and not scored: all densities are given them, prior
and emission of step t those up to u_t, the posterior all of them. Without inputs `after_inputs` is given None.

Extra terms that training maximizes are methods too, which a model names: `step_costs` are functions of (state after the
latent, context_t), `context_costs` of (batch, context).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import log_prob_of_observed, reparameterize, stack
from ..errors import UserError
from ..observations import ObservationSpec, SequenceBatch
from .density import DensityModel
from .state import State, copies, map_state, where_rows
from .unroll import Unroll

Resample = Callable[[int, Tensor], Tensor | None]
"""resample(t, log_w) -> index [N] int64 or None: after step t (from 0) row i continues from the state of row index[i].

log_w [N] float64, without gradient, is log p(x_t | .) + log p(z_t | .) - log q(z_t | .) of step t, and 0 where a
sequence has ended. It isn't called after the last step, and must not move rows whose sequence has ended.
"""


class _Step(NamedTuple):
    """One step of a walk, N rows."""

    prior: Distribution
    posterior: Distribution
    latent: Tensor  # [N, Z]
    state: State  # after the latent
    emission: Distribution
    context: Tensor  # [N, C]


class RecurrentModel(DensityModel):
    """The contract of models of sequences, with one latent per step, and the loop that it stands for.

    The module's docstring shows the loop. Models derive from `SequenceModel`, which runs it fast.

    Attributes:
        deterministic: Fields of the state that no latent changes (SRNN's d_t) and that `encode` reads: it then also
            takes `begun`, what `deterministic_states` returns.
        step_costs: The methods (state after `after_latent`, context_t) -> [n] that are extra terms of a step, in nats.
        context_costs: The methods (batch, context) -> [B, T] that are extra terms of the context, in nats.
        hidden: The field of the state whose course through time is the model's hidden trajectory.
    """

    deterministic: ClassVar[tuple[str, ...]] = ()
    step_costs: ClassVar[tuple[str, ...]] = ()
    context_costs: ClassVar[tuple[str, ...]] = ()
    hidden: ClassVar[str] = "h"

    def __init_subclass__(cls, **given: Any) -> None:
        """The extra terms of a sequence are those of its steps, and those of its context."""
        super().__init_subclass__(**given)
        cls.cost_names = cls.step_costs + cls.context_costs

    def __init__(self, spec: ObservationSpec, config: Any):
        super().__init__(spec, config)
        if spec.inputs and type(self).after_inputs is RecurrentModel.after_inputs:
            raise UserError(f"model {self.name} reads no inputs, but the data has {spec.inputs}: leave them out")

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
            The context, [B, T, C] or like x.
        """

    def after_inputs(self, state: State, u: Tensor | None) -> State:
        """Return the state that begins step t: with what is known before its latent. By default the same state.

        Args:
            state: The state after step t - 1, n rows.
            u: u_t [n, U], the known inputs of step t; None where the data has none.
        """
        return state

    @abstractmethod
    def prior(self, state: State) -> Distribution:
        """Return p(z_t | past), a Gaussian with batch [n], event [Z]."""

    @abstractmethod
    def posterior(self, state: State, context: Tensor) -> Distribution:
        """Return q(z_t | past, context_t), a Gaussian with batch [n], event [Z].

        Args:
            state: The state that `after_inputs` returned, n rows.
            context: [n, C] or like x_t, step t of what `encode` returned.
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

    def context(self, batch: SequenceBatch, *, state: State, begun: Mapping[str, Tensor]) -> Tensor:
        """What `encode` returns, from a state of B or K B rows and what is known of `deterministic_states`, if it is.

        All copies of a row have read the same observations, so the first one is enough.
        """
        first = map_state(lambda v: v[: len(batch)], state)
        if not begun:
            return self.encode(batch, state=first)
        known = {name: values[: len(batch)] for name, values in begun.items()}
        return self.encode(batch, state=first, begun=known)  # type: ignore[call-arg]  # of models with `deterministic`

    def walk_deterministic(self, batch: SequenceBatch, state: State) -> dict[str, Tensor]:
        """Do what `deterministic_states` does by the contract's loop, from this first state, with latents of 0."""
        if not self.deterministic:
            return {}
        found: dict[str, list[Tensor]] = {name: [] for name in self.deterministic}
        z = next(self.parameters()).new_zeros(len(batch), self.latent_size)
        nothing = [None] * batch.x.shape[1]
        inputs = nothing if batch.inputs is None else batch.inputs.unbind(1)
        for x, u in zip(batch.past.unbind(1), inputs, strict=True):
            state = self.after_inputs(state, u)
            for name, values in found.items():
                values.append(getattr(state, name))
            state = self.after_observation(self.after_latent(state, z), x)
        return {name: torch.stack(values, dim=1) for name, values in found.items()}

    @abstractmethod
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
        """Run the model over all steps, as `walk` does or faster: see `SequenceModel.unroll`."""

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
        if latents is None and noise is None:
            noise = self.draw_noise(batch, particles=particles)
        rows = batch.repeat(particles)
        begun: dict[str, Tensor] = {}
        if self.deterministic and state is None:  # one deterministic network for all copies of a sequence
            known = self.walk_deterministic(batch, self.initial_state(len(batch), start=batch.start))
            begun = {name: copies(values, particles) for name, values in known.items()}
        elif state is not None and resample is None:
            begun = self.walk_deterministic(rows, state)
        state = self.initial_state(len(rows), start=rows.start) if state is None else state
        if context is None:
            context = self.context(batch, state=state, begun=begun)
        steps = []
        for t, (x, u, c, e, z, exists) in enumerate(_columns(rows, copies(context, particles), noise, latents)):
            first = self.after_inputs(state, u)._replace(**{name: values[:, t] for name, values in begun.items()})
            steps.append(self._step(first, c, noise=e, z=z))
            state = where_rows(exists, self.after_observation(steps[-1].state, x), state)
            if resample is not None and t + 1 < rows.x.shape[1]:
                state = _continued(state, resample(t, _log_weight(steps[-1], rows, t)))
        return self._unrolled(steps, rows, state=state, costs=self._context_costs(batch, context, particles))

    def _step(self, state: State, context: Tensor, *, noise: Tensor | None, z: Tensor | None) -> _Step:
        """Step t up to its emission, from the state that begins it and from noise, or from z itself."""
        prior, posterior = self.prior(state), self.posterior(state, context)
        if z is None:
            assert noise is not None, "a step needs noise or its latent"
            z = reparameterize(posterior, noise)
        state = self.after_latent(state, z)
        return _Step(prior, posterior, z, state, self.emission(state), context)

    def _context_costs(self, batch: SequenceBatch, context: Tensor, particles: int) -> dict[str, Callable[[], Tensor]]:
        def cost(name: str) -> Tensor:
            term: Tensor = getattr(self, name)(batch, context)
            return term.repeat(particles, 1)

        return {name: partial(cost, name) for name in self.context_costs}

    def _unrolled(
        self, steps: list[_Step], rows: SequenceBatch, *, state: State, costs: Mapping[str, Callable[[], Tensor]]
    ) -> Unroll:
        def cost(name: str) -> Tensor:
            return torch.stack([getattr(self, name)(step.state, step.context) for step in steps], dim=1)

        return Unroll(
            rows,
            prior=stack([step.prior for step in steps], dim=1),
            posterior=stack([step.posterior for step in steps], dim=1),
            latents=torch.stack([step.latent for step in steps], dim=1),
            emission=stack([step.emission for step in steps], dim=1),
            costs={name: partial(cost, name) for name in self.step_costs} | dict(costs),
            state=lambda: state,
            field=lambda name: torch.stack([getattr(step.state, name) for step in steps], dim=1),
        )


def _columns(
    rows: SequenceBatch, context: Tensor, noise: Tensor | None, latents: Tensor | None
) -> Iterator[tuple[Any, ...]]:
    """Of each step: what is read of x_t, the context; inputs, noise and latent if they are given; where it exists.

    By unbind, not x[:, t]: the backward pass of indexing writes a full-size zero tensor at every step.
    """
    nothing = [None] * rows.x.shape[1]
    u, e, z = (nothing if values is None else values.unbind(1) for values in (rows.inputs, noise, latents))
    return zip(rows.past.unbind(1), u, context.unbind(1), e, z, rows.mask.unbind(1), strict=True)


@torch.no_grad()
def _log_weight(step: _Step, rows: SequenceBatch, t: int) -> Tensor:
    """log p(x_t | .) + log p(z_t | .) - log q(z_t | .), [N] in float64; 0 where a sequence has ended."""
    x = rows.x[:, t]
    if rows.observed is None:
        log_px = step.emission.log_prob(x)
    else:
        log_px = log_prob_of_observed(step.emission, x, rows.scored[:, t])
    log_w = log_px + step.prior.log_prob(step.latent) - step.posterior.log_prob(step.latent)
    return torch.where(rows.mask[:, t], log_w.double(), 0.0)


def _continued(state: State, index: Tensor | None) -> State:
    """The state of the rows that continue, [N]."""
    return state if index is None else map_state(lambda v: v[index], state)
