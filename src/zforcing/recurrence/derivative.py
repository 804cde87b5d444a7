"""The derivative of a loop's step: the same step and its gradients as one program, and what of it is computed when."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .algebra import fused
from .describe import work_of
from .plan import Loop, computed
from .program import Rows, Value, aten, evaluate, in_order, in_order_from, merge_equal, rewrite
from .trace import trace
from .views import VIEWS, bases


@dataclass(frozen=True, repr=False)
class Derivative:
    """A step of a loop with its gradients. The values of the step are those of a new program.

    Attributes:
        inputs: For each value that the loop reads (before, given, constants), the input that holds it here.
        forward: For `loop.after` and `loop.exported`, their values here.
        incoming: For each of these that has a gradient, the input that holds it.
        gradients: For each value that the loop reads and that gets a gradient, its value: of one step, and of a
            constant the sum over the rows.
        ahead: What the loop computes ahead.
    """

    before: tuple[Value, ...]
    inputs: Mapping[Value, Value]
    forward: Mapping[Value, Value]
    incoming: Mapping[Value, Value]
    gradients: Mapping[Value, Value]
    ahead: tuple[Value, ...] = ()

    @cached_property
    def computed_forward(self) -> set[Value]:
        """What the forward pass computes: not views, which are made again."""
        return {v for v in self.forward_values if v.function not in VIEWS}

    @cached_property
    def backward_values(self) -> list[Value]:
        """What is computed at each step of the backward loop, in order: all that the state's gradient needs."""
        states = [self.gradients[v] for v in self.before if v in self.gradients]
        inputs = {v for v in in_order(states) if v.function is None}
        return in_order_from(states, dict.fromkeys([*self.computed_forward, *inputs]))

    @cached_property
    def after_values(self) -> list[Value]:
        """What is computed after the loop, for all steps at once: again, where an operation has several results."""
        known = {v for v in self.backward_values if v.function not in VIEWS and v.shape} | self.computed_forward
        others = [g for v, g in self.gradients.items() if v not in self.before]
        inputs = {v for v in in_order(others) if v.function is None}
        return in_order_from(others, dict.fromkeys([*known, *inputs]))

    @cached_property
    def kept(self) -> set[Value]:
        """Values of the forward pass that the backward pass reads, also of those that are computed ahead."""
        reads = {r for v in [*self.backward_values, *self.after_values] for r in v.reads} | set(self.gradients.values())
        return reads & (self.computed_forward | {self.inputs[v] for v in self.ahead})

    @cached_property
    def stacked(self) -> set[Value]:
        """Values of the backward loop that are read after its steps, or are gradients of what it was given."""
        reads = {r for v in self.after_values for r in v.reads}
        reads |= {g for v, g in self.gradients.items() if v not in self.before}
        computed = {v for v in self.backward_values if v.function not in VIEWS}
        return bases(reads) & {*computed, *self.incoming.values()}

    @cached_property
    def forward_values(self) -> list[Value]:
        """Values of the forward pass, in order; of operations with several results also those for the backward pass."""
        values = [v for v in in_order(self.forward.values()) if v.function is not None]
        known = set(values)
        others = [v for v in in_order(self.gradients.values()) if v.function is operator.getitem and v not in known]
        return values + [v for v in others if v.operand in known]

    @property
    def back(self) -> list[Value]:
        """The operations of a step of the backward loop."""
        return computed(self.backward_values)

    @property
    def after(self) -> list[Value]:
        """The operations after a block of steps."""
        return computed(self.after_values)

    def __repr__(self) -> str:
        ahead = [self.inputs[value] for value in self.ahead]
        kept = [*self.before, *(value for value in [*ahead, *self.forward_values] if value in self.kept)]
        sizes = Counter(f"{value} [{value.size}]" for value in kept)
        each = ", ".join(f"{num} x {size}" if num > 1 else size for size, num in sizes.items())
        return (
            f"a step back: {work_of(self.back)}\n"
            f"after a block of steps: {work_of(self.after)}\n"
            f"kept of each step: {sum(value.size for value in kept)} numbers a row: {each}"
        )


