"""Running a model one step at a time, as when it generates: given p(z_t | .) one chooses z_t, given p(x_t | .) x_t.

`Walk` is the contract. `Stepper` gives the same densities from a step that is traced once (`recurrence.trace`) and
rewritten for running it again and again (`recurrence.stages`); nothing in a model is written for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from ..distributions import parameters_of, with_parameters
from ..recurrence.program import Value, evaluate
from ..recurrence.stages import PREVIOUS, StagedRun, Stages, make_stages
from ..recurrence.trace import with_rows
from .proposal import Mixture, context_of_step, log_weights, something_seen
from .sequence import SequenceModel
from .state import State, map_state
from .trace_cache import made_of, type_of
from .traced import tensor_at, trace_step


class Walk:
    """The contract, one step at a time.

    Args:
        model: The model.
        state: The state before the first step, n rows.
        proposal: What `weigh` draws latents from.
    """

    def __init__(self, model: SequenceModel, state: State, *, proposal: Mixture | None = None):
        self.model, self.proposal, self.state, self.last = model, proposal, state, state

    def begin(self, u: Tensor | None = None) -> Distribution:
        """Begin a step: return p(z_t | past). u is u_t [n, U], None where the data has no inputs."""
        self.u, self.state = u, self.model.after_inputs(self.state, u)
        self.begun = self.state
        self.prior = self.model.prior(self.begun)
        return self.prior

    def emit(self, z: Tensor) -> Distribution:
        """Go on with z_t [n, Z]: return p(x_t | z_<=t, x_<t)."""
        self.state = self.model.after_latent(self.begun, z)
        self.emission = self.model.emission(self.state)
        return self.emission

    def weigh(self, x: Tensor, *draw: Tensor) -> Tensor:
        """Weigh x_t, [n, D] or [n], before it is read; with a proposal, draw z_t again, now that x_t is known.

        Args:
            x: NaN or -1 where it is missing.
            *draw: Of a proposal: noise [n, Z], and where the prior draws, [n] bool; it does where nothing is there.

        Returns:
            log p(x_t | z_t) + log p(z_t) - log m(z_t), [n, 1 + D]: see `proposal.log_weights`.
        """
        if self.proposal is None:
            return log_weights(self.model, self.emission, x, None)
        z, log_ratio = self._proposed(self.proposal, x, *draw)
        return log_weights(self.model, self.emit(z), x, log_ratio)

    def _proposed(self, proposal: Mixture, x: Tensor, noise: Tensor, by_prior: Tensor) -> tuple[Tensor, Tensor]:
        """z_t and log p(z_t) - log m(z_t)."""
        context = context_of_step(self.model, x, self.u, before=self.last, begun=self.begun)
        posterior, seen = self.model.posterior(self.begun, context), something_seen(self.model, x)
        if seen is None:
            return proposal.draw(self.prior, posterior, noise=noise, by_prior=by_prior)
        z, log_ratio = proposal.draw(self.prior, posterior, noise=noise, by_prior=by_prior | ~seen)
        return z, torch.where(seen, log_ratio, torch.zeros_like(log_ratio))

    def read(self, x: Tensor) -> None:
        """End the step with x_t, [n, D] or [n]."""
        self.state = self.last = self.model.after_observation(self.state, x)

    def reorder(self, index: Tensor) -> None:
        """Between steps: let row i go on from row index[i], index [n] int64."""
        self.state = self.last = map_state(lambda v: v[index], self.state)

    @property
    def is_finite(self) -> bool:
        """Whether the state is, as far as the step has gone."""
        return all(bool(torch.isfinite(values).all()) for values in self.state)


class Stepper:
    """The same densities as `Walk`, in less time. Gradients don't flow through it.

    The first step is walked, and shows what the others look like. All are where the contract can't be traced, in
    training mode, by the backend `reference`, and where gradients or autocast are on. The parameters must not change
    between steps.

    Args:
        model: The model.
        state: The state before the first step, n rows.
        whole: Whether all fields of the state are computed. Without, what no prior and no emission ever reads stays as
            it was at first, such as the past that only a posterior reads.
        proposal: See `Walk`.

    Example:
        stepper = Stepper(model, model.initial_state(n))
        for t in range(steps):
            z = stepper.begin().sample()
            x = stepper.emit(z).sample()
            stepper.read(x)
    """

    def __init__(self, model: SequenceModel, state: State, *, whole: bool = False, proposal: Mixture | None = None):
        self.model, self.whole, self.proposal = model, whole, proposal
        self._may_trace = not (model.training or model.backend == "reference" or _records(state))
        self._steps: Walk | _Traced = Walk(model, state, proposal=proposal)
        self._shown: dict[str, Any] = {}  # in the current step

    def begin(self, u: Tensor | None = None) -> Distribution:
        """See `Walk.begin`."""
        prior = self._steps.begin(u)
        self._shown = {"u": () if u is None else (u,), "prior": prior, "weighs": False, "draw": ()}
        return prior

    def emit(self, z: Tensor) -> Distribution:
        """See `Walk.emit`."""
        emission = self._steps.emit(z)
        self._shown |= {"z": z, "emission": emission}
        return emission

    def weigh(self, x: Tensor, *draw: Tensor) -> Tensor:
        """See `Walk.weigh`."""
        self._shown |= {"weighs": True, "draw": draw}
        return self._steps.weigh(x, *draw)

    def read(self, x: Tensor) -> None:
        """See `Walk.read`."""
        self._steps.read(x)
        if isinstance(self._steps, Walk) and self._may_trace:
            self._steps = self._traced(self._steps.state, x)

    def reorder(self, index: Tensor) -> None:
        """See `Walk.reorder`."""
        self._steps.reorder(index)

    @property
    def walks(self) -> bool:
        """Whether the next step is the contract's own."""
        return isinstance(self._steps, Walk)

    @property
    def state(self) -> State:
        """The state after the last step that has ended; see `whole`."""
        return self._steps.last

    @property
    def is_finite(self) -> bool:
        """See `Walk.is_finite`."""
        return self._steps.is_finite

    def _traced(self, state: State, x: Tensor) -> Walk | _Traced:
        """What runs the next steps."""
        given = _Given(state, self._shown["z"], x, self._shown["u"], self._shown["draw"])
        kind = _Kind(self.whole, self._shown["weighs"], self.proposal)
        program = program_for(self.model, given, kind)
        self._may_trace = not isinstance(program, str)
        if isinstance(program, str):
            return Walk(self.model, state, proposal=self.proposal)
        return _Traced(self.model, program, given, like=(self._shown["prior"], self._shown["emission"]))


