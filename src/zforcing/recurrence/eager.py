"""Runs a loop of a plan with torch's operations, which write into memory allocated once: one node of autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .derivative import Derivative, derive
from .frame import Frame, Step
from .plan import Loop
from .program import Value, evaluate, in_order_from
from .views import VIEWS, bases


@dataclass
class Runner:
    """A loop and its derivatives by which inputs get a gradient, traced when they are first needed."""

    loop: Loop
    derivatives: dict[tuple[Value, ...], Derivative] = field(default_factory=dict)

    def derivative(self, wanted: tuple[Value, ...]) -> Derivative:
        """The step with the gradients of these inputs."""
        if wanted not in self.derivatives:
            self.derivatives[wanted] = derive(self.loop, wanted)
        return self.derivatives[wanted]

    def __call__(self, known: dict[Value, Any], *, steps: int) -> None:
        """Run the loop.

        Args:
            known: Tensors of what the loop reads: first states [n, ...], given values [T n, ...], constants. Gets
                those of all steps: the states before each step, and what is exported, [T n, ...].
            steps: T.
        """
        loop = self.loop
        tensors = [known[value] for value in (*loop.first, *loop.given, *loop.constants)]
        results = _Run.apply(self, steps, torch.is_grad_enabled(), *tensors)  # type: ignore[no-untyped-call]
        known.update(zip([*loop.before, *loop.exported], results, strict=True))


class _Run(torch.autograd.Function):
    """The loop as one node of autograd."""

    @staticmethod
    def forward(ctx: Any, runner: Runner, steps: int, grad: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        loop = runner.loop
        needed = [v for v, needs in zip(loop.reads, ctx.needs_input_grad[3:], strict=True) if needs] if grad else []
        wanted = tuple(v for v in loop.reads if v in needed or (needed and v in loop.before and v.is_smooth))
        derivative = runner.derivative(wanted) if wanted else None
        results, kept = _forward(loop, derivative, steps, tensors)
        if derivative is not None:
            ctx.save_for_backward(*tensors, *kept.values())
            ctx.derivative, ctx.kept, ctx.steps, ctx.loop = derivative, list(kept), steps, loop
            ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        num = len(ctx.loop.reads)
        kept = dict(zip(ctx.kept, saved[num:], strict=True))
        backward = _Backward(ctx.loop, ctx.derivative, ctx.steps, saved[:num], kept)
        return None, None, None, *backward.run(incoming)


def _forward(
    loop: Loop, derivative: Derivative | None, steps: int, tensors: Sequence[Tensor]
) -> tuple[list[Tensor], dict[Value, Tensor]]:
    """Run all steps; returns the results of `Runner`, and what the backward pass reads: values [T, n, ...]."""
    names: Mapping[Value, Value] = {v: v for v in (*loop.reads, *loop.results)}
    order, kept = loop.body, set()
    if derivative is not None:
        names = {**derivative.inputs, **derivative.forward}
        order, kept = derivative.forward_values, derivative.kept
    frame = Frame(steps, len(tensors[0]))
    hold_inputs(frame, loop, names, tensors)
    states = [first.new_empty(steps + 1, *first.shape) for first in tensors[: len(loop.before)]]
    copies: list[Step] = []
    late = [
        _hold_state(frame, names[before], names[after], first, memory, order)
        for before, after, first, memory in zip(loop.before, loop.after, tensors, states, strict=False)
    ]
    frame.allocate(order, kept | bases(names[v] for v in loop.exported))
    copies = [_copy(frame.at(value), targets) for value, targets in filter(None, late)]
    run_steps([*frame.steps_of(order), *copies], range(steps))
    after = {v: memory[1:] for v, memory in zip(loop.after, states, strict=True)}
    exported = [after[v] if v in after else frame.everywhere(names[v]) for v in loop.exported]
    results = [*(memory[:-1] for memory in states), *exported]
    keep = {names[v]: memory[:-1] for v, memory in zip(loop.before, states, strict=True)}
    keep |= {v: frame.stacked[v] for v in kept}
    return [result.flatten(0, 1) for result in results], keep


def hold_inputs(frame: Frame, loop: Loop, names: Mapping[Value, Value], tensors: Sequence[Tensor]) -> None:
    """Put what a loop is given at all steps, and its constants."""
    at = len(loop.before)
    for value, tensor in zip((*loop.given, *loop.constants), tensors[at:], strict=True):
        if value in loop.given:
            frame.hold(names[value], tensor.unflatten(0, (frame.steps, -1)))
        else:
            frame.hold_one(names[value], tensor)


def _hold_state(
    frame: Frame, before: Value, after: Value, first: Tensor, memory: Tensor, order: Sequence[Value]
) -> tuple[Value, Sequence[Tensor]] | None:
    """Let a field be computed where the next step finds it; returns what must be copied there instead."""
    memory[0] = first
    frame.hold(before, memory[:-1])
    if after in order and after.function not in VIEWS and after not in frame.each:
        frame.hold(after, memory[1:])
        return None
    return after, memory[1:].unbind(0)


def run_steps(work: Sequence[Step], steps: range) -> None:
    """Do all work of each step in turn."""
    for t in steps:
        for step in work:
            step(t)


class _Backward:
    """The backward pass of a loop."""

    def __init__(
        self,
        loop: Loop,
        derivative: Derivative,
        steps: int,
        tensors: Sequence[Tensor],
        kept: Mapping[Value, Tensor],
    ):
        self.loop, self.derivative, self.steps = loop, derivative, steps
        self.frame = Frame(steps, len(tensors[0]))
        hold_inputs(self.frame, loop, derivative.inputs, tensors)
        for value, tensor in kept.items():
            self.frame.hold(value, tensor)
        # the gradient of a state at step t is read from one of two slots, that of the state before goes to the other
        self.slots = {
            before: torch.zeros(2, *first.shape, dtype=first.dtype, device=first.device)
            for before, first in zip(loop.before, tensors, strict=False)
            if before.is_smooth
        }

    def run(self, incoming: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Run all steps; returns the gradients of the first states, the given values and the constants."""
        frame, d = self.frame, self.derivative
        before = dict(zip(self.loop.before, incoming, strict=False))
        exported = dict(zip(self.loop.exported, incoming[len(before) :], strict=True))
        begin = self._hold_gradients(exported)
        late = self._hold_carried()
        frame.allocate(d.backward_values, d.stacked)
        end = [_copy(frame.at(value), self._slot(state, 1)) for state, value in late]
        end += [_add(self._each(g), self._slot(v, 1)) for v, g in before.items() if g is not None]
        run_steps([*begin, *frame.steps_of(d.backward_values), *end], range(self.steps - 1, -1, -1))
        return self._results()

    def _slot(self, state: Value, offset: int) -> Sequence[Tensor]:
        """Where the gradient of a state is at each step: 0 after the step, 1 before it."""
        slots = self.slots[state]
        return [slots[(t + offset) % 2] for t in range(self.steps)]

    def _each(self, gradient: Tensor) -> Sequence[Tensor]:
        return gradient.unflatten(0, (self.steps, -1)).unbind(0)

    def _hold_gradients(self, exported: Mapping[Value, Tensor | None]) -> list[Step]:
        """Put the gradients of each step's results; returns what adds those from after the loop to the carried ones."""
        begin: list[Step] = []
        for value, held in self.derivative.incoming.items():
            states = [b for b, a in zip(self.loop.before, self.loop.after, strict=True) if a is value]
            outside = exported.get(value)
            if states:
                self.frame.each[held] = self._slot(states[0], 0)
                begin += [_add(self._slot(other, 0), self._slot(states[0], 0)) for other in states[1:]]
                if outside is not None:
                    begin.append(_add(self._each(outside), self._slot(states[0], 0)))
            elif outside is not None:
                self.frame.hold(held, outside.unflatten(0, (self.steps, -1)))
            else:
                zero = torch.zeros_like(self.frame.empty(held, 1)[0])
                self.frame.hold_one(held, zero)
                self.frame.stacked[held] = zero.expand(self.steps, *zero.shape)
        return begin

    def _hold_carried(self) -> list[tuple[Value, Value]]:
        """Let the gradients of the state be computed where the step before finds them; returns those to be copied."""
        late: list[tuple[Value, Value]] = []
        order = set(self.derivative.backward_values)
        for state in self.slots:
            gradient = self.derivative.gradients[state]
            computed = gradient in order and gradient.function not in VIEWS and gradient not in self.frame.each
            if computed and gradient.reads:
                self.frame.each[gradient] = self._slot(state, 1)
            else:
                late.append((state, gradient))
        return late

    def _results(self) -> list[Tensor | None]:
        d, frame, loop = self.derivative, self.frame, self.loop
        wanted = {v: g for v, g in d.gradients.items() if v not in loop.before}
        known: dict[Value, Any] = {}
        for value in in_order_from(wanted.values(), {}):
            if value in frame.stacked and value.function not in VIEWS:
                known[value] = frame.stacked[value].flatten(0, 1)
            elif value.function is None and not value.has_rows:
                known[value] = frame.each[value][0]
        evaluate(wanted.values(), known, rows=self.steps * frame.rows)
        first = [self.slots[v][1] if v in self.slots else None for v in loop.before]  # the first step leaves them there
        return [*first, *(known[wanted[v]] if v in wanted else None for v in (*loop.given, *loop.constants))]


def _add(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Step:
    return lambda t: targets[t].add_(sources[t])


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Step:
    return lambda t: targets[t].copy_(sources[t])
