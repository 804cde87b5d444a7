"""A recurrence written once as equations, run over time with hand-written back-propagation.

A model's step is a few equations between values of the step: products, activations, a sample, an LSTM. It records
them on a `Loop`, and `run` takes them through all steps, as one node of autograd:

    loop = Loop(steps=T, rows=n)
    h, c = loop.carried(h_0), loop.carried(c_0)
    gates = equations.linear(loop, h, W, bias=b, given=u, given_weight=V)      W h_{t-1} + V u_t + b
    h_t, c_t = equations.lstm(loop, gates, c)
    loop.carry(h, h_t), loop.carry(c, c_t)
    hs, cs = loop.run(h_t, c_t)                            [T, n, H] each

What that gains over autograd's own record of the loop: what reads only given things is one product for a block of
steps, before they are taken, and so are weight gradients after them, not a rank-n update a step; buffers are written
in place, and those of a block stay in the cache; nothing is recorded step by step. What only reads the loop's values
(prior, emission, all densities) belongs after it, for all steps at once.

Each equation is an `Equation` (equations.py): what it does at step t, what its gradient does at step t, and what is
left to do after the last one. Time is the first dimension here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..distributions import at_least_float32

Step = Callable[[int], object]
Block = Callable[[int, int], object]  # of steps start..stop - 1
Select = Callable[[int, Sequence[Tensor]], Tensor | None]
ROWS_AT_ONCE = 2048  # of a block's products: enough to be efficient, few enough to stay in the cache


class Value:
    """What a step computes, [n, size]: some columns of a buffer [T, n, .]. Its gradient has the same columns."""

    def __init__(self, buffer: Buffer, start: int, stop: int):
        self.buffer, self.start, self.stop = buffer, start, stop

    @property
    def size(self) -> int:
        """Features."""
        return self.stop - self.start

    def split(self, *sizes: int) -> list[Value]:
        """Its columns in parts."""
        edges = [self.start]
        for size in sizes:
            edges.append(edges[-1] + size)
        return [Value(self.buffer, a, b) for a, b in pairwise(edges)]

    def of(self, tensor: Tensor) -> Tensor:
        """Its columns of a buffer's tensor."""
        whole = (self.start, self.stop) == (0, self.buffer.size)
        return tensor if whole else tensor[..., self.start : self.stop]

    @property
    def key(self) -> tuple[int, int, int]:
        """The same for two values that are the same columns."""
        return self.buffer.number, self.start, self.stop


class Buffer:
    """Memory for a value of every step, and what it is for."""

    def __init__(self, number: int, size: int):
        self.number, self.size = number, size
        self.is_output = False
        self.begins_ahead = False  # a block of steps of it is written at once, before they are taken
        self.gradient_is_read_back = False  # a block of steps at once, for weights
        self.follows: Buffer | None = None  # the carried value that this is one step later


class Equation:
    """One line of a step: what is done at step t, and what is better done for a block of steps at once."""

    def forward(self, run: Execution) -> Step:
        """Writes its values at t."""
        raise NotImplementedError

    def backward(self, run: Execution) -> Step:
        """Writes or adds to the gradients of what it reads, from those of what it wrote, at t."""
        raise NotImplementedError

    def ahead(self, run: Execution) -> Block | None:
        """Before the steps of a block are taken forwards: what depends on none of them."""
        return None

    def behind(self, run: Execution) -> Block | None:
        """After the steps of a block were taken backwards: gradients of what is not of one step."""
        return None


