"""Refuse programs whose rows aren't independent: they can't run for the rows of all steps at once."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .program import Rows, Value, aten, evaluate, in_order
from .trace import ROWS, Constant, Untraceable

SOME = slice(1, 3)  # rows of an example that leave out the first ones and the last ones


@torch.no_grad()
def require_independent_rows(results: Sequence[Value], example: Mapping[Value, Tensor]) -> None:
    """Require that a program has the same results for some of the rows as for all of them.

    Args:
        results: What the program computes.
        example: For each input its tensor, with `ROWS[0]` rows where it has rows.

    Raises:
        Untraceable: An operation mixes rows, counts them, or draws numbers that they share; or a gradient would be
            lost.
    """
    order = in_order(results)
    for value in order:
        _require_form(value)
    if any(tensor.is_meta for tensor in example.values()):  # there is nothing to compare
        return
    with torch.random.fork_rng():
        everything: dict[Value, Any] = {v: shaken(v, tensor) for v, tensor in example.items()}
        evaluate(results, everything, rows=ROWS[0])
        given = {v for v in order if v.function is None or v.is_random}
        some = {v: _rows_of(v, everything[v]) for v in given}
        evaluate(results, some, rows=SOME.stop - SOME.start)

    def differs(value: Value) -> bool:
        found = some.get(value)  # what only a random operation reads has none; what is empty holds anything
        if not isinstance(found, Tensor) or value.function is aten.empty.memory_format:
            return False
        return not is_close(found, _rows_of(value, everything[value]))

    if any(map(differs, results)):
        first = next(filter(differs, order))
        raise Untraceable(f"{_operation(first)} mixes the rows of a batch, or depends on how many there are")


def _require_form(value: Value) -> None:
    if any(isinstance(length, Rows) for length in value.shape[1:]):
        raise Untraceable(f"{value.function} has the rows of a batch in another dimension than the first")
    if value.dtype.is_complex:
        raise Untraceable(f"{value.function} computes complex numbers, whose gradients would be lost")
    if value.is_random and not value.has_rows:
        raise Untraceable(f"{value.function} draws numbers that all rows of a batch share")
    if isinstance(value.function, Constant) and value.function.tensor.requires_grad:
        raise Untraceable("a tensor with a gradient is read that is no argument, parameter or buffer")


def _operation(value: Value) -> Any:
    """What has computed a value: of one of several results, all."""
    return value.operand.function if value.function is operator.getitem else value.function


def shaken(value: Value, tensor: Tensor) -> Tensor:
    """Rows that differ from each other."""
    if not (value.has_rows and value.is_smooth):
        return tensor
    return tensor + 0.1 * torch.randn(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def _rows_of(value: Value, result: Any) -> Any:
    """Some rows of a value, or all of one without rows."""
    if not value.has_rows or not isinstance(value.shape[0], Rows):
        return result
    times = value.shape[0].times
    return result[SOME.start * times : SOME.stop * times]


def is_close(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors are equal but for rounding."""
    if one.shape != two.shape:
        return False
    if torch.equal(one, two):
        return True
    if not one.is_floating_point():
        return False
    scale = two[two.isfinite()].abs().amax().item() if two.isfinite().any() else 0.0
    tolerance = 1e-2 if one.dtype in (torch.bfloat16, torch.float16) else 1e-4
    return torch.allclose(one.double(), two.double(), rtol=tolerance, atol=tolerance * scale, equal_nan=True)
