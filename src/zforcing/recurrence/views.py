"""Views of values: which change nothing, and can be left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .program import Rows, Value, aten

VIEWS = (
    aten.slice.Tensor,
    aten.select.int,
    aten.reshape.default,
    aten.t.default,
    aten.transpose.int,
    aten.expand.default,
    aten.unsqueeze.default,
    aten.view.default,
    aten.permute.default,
    aten.detach.default,
)
RESHAPES = (
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.default,
    aten.squeeze.dims,
    aten.alias.default,
)
FILLED = (aten.zeros.default, aten.ones.default)
ORDERS = (aten.transpose.int, aten.permute.default, aten.t.default)


def simplify(value: Value) -> Value:
    """A value without views that change nothing: all reshapes in a row become one, or none."""
    if value.function is aten.cat.default:
        return _cat(value)
    if value.function is aten.slice.Tensor:
        return _slice(value)
    if value.function is aten.bmm.default and value.shape[0] == 1:
        return _of_one_pair(value)
    if value.function is aten.detach.default:
        return _detached(value)
    if value.function in (aten.expand.default, aten._to_copy.default, aten.clone.default, aten.lift_fresh_copy.default):
        x = value.operand
        same = x.shape == value.shape and x.dtype == value.dtype and x.function is not None
        return x if same and value.function is not aten.clone.default else value
    base = _reshaped(value)
    if base is None:
        return value
    while (inner := _reshaped(base)) is not None:
        base = inner
    if base.shape == value.shape:
        return base
    if base.function in FILLED:
        return replace(base, args=(list(value.shape),), shape=value.shape)
    return _in_shape(base, value.shape)


def _detached(value: Value) -> Value:
    """What has been made without gradients needs no `detach`, which torch adds to all that it makes."""
    made: Value = value.args[0]
    return made if made.is_random or (made.function is not None and not made.reads) else value


def _reshaped(value: Value) -> Value | None:
    """What a value has the elements of, in the same order; None if it isn't just another shape."""
    function = value.function
    if function in RESHAPES:
        return value.operand
    if function is aten.stack.default and len(value.parts) == 1:
        return value.parts[0]
    if function is aten.select.int and value.operand.shape[value.args[1]] == 1:
        return value.operand
    if function in ORDERS and _order_of_long(value.operand.shape) == _order_of_long(value.shape):
        lengths = _order_of_long(value.operand.shape)
        if len(set(map(str, lengths))) == len(lengths) or len(lengths) < 2:  # equal ones could have changed places
            return value.operand
    return None


def dim_of(value: Value, position: int) -> int:
    """The dimension that an operation is along, 0 or more."""
    dim: int = value.args[position] if len(value.args) > position else value.kwargs.get("dim", 0)
    return dim % len(value.shape)


def _order_of_long(shape: Sequence[int | Rows]) -> list[int | Rows]:
    return [n for n in shape if n != 1]


def _cat(value: Value) -> Value:
    """Without empty parts; the part itself if there is one."""
    dim = dim_of(value, 1)
    parts = [part for part in value.parts if part.shape[dim] != 0]
    if len(parts) == 1 and parts[0].shape == value.shape:
        return parts[0]
    return value.with_args((parts, dim), {})


def _of_one_pair(value: Value) -> Value:
    """A product of one pair of matrices, [1, n, in] by [1, in, out], as that of two matrices."""
    pair = [simplify(_in_shape(matrix, matrix.shape[1:])) for matrix in value.args]
    product = Value("mm", aten.mm.default, tuple(pair), {}, value.shape[1:], value.dtype, value.device)
    return _in_shape(product, value.shape)


def _in_shape(value: Value, shape: Sequence[int | Rows]) -> Value:
    lengths = [-1 if isinstance(n, Rows) and n.times == 1 else n for n in shape]
    return Value("reshape", aten.reshape.default, (value, lengths), {}, tuple(shape), value.dtype, value.device)


def _slice(value: Value) -> Value:
    """A slice of everything is the whole; a slice that is one part of a `cat` is that part."""
    x, dim = value.operand, dim_of(value, 1)
    if value.shape == x.shape:
        return x
    start: int = (value.args[2] if len(value.args) > 2 else 0) or 0
    start = start if start >= 0 else start + x.length(dim)
    if x.function is aten.slice.Tensor and x.args[1] == dim and len(x.args) == 4:
        first = x.args[2] + start
        return simplify(value.with_args((x.operand, dim, first, first + value.length(dim)), {}))
    if x.function is aten.cat.default and x.args[1] == dim:
        at = 0
        for part in x.parts:
            if at == start and part.shape == value.shape:
                return part
            at += part.length(dim)
    length = value.shape[dim]
    if isinstance(length, Rows) or len(value.args) > 4:
        return value
    return value.with_args((x, dim, start, start + length), {})


def bases(values: Iterable[Value]) -> set[Value]:
    """What these are views of."""
    found = set()
    for value in values:
        while value.function in VIEWS:
            value = value.operand
        found.add(value)
    return found
