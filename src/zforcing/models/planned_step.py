"""One step of a model's contract, traced and planned, for all steps at once: nothing in a model is written for it.

The step is traced into a program (`recurrence.trace`), whose dependencies tell what is a loop over time and what can be
computed for all steps at once (`recurrence.loops`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from ..distributions import log_prob_of_observed, parameters_of, reparameterize
from ..recurrence.eager import Runner
from ..recurrence.gradients import require_same_gradients
from ..recurrence.loops import Recurrence, make_plan
from ..recurrence.plan import Plan
from ..recurrence.program import Value, in_order
from ..recurrence.recognize import recognize
from ..recurrence.rows import require_independent_rows
from ..recurrence.trace import ROWS, trace, with_rows
from .contract import RecurrentModel
from .state import State
from .trace_cache import made_of, type_of
from .traced import Traced, of_weights, tensor_at, trace_step, weights_of


class Given(NamedTuple):
    """What a step is given beside its state: tensors, or the values that stand for them. None: there is none."""

    context: Any = None  # [n, C]; none where it is x itself
    draw: Any = None  # [n, Z], the noise of the latent or the latent itself
    x: Any = None  # [n, D] or [n], what the state reads
    u: Any = None  # [n, U]
    begun: Any = ()  # what `RecurrentModel.deterministic` names, at the beginning of the step, [n, ...] each
    scored_x: Any = None  # for a particle filter's weights, like x
    scored: Any = None  # bool, like x

    @property
    def read_by_posterior(self) -> Any:
        """The context."""
        return self.x if self.context is None else self.context

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


class _Step:
    """One step of a model's contract as a function of tensors."""

    def __init__(self, model: RecurrentModel, state_type: Callable[..., State], given: Given, kind: Kind):
        self.model, self.state_type, self.given, self.kind = model, state_type, given, kind
        self.densities: dict[str, Distribution] = {}

    def __call__(self, state: Sequence[Tensor], present: Sequence[Tensor], start: Tensor) -> dict[str, Any]:
        """The first state, the state after the step, and what is between them; keeps the densities as examples."""
        model, given = self.model, self.given.like(present)
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
        prior, posterior = model.prior(begun), model.posterior(begun, given.read_by_posterior)
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


@dataclass
class Derived:
    """A model's step, planned.

    Attributes:
        plan: The loops, and the values for all steps at once.
        weights: The inputs that stand for parameters and buffers, by name.
        given: The inputs of a step.
        results: `middle`, `z` and `densities` of `_Step`, in the planned program.
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
        self.runners = tuple(Runner(loop, recognize(loop, self.plan)) for loop in self.plan.loops)


@torch.no_grad()
def derive(model: RecurrentModel, state: State, given: Given, start: Tensor, kind: Kind) -> Derived:
    """Trace a step of a model and plan it. Of the tensors, of any number of rows, only sizes and types matter.

    Raises:
        Untraceable: The contract does something that can't be written as operations on rows.
    """
    step = _Step(model, type(state), given, kind)
    traced = _traced(step, state, given, start)
    left = iter(traced.inputs)
    before = {name: next(left) for name in type(state)._fields}
    values = given.like([next(left) for _ in given.present])
    plan = make_plan(_recurrence(before, values, next(left), traced.results, kind))
    costs = () if kind.only_deterministic else model.step_costs
    return Derived(
        plan,
        traced.weights,
        values,
        pytree.tree_unflatten(plan.outputs, pytree.tree_structure(_wanted(traced.results))),
        dict(step.densities),
        {name: _read_by(getattr(model, name), state, given.read_by_posterior) for name in costs},
    )


def _traced(step: _Step, state: State, given: Given, start: Tensor) -> Traced:
    """A step's program; its inputs are the state, `given` and start, its results named as in `_Step`."""

    def example(rows: int) -> Any:
        return pytree.tree_map(partial(with_rows, rows), (tuple(state), tuple(given.present.values()), start))

    traced = trace_step(step.model, step, example, [*state._fields, *given.present, "start"])
    tensors = dict(zip(traced.inputs, pytree.tree_leaves(example(ROWS[0])), strict=True))
    tensors |= {value: tensor_at(step.model, name) for name, value in traced.weights.items()}
    results = pytree.tree_leaves(traced.results)
    require_independent_rows(results, tensors)
    f, arguments = of_weights(step.model, step), (weights_of(step.model), *example(ROWS[0]))
    inputs, buffers = [*traced.weights.values(), *traced.inputs], dict(step.model.named_buffers())
    fixed = [value for name, value in traced.weights.items() if name in buffers]
    require_same_gradients(f, arguments, inputs, results, fixed=fixed)
    return traced


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


# ---- kept


def derived_for(model: RecurrentModel, state: State, given: Given, start: Tensor, kind: Kind) -> Derived | str:
    """The planned step for this kind of run; or why there is none, which is logged once."""
    tensors = tuple(map(type_of, (*state, *given.present.values(), start)))
    asked = (kind, tensors, tuple(given.present))
    derived = made_of(model, asked, lambda: derive(model, state, given, start, kind), is_own=_is_own)
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


def _is_own(derived: Derived) -> bool:
    return any(map(_holds_module, derived.densities.values()))


def _holds_module(density: Distribution) -> bool:
    """Whether a distribution computes with a part of its model, whose weights are no other model's."""
    parts = vars(density).values()
    return any(isinstance(v, nn.Module) or (isinstance(v, Distribution) and _holds_module(v)) for v in parts)
