"""Rewriting of a program's linear maps: the same values from less work at each step."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from .program import Value, aten, in_order, merge_equal, replace_values, rewrite, substitute, users_of
from .views import simplify

MATMULS = (aten.mm.default, aten.addmm.default)
ADDITIONS = (aten.add.Tensor,)


class Product(NamedTuple):
    """x w: x [n, in], w [in, out]."""

    x: Value
    w: Value


Term = Product | Value


def matmul(x: Value, w: Value) -> Value:
    """x w."""
    return Value("mm", aten.mm.default, (x, w), {}, (x.shape[0], w.shape[1]), x.dtype, x.device)


def add(a: Value, b: Value) -> Value:
    """a + b, of one shape, or where one has no rows and is repeated."""
    shape = a.shape if len(a.shape) >= len(b.shape) else b.shape
    return Value("add", aten.add.Tensor, (a, b), {}, shape, a.dtype, a.device)


def _of_bias(b: Value, w: Value) -> Value:
    """b w, [out]; by `mv`, as torch's `matmul` of a vector changes a shape in place, which no replay of it can."""
    turned = Value("t", aten.t.default, (w,), {}, w.shape[::-1], w.dtype, w.device)
    return Value("mv", aten.mv.default, (turned, b), {}, (w.shape[1],), w.dtype, w.device)


def columns(w: Value, start: int, length: int) -> Value:
    """The rows of a weight [in, out] that multiply some entries of its input."""
    stop = start + length
    return Value("slice", aten.slice.Tensor, (w, 0, start, stop), {}, (length, w.shape[1]), w.dtype, w.device)


def is_matmul(value: Value) -> bool:
    """Whether a value is x w or b + x w, w without rows."""
    if value.function not in MATMULS or value.kwargs:
        return False
    return value.args[-2].has_rows and not value.args[-1].has_rows


def is_linear(value: Value) -> bool:
    """Whether a value is a product, or a sum of tensors of its shape (or without rows)."""
    if is_matmul(value):
        return True
    if value.function not in ADDITIONS or value.kwargs or len(value.args) != 2 or len(value.shape) != 2:
        return False
    return all(isinstance(part, Value) and (part.shape == value.shape or _is_bias(part, value)) for part in value.args)


def _is_bias(part: Value, of: Value) -> bool:
    return not part.has_rows and part.shape == of.shape[1:]


def _place(term: Term) -> int:
    """Where a term stands in a sum: biases first, which products then begin with, and last what has rows."""
    if isinstance(term, Product):
        return 1
    return 2 if term.has_rows else 0


