"""The backward pass of a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import Pass
from .derivative import Derivative
from .frame import Step, copy_each
from .plan import Loop
from .program import Value
from .views import VIEWS


class Backward(Pass):
    """The backward pass of a loop."""

    def __init__(
        self,
        loop: Loop,
        derivatives: tuple[Derivative, Derivative],
        *,
        steps: int,
        tensors: Sequence[Tensor],
        kept: Mapping[Value, Tensor],
        chosen: Mapping[int, Tensor],
        lower: torch.dtype | None,
    ):
        super().__init__(loop, steps, tensors, lower)
        self.chosen = chosen
        self.derivative, self.derivative_ahead = derivatives
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
        slots = self.slots[state].unbind(0)
        return (slots[offset:] + slots[:offset]) * -(-self.steps // 2)

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
            if computed and gradient.reads and gradient not in self.derivative.stacked:  # else also another's gradient
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
            # a copy: of two constants with one gradient, such as the biases of two layers, both have this tensor
            self.gradients[value] = gradient.clone(memory_format=torch.contiguous_format)


def _add(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Step:
    return lambda t: targets[t].add_(sources[t])
