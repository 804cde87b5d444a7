"""A recurrence recorded as equations, run over time with hand-written back-propagation.

A model's step is a few equations between values of the step: products, activations, a sample, an LSTM. It records
them on a `Loop`, and `run` runs them over all steps, as one node of autograd:

    loop = Loop(steps=T, rows=n)
    h, c = loop.carried(h_0), loop.carried(c_0)
    gates = equations.linear(loop, h, W, bias=b, given=u, given_weight=V)      W h_{t-1} + V u_t + b
    h_t, c_t = equations.lstm(loop, gates, c)
    loop.carry(h, h_t), loop.carry(c, c_t)
    hs, cs = loop.run(h_t, c_t)                            [T, n, H] each

Advantages over a loop recorded by autograd: products with inputs that are known before the loop, and gradients of
weights, are computed for a block of steps at a time instead of step by step; buffers are written in place, and those of
a block stay in the cache; nothing is recorded at each step. What only reads the loop's results (prior, emission, all
densities) belongs after the loop, for all steps at once.

Each equation is an `Equation` (equations.py): its forward and backward computation at step t, and for blocks of steps.
Time is the first dimension here.
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
    """A value of a step, [n, size]: columns of a buffer [T, n, .]. Its gradient has the same columns."""

    def __init__(self, buffer: Buffer, start: int, stop: int):
        self.buffer, self.start, self.stop = buffer, start, stop

    @property
    def size(self) -> int:
        """The number of columns."""
        return self.stop - self.start

    def split(self, *sizes: int) -> list[Value]:
        """Split the columns into values of these sizes."""
        edges = [self.start]
        for size in sizes:
            edges.append(edges[-1] + size)
        return [Value(self.buffer, a, b) for a, b in pairwise(edges)]

    def of(self, tensor: Tensor) -> Tensor:
        """Select its columns of a tensor that is shaped like its buffer."""
        whole = (self.start, self.stop) == (0, self.buffer.size)
        return tensor if whole else tensor[..., self.start : self.stop]

    @property
    def key(self) -> tuple[int, int, int]:
        """An identifier of its columns."""
        return self.buffer.number, self.start, self.stop


class Buffer:
    """The memory of a value at all steps, and how it is used."""

    def __init__(self, number: int, size: int):
        self.number, self.size = number, size
        self.is_output = False
        self.begins_ahead = False  # it is first written for a block of steps, before they run
        self.gradient_is_read_back = False  # its gradients are read for a block of steps, for gradients of weights
        self.follows: Buffer | None = None  # the carried value that it becomes in the next step


class Equation:
    """One equation of a step: what it computes at step t, and what it computes for a block of steps at once."""

    def forward(self, run: Execution) -> Step:
        """Return a function of t that computes its values at step t."""
        raise NotImplementedError

    def backward(self, run: Execution) -> Step:
        """Return a function of t that writes, or adds to, the gradients of its arguments at step t."""
        raise NotImplementedError

    def ahead(self, run: Execution) -> Block | None:
        """Return a function that runs before a block of forward steps, for what doesn't depend on them."""
        return None

    def behind(self, run: Execution) -> Block | None:
        """Return a function that runs after a block of backward steps, for gradients of weights and inputs."""
        return None


class Loop:
    """The equations of a step, for T steps and n rows. See the module's docstring, and `equations`."""

    def __init__(self, *, steps: int, rows: int):
        self.steps, self.rows = steps, rows
        self.buffers: list[Buffer] = []
        self.equations: list[Equation] = []
        self.tensors: list[Tensor] = []  # weights, inputs of all steps, initial values
        self.initial: dict[int, int] = {}  # number of a carried value's buffer -> index of its initial value
        self.selected: tuple[Select, list[Value]] | None = None

    # Recording.

    def tensor(self, tensor: Tensor) -> int:
        """Register a tensor that may need a gradient, as float32 if it has half precision; returns its index."""
        self.tensors.append(at_least_float32(tensor))
        return len(self.tensors) - 1

    def value(self, size: int) -> Value:
        """Make a new value with `size` columns."""
        self.buffers.append(Buffer(len(self.buffers), size))
        return Value(self.buffers[-1], 0, size)

    def carried(self, initial: Tensor) -> Value:
        """Make a value that is carried from step to step, [n, F], with its initial value."""
        value = self.value(initial.shape[1])
        self.initial[value.buffer.number] = self.tensor(initial)
        return value

    def carry(self, value: Value, following: Value) -> None:
        """Let `value` be `following` in the next step."""
        following.buffer.follows = value.buffer

    def add(self, equation: Equation) -> None:
        """Append an equation."""
        self.equations.append(equation)

    def select(self, choose: Select, values: Sequence[Value]) -> None:
        """Call choose(t, values) after step t; if it returns an index [n], row i continues from row index[i]."""
        self.selected = choose, list(values)

    # Running.

    def run(self, *outputs: Value) -> tuple[Tensor, ...]:
        """Run all steps and return the outputs, [T, n, F] each. They are differentiable once in all tensors."""
        for value in outputs:
            value.buffer.is_output = True
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.tensors)
        result: tuple[Tensor, ...] = _Run.apply(self, outputs, keep, *self.tensors)  # type: ignore[no-untyped-call]  # torch's is
        return result