class LinearMaps:
    """The linear maps of a program, rewritten for loops over time.

    Sums and products in a row are one sum of products x w. In a loop, a product of a concatenation is that of its
    parts, so that the terms that don't depend on the loop's state are added up before it, for all steps at once. Two
    linear maps in a row become one, of the product of their matrices, where that is less work.

    Args:
        wanted: The values that are needed.
        loop_of: The loop that computes a value at each step; None for what is computed for all steps at once.
        depends: Whether a value depends on a loop's state.
    """

    def __init__(
        self,
        wanted: Sequence[Value],
        *,
        loop_of: Callable[[Value], int | None],
        depends: Callable[[Value, int], bool],
    ):
        self.wanted, self.loop_of, self.depends = wanted, loop_of, depends
        self.order = in_order(wanted)
        self.num_users = {value: len(users) for value, users in users_of(self.order).items()}
        for value in wanted:
            self.num_users[value] = self.num_users.get(value, 0) + 2  # a sum of its own, whoever else reads it
        self.new: dict[Value, Value] = {}

    def rewritten(self) -> list[Value]:
        """The wanted values of the rewritten program."""
        for value in self.order:
            self.new[value] = self._sum(value) if is_linear(value) else self._same(value)
        return [self.new[value] for value in self.wanted]

    def _same(self, value: Value) -> Value:
        """The same operation of the rewritten arguments."""
        if all(self.new[read] is read for read in value.reads):
            return value
        args, kwargs = (
            substitute(part, lambda v: self.new[v] if isinstance(v, Value) else v)
            for part in (value.args, value.kwargs)
        )
        return value.with_args(args, kwargs)

    def _sum(self, value: Value) -> Value:
        """A sum of products, what is known before the loop first."""
        loop = self.loop_of(value)
        terms = self._terms(value, loop)
        inside = [term for term in terms if loop is not None and self._depends(term, loop)]
        total: Value | None = None
        for term in sorted((t for t in terms if t not in inside), key=_place):
            total = self._plus(total, term)
        for term in sorted(inside, key=lambda t: not isinstance(t, Product)):
            total = self._plus(total, term)
        assert total is not None, "a sum has terms"
        return total

    def _depends(self, term: Term, loop: int) -> bool:
        return self.depends(term.x if isinstance(term, Product) else term, loop)

    def _plus(self, total: Value | None, term: Term) -> Value:
        if not isinstance(term, Product):
            new = self.new.get(term, term)
            return new if total is None else add(total, new) if total.has_rows else add(new, total)
        x, w = (self.new.get(part, part) for part in term)
        if total is None:
            return matmul(x, w)
        return Value("addmm", aten.addmm.default, (total, x, w), {}, (x.shape[0], w.shape[1]), x.dtype, x.device)

    def _terms(self, value: Value, loop: int | None) -> list[Term]:
        """The terms of a sum."""
        if not is_matmul(value):
            return [term for part in value.args for term in self._terms_of_part(part, loop)]
        *bias, x, w = value.args
        return [*self._products(x, w, loop), *(term for b in bias for term in self._terms_of_part(b, loop))]

    def _terms_of_part(self, part: Value, loop: int | None) -> list[Term]:
        taken_in = is_linear(part) and self.num_users[part] == 1 and self.loop_of(part) in (loop, None)
        return self._terms(part, loop) if taken_in else [part]

    def _products(self, x: Value, w: Value, loop: int | None) -> list[Term]:
        """x w as a sum: of the parts of a concatenation, or of the terms of a linear map x."""
        if loop is not None and x.function is aten.cat.default and x.args[1] == len(x.shape) - 1:
            starts = itertools.accumulate((part.length(-1) for part in x.parts), initial=0)
            parts = [(part, columns(w, at, part.length(-1))) for part, at in zip(x.parts, starts, strict=False)]
            return [term for part, weight in parts for term in self._products(_in_type(part, x), weight, loop)]
        if not is_linear(x):
            return [Product(x, w)]
        terms = self._terms(x, loop)
        if not self._pays(x, terms, w):
            return [Product(x, w)]
        merged: list[Term] = []
        for term in terms:
            if isinstance(term, Product):
                merged += self._products(term.x, matmul(self.new.get(term.w, term.w), w), loop)
            else:
                merged.append(_of_bias(term, w))
        return merged

    def _pays(self, x: Value, terms: Sequence[Term], w: Value) -> bool:
        """Whether x w, x a sum of products, is less work with the matrices multiplied first."""
        if any(not isinstance(term, Product) and term.has_rows for term in terms):
            return False
        entries = sum(term.w.length(0) for term in terms if isinstance(term, Product))
        middle, out = w.length(0), w.length(1)
        only_here = self.num_users[x] == 1
        return entries * out < middle * out + (entries * middle if only_here else 0)


def _in_type(part: Value, whole: Value) -> Value:
    """A part of a concatenation in the type of the whole: autocast leaves some of them less precise."""
    if part.dtype == whole.dtype:
        return part
    return Value("to", aten._to_copy.default, (part,), {"dtype": whole.dtype}, part.shape, whole.dtype, part.device)


# ---- fewer passes over memory


def fused(wanted: Sequence[Value]) -> list[Value]:
    """The same values by operations that do two things in one pass, without gradients that are padded with zeros."""
    wanted = _with_results_for_inputs(merge_equal(rewrite(wanted, _simpler)))
    wanted = rewrite(rewrite(wanted, _joined), _concatenated)
    return merge_equal(_with_sums_fused(wanted))