class Loop:
    """The equations of a step over T steps and n rows. See the module, and `equations` for what a step can do."""

    def __init__(self, *, steps: int, rows: int):
        self.steps, self.rows = steps, rows
        self.buffers: list[Buffer] = []
        self.equations: list[Equation] = []
        self.tensors: list[Tensor] = []  # from outside: weights, what is given at every step, first values
        self.initial: dict[int, int] = {}  # buffer of a carried value -> its first value, among the tensors
        self.selected: tuple[Select, list[Value]] | None = None

    # What a step is made of.

    def tensor(self, tensor: Tensor) -> int:
        """Registers a tensor from outside that may need a gradient; in half precision it becomes float32."""
        self.tensors.append(at_least_float32(tensor))
        return len(self.tensors) - 1

    def value(self, size: int) -> Value:
        """A new value of every step."""
        self.buffers.append(Buffer(len(self.buffers), size))
        return Value(self.buffers[-1], 0, size)

    def carried(self, initial: Tensor) -> Value:
        """A value that the step before has left, [n, F]; `initial` is that of the first step."""
        value = self.value(initial.shape[1])
        self.initial[value.buffer.number] = self.tensor(initial)
        return value

    def carry(self, value: Value, following: Value) -> None:
        """`following`, at the end of a step, is what `value` will be in the next one."""
        following.buffer.follows = value.buffer

    def add(self, equation: Equation) -> None:
        """Appends a line."""
        self.equations.append(equation)

    def select(self, choose: Select, values: Sequence[Value]) -> None:
        """After step t, choose(t, values of the step) may give an index [n] of rows that go on: row i from index[i]."""
        self.selected = choose, list(values)

    # Running it.

    def run(self, *outputs: Value) -> tuple[Tensor, ...]:
        """The values of all steps, [T, n, F] each, differentiable once in every tensor that the equations read."""
        for value in outputs:
            value.buffer.is_output = True
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.tensors)
        result: tuple[Tensor, ...] = _Run.apply(self, outputs, keep, *self.tensors)  # type: ignore[no-untyped-call]  # torch's is
        return result