def _records(state: State) -> bool:
    """Whether operations mean more than their values: gradients are recorded, or autocast chooses precisions."""
    return torch.is_grad_enabled() or torch.is_autocast_enabled(state[0].device.type)


class _Given(NamedTuple):
    """What a step is given, or the values that stand for it."""

    state: Any  # a NamedTuple of tensors [n, ...]
    z: Any  # [n, Z]
    x: Any  # [n, D] or [n]
    u: tuple[Any, ...]  # [n, U], if the data has inputs
    draw: tuple[Any, ...]  # of `Walk.weigh`, with a proposal


class _Kind(NamedTuple):
    """What is asked of a step."""

    whole: bool
    weighs: bool
    proposal: Mixture | None


@dataclass(frozen=True)
class Program:
    """A model's step, traced.

    Attributes:
        stages: Parameters of the prior, then those of the emission, then what `Walk.weigh` returns, if it is asked for.
        weights: The inputs that stand for parameters and buffers, by name.
        given: The inputs of a step.
    """

    stages: Stages
    weights: Mapping[str, Value]
    given: _Given


def program_for(model: SequenceModel, given: _Given, kind: _Kind) -> Program | str:
    """The traced step for tensors like these; or why there is none, which is logged once."""
    asked = ("generates", kind, *map(type_of, pytree.tree_leaves(given)))
    return made_of(model, asked, lambda: _program(model, given, kind))


def _program(model: SequenceModel, given: _Given, kind: _Kind) -> Program:
    """Trace a step. Of the tensors, of any number of rows, only sizes and types matter."""

    def step(given: _Given) -> tuple[list[list[Tensor]], tuple[Tensor, ...]]:
        walk = Walk(model, given.state, proposal=kind.proposal)
        stages = [parameters_of(walk.begin(*given.u)), parameters_of(walk.emit(given.z))]
        if kind.weighs:
            stages.append([walk.weigh(given.x, *given.draw)])
        walk.read(given.x)
        return stages, tuple(walk.state)

    fields = type(given.state)._fields
    names = [*fields, "z", "x", *("u" for _ in given.u), *("draw" for _ in given.draw)]
    traced = trace_step(model, step, lambda rows: [pytree.tree_map(partial(with_rows, rows), given)], names)
    values: _Given = pytree.tree_unflatten(traced.inputs, pytree.tree_structure(given))
    results, after = traced.results
    new = dict(zip(fields, after, strict=True))
    stages = make_stages(values.state._asdict(), new, results, x=values.x, whole=kind.whole)
    return Program(stages, traced.weights, values)


class _Traced:
    """Runs a traced step again and again.

    Args:
        model: The model.
        program: Its step, or that of a model of the same structure.
        given: The state to go on from, and the last x.
        like: A prior and an emission of the model, whose kinds the others have.
    """

    def __init__(self, model: SequenceModel, program: Program, given: _Given, like: Sequence[Distribution]):
        self.program, self.x, self.state_type = program, given.x, type(given.state)
        self.prior, self.emission = like
        self.weights = {value: tensor_at(model, name).detach() for name, value in program.weights.items()}
        self.first = given.state._asdict() | {PREVIOUS: given.x}
        carried = {name: self.first[name] for name in program.stages.before}
        self.run = StagedRun(program.stages, self.weights, carried, rows=len(given.x))

    def begin(self, u: Tensor | None = None) -> Distribution:
        """See `Walk.begin`."""
        for value, tensor in zip(self.program.given.u, () if u is None else (u,), strict=True):
            self.run.put(value, tensor)
        return with_parameters(self.prior, self.run.run(0))

    def emit(self, z: Tensor) -> Distribution:
        """See `Walk.emit`."""
        self.run.put(self.program.given.z, z)
        return with_parameters(self.emission, self.run.run(1))

    def weigh(self, x: Tensor, *draw: Tensor) -> Tensor:
        """See `Walk.weigh`."""
        for value, tensor in zip((self.program.given.x, *self.program.given.draw), (x, *draw), strict=True):
            self.run.put(value, tensor)
        return self.run.run(2)[0]

    def read(self, x: Tensor) -> None:
        """See `Walk.read`."""
        self.x = x
        self.run.put(self.program.given.x, x)
        self.run.end()

    def reorder(self, index: Tensor) -> None:
        """See `Walk.reorder`."""
        self.x = self.x[index]
        self.run.reorder(index)

    @property
    def last(self) -> State:
        """The state after the last step that has ended."""
        known = {**self.weights, self.program.given.x: self.x}
        late = self.program.stages.late
        evaluate(late.values(), known, rows=len(self.x))
        fields = self.first | self.run.state() | {name: known[value] for name, value in late.items()}
        return self.state_type(*(fields[name] for name in self.state_type._fields))

    @property
    def is_finite(self) -> bool:
        """See `Walk.is_finite`."""
        return self.run.is_finite
