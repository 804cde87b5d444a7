"""The fast way to run a model over all steps, derived from its contract; nothing in a model is written for it.

One step of the contract is traced into a program (`recurrence.trace`), whose dependencies tell what is a loop over time
and what can be computed for all steps at once (`recurrence.plan`). Values and gradients are those of the contract.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call
from torch.utils import _pytree as pytree

from ..distributions import batch_first, combine, log_prob_of_observed, reparameterize
from ..observations import SequenceBatch
from ..recurrence.eager import Resample, Runner
from ..recurrence.flat import Flat
from ..recurrence.plan import Plan, Recurrence, make_plan
from ..recurrence.program import Value, in_order
from ..recurrence.rows import require_independent_rows
from ..recurrence.trace import ROWS, Untraceable, trace, with_rows
from .contract import RecurrentModel
from .state import State, map_state
from .unroll import Unroll

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Given(NamedTuple):
    """What a step is given beside its state: tensors, or the values that stand for them. None: there is none."""

    context: Any = None  # [n, C]
    draw: Any = None  # [n, Z], the noise of the latent or the latent itself
    x: Any = None  # [n, D] or [n], what the state reads
    u: Any = None  # [n, U]
    begun: Any = ()  # what `RecurrentModel.deterministic` names, at the beginning of the step, [n, ...] each
    scored_x: Any = None  # for a particle filter's weights, like x
    scored: Any = None  # bool, like x

    @property
    def present(self) -> dict[str, Any]:
        """What there is, by name."""
        single = {name: v for name, v in self._asdict().items() if name != "begun" and v is not None}
        return single | {f"begun {i}": v for i, v in enumerate(self.begun)}

    def like(self, values: Sequence[Any]) -> Given:
        """The same with other values for those that are present."""
        by_name = dict(zip(self.present, values, strict=True))
        begun = tuple(by_name.pop(f"begun {i}") for i in range(len(self.begun)))
        return Given(**by_name, begun=begun)


@dataclass(frozen=True)
class Kind:
    """What a run asks of a step, beside the tensors."""

    given_latents: bool = True
    carried: bool = False  # whether the first state is given, not made of x_0
    filtered: bool = False  # whether a particle filter reads the weight of each step
    only_deterministic: bool = False  # whether only what no latent changes is wanted


class _Step(nn.Module):
    """One step of a model's contract as a function of tensors."""

    def __init__(self, model: RecurrentModel, state_type: Callable[..., State], kind: Kind):
        super().__init__()
        self.model, self.state_type, self.kind = model, state_type, kind
        self.densities: dict[str, Distribution] = {}

    def forward(self, state: Sequence[Tensor], given: Given, start: Tensor) -> dict[str, Any]:
        """The first state, the state after the step, and what is between them; keeps the densities as examples."""
        model = self.model
        begun = model.after_inputs(self.state_type(*state), given.u)
        found: dict[str, Any] = {"first": tuple(model.initial_state(len(start), start=start))}
        if self.kind.only_deterministic:
            middle = model.after_latent(begun, state[0].new_zeros(len(start), model.latent_size))
            found["begun"] = [getattr(begun, name) for name in model.deterministic]
        else:
            begun = begun._replace(**dict(zip(model.deterministic, given.begun, strict=False)))
            middle = self._densities(begun, given, found)
        return found | {"after": tuple(model.after_observation(middle, given.x))}

    def _densities(self, begun: State, given: Given, found: dict[str, Any]) -> State:
        """Put what a run wants of the step into `found`; returns the state after the latent."""
        model = self.model
        prior, posterior = model.prior(begun), model.posterior(begun, given.context)
        z = given.draw if self.kind.given_latents else reparameterize(posterior, given.draw)
        middle = model.after_latent(begun, z)
        emission = model.emission(middle)
        self.densities = {"prior": prior, "posterior": posterior, "emission": emission}
        found |= {"middle": tuple(middle), "z": z}
        found["densities"] = {name: parameters_of(d) for name, d in self.densities.items()}
        if self.kind.filtered:
            found["weight"] = prior.log_prob(z) - posterior.log_prob(z) + _log_px(emission, given)
        return middle


