"""Runs a loop of a plan with torch's operations, which write into memory allocated once: one node of autograd.

The steps are run in blocks. What is linear in given values is computed for a block just before its steps, and the
gradients of weights just after them: products of many rows at a time, of numbers that are still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .backward import Backward
from .blocks import Pass
from .derivative import Derivative, derive, derive_ahead
from .frame import QUICK, copy_each
from .fused import Fused
from .plan import Loop
from .program import Value, evaluate
from .views import VIEWS, bases

Resample = Callable[[int, Tensor], Tensor | None]
"""resample(t, log_w [n]) -> index [n] or None: the rows that continue after step t, of a particle filter."""


class Results(NamedTuple):
    """What a loop has computed.

    Attributes:
        steps: The states before each step and what is exported, [T n, ...]; or what computes it when it is first read.
        last: The state after the last step, [n, ...], if it isn't the last of what `steps` has computed.
    """

    steps: dict[Value, Tensor | Callable[[], Tensor]]
    last: dict[Value, Tensor]


@dataclass
class Runner:
    """A loop, perhaps as a network of torch's, and its derivatives by which inputs get a gradient.

    These are traced when they are first needed.
    """

    loop: Loop
    fused: Fused | None = None
    derivatives: dict[tuple[Value, ...], tuple[Derivative, Derivative]] = field(default_factory=dict)

    def derivative(self, needed: tuple[Value, ...]) -> tuple[Derivative, Derivative]:
        """The step, and what is computed ahead of it, with the gradients for these of `loop.needs`."""
        if needed not in self.derivatives:
            loop = self.loop
            depends = {v for v in loop.ahead if _reach(v, set(needed))}
            wanted = {*needed, *depends, *(v for v in loop.before if v.is_smooth)}
            self.derivatives[needed] = derive(loop, wanted), derive_ahead(loop, needed)
        return self.derivatives[needed]

    def __call__(self, known: Mapping[Value, Any], *, steps: int, resample: Resample | None = None) -> Results:
        """Run the loop.

        Args:
            known: Tensors of what it needs: first states [n, ...], values of all steps [T n, ...], constants; what it
                computes values from ahead may have fewer rows, which are then repeated.
            steps: T.
            resample: Called after each step but the last, if the loop has a particle filter's weight.
        """
        if self.fused is None or not self.fused.pays(known[self.loop.first[0]]):
            return Results({**self.run(known, steps=steps, resample=resample)}, {})
        others = cache(partial(self.run, known, steps=steps))  # a network says of its cells only the last
        found, last = self.fused.run(known, steps=steps)
        wanted = (*self.loop.before, *self.loop.exported)
        return Results({v: found.get(v, partial(_one_of, others, v)) for v in wanted}, last)

    def run(self, known: Mapping[Value, Any], *, steps: int, resample: Resample | None = None) -> dict[Value, Tensor]:
        """Run the loop step by step: the states before each step and what is exported, [T n, ...]."""
        loop = self.loop
        resample = None if loop.log_weight is None else resample
        tensors = [known[value] for value in loop.needs]
        results = _Run.apply(self, steps, resample, torch.is_grad_enabled(), *tensors)  # type: ignore[no-untyped-call]  # torch's is
        return dict(zip([*loop.before, *loop.exported], results, strict=True))


def _one_of(results: Callable[[], dict[Value, Tensor]], value: Value) -> Tensor:
    return results()[value]


def _reach(value: Value, wanted: set[Value]) -> bool:
    return value in wanted or any(_reach(read, wanted) for read in value.reads)


class _Run(torch.autograd.Function):
    """The loop as one node of autograd."""

    @staticmethod
    def forward(
        ctx: Any, runner: Runner, steps: int, resample: Resample | None, grad: bool, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        needed = tuple(v for v, needs in zip(runner.loop.needs, ctx.needs_input_grad[4:], strict=True) if needs)
        derivative = runner.derivative(needed)[0] if grad and needed else None
        run = _Forward(runner.loop, steps, tensors, derivative, resample)
        with torch.autocast(run.device, enabled=False):
            run.run()
        if run.derivative is not None:
            ctx.save_for_backward(*tensors, *(run.frame.stacked[v] for v in run.kept))
            ctx.runner, ctx.needed, ctx.kept, ctx.steps, ctx.chosen = runner, needed, run.kept, steps, run.chosen
            ctx.lower = run.lower
            ctx.set_materialize_grads(False)
        return tuple(run.results())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, num = ctx.saved_tensors, len(ctx.runner.loop.needs)
        kept = dict(zip(ctx.kept, saved[num:], strict=True))
        run = Backward(
            ctx.runner.loop,
            ctx.runner.derivative(ctx.needed),
            steps=ctx.steps,
            tensors=saved[:num],
            kept=kept,
            chosen=ctx.chosen,
            lower=ctx.lower,
        )
        return None, None, None, None, *run.run(incoming)


def lower_precision(device: torch.device) -> torch.dtype | None:
    """The precision that autocast asks products for; None without autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _Forward(Pass):
    """The forward pass of a loop; with a derivative it keeps what the backward pass reads."""

    def __init__(
        self,
        loop: Loop,
        steps: int,
        tensors: Sequence[Tensor],
        derivative: Derivative | None,
        resample: Resample | None,
    ):
        super().__init__(loop, steps, tensors, lower_precision(tensors[0].device))
        self.derivative, self.resample = derivative, resample
        self.chosen: dict[int, Tensor] = {}  # the rows that have continued, by step
        self.names: Mapping[Value, Value] = {v: v for v in (*loop.reads, *loop.results)}
        order, kept = loop.body, set()
        if derivative is not None:
            self.names = {**derivative.inputs, **derivative.forward}
            order, kept = derivative.forward_values, derivative.kept
        self.kept = [*kept, *(self.names[v] for v in loop.before if derivative is not None)]
        self.hold_inputs(self.names)
        kept = kept | bases(self.names[v] for v in loop.exported)
        ahead = [self.names[value] for value in loop.ahead]
        for value in ahead:
            self.frame.hold(value, self.frame.empty(value, steps if value in kept else self.block))
        copies = self._hold_states(order)
        self.frame.allocate(order, kept, steps, written=[value for value in ahead if value not in kept])
        self.work = [*self.frame.steps_of(order), *(copy_each(self.frame.at(v), targets) for v, targets in copies)]

    def _hold_states(self, order: Sequence[Value]) -> list[tuple[Value, Sequence[Tensor]]]:
        """Let the fields be computed where the next step finds them; returns those that must be copied there.

        Where rows are chosen between steps, the fields after a step have memory of their own.
        """
        loop, computed = self.loop, set(order)
        copies: list[tuple[Value, Sequence[Tensor]]] = []
        self.before: list[Tensor] = []
        self.after: list[Tensor] = []
        for before, after, first in zip(loop.before, loop.after, loop.first, strict=True):
            tensor, new = self.tensors[first], self.names[after]
            memory = tensor.new_empty(self.steps + 1, *tensor.shape)
            memory[0] = tensor
            self.before.append(memory[:-1])
            self.after.append(memory[1:] if self.resample is None else torch.empty_like(memory[1:]))
            self.frame.hold(self.names[before], self.before[-1])
            if new in computed and new.function not in VIEWS and new not in self.frame.each:
                self.frame.hold(new, self.after[-1])
            else:
                copies.append((new, self.after[-1].unbind(0)))
        return copies

    def run(self) -> None:
        """Run all steps."""
        for start, stop in self.blocks():
            if self.loop.ahead:
                self._compute_ahead(start, stop)
            for t in range(start, stop):
                for step in self.work:
                    step(t)
                if self.resample is not None and t + 1 < self.steps:
                    self._choose_rows(t)

    def _choose_rows(self, t: int) -> None:
        """Let each row continue from the state of the row that the filter has chosen."""
        assert self.resample is not None, "only with a filter"
        assert self.loop.log_weight is not None, "only the loop that a filter reads"
        index = self.resample(t, self.frame.at(self.names[self.loop.log_weight])[t].detach())
        if index is not None:
            self.chosen[t] = index
        for before, after in zip(self.before, self.after, strict=True):
            if index is None:
                before[t + 1] = after[t]
            else:
                torch.index_select(after[t], 0, index, out=before[t + 1])

    def _compute_ahead(self, start: int, stop: int) -> None:
        known = self.ahead_inputs(start, stop)
        rows = len(known[self.loop.sources[0]])
        for value in self.loop.ahead:
            target = self.frame.rows_at(self.names[value], start, stop)
            if rows == len(target) and value.function in QUICK and self.lower is None:
                evaluate(value.reads, known, rows=rows)
                QUICK[value.function](*(known[part] for part in value.args), out=target)
                continue
            self.evaluate([value], known, rows=rows)
            copies = target.unflatten(0, (stop - start, -1, rows // (stop - start)))
            copies.copy_(known[value].unflatten(0, (stop - start, 1, -1)))

    def results(self) -> list[Tensor]:
        """The states before each step and the exported values, [T n, ...]."""
        after = dict(zip(self.loop.after, self.after, strict=True))
        exported = [after[v] if v in after else self.frame.stacked[self.names[v]] for v in self.loop.exported]
        return [values.flatten(0, 1) for values in (*self.before, *exported)]
