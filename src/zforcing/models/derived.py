"""The fast way to run a model over all steps, derived from its contract; nothing in a model is written for it.

One step of the contract is traced into a program (`recurrence.trace`), whose dependencies tell what is a loop over time
and what can be computed for all steps at once (`recurrence.plan`). The values and gradients are those of the contract.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from ..distributions import batch_first, combine, reparameterize
from ..observations import SequenceBatch
from ..recurrence.eager import Runner
from ..recurrence.flat import Flat
from ..recurrence.plan import Plan, Recurrence, make_plan
from ..recurrence.program import Value, in_order
from ..recurrence.trace import trace
from .state import State, map_state
from .unroll import Unroll


_CACHE: Any = weakref.WeakKeyDictionary()


class Given(NamedTuple):
    """What a step is given beside its state: tensors, or the values that stand for them."""

    context: Any  # [n, C]
    draw: Any  # [n, Z], the noise of the latent or the latent itself
    x: Any  # [n, D] or [n]


class _Step(nn.Module):
    """One step of a model's contract as a function of tensors."""

    def __init__(self, model: Any, state_type: Any, *, given_latents: bool):
        super().__init__()
        self.model, self.state_type, self.given_latents = model, state_type, given_latents
        self.densities: dict[str, Distribution] = {}

    def forward(self, state: Sequence[Tensor], given: Given, start: Tensor) -> dict[str, Any]:
        """The first state, that after the step, and all between, as tensors; keeps the densities as examples."""
        model = self.model
        first = model.initial_state(len(start), start=start)
        begun = model.after_inputs(self.state_type(*state), None)
        prior, posterior = model.prior(begun), model.posterior(begun, given.context)
        z = given.draw if self.given_latents else reparameterize(posterior, given.draw)
        middle = model.after_latent(begun, z)
        self.densities = {"prior": prior, "posterior": posterior, "emission": model.emission(middle)}
        return {
            "first": tuple(first),
            "after": tuple(model.after_observation(middle, given.x)),
            "middle": tuple(middle),
            "z": z,
            "densities": {name: parameters_of(d) for name, d in self.densities.items()},
        }


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
        plan: The loops and the values for all steps at once.
        weights: The inputs that stand for parameters and buffers, by name.
        given: The inputs of a step.
        first: The values of the first state.
        results: What a step gives, as `_Step.forward` returns it, in the planned program.
        densities: Examples of prior, posterior and emission.
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


