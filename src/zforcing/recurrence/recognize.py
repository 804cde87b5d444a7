"""Recognizes loops that are exactly one layer of torch's LSTM or GRU.

A loop is compared, value by value, with that of torch's own cell, which is traced and planned in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from .algebra import is_linear, is_matmul
from .fused import KINDS, Fused, Kind
from .loops import Recurrence, make_plan
from .plan import Loop, Plan
from .program import Rows, Value, aten, in_order, is_alike
from .trace import trace
from .views import VIEWS, bases


def recognize(loop: Loop, plan: Plan) -> Fused | None:
    """The network of torch's that a loop of a plan is; None if it isn't exactly one."""
    if loop.log_weight is not None or len(loop.ahead) != 1 or loop.given != loop.ahead:
        return None
    if sum(map(is_matmul, loop.body)) != 1:
        return None
    for kind in KINDS:
        if len(kind.fields) == len(loop.fields):
            for order in itertools.permutations(range(len(loop.fields))):
                found = _matched(kind, loop, order)
                if found is not None and not any(_is_used(loop, plan, number=i) for i in order[1:]):
                    return found  # torch returns h of all steps, and no other field
    return None


def _matched(kind: Kind, loop: Loop, order: tuple[int, ...]) -> Fused | None:
    """The network of this kind that a loop is, with its fields in this order."""
    after = [_flat(loop.after[i]) for i in order]
    if any(len(v.shape) != 2 or v.shape != after[0].shape for v in after) or not set(loop.exported) <= set(after):
        return None
    cell = _cell(kind, after[0].length(1), after[0].device)
    same: dict[Value, Value] = {}
    if not all(is_alike(one, two, same, free=cell.loop.reads) for one, two in zip(cell.loop.after, after, strict=True)):
        return None
    before = [_flat(same[value]) for value in cell.loop.before]
    if before != [loop.before[i] for i in order] or same[cell.loop.ahead[0]] is not loop.ahead[0]:
        return None
    weights = {base: same[value] for value in cell.loop.constants for base in bases([value])}
    products, biases = _terms(loop.ahead[0], loop.sources)
    if not products or any(bias.has_rows for bias in biases):
        return None
    return Fused(
        kind,
        loop,
        order,
        after=tuple(after),
        products=products,
        biases=(*biases, *(weights[b] for b in weights if b is cell.bias)),
        recurrent=weights[cell.recurrent],
        hidden_biases=tuple(weights[b] for b in weights if b is cell.hidden_bias),
    )


def _flat(value: Value) -> Value:
    """A value of a row, without changes of the row's shape."""
    while value.function is aten.reshape.default and value.shape[0] == value.operand.shape[0] == Rows():
        value = value.operand
    return value


def _terms(value: Value, known: Sequence[Value]) -> tuple[tuple[tuple[Value, Value], ...], tuple[Value, ...]]:
    """The products (x, w) and the other terms of a sum."""
    products: list[tuple[Value, Value]] = []
    others: list[Value] = []
    left = [value]
    while left:
        term = left.pop()
        if term in known or not is_linear(term):
            others.append(term)
        elif is_matmul(term):
            products.append(term.args[-2:])
            left += term.args[:-2]
        else:
            left += term.args
    return tuple(products), tuple(others)


def _is_used(loop: Loop, plan: Plan, *, number: int) -> bool:
    """Whether anything outside of a loop is computed from one of its fields, before or after a step."""
    inside, field = set(loop.body), bases([loop.before[number], loop.after[number]])
    everything = in_order([*plan.outputs, *plan.last.values(), *filter(None, [plan.weight])])
    outside = [v for v in everything if v not in inside and v.function is not None and v.function not in VIEWS]
    return any(bases(v.reads) & field for v in outside)


class _Cell(NamedTuple):
    """The loop of torch's cell, and the inputs that are its recurrent weight and its biases."""

    loop: Loop
    recurrent: Value
    bias: Value
    hidden_bias: Value


@cache
def _cell(kind: Kind, units: int, device: torch.device) -> _Cell:
    gates = kind.gates * units

    def example(rows: int) -> list[Tensor]:
        state = [(rows, units)] * (1 + len(kind.fields))
        return [
            torch.zeros(shape, device=device) for shape in (*state, (gates, units), (gates, units), (gates,), (gates,))
        ]

    names = ["x", *kind.fields, "w_ih", "w_hh", "b_ih", "b_hh"]
    inputs, after = trace(kind.cell, example, names)
    state = dict(zip(kind.fields, inputs[1:], strict=False))
    first = {name: replace(value, name=f"first {name}") for name, value in state.items()}
    new = dict(zip(kind.fields, after, strict=True))
    plan = make_plan(Recurrence(state=state, new=new, first=first, outputs=tuple(after)))
    return _Cell(plan.loops[0], *inputs[-3:])
