"""The backend `fast`: a planned step of a model (`models.planned_step`), run over a batch.

Values and gradients are those of the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import batch_first, with_parameters
from ..observations import SequenceBatch
from ..recurrence.eager import Resample
from ..recurrence.flat import Flat
from ..recurrence.program import Value
from ..recurrence.trace import Untraceable
from .contract import RecurrentModel
from .planned_step import Derived, Given, Kind, derived_for
from .state import State, map_state
from .trace_cache import refuse
from .traced import tensor_at
from .unroll import Unroll


def unroll(
    model: RecurrentModel,
    batch: SequenceBatch,
    *,
    noise: Tensor | None,
    latents: Tensor | None,
    state: State | None,
    context: Tensor | None,
    particles: int,
    resample: Resample | None,
) -> Unroll:
    """Do what `RecurrentModel.walk` does, all steps at once where that is possible, else by walking."""
    first = model.initial_state(len(batch), start=batch.start) if state is None else state
    one = map_state(lambda v: v[: len(batch)], first)
    begun: dict[str, Tensor] = {}
    if state is None:
        begun = deterministic_states(model, batch, first, carried=False)
    elif resample is None:
        begun = deterministic_states(model, batch.repeat(particles), first, carried=True)
    context = model.context(batch, state=first, begun=begun) if context is None else context
    draw, x = latents if noise is None else noise, batch.past
    given = Given(None if _is_same(context, x) else context, draw, x, batch.inputs, tuple(begun.values()))
    if resample is not None:
        given = given._replace(scored_x=batch.x, scored=None if batch.observed is None else batch.scored)
    kind = Kind(given_latents=noise is None, carried=state is not None, filtered=resample is not None)
    derived = _derived_for(model, batch, one, given, kind)
    if isinstance(derived, Derived):
        try:
            return _Run(model, derived, batch, given, first, particles).unroll(resample)
        except Untraceable as reason:  # of a loop's gradients, which are traced when they are first needed
            refuse(model, derived, reason)
    return model.walk(
        batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
    )


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether a context without a gradient is x, on a CPU, where that is soon known."""
    if a.requires_grad or a.device.type != "cpu" or (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())  # missing numbers are NaN


def deterministic_states(
    model: RecurrentModel, batch: SequenceBatch, first: State, *, carried: bool
) -> dict[str, Tensor]:
    """What `RecurrentModel.deterministic` names, at the beginning of each step: [B, T, ...] by name."""
    if not model.deterministic:
        return {}
    given = Given(x=batch.past, u=batch.inputs)
    derived = _derived_for(model, batch, first, given, Kind(only_deterministic=True, carried=carried))
    if isinstance(derived, str):
        return model.walk_deterministic(batch, first)
    try:
        return dict(
            zip(model.deterministic, _Run(model, derived, batch, given, first, particles=1).begun(), strict=True)
        )
    except Untraceable as reason:
        refuse(model, derived, reason)
        return model.walk_deterministic(batch, first)


def _derived_for(model: RecurrentModel, batch: SequenceBatch, first: State, given: Given, kind: Kind) -> Derived | str:
    step = given.like([v[:, 0] for v in given.present.values()])
    return derived_for(model, first, step, batch.start, kind)


class _Run:
    """A run of a planned step over a batch."""

    def __init__(
        self, model: RecurrentModel, derived: Derived, batch: SequenceBatch, given: Given, first: State, particles: int
    ):
        self.model, self.derived, self.batch, self.rows = model, derived, batch, batch.repeat(particles)
        self.context, self.particles, self.state_type = given.read_by_posterior, particles, type(first)
        self.flat = flat = Flat(steps=batch.x.shape[1], sequences=len(batch), particles=particles)
        for name, value in derived.weights.items():
            flat.hold(value, tensor_at(model, name), rows=0)
        for name, tensor in given.present.items():
            flat.hold(derived.given.present[name], time_first(tensor), rows=len(tensor))
        if derived.plan.previous is not None:
            previous = torch.cat([batch.start[:, None], batch.past[:, :-1]], dim=1)
            flat.hold(derived.plan.previous, time_first(previous), rows=len(previous))
        for value, tensor in zip(derived.plan.first.values(), first, strict=True):
            flat.hold_first(value, tensor)

    def begun(self) -> list[Tensor]:
        """What no latent changes, at the beginning of each step."""
        for runner in self.derived.runners:
            self.flat.run(runner)
        return [self._steps(value).transpose(0, 1) for value in self.derived.results["begun"]]

    def unroll(self, resample: Resample | None) -> Unroll:
        """Run the loops; the densities of all steps are computed at once."""
        shown = None if resample is None else partial(self._resample, resample)
        for runner in self.derived.runners:
            self.flat.run(runner, resample=shown)
        if shown is not None and all(runner.loop.log_weight is None for runner in self.derived.runners):
            self._show_weights(shown)
        return Unroll(
            self.rows,
            **{name: self._density(name) for name in self.derived.densities},
            latents=self._steps(self.derived.results["z"]).transpose(0, 1),
            costs={name: partial(self._cost, name) for name in self.model.step_costs}
            | {name: partial(self._context_cost, name) for name in self.model.context_costs},
            state=self._last_state,
            field=self._field,
        )

    def _show_weights(self, shown: Callable[[int, Tensor], Tensor | None]) -> None:
        """Show a filter its weights where nothing that it could reorder depends on them."""
        assert self.derived.plan.weight is not None, "traced for a filter"
        for t, log_w in enumerate(self._steps(self.derived.plan.weight).detach()[:-1]):
            shown(t, log_w)

    def _resample(self, resample: Resample, t: int, log_w: Tensor) -> Tensor | None:
        """The rows that continue, by the weights as `RecurrentModel.walk` shows them."""
        exists = t < self.rows.lengths
        return resample(t, torch.where(exists, log_w.double(), 0.0))

    def _steps(self, value: Value) -> Tensor:
        """A value at all steps, [T, N, ...]."""
        values: Tensor = self.flat.evaluate(value).unflatten(0, (self.flat.steps, -1))
        return values

    def _density(self, name: str) -> Distribution:
        parameters = [self._steps(value) for value in self.derived.results["densities"][name]]
        return batch_first(with_parameters(self.derived.densities[name], parameters))

    def _cost(self, name: str) -> Tensor:
        """A term of each step, of the states that it reads."""
        read, middle = self.derived.read_by_cost[name], self.derived.results["middle"]
        state = self.state_type(*(self.flat.evaluate(v) if i in read else None for i, v in enumerate(middle)))
        term: Tensor = getattr(self.model, name)(state, self.flat.evaluate(self.derived.given.read_by_posterior))
        each: Tensor = term.unflatten(0, (self.flat.steps, -1)).transpose(0, 1)
        return each

    def _context_cost(self, name: str) -> Tensor:
        term: Tensor = getattr(self.model, name)(self.batch, self.context)
        return term.repeat(self.particles, 1)

    def _field(self, name: str) -> Tensor:
        """A field of the state that each step's emission reads."""
        middle = self.state_type(*self.derived.results["middle"])
        return self._steps(getattr(middle, name)).transpose(0, 1)

    def _last_state(self) -> State:
        """The state after each row's last step."""
        last, lengths = self.derived.plan.last.values(), self.rows.lengths
        return self.state_type(*(self.flat.evaluate_last(value, lengths) for value in last))


def time_first(tensor: Tensor) -> Tensor:
    """[n, T, ...] -> [T n, ...]."""
    return tensor.transpose(0, 1).flatten(0, 1)