class Execution:
    """A loop's buffers while it runs, forwards or backwards."""

    def __init__(self, loop: Loop, tensors: Sequence[Tensor], *, keep: bool, lower: torch.dtype | None):
        self.loop, self.tensors, self.keep, self.lower = loop, tensors, keep, lower
        self.like = tensors[0]
        self.block = min(loop.steps, -(-ROWS_AT_ONCE // loop.rows))  # steps whose products are taken at once
        self.memory: list[Tensor] = []  # by buffer, [T (+ 1), n, F]; fewer steps of what nobody reads back
        self.extra: dict[Any, Tensor] = {}  # what equations keep for their gradients
        self.chosen: dict[int, Tensor] = {}  # rows that went on after a step
        # backwards:
        self.gradient_memory: dict[int, Tensor] = {}
        self.tensor_gradients: list[Tensor | None] = [None] * len(tensors)
        self.wanted: Sequence[bool] = [False] * len(tensors)
        self.incoming: dict[tuple[int, int, int], list[Tensor]] = {}
        self.begun: set[tuple[int, int, int]] = set()

    # Values.

    def empty(self, steps: int, size: int) -> Tensor:
        """New memory of the loop's kind, [steps, n, size]."""
        return self.like.new_empty(steps, self.loop.rows, size)

    def allocate(self) -> None:
        """Memory for all buffers; a carried value and what follows it share theirs, a step apart."""
        followers = {b.follows.number: b for b in self.loop.buffers if b.follows is not None}
        memory: dict[int, Tensor] = {}
        for b in self.loop.buffers:
            if b.follows is not None:
                continue
            after = followers.get(b.number)
            kept = self.keep or b.is_output or (after is not None and after.is_output)
            steps = self.loop.steps if kept else 1
            if after is None:
                memory[b.number] = self.empty(self.block if b.begins_ahead and not kept else steps, b.size)
            elif self.loop.selected is not None:  # rows change places in between
                memory[b.number] = self.empty(steps + 1 if kept else 1, b.size)
                memory[after.number] = self.empty(steps, b.size)
            else:
                memory[b.number] = memory[after.number] = self.empty(steps + 1 if kept else 1, b.size)
        self.memory = [memory[b.number] for b in self.loop.buffers]
        for number, index in self.loop.initial.items():
            self.memory[number][0] = self.tensors[index]

    def values(self, value: Value) -> Tensor:
        """All steps, [T, n, F] (or [1, n, F])."""
        tensor, steps = self.memory[value.buffer.number], self.loop.steps
        if len(tensor) == steps + 1:
            follows = value.buffer.follows is not None and self.loop.selected is None
            tensor = tensor[1:] if follows else tensor[:-1]
        return value.of(tensor)

    def each(self, value: Value) -> list[Tensor]:
        """One tensor [n, F] a step."""
        return self.each_of(self.values(value))

    def each_of(self, tensor: Tensor) -> list[Tensor]:
        """Views of the steps, T of them: memory for a block or one step serves all blocks or steps."""
        views = list(tensor.unbind(0))
        return views if len(views) == self.loop.steps else views * -(-self.loop.steps // len(views))

    def kept(self, key: Any, size: int) -> Tensor:
        """Memory [T, n, size] that an equation's gradient will read ([1, n, size] if there will be none)."""
        if key not in self.extra:
            self.extra[key] = self.empty(self.loop.steps if self.keep else 1, size)
        return self.extra[key]

    # Gradients.

    def gradients(self, value: Value) -> Tensor:
        """Of the block at work, [block, n, F], where they are read back after it; else of the step, [1, n, F]."""
        buffer = value.buffer
        if buffer.follows is not None and not buffer.gradient_is_read_back:
            buffer = buffer.follows  # the same memory: what a step leaves is what the next one finds
        if buffer.number not in self.gradient_memory:
            steps = self.block if buffer.gradient_is_read_back else 1
            self.gradient_memory[buffer.number] = self.empty(steps, buffer.size)
        return value.of(self.gradient_memory[buffer.number])

    def each_gradient(self, value: Value) -> list[Tensor]:
        """One tensor [n, F] a step."""
        return self.each_of(self.gradients(value))

    def first(self, value: Value) -> tuple[bool, list[Tensor] | None]:
        """For an equation about to add to a gradient: whether it is the first to, and what came from outside.

        The first one writes what came from outside (None: nothing) plus its own; the others add.
        """
        is_first = value.key not in self.begun and value.buffer.follows is None
        self.begun.add(value.key)
        return is_first, self.incoming.get(value.key) if is_first else None

    def only(self, value: Value) -> list[Tensor] | None:
        """As `first`, for an equation that can't share a value with others. Raises ValueError if it does."""
        is_first, incoming = self.first(value)
        if not is_first:
            raise ValueError("an LSTM's cell state, and what is modulated, can be read by that one equation alone")
        return incoming

    # The loops.

    def forwards(self) -> None:
        """All steps."""
        self.allocate()
        steps = [equation.forward(self) for equation in self.loop.equations]
        if self.loop.selected is not None:
            steps.append(self._selection(*self.loop.selected))
        ahead = [block for equation in self.loop.equations if (block := equation.ahead(self)) is not None]
        for start in range(0, self.loop.steps, self.block):
            stop = min(start + self.block, self.loop.steps)
            for block in ahead:
                block(start, stop)
            for t in range(start, stop):
                for step in steps:
                    step(t)

    def _selection(self, choose: Select, seen: list[Value]) -> Step:
        carried = [(b.follows, b) for b in self.loop.buffers if b.follows is not None]
        pairs = [(self.memory[a.number], self.each(Value(b, 0, b.size))) for a, b in carried]
        shown, device = [self.each(value) for value in seen], self.like.device.type

        def step(t: int) -> None:
            index = None
            if t + 1 < self.loop.steps:
                with torch.autocast(device, dtype=self.lower, enabled=self.lower is not None):  # as after the loop
                    index = choose(t, [values[t] for values in shown])
            if index is not None:
                self.chosen[t] = index
            for before, after in pairs:
                following = before[t + 1] if len(before) > 1 else before[0]
                if index is None:
                    following.copy_(after[t])
                else:
                    torch.index_select(after[t], 0, index, out=following)

        return step

    def backwards(self, outputs: Sequence[Value], incoming: Sequence[Tensor | None]) -> None:
        """All steps, the last one first; then what is left to do."""
        given = {v.key: g for v, g in zip(outputs, incoming, strict=True) if g is not None}
        after = [b for b in self.loop.buffers if b.follows is not None]
        begin = [self._carried_gradient(b, given.pop((b.number, 0, b.size), None)) for b in after]
        self.incoming = {key: list(at_least_float32(g).unbind(0)) for key, g in given.items()}
        steps = [equation.backward(self) for equation in reversed(self.loop.equations)]
        self._require_all_begun(outputs)
        behind = [block for equation in self.loop.equations if (block := equation.behind(self)) is not None]
        for start in reversed(range(0, self.loop.steps, self.block)):
            stop = min(start + self.block, self.loop.steps)
            for t in reversed(range(start, stop)):
                for step in begin:
                    step(t)
                for step in steps:
                    step(t)
            for block in behind:
                block(start, stop)
        for number, index in self.loop.initial.items():
            if self.wanted[index]:
                self.tensor_gradients[index] = self.gradient_memory[number][0]

    def _carried_gradient(self, buffer: Buffer, incoming: Tensor | None) -> Step:
        """Turns the gradient of what step t + 1 found into that of what step t left."""
        found = self.gradients(Value(buffer.follows or buffer, 0, buffer.size))[0]
        left = self.each_gradient(Value(buffer, 0, buffer.size))
        outside = None if incoming is None else list(at_least_float32(incoming).unbind(0))
        found.zero_()
        chosen, apart = self.chosen, buffer.gradient_is_read_back

        def step(t: int) -> None:
            if t in chosen:
                left[t].copy_(torch.zeros_like(found).index_add_(0, chosen[t], found))
            elif apart:
                left[t].copy_(found)
            if outside is not None:
                left[t].add_(outside[t])

        return step

    def _require_all_begun(self, outputs: Sequence[Value]) -> None:
        """What nothing in the loop reads starts from what came from outside alone."""
        for value in outputs:
            if value.buffer.follows is None and value.key not in self.begun:
                raise ValueError("an output that nothing in the loop reads belongs after the loop")

    def gradient_for(self, index: int | None) -> Tensor | None:
        """Where the gradient of a tensor from outside is collected, zeros at first; None where nobody wants it."""
        if index is None or not self.wanted[index]:
            return None
        gradient = self.tensor_gradients[index]
        if gradient is None:
            gradient = self.tensor_gradients[index] = torch.zeros_like(self.tensors[index])
        return gradient


class _Run(torch.autograd.Function):
    """The loop as one node of autograd."""

    @staticmethod
    def forward(ctx: Any, loop: Loop, outputs: tuple[Value, ...], keep: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        device = tensors[0].device.type
        lower = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if tensors[0].dtype == torch.float64:
            lower = None
        run = Execution(loop, tensors, keep=keep, lower=lower)
        with torch.autocast(device, enabled=False):
            run.forwards()
        if run.keep:
            ctx.save_for_backward(*tensors, *run.memory, *run.extra.values(), *run.chosen.values())
            ctx.layout = (len(tensors), len(run.memory), list(run.extra), list(run.chosen))
            ctx.loop, ctx.outputs, ctx.lower = loop, outputs, lower
            ctx.set_materialize_grads(False)
        return tuple(run.values(value) for value in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
        numbers, buffers, extra, chosen = ctx.layout
        saved = list(ctx.saved_tensors)
        tensors, memory = saved[:numbers], saved[numbers : numbers + buffers]
        rest = saved[numbers + buffers :]
        run = Execution(ctx.loop, tensors, keep=True, lower=ctx.lower)
        run.memory = memory
        run.extra = dict(zip(extra, rest[: len(extra)], strict=True))
        run.chosen = dict(zip(chosen, rest[len(extra) :], strict=True))
        run.wanted = ctx.needs_input_grad[3:]
        with torch.autocast(tensors[0].device.type, enabled=False):
            run.backwards(ctx.outputs, incoming)
        return None, None, None, *run.tensor_gradients