def _log_px(emission: Distribution, given: Given) -> Tensor:
    if given.scored is None:
        return emission.log_prob(given.scored_x)
    return log_prob_of_observed(emission, given.scored_x, given.scored)


def parameters_of(distribution: Distribution) -> list[Tensor]:
    """The parameters of a distribution, in the order in which `combine` meets them."""
    found: list[Tensor] = []

    def keep(parameter: Tensor) -> Tensor:
        found.append(parameter)
        return parameter

    combine(keep, distribution)
    return found


def with_parameters(like: Distribution, parameters: Sequence[Tensor]) -> Distribution:
    """The distribution of the kind of `like` with these parameters."""
    left = iter(parameters)
    return combine(lambda _: next(left), like)


@dataclass
class Derived:
    """A model's step, planned.

    Attributes:
        plan: The loops, and the values for all steps at once.
        weights: The inputs that stand for parameters and buffers, by name.
        given: The inputs of a step.
        results: `middle`, `z` and `densities` of `_Step.forward`, in the planned program.
        densities: Examples of prior, posterior and emission.
        read_by_cost: For each of the model's step costs, the numbers of the fields of the state that it reads.
    """

    plan: Plan
    weights: Mapping[str, Value]
    given: Given
    results: Mapping[str, Any]
    densities: Mapping[str, Distribution]
    read_by_cost: Mapping[str, set[int]]
    runners: tuple[Runner, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.runners = tuple(Runner(loop) for loop in self.plan.loops)


@torch.no_grad()
def derive(model: RecurrentModel, state: State, given: Given, start: Tensor, kind: Kind) -> Derived:
    """Trace a step of a model and plan it. Of the tensors, of any number of rows, only sizes and types matter.

    Raises:
        Untraceable: The contract does something that can't be written as operations on rows.
    """
    step = _Step(model, type(state), kind)
    weights = dict(step.named_parameters()) | dict(step.named_buffers())
    inputs, traced = _traced(step, weights, state, given, start)
    left = iter(inputs[len(weights) :])
    before = {name: next(left) for name in type(state)._fields}
    values = given.like([next(left) for _ in given.present])
    plan = make_plan(_recurrence(before, values, next(left), traced, kind))
    costs = () if kind.only_deterministic else model.step_costs
    return Derived(
        plan,
        dict(zip(weights, inputs, strict=False)),
        values,
        pytree.tree_unflatten(plan.outputs, pytree.tree_structure(_wanted(traced))),
        dict(step.densities),
        {name: _read_by(getattr(model, name), state, given.context) for name in costs},
    )


def _traced(
    step: _Step, weights: Mapping[str, Tensor], state: State, given: Given, start: Tensor
) -> tuple[list[Value], dict[str, Any]]:
    """A step's program: its inputs (weights, state, `given`, start) and its results, named as in `_Step.forward`."""

    def example(rows: int) -> tuple[Any, ...]:
        return weights, *pytree.tree_map(partial(with_rows, rows), (tuple(state), tuple(given.present.values()), start))

    def f(weights: Mapping[str, Tensor], state: Any, present: Any, start: Tensor) -> dict[str, Any]:
        result: dict[str, Any] = functional_call(step, dict(weights), (state, given.like(present), start))
        return result

    inputs, traced = trace(f, example, [*weights, *state._fields, *given.present, "start"])
    tensors = pytree.tree_leaves(example(ROWS[0]))
    require_independent_rows(pytree.tree_leaves(traced), dict(zip(inputs, tensors, strict=True)))
    return inputs, traced


def _recurrence(
    before: Mapping[str, Value], given: Given, start: Value, traced: Mapping[str, Any], kind: Kind
) -> Recurrence:
    """The traced step, from the fields of the state before it, what it is given, and x_0."""
    first = {name: replace(value, name=f"first {name}") for name, value in before.items()}
    same = [*given._replace(draw=None).present.values(), *(() if kind.carried else first.values())]
    return Recurrence(
        state=before,
        new=dict(zip(before, traced["after"], strict=True)),
        first=first,
        made={} if kind.carried else dict(zip(before, traced["first"], strict=True)),
        outputs=tuple(pytree.tree_leaves(_wanted(traced))),
        start=start,
        x=given.x,
        weight=traced.get("weight"),
        same=frozenset(same),
    )


def _wanted(traced: Mapping[str, Any]) -> dict[str, Any]:
    """The results of a step that are wanted of all steps."""
    return {name: value for name, value in traced.items() if name not in ("first", "after", "weight")}


def _read_by(cost: Callable[[State, Tensor], Tensor], state: State, context: Tensor) -> set[int]:
    """The numbers of the fields of the state that a cost of a step reads."""

    def example(rows: int) -> Any:
        return pytree.tree_map(partial(with_rows, rows), (tuple(state), context))

    def f(fields: Sequence[Tensor], context: Tensor) -> Tensor:
        return cost(type(state)(*fields), context)

    inputs, result = trace(f, example, [*state._fields, "context"])
    used = set(in_order([result]))
    return {i for i, value in enumerate(inputs[:-1]) if value in used}


# ---- what has been derived

_OF_MODEL: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = weakref.WeakKeyDictionary()
_SHARED: dict[Hashable, Any] = {}  # by models of the same structure
MOST_SHARED = 128


def derived_for(model: RecurrentModel, state: State, given: Given, start: Tensor, kind: Kind) -> Derived | str:
    """The planned step for this kind of run; or why there is none, which is logged once."""
    tensors = tuple(map(type_of, (*state, *given.present.values(), start)))
    asked = (kind, tensors, tuple(given.present))
    derived = made_of(model, asked, lambda: derive(model, state, given, start, kind))
    if (watching := _watched.get()) is not None:
        watching.append(derived)
    return derived


_watched: ContextVar[list[Derived | str] | None] = ContextVar("watched", default=None)


@contextmanager
def watched() -> Iterator[list[Derived | str]]:
    """What runs within a `with` block use, in order: planned steps, or why there is none."""
    found: list[Derived | str] = []
    token = _watched.set(found)
    try:
        yield found
    finally:
        _watched.reset(token)


def made_of(model: RecurrentModel, asked: Hashable, make: Callable[[], T]) -> T | str:
    """What `make` traces of a model, once for what is asked; or why it can't be traced, which is logged once."""
    structure, own = _structure(model), _OF_MODEL.setdefault(model, {})
    key = (asked, _settings(model) if structure is None else structure, torch.get_default_dtype())
    made: T | str | None = own.get(key, _SHARED.get(key))
    if made is not None:
        return made
    try:
        made = make()
    except Untraceable as reason:
        made = str(reason)
        logger.warning("%s runs step by step, which is slow: %s", model.name, reason)
    if structure is None or (isinstance(made, Derived) and any(map(_holds_module, made.densities.values()))):
        own[key] = made
        return made
    if len(_SHARED) >= MOST_SHARED:
        _SHARED.pop(next(iter(_SHARED)))
    _SHARED[key] = made
    return made


def _holds_module(density: Distribution) -> bool:
    """Whether a distribution computes with a part of its model, whose weights are no other model's."""
    parts = vars(density).values()
    return any(isinstance(v, nn.Module) or (isinstance(v, Distribution) and _holds_module(v)) for v in parts)


def type_of(tensor: Tensor) -> Hashable:
    """What a trace depends on of a tensor [n, ...]."""
    return tensor.dtype, tensor.device.type, tensor.shape[1:]


PLAIN = (bool, int, float, str, type(None))
OF_DATA = ("description", "starts")  # attributes of a model that no step reads
OF_TORCH = frozenset(vars(nn.Module()))


def _settings(model: nn.Module) -> Hashable:
    """Whatever a trace of this model depends on beside its parameters and buffers, and may change.

    Plain attributes of its modules, and which tensors stand in others: a trace keeps those that it has read.
    """

    def of(module: nn.Module) -> Iterator[Hashable]:
        for key, value in vars(module).items():
            if isinstance(value, PLAIN):
                yield key, value
            elif isinstance(value, Tensor):
                yield key, id(value)

    return tuple((name, *of(module)) for name, module in model.named_modules())


def _structure(model: nn.Module) -> Hashable | None:
    """All that a trace of the model depends on beside the values of its tensors; None if it may be more than is seen.

    Models with the same structure share what is derived.
    """
    found: list[Hashable] = []
    for path, module in model.named_modules():
        found.append((path, type(module)))
        for name, value in vars(module).items():
            if name in OF_TORCH or (module is model and name in OF_DATA):
                if name.endswith("_hooks") and value:
                    return None
            elif _is_plain(value) or is_dataclass(value):
                found.append((name, repr(value)))
            elif not type(module).__module__.startswith("torch.nn."):
                return None
        found.append(module.training)
    found += [(name, type_of(tensor[None])) for name, tensor in model.state_dict(keep_vars=True).items()]
    return tuple(found)


def _is_plain(value: Any) -> bool:
    """Whether a value's text tells all of it."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


# ---- a run


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
    given = Given(context, latents if noise is None else noise, batch.past, batch.inputs, tuple(begun.values()))
    if resample is not None:
        given = given._replace(scored_x=batch.x, scored=None if batch.observed is None else batch.scored)
    kind = Kind(given_latents=noise is None, carried=state is not None, filtered=resample is not None)
    derived = _derived_for(model, batch, one, given, kind)
    if isinstance(derived, str):
        return model.walk(
            batch, noise=noise, latents=latents, state=state, context=context, particles=particles, resample=resample
        )
    run = _Run(model, derived, batch, given, first, particles)
    return run.unroll(resample)


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
    run = _Run(model, derived, batch, given, first, particles=1)
    return dict(zip(model.deterministic, run.begun(), strict=True))


def _derived_for(model: RecurrentModel, batch: SequenceBatch, first: State, given: Given, kind: Kind) -> Derived | str:
    step = given.like([v[:, 0] for v in given.present.values()])
    return derived_for(model, first, step, batch.start, kind)


class _Run:
    """A run of a planned step over a batch."""

    def __init__(
        self, model: RecurrentModel, derived: Derived, batch: SequenceBatch, given: Given, first: State, particles: int
    ):
        self.model, self.derived, self.batch, self.rows = model, derived, batch, batch.repeat(particles)
        self.context, self.particles, self.state_type = given.context, particles, type(first)
        self.flat = flat = Flat(steps=batch.x.shape[1], sequences=len(batch), particles=particles)
        for name, value in derived.weights.items():
            flat.hold(value, tensor_at(model, name.removeprefix("model.")), rows=0)
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
        term: Tensor = getattr(self.model, name)(state, self.flat.evaluate(self.derived.given.context))
        each: Tensor = term.unflatten(0, (self.flat.steps, -1)).transpose(0, 1)
        return each

    def _context_cost(self, name: str) -> Tensor:
        term: Tensor = getattr(self.model, name)(self.batch, self.context)
        return term.repeat(self.particles, 1)

    def _last_state(self) -> State:
        """The state after each row's last step."""
        lengths = self.rows.lengths
        at = torch.arange(len(lengths), device=lengths.device)
        return self.state_type(*(self._steps(v)[lengths - 1, at] for v in self.derived.plan.last.values()))


def time_first(tensor: Tensor) -> Tensor:
    """[n, T, ...] -> [T n, ...]."""
    return tensor.transpose(0, 1).flatten(0, 1)


def tensor_at(model: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its name; or what `torch.func.functional_call` has put in its place."""
    owner, _, name = path.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(owner), name)
    return tensor