def derive(loop: Loop, wanted: Iterable[Value]) -> Derivative:
    """Trace a step of a loop with its gradients for the values `wanted` among those that it reads."""
    weight = {loop.log_weight} - {*loop.after, *loop.exported}  # it has no gradient
    inputs, values, incoming, gradients = _with_gradients(loop.reads, loop.results, set(wanted), weight)
    return Derivative(loop.before, inputs, values, incoming, gradients, loop.ahead)


def derive_ahead(loop: Loop, wanted: Iterable[Value]) -> Derivative:
    """Trace the values that a loop computes ahead with their gradients for `wanted` among what they read."""
    reads = [*loop.sources, *loop.weights]
    if not loop.ahead or set(wanted).isdisjoint(reads):
        return Derivative((), {}, {}, {}, {})
    return Derivative((), *_with_gradients(reads, loop.ahead, set(wanted)))


def _with_gradients(
    reads: Sequence[Value], results: Sequence[Value], wanted: set[Value], without: Collection[Value | None] = ()
) -> tuple[dict[Value, Value], dict[Value, Value], dict[Value, Value], dict[Value, Value]]:
    """Values and gradients as one program: its inputs, its results, its inputs for their gradients, the gradients."""
    smooth = [value for value in results if value.is_smooth and value not in without]
    of = [value for value in reads if value in wanted]
    fixed = [value for value in reads if value not in wanted]

    def f(
        tensors: list[Tensor], others: list[Tensor], incoming: list[Tensor]
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
            known: dict[Value, Any] = dict(zip([*of, *fixed], [*leaves, *others], strict=True))
            evaluate(results, known, rows=_rows(known))
            parts = [*(known[v] for v in smooth), *leaves]
            begin: Any = _Begin.apply(incoming, *parts)  # type: ignore[no-untyped-call]  # torch's is
        gradients = torch.autograd.grad(begin, leaves, allow_unused=True, materialize_grads=True)
        return [known[v].detach() for v in results], gradients

    def example(rows: int) -> list[list[Tensor]]:
        return [[_like(value, rows) for value in values] for values in (of, fixed, smooth)]

    names = [value.name for value in [*of, *fixed]] + [f"d_{value.name}" for value in smooth]
    inputs, (values, gradients) = trace(f, example, names)
    program = fused(merge_equal(rewrite([*values, *gradients], _without_detach)))
    return (
        dict(zip([*of, *fixed], inputs, strict=False)),
        dict(zip(results, program, strict=False)),
        dict(zip(smooth, inputs[len(reads) :], strict=True)),
        dict(zip(of, program[len(results) :], strict=True)),
    )


class _Begin(torch.autograd.Function):
    """A number whose gradients for the results of a step are given.

    To give them to `torch.autograd.grad` would import torch's symbolic shapes, in half a second.
    """

    @staticmethod
    def forward(ctx: Any, incoming: list[Tensor], *results: Tensor) -> Tensor:
        ctx.incoming, ctx.others = incoming, len(results) - len(incoming)
        return results[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.incoming, *[None] * ctx.others


def _without_detach(value: Value) -> Value:
    """Where there are gradients already, `detach` does nothing."""
    detached: Value = value.args[0] if value.function is aten.detach.default else value
    return detached


def _rows(known: Mapping[Value, Tensor]) -> int:
    """The number of rows of the inputs' tensors."""
    for value, tensor in known.items():
        if value.has_rows and isinstance(value.shape[0], Rows):
            return len(tensor) // value.shape[0].times
    raise ValueError("no input has rows")


def _like(value: Value, rows: int) -> Tensor:
    shape = [n.times * rows if isinstance(n, Rows) else n for n in value.shape]
    return torch.zeros(shape, dtype=value.dtype, device=value.device)