class Execution:
    """The buffers of a loop that runs forward or backward."""

    def __init__(self, loop: Loop, tensors: Sequence[Tensor], *, keep: bool, lower: torch.dtype | None):
        self.loop, self.tensors, self.keep, self.lower = loop, tensors, keep, lower
        self.like = tensors[0]
        self.block = min(loop.steps, -(-ROWS_AT_ONCE // loop.rows))  # steps whose products are computed together
        self.memory: list[Tensor] = []  # by buffer, [T (+ 1), n, F]; fewer steps if they aren't needed again
        self.extra: dict[Any, Tensor] = {}  # what equations save for their gradients
        self.chosen: dict[int, Tensor] = {}  # by step, the rows that continued
        # backward:
        self.gradient_memory: dict[int, Tensor] = {}
        self.tensor_gradients: list[Tensor | None] = [None] * len(tensors)
        self.wanted: Sequence[bool] = [False] * len(tensors)
        self.incoming: dict[tuple[int, int, int], list[Tensor]] = {}
        self.begun: set[tuple[int, int, int]] = set()

    # Values.

    def empty(self, steps: int, size: int) -> Tensor:
        """Allocate memory [steps, n, size] with the loop's dtype and device."""
        return self.like.new_empty(steps, self.loop.rows, size)

    def allocate(self) -> None:
        """Allocate all buffers. A carried value and its successor share memory, shifted by one step."""
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
            elif self.loop.selected is not None:  # rows may be reordered between steps
                memory[b.number] = self.empty(steps + 1 if kept else 1, b.size)
                memory[after.number] = self.empty(steps, b.size)
            else:
                memory[b.number] = memory[after.number] = self.empty(steps + 1 if kept else 1, b.size)
        self.memory = [memory[b.number] for b in self.loop.buffers]
        for number, index in self.loop.initial.items():
            self.memory[number][0] = self.tensors[index]

    def values(self, value: Value) -> Tensor:
        """A value at all steps, [T, n, F], or [1, n, F] if only one step is stored."""
        tensor, steps = self.memory[value.buffer.number], self.loop.steps
        if len(tensor) == steps + 1:
            follows = value.buffer.follows is not None and self.loop.selected is None
            tensor = tensor[1:] if follows else tensor[:-1]
        return value.of(tensor)

    def each(self, value: Value) -> list[Tensor]:
        """A value at each step, T tensors [n, F]."""
        return self.each_of(self.values(value))

    def each_of(self, tensor: Tensor) -> list[Tensor]:
        """Views of T steps; memory of one block or step is reused for all blocks or steps."""
        views = list(tensor.unbind(0))
        return views if len(views) == self.loop.steps else views * -(-self.loop.steps // len(views))

    def kept(self, key: Any, size: int) -> Tensor:
        """Memory [T, n, size] that an equation's gradient reads, or [1, n, size] without gradients."""
        if key not in self.extra:
            self.extra[key] = self.empty(self.loop.steps if self.keep else 1, size)
        return self.extra[key]

    # Gradients.

    def gradients(self, value: Value) -> Tensor:
        """Gradients of a value in the current block, [block, n, F], if they are read after it; else [1, n, F]."""
        buffer = value.buffer
        if buffer.follows is not None and not buffer.gradient_is_read_back:
            buffer = buffer.follows  # the same memory: a carried value is its successor in the step before
        if buffer.number not in self.gradient_memory:
            steps = self.block if buffer.gradient_is_read_back else 1
            self.gradient_memory[buffer.number] = self.empty(steps, buffer.size)
        return value.of(self.gradient_memory[buffer.number])

    def each_gradient(self, value: Value) -> list[Tensor]:
        """The gradient of a value at each step, T tensors [n, F]."""
        return self.each_of(self.gradients(value))

    def first(self, value: Value) -> tuple[bool, list[Tensor] | None]:
        """Whether an equation is the first to write the gradient of a value, and the gradient from after the loop.

        The first equation writes the gradient from after the loop, if any, plus its own; the others add theirs.
        """
        is_first = value.key not in self.begun and value.buffer.follows is None
        self.begun.add(value.key)
        return is_first, self.incoming.get(value.key) if is_first else None

    def only(self, value: Value) -> list[Tensor] | None:
        """Like `first`, for an equation that must be the only one to read a value. Raises ValueError if it isn't."""
        is_first, incoming = self.first(value)
        if not is_first:
            raise ValueError("only one equation can read an LSTM's cell state or a modulated value")
        return incoming

    # The loops.

    def forwards(self) -> None:
        """Run all steps."""
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

    def _selection(self, choose: Select, arguments: list[Value]) -> Step:
        carried = [(b.follows, b) for b in self.loop.buffers if b.follows is not None]
        pairs = [(self.memory[a.number], self.each(Value(b, 0, b.size))) for a, b in carried]
        shown, device = [self.each(value) for value in arguments], self.like.device.type

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
        """Run all steps backward."""
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
        """Pass the gradient of a carried value at step t + 1 to its successor at step t."""
        carried = self.gradients(Value(buffer.follows or buffer, 0, buffer.size))[0]
        successor = self.each_gradient(Value(buffer, 0, buffer.size))
        outside = None if incoming is None else list(at_least_float32(incoming).unbind(0))
        carried.zero_()
        chosen, has_own_memory = self.chosen, buffer.gradient_is_read_back

        def step(t: int) -> None:
            if t in chosen:
                successor[t].copy_(torch.zeros_like(carried).index_add_(0, chosen[t], carried))
            elif has_own_memory:
                successor[t].copy_(carried)
            if outside is not None:
                successor[t].add_(outside[t])

        return step

    def _require_all_begun(self, outputs: Sequence[Value]) -> None:
        """Refuse outputs that no equation reads: nothing would write their gradients."""
        for value in outputs:
            if value.buffer.follows is None and value.key not in self.begun:
                raise ValueError("an output that nothing in the loop reads belongs after the loop")

    def gradient_for(self, index: int | None) -> Tensor | None:
        """The accumulated gradient of a registered tensor, initially 0; None if it isn't needed."""
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
