"""Runs a loop of a plan with torch's operations, which write into memory allocated once: one node of autograd.

The steps are run in blocks. What is linear in given values is computed for a block just before its steps, and the
gradients of weights just after them: products of many rows at a time, of numbers that are still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .derivative import Derivative, derive, derive_ahead
from .frame import QUICK, Frame, Step, copy_each
from .plan import Loop
from .program import Value, evaluate
from .views import VIEWS, bases

Resample = Callable[[int, Tensor], Tensor | None]
"""resample(t, log_w [n]) -> index [n] or None: the rows that continue after step t, of a particle filter."""
ROWS_AT_ONCE = 2048  # of a block: enough for products to be efficient, few enough to stay in the cache


@dataclass
class Runner:
    """A loop and its derivatives by which inputs get a gradient, traced when they are first needed."""

    loop: Loop
    derivatives: dict[tuple[Value, ...], tuple[Derivative, Derivative]] = field(default_factory=dict)

    def derivative(self, needed: tuple[Value, ...]) -> tuple[Derivative, Derivative]:
        """The step, and what is computed ahead of it, with the gradients for these of `loop.needs`."""
        if needed not in self.derivatives:
            loop = self.loop
            depends = {v for v in loop.ahead if _reach(v, set(needed))}
            wanted = {*needed, *depends, *(v for v in loop.before if v.is_smooth)}
            self.derivatives[needed] = derive(loop, wanted), derive_ahead(loop, needed)
        return self.derivatives[needed]

    def __call__(self, known: dict[Value, Any], *, steps: int, resample: Resample | None = None) -> None:
        """Run the loop.

        Args:
            known: Tensors of what it needs: first states [n, ...], values of all steps [T n, ...], constants; what it
                computes values from ahead may have fewer rows, which are then repeated. Gets those of all steps: the
                states before each step, and what is exported, [T n, ...].
            steps: T.
            resample: Called after each step but the last, if the loop has a particle filter's weight.
        """
        loop = self.loop
        resample = None if loop.log_weight is None else resample
        tensors = [known[value] for value in loop.needs]
        results = _Run.apply(self, steps, resample, torch.is_grad_enabled(), *tensors)  # type: ignore[no-untyped-call]  # torch's is
        known.update(zip([*loop.before, *loop.exported], results, strict=True))


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
        run = _Backward(ctx.runner, ctx.needed, ctx.steps, saved[:num], kept, ctx.chosen, ctx.lower)
        return None, None, None, None, *run.run(incoming)


def lower_precision(device: torch.device) -> torch.dtype | None:
    """The precision that autocast asks products for; None without autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _Pass:
    """What both passes share: the loop's inputs, and its blocks of steps."""

    def __init__(self, loop: Loop, steps: int, tensors: Sequence[Tensor], lower: torch.dtype | None):
        self.loop, self.steps = loop, steps
        self.tensors = dict(zip(loop.needs, tensors, strict=True))
        self.rows = len(self.tensors[loop.first[0]])
        self.block = min(steps, -(-ROWS_AT_ONCE // self.rows))
        self.device = self.tensors[loop.first[0]].device.type
        self.lower = None if self.tensors[loop.first[0]].dtype == torch.float64 else lower
        self.frame = Frame(steps, self.rows, self.block, lower=self.lower)

    def hold_inputs(self, names: Mapping[Value, Value]) -> None:
        """Put the loop's inputs."""
        for value in self.loop.known:
            self.frame.hold(names[value], self.tensors[value].unflatten(0, (self.steps, -1)))
        for value in self.loop.constants:
            self.frame.hold_one(names[value], self.tensors[value])

    def evaluate(self, wanted: Iterable[Value], known: dict[Value, Any], *, rows: int) -> None:
        """Compute values of many rows, their products in the loop's precision."""
        with torch.autocast(self.device, dtype=self.lower, enabled=self.lower is not None):
            evaluate(wanted, known, rows=rows)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Start and stop of each block of steps."""
        for start in range(0, self.steps, self.block):
            yield start, min(start + self.block, self.steps)

    def ahead_inputs(self, start: int, stop: int) -> dict[Value, Any]:
        """What `loop.ahead` reads of a block."""
        known: dict[Value, Any] = {v: self.tensors[v] for v in self.loop.weights}
        for value in self.loop.sources:
            known[value] = self.tensors[value].unflatten(0, (self.steps, -1))[start:stop].flatten(0, 1)
        return known


class _Forward(_Pass):
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
        for value in loop.ahead:
            steps_held = steps if self.names[value] in kept else self.block
            self.frame.hold(self.names[value], self.frame.empty(value, steps_held))
        copies = self._hold_states(order)
        self.frame.allocate(order, kept | bases(self.names[v] for v in loop.exported), steps)
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


class _Backward(_Pass):
    """The backward pass of a loop."""

    def __init__(
        self,
        runner: Runner,
        needed: tuple[Value, ...],
        steps: int,
        tensors: Sequence[Tensor],
        kept: Mapping[Value, Tensor],
        chosen: Mapping[int, Tensor],
        lower: torch.dtype | None,
    ):
        super().__init__(runner.loop, steps, tensors, lower)
        self.chosen = chosen
        self.derivative, self.derivative_ahead = runner.derivative(needed)
        self.needed = needed
        self.hold_inputs(self.derivative.inputs)
        for value, tensor in kept.items():
            self.frame.hold(value, tensor)
        # the gradient of a state at step t is read from one of two slots, that of the state before goes to the other
        self.slots = {
            before: torch.zeros(2, *self.tensors[first].shape, dtype=first.dtype, device=self.tensors[first].device)
            for before, first in zip(self.loop.before, self.loop.first, strict=True)
            if before.is_smooth
        }
        self.gradients: dict[Value, Tensor] = {}
        self.collected: set[Value] = set()  # in the current block

    def run(self, incoming: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Run all steps; returns the gradients of what the loop needs."""
        frame, d = self.frame, self.derivative
        before = dict(zip(self.loop.before, incoming, strict=False))
        begin = [self._to_chosen_rows(state) for state in self.slots] if self.chosen else []
        begin += self._hold_gradients(dict(zip(self.loop.exported, incoming[len(before) :], strict=True)))
        late = self._hold_carried()
        frame.allocate(d.backward_values, d.stacked, self.block)
        end = [copy_each(frame.at(value), self._slot(state, 1)) for state, value in late]
        end += [_add(self._each(g), self._slot(v, 1)) for v, g in before.items() if g is not None]
        work = [*begin, *frame.steps_of(d.backward_values), *end]
        for start, stop in reversed(list(self.blocks())):
            for t in range(stop - 1, start - 1, -1):
                for step in work:
                    step(t)
            self._after_block(start, stop)
        for state, first in zip(self.loop.before, self.loop.first, strict=True):
            if state in self.slots:
                self.gradients[first] = self.slots[state][1]  # the first step leaves it there
        return [self.gradients.get(value) for value in self.loop.needs]

    def _to_chosen_rows(self, state: Value) -> Step:
        """Give the gradient of what a row has continued from to the row that it was."""
        each, chosen = self._slot(state, 0), self.chosen

        def step(t: int) -> None:
            if t in chosen:
                each[t].copy_(torch.zeros_like(each[t]).index_add_(0, chosen[t], each[t]))

        return step

    def _slot(self, state: Value, offset: int) -> Sequence[Tensor]:
        """Where the gradient of a state is at each step: 0 after the step, 1 before it."""
        slots = self.slots[state]
        return [slots[(t + offset) % 2] for t in range(self.steps)]

    def _each(self, gradient: Tensor) -> Sequence[Tensor]:
        each: Sequence[Tensor] = gradient.unflatten(0, (self.steps, -1)).unbind(0)
        return each

    def _hold_gradients(self, exported: Mapping[Value, Tensor | None]) -> list[Step]:
        """Put the gradients of each step's results; returns what adds those from after the loop to the carried ones."""
        begin: list[Step] = []
        for value, held in self.derivative.incoming.items():
            states = [b for b, a in zip(self.loop.before, self.loop.after, strict=True) if a is value]
            outside = exported.get(value)
            if states:
                self.frame.each[held] = self._slot(states[0], 0)
                if held in self.derivative.stacked:  # also read after the steps of a block
                    self.frame.hold(held, self.frame.empty(held, self.block))
                    begin.append(copy_each(self._slot(states[0], 0), self.frame.at(held)))
                begin += [_add(self._slot(other, 0), self.frame.at(held)) for other in states[1:]]
                if outside is not None:
                    begin.append(_add(self._each(outside), self.frame.at(held)))
            elif outside is not None:
                self.frame.hold(held, outside.unflatten(0, (self.steps, -1)))
            else:
                self.frame.hold(held, torch.zeros_like(self.frame.empty(held, self.block)))
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

    def _after_block(self, start: int, stop: int) -> None:
        """Compute the gradients of what isn't state from what the steps of a block have left."""
        d, frame = self.derivative, self.frame
        self.collected.clear()
        known: dict[Value, Any] = {v: frame.rows_at(v, start, stop) for v in frame.stacked if v.function not in VIEWS}
        known |= {d.inputs[v]: self.tensors[v] for v in self.loop.constants}
        wanted = {v: g for v, g in d.gradients.items() if v not in self.loop.before}
        self.evaluate(wanted.values(), known, rows=(stop - start) * self.rows)
        ahead: dict[Value, Tensor] = {}
        for value, gradient in wanted.items():
            if value in self.loop.ahead:
                ahead[value] = known[gradient]
            else:
                self._collect(value, known[gradient], start)
        if ahead:
            self._after_block_ahead(ahead, start, stop)

    def _after_block_ahead(self, incoming: Mapping[Value, Tensor], start: int, stop: int) -> None:
        """The same for what was computed ahead: gradients of copies of a row are summed first."""
        d = self.derivative_ahead
        inputs = self.ahead_inputs(start, stop)
        rows = len(next(inputs[v] for v in self.loop.sources))
        known: dict[Value, Any] = {d.inputs[v]: tensor for v, tensor in inputs.items()}
        for value, gradient in incoming.items():
            if len(gradient) != rows:
                gradient = gradient.unflatten(0, (stop - start, -1, rows // (stop - start))).sum(1).flatten(0, 1)
            known[d.incoming[value]] = gradient
        for value in d.incoming.keys() - incoming.keys():
            known[d.incoming[value]] = torch.zeros_like(known[d.incoming[next(iter(incoming))]])
        self.evaluate(d.gradients.values(), known, rows=rows)
        for value, result in d.gradients.items():
            self._collect(value, known[result], start)

    def _collect(self, value: Value, gradient: Tensor, start: int) -> None:
        """Add a block's gradient of a constant; put that of a value of each step in its place."""
        if value.has_rows:
            whole = self.tensors[value]
            if value not in self.gradients:
                self.gradients[value] = torch.empty_like(whole, memory_format=torch.contiguous_format)
            at = start * (len(whole) // self.steps)
            part = self.gradients[value][at : at + len(gradient)]
            if value in self.collected:  # what is computed ahead reads it too
                part += gradient
            else:
                part.copy_(gradient)
            self.collected.add(value)
        elif value in self.gradients:
            self.gradients[value] += gradient
        else:
            self.gradients[value] = gradient.contiguous()


def _add(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Step:
    return lambda t: targets[t].add_(sources[t])