def derive(model: Any, state: State, given: Given, start: Tensor, *, given_latents: bool) -> Derived:
    """Trace a step of a model and plan it. The tensors, of any rows, are examples: only their sizes and types matter.

    Raises:
        Untraceable: The contract does something that can't be written as operations on rows.
    """
    step = _Step(model, type(state), given_latents=given_latents)
    weights = dict(step.named_parameters()) | dict(step.named_buffers())

    def example(rows: int) -> tuple[Any, ...]:
        def of(tensor: Tensor) -> Tensor:
            return tensor[torch.arange(rows, device=tensor.device) % len(tensor)].detach().clone()

        return weights, tuple(map(of, state)), Given(*map(of, given)), of(start)

    def f(weights: Mapping[str, Tensor], *arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = functional_call(step, dict(weights), arguments)
        return result

    names = [*weights, *type(state)._fields, *Given._fields, "start"]
    inputs, traced = trace(f, example, names)
    fields = type(state)._fields
    num = len(weights)
    before = dict(zip(fields, inputs[num:], strict=False))
    given_values = Given(*inputs[num + len(fields) : -1])
    flat, rebuild = _flatten({name: traced[name] for name in ("middle", "z", "densities")})
    plan = make_plan(
        Recurrence(
            state=before,
            new=dict(zip(fields, traced["after"], strict=True)),
            first=dict(zip(fields, traced["first"], strict=True)),
            outputs=tuple(flat),
            start=inputs[-1],
            x=given_values.x,
        )
    )
    return Derived(
        plan, dict(zip(weights, inputs, strict=False)), given_values, rebuild(plan.outputs), dict(step.densities),
        {name: _read_by(getattr(model, name), model, state, given.context) for name in model.step_costs},
    )


def _read_by(cost: Any, model: Any, state: State, context: Tensor) -> set[int]:
    """The numbers of the fields of the state that a step's cost reads."""

    def example(rows: int) -> tuple[Any, ...]:
        index = torch.arange(rows, device=context.device) % len(context)
        return tuple(v[index].detach() for v in state), context[index].detach()

    inputs, result = trace(lambda fields, context: cost(type(state)(*fields), context), example, [*state._fields, "context"])
    used = set(in_order([result]))
    return {i for i, value in enumerate(inputs[:-1]) if value in used}


def _flatten(structure: Any) -> tuple[list[Value], Callable[[Sequence[Value]], Any]]:
    leaves, spec = torch.utils._pytree.tree_flatten(structure)
    return leaves, lambda values: torch.utils._pytree.tree_unflatten(values, spec)


def unroll(
    model: Any,
    batch: SequenceBatch,
    *,
    noise: Tensor | None,
    latents: Tensor | None,
    state: State | None,
    context: Tensor | None,
    particles: int,
) -> Unroll:
    """Do what `SequenceModel.walk` does, all steps at once where that is possible."""
    rows = batch.repeat(particles)
    start = model.initial_state(len(batch), start=batch.start) if state is None else state
    one = map_state(lambda v: v[: len(batch)], start)
    context = model.encode(batch, state=one) if context is None else context
    draw = latents if noise is None else noise
    assert draw is not None, "a run needs noise or latents"
    given = Given(context, draw, batch.past)
    key = (noise is None, model.training, context.dtype, torch.get_default_dtype(), torch.is_autocast_enabled(batch.x.device.type), state is None)
    cache = _CACHE.setdefault(model, {})
    if key not in cache:
        cache[key] = derive(model, one, Given(*(v[:, 0] for v in given)), batch.start, given_latents=noise is None)
    derived = cache[key]

    B, T = batch.x.shape[:2]
    flat = Flat(steps=T, sequences=B, particles=particles)
    for name, value in derived.weights.items():
        flat.hold(value, functools_getattr(model, name.removeprefix("model.")), rows=0)
    for value, tensor in zip(derived.given, given, strict=True):
        flat.hold(value, tensor.transpose(0, 1).flatten(0, 1), rows=len(tensor))
    if derived.plan.previous is not None:
        previous = torch.cat([batch.start[:, None], batch.past[:, :-1]], dim=1)
        flat.hold(derived.plan.previous, previous.transpose(0, 1).flatten(0, 1), rows=B)
    for value, tensor in zip(derived.plan.first.values(), start, strict=True):
        flat.hold_first(value, tensor)
    for runner in derived.runners:
        flat.run(runner)

    def steps(value: Value) -> Tensor:
        """[T, n, ...] of a value."""
        return flat.evaluate(value).unflatten(0, (T, -1))

    densities = {
        name: batch_first(with_parameters(like, [steps(v) for v in derived.results["densities"][name]]))
        for name, like in derived.densities.items()
    }
    def cost(name: str) -> Tensor:
        read = derived.read_by_cost[name]
        middle = type(start)(*(flat.evaluate(v) if i in read else None for i, v in enumerate(derived.results["middle"])))
        return getattr(model, name)(middle, flat.evaluate(derived.given.context)).unflatten(0, (T, -1)).transpose(0, 1)
    context_costs = {n: (lambda n=n: getattr(model, n)(batch, context).repeat(particles, 1)) for n in model.context_costs}
    return Unroll(
        rows,
        **densities,
        latents=steps(derived.results["z"]).transpose(0, 1),
        costs={name: functools.partial(cost, name) for name in model.step_costs} | context_costs,
        state=lambda: None,
    )


def functools_getattr(model: nn.Module, path: str) -> Tensor:
    tensor: Any = model
    for name in path.split("."):
        tensor = getattr(tensor, name)
    return tensor
