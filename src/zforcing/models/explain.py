"""How a model runs over all steps, as text: the plan that is derived from its contract, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.distributions import Distribution, Independent
from torch.utils import _pytree as pytree

from ..distributions import parameters_of
from ..observations import SequenceBatch
from ..recurrence.describe import work_of
from ..recurrence.eager import Runner
from ..recurrence.program import Value, in_order
from .planned_step import Derived, watched
from .sequence import SequenceModel


def explain(model: SequenceModel, *, filtered: bool = False) -> str:
    """How a model runs, in the mode that it is in.

    Args:
        model: Any model of sequences.
        filtered: In a particle filter, which may choose rows after each step.
    """
    found = derived_in(model, filtered=filtered)
    reasons = [f"{model.name} runs step by step, which is slow: {one}" for one in found if isinstance(one, str)]
    if reasons:
        return reasons[0]
    return "\n\n".join(_text(model, one) for one in found if isinstance(one, Derived))


def why_it_walks(model: SequenceModel) -> str | None:
    """Which operation of a model's contract can't be planned, and why; None if there is none."""
    return next((reason for reason in derived_in(model) if isinstance(reason, str)), None)


def derived_in(model: SequenceModel, *, filtered: bool = False) -> list[Derived | str]:
    """What is derived for a run that draws its latents and begins at x_0; or why nothing is."""
    with torch.no_grad(), torch.random.fork_rng(), watched() as found:
        model.unroll(_blank(model), resample=(lambda t, log_w: None) if filtered else None)
    return found


def _text(model: SequenceModel, derived: Derived) -> str:
    weights = {value: path for path, value in derived.weights.items()}
    begun = {value: f"{name}_begun" for name, value in zip(model.deterministic, derived.given.begun, strict=False)}
    fused = [
        f"the loop over {', '.join(runner.loop.fields)} is {runner.fused.where}"
        for runner in derived.runners
        if runner.fused is not None
    ]
    return "\n".join([derived.plan.text(dict(_results(derived)), weights | begun), *fused, *_gradients(model, derived)])


def _results(derived: Derived) -> Iterator[tuple[str, Value]]:
    """The results of a step, with names for people; those first that have one of their own."""
    found: list[tuple[str, Value]] = []
    fields = list(derived.plan.last)
    for path, value in pytree.tree_flatten_with_path(derived.results)[0]:
        name, *rest = [str(getattr(key, "key", getattr(key, "idx", key))) for key in path]
        if name == "densities":
            density, number = rest
            yield f"{density}_{_parameters(derived.densities[density])[int(number)]}", value
        elif name == "middle":
            found.append((f"{fields[int(rest[0])]}_after_z", value))
        else:
            found.append(("_".join([name, *rest]), value))
    yield from found


def _parameters(distribution: Distribution) -> list[str]:
    """The names of a distribution's parameters, as torch has them; numbers where it has none."""
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    known = {id(value): name for name, value in vars(base).items() if not name.startswith("_")}
    return [known.get(id(parameter), str(i)) for i, parameter in enumerate(parameters_of(distribution))]


def _blank(model: SequenceModel) -> SequenceBatch:
    """Two sequences of two steps that say nothing."""
    weight = next(model.parameters())
    start = model.spec.blank(2, device=weight.device, dtype=weight.dtype)
    inputs = weight.new_zeros(2, 2, model.spec.inputs) if model.spec.inputs else None
    lengths = torch.full((2,), 2, device=weight.device)
    x = torch.zeros_like(start)[:, None].repeat_interleave(2, dim=1)
    return SequenceBatch(x, lengths, start, inputs=inputs)


def _gradients(model: SequenceModel, derived: Derived) -> list[str]:
    """The backward pass of each loop that computes something, if all parameters get a gradient."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    known = {value for name, value in derived.weights.items() if name in trained}
    lines: list[str] = []
    for runner in derived.runners:
        if runner.loop.body:
            lines += _backward(runner, known)
        known |= set(runner.loop.before)
    return lines


def _backward(runner: Runner, with_gradient: set[Value]) -> list[str]:
    loop = runner.loop
    needed = tuple(v for v in loop.needs if v.is_smooth and not with_gradient.isdisjoint(in_order([v])))
    derivative, ahead = runner.derivative(needed)
    lines = [f"gradients of the loop over {', '.join(loop.fields)}:", *repr(derivative).splitlines()]
    if loop.ahead:
        lines.append(f"after that, of what was computed ahead: {work_of(ahead.after)}")
    return [lines[0], *(f"  {line}" for line in lines[1:])]