def _simpler(value: Value) -> Value:
    if value.function is aten.t.default and value.operand.function is aten.t.default:
        return value.operand.operand
    return simplify(value)


def _joined(value: Value) -> Value:
    """The gradient of a slice, or a sum of gradients of slices that don't overlap, as `padded`."""
    if value.function is aten.slice_backward.default and value.args[5] == 1:
        gradient, shape, dim, start = value.args[:4]
        dim = dim % len(shape)
        return Value("padded", padded, (dim, [start], [gradient]), {}, value.shape, value.dtype, value.device)
    if value.function is not aten.add.Tensor or value.kwargs or not all(isinstance(p, Value) for p in value.args):
        return value
    one, two = sorted(value.args, key=lambda part: part.function is padded)
    if one.function is padded:
        return _padded_together(value, one, two)
    if two.function is padded and one.function is aten.add.Tensor and not one.kwargs:
        rest, last = one.args  # (rest + last) + two: those that are padded first
        if isinstance(last, Value) and last.function is padded:
            together = _joined(value.with_args((last, two)))
            if together.function is padded:
                return value.with_args((rest, together))
    return value


def _padded_together(total: Value, one: Value, two: Value) -> Value:
    """The sum of two that are padded as one that is, if they don't overlap; else the sum as it was."""
    (dim, starts, pieces), (other_dim, other_starts, other_pieces) = one.args, two.args
    if dim != other_dim:
        return total
    places = sorted(zip([*starts, *other_starts], [*pieces, *other_pieces], strict=True), key=lambda place: place[0])
    if any(start + piece.shape[dim] > after for (start, piece), (after, _) in itertools.pairwise(places)):
        return total
    return total.with_function(padded, (dim, *(list(part) for part in zip(*places, strict=True))))


def _with_results_for_inputs(wanted: Sequence[Value]) -> list[Value]:
    """The gradients of leaky ReLUs and clamps by their results, which tell as much as their inputs: those needn't be
    kept.
    """
    results: dict[Value, Value] = {}
    for value in in_order(wanted):
        is_leaky = value.function is aten.leaky_relu.default and len(value.args) == 2 and value.args[1] >= 0
        is_clamp = (
            value.function is aten.hardtanh.default and len(value.args) == 3 and value.args[1] < 0 < value.args[2]
        )
        if is_leaky or is_clamp:
            results[value.operand] = value

    def rule(value: Value) -> Value:
        if value.function is aten.hardtanh_backward.default and value.args[1] in results:
            gradient, x, *limits = value.args
            result = results[x]
            same = result.function is aten.hardtanh.default and list(result.args[1:]) == limits
            return value.with_args((gradient, result, *limits)) if same else value
        if value.function is aten.leaky_relu_backward.default and value.args[1] in results and not value.args[3]:
            gradient, x, slope, _ = value.args
            result = results[x]
            if result.function is not aten.leaky_relu.default or result.args[1] != slope:
                return value
            clamped = results.get(result)
            if clamped is not None and clamped.function is aten.hardtanh.default:  # it has the sign of its argument
                result = clamped
            return value.with_args((gradient, result, slope, True))
        return value

    return rewrite(wanted, rule)


def padded(dim: int, starts: Sequence[int], pieces: Sequence[Tensor]) -> Tensor:
    """Pieces at places along a dimension, zeros between them. Programs hold concatenations in its place."""
    raise NotImplementedError(
        "only a mark while sums are rewritten: `_concatenated` takes its place before anything runs"
    )


def _concatenated(value: Value) -> Value:
    if value.function is not padded:
        return value
    dim, starts, pieces = value.args
    parts: list[Value] = []
    at = 0
    for start, piece in zip([*starts, value.shape[dim]], [*pieces, None], strict=True):
        if start > at:
            shape = [*value.shape[:dim], start - at, *value.shape[dim + 1 :]]
            like = {"dtype": value.dtype, "device": value.device}
            parts.append(Value("zeros", aten.zeros.default, (shape,), like, tuple(shape), value.dtype, value.device))
        if piece is not None:
            parts.append(piece)
            at = start + piece.shape[dim]
    return parts[0] if len(parts) == 1 else value.with_function(aten.cat.default, (parts, dim))


def _with_sums_fused(wanted: Sequence[Value]) -> list[Value]:
    """x + a b as one operation, of matrices or of elements, where nothing else reads a b."""
    order = in_order(wanted)
    reads = Counter(read for value in order for read in value.reads) + Counter(wanted)
    new: dict[Value, Value] = {}
    for value in order:
        args, kwargs = (
            substitute(part, lambda v: new[v] if isinstance(v, Value) else v) for part in (value.args, value.kwargs)
        )
        new[value] = value if all(new[r] is r for r in value.reads) else value.with_args(args, kwargs)
        if value.function is not aten.add.Tensor or value.kwargs or len(value.args) != 2:
            continue
        for x, y in (value.args, value.args[::-1]):
            if not isinstance(y, Value) or not isinstance(x, Value) or reads[y] != 1 or x.shape != y.shape:
                continue
            if y.function is aten.mm.default:
                new[value] = value.with_function(aten.addmm.default, (new[x], *new[y].args))
                break
            if y.function is aten.mul.Tensor and all(isinstance(v, Value) and v.shape == y.shape for v in y.args):
                new[value] = value.with_function(aten.addcmul.default, (new[x], *new[y].args))
                break
    return [new[value] for value in wanted]


# ---- one operation for neighbours

ELEMENTWISE = (aten.sigmoid.default, aten.tanh.default, aten.exp.default, aten.add.Tensor, aten.mul.Tensor)


def with_neighbours_joined(wanted: Sequence[Value]) -> list[Value]:
    """The same values, where an operation on neighbouring columns (gates of a cell) is done on all of them at once."""
    for _ in range(MOST_IN_A_ROW):
        groups: dict[Hashable, list[Value]] = {}
        for value in in_order(wanted):
            if (key := _columns_key(value)) is not None:
                groups.setdefault(key, []).append(value)
        joined = {value: part for group in groups.values() for value, part in _joined_columns(group)}
        if not joined:
            break
        wanted = replace_values(wanted, joined)
    return merge_equal(wanted)


MOST_IN_A_ROW = 4  # operations in a row that are joined one after the other, such as the sum and the sigmoid of gates


def _columns_key(value: Value) -> Hashable | None:
    """What an elementwise operation on columns has in common with one on other columns of the same tensors."""
    if value.function not in ELEMENTWISE or value.kwargs or len(value.shape) != 2:
        return None
    slices = [part for part in value.args if isinstance(part, Value)]
    if len(slices) != len(value.args) or any(part.function is not aten.slice.Tensor for part in slices):
        return None
    ranges = {part.args[1:] for part in slices}
    if len(ranges) != 1 or next(iter(ranges))[0] != 1:
        return None
    return value.function, tuple(id(part.operand) for part in slices)


def _joined_columns(group: Sequence[Value]) -> list[tuple[Value, Value]]:
    """Pairs of a value of a group and the part of a joint operation that replaces it, for runs of neighbours."""
    runs: list[list[Value]] = []
    for value in sorted(group, key=lambda value: value.operand.args[2]):
        if runs and runs[-1][-1].operand.args[3] == value.operand.args[2]:
            runs[-1].append(value)
        else:
            runs.append([value])
    return [pair for run in runs if len(run) > 1 for pair in _joined_run(run)]


def _joined_run(run: Sequence[Value]) -> list[tuple[Value, Value]]:
    start, stop = run[0].operand.args[2], run[-1].operand.args[3]
    shape = (run[0].shape[0], stop - start)

    def whole(part: Value) -> Value:
        return simplify(replace(part, args=(part.operand, 1, start, stop), shape=shape))

    together = replace(run[0], args=tuple(whole(part) for part in run[0].args), shape=shape)
    pairs = []
    for value in run:
        at = value.operand.args[2] - start
        args = (together, 1, at, at + value.shape[1])
        pairs.append((value, replace(value, name="slice", function=aten.slice.Tensor, args=args)))
    return pairs
