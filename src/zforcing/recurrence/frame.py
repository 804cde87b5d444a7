"""Memory of a loop's values at all steps, and the operations that fill it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .products import prepare
from .program import Rows, Value, aten, substitute, users_of, values_in
from .views import VIEWS

Step = Callable[[int], object]
"""What one operation does at step t."""

# torch's own functions take less time to call than the operations that they stand for
QUICK: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
    aten.div.Tensor: torch.div,
    aten.mm.default: torch.mm,
    aten.addmm.default: torch.addmm,
    aten.addcmul.default: torch.addcmul,
    aten.sigmoid.default: torch.sigmoid,
    aten.tanh.default: torch.tanh,
    aten.exp.default: torch.exp,
    aten.neg.default: torch.neg,
    aten.sqrt.default: torch.sqrt,
    aten.where.self: torch.where,
    aten.cat.default: torch.cat,
}

ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


@functools.cache
def with_output(function: Any) -> tuple[Callable[..., Any], str] | None:
    """An operation that writes its result to a given tensor, and the name of that argument; None if there is none."""
    if function in QUICK:
        return QUICK[function], "out"
    packet = getattr(function, "overloadpacket", None)
    if packet is None:
        return None
    arguments = [(a.name, str(a.type)) for a in function._schema.arguments]
    for name in packet.overloads():
        candidate = getattr(packet, name)
        outs = [a.name for a in candidate._schema.arguments if a.is_out]
        others = [(a.name, str(a.type)) for a in candidate._schema.arguments if not a.is_out]
        if len(outs) == 1 and others == arguments:
            return candidate._op, outs[0]
    return None


class Frame:
    """The tensors of values at T steps with n rows.

    Args:
        steps: T.
        rows: n.
        block: Steps in a block.
        lower: A lower precision of the factors of products by a weight (autocast).
    """

    def __init__(self, steps: int, rows: int, block: int, *, lower: torch.dtype | None = None):
        self.steps, self.rows, self.block, self.lower = steps, rows, block, lower
        self.stacked: dict[Value, Tensor] = {}  # [T, n, ...], or of the steps of a block, [block, n, ...]
        self.each: dict[Value, Sequence[Tensor]] = {}  # T tensors

    # ---- memory

    def hold(self, value: Value, stacked: Tensor) -> None:
        """Put a value at all steps, [T, n, ...], or memory that each block of steps writes anew, [block, n, ...]."""
        self.stacked[value] = stacked
        views = stacked.unbind(0)
        self.each[value] = views if len(views) == self.steps else views * -(-self.steps // len(views))

    def hold_one(self, value: Value, tensor: Tensor) -> None:
        """Put a tensor that all steps have in common, or that each writes anew."""
        self.each[value] = [tensor] * self.steps

    def at(self, value: Value) -> Sequence[Tensor]:
        """A value at each step."""
        if value not in self.each:
            self._view(value)
        return self.each[value]

    def rows_at(self, value: Value, start: int, stop: int) -> Tensor:
        """A stored value at the steps of a block, [(stop - start) n, ...]."""
        stacked = self.stacked[value]
        at = start if len(stacked) == self.steps else 0
        return stacked[at : at + stop - start].flatten(0, 1)

    def _view(self, value: Value) -> None:
        """Make a view of its base, of all steps at once if they are in one tensor."""
        base, args = value.operand, substitute(value.args[1:], self._number)
        sources = self.at(base)
        if base in self.stacked:
            together = _of_all_steps(value.function, self.stacked[base], args)
            if together is not None:
                self.hold(value, together)
                return
        if len(sources) > 1 and sources[0] is not sources[1]:
            self.each[value] = [value.operation(source, *args) for source in sources]
        else:
            self.hold_one(value, value.operation(sources[0], *args))

    def _number(self, part: Any) -> Any:
        return part.times * self.rows if isinstance(part, Rows) else part

    def empty(self, value: Value, steps: int) -> Tensor:
        """Memory for a value at some steps."""
        shape = [self._number(n) for n in value.shape]
        return torch.empty(steps, *shape, dtype=value.dtype, device=value.device)

    def allocate(
        self, order: Sequence[Value], kept: set[Value], steps: int, *, written: Collection[Value] = ()
    ) -> None:
        """Give each operation's result memory: of some steps if it is kept; a part of a concatenation in its place.

        Args:
            order: What a step computes, in order.
            kept: What is read after the step.
            steps: For how many steps it is kept.
            written: What has memory that may be overwritten by the step that has read it.
        """
        computed, users = set(order), users_of(order)

        def term_of(value: Value) -> Value | None:
            """What nobody reads but this sum of it and a product, so that the sum may take its place."""
            if value.function is not aten.addmm.default:
                return None
            term = value.operand
            alone = users[term] == [value] and term not in kept
            return term if alone and (term.shape, term.dtype) == (value.shape, value.dtype) else None

        overwritten = set(written)
        for value in order:
            term = term_of(value)
            if term in overwritten and value not in kept and value not in self.each:
                overwritten.add(value)
                self.hold(value, self.stacked[term])
        for value in reversed(order):
            if value.function is None or value.function in VIEWS or not value.shape:
                continue
            if value not in self.each:
                self._take(value, _parts_in_place(value, computed, self.each), kept, steps)
            term = term_of(value)
            if term in computed and term not in self.each and term.function not in (*VIEWS, aten.cat.default):
                self.each[term] = self.each[value]

    def _take(self, value: Value, parts: Sequence[tuple[Value, int]], kept: set[Value], steps: int) -> None:
        """Allocate memory for a value, some of which its parts write."""
        if value in kept or any(part in kept for part, _ in parts):
            self.hold(value, self.empty(value, steps))
        else:
            self.hold_one(value, self.empty(value, 1)[0])
        self._place(value, parts)

    def _place(self, value: Value, parts: Iterable[tuple[Value, int]]) -> None:
        """Let parts of a concatenation be computed where they belong in it."""
        for part, start in parts:
            if value in self.stacked:
                self.hold(part, self.stacked[value].narrow(-1, start, part.length(-1)))
            else:
                self.hold_one(part, self.each[value][0].narrow(-1, start, part.length(-1)))

    # ---- operations

    def steps_of(self, order: Sequence[Value]) -> list[Step]:
        """What each operation does at a step."""
        return [step for value in order if value.function not in VIEWS for step in self._steps_of(value)]

    def _steps_of(self, value: Value) -> list[Step]:
        if value.function is aten.cat.default:
            return self._copies(value)
        if not value.reads:  # the same at all steps, unless it is random
            return self._filled(value)
        if not value.shape:  # several results
            return [self._call(value, None)]
        if value.function in (aten.mm.default, aten.addmm.default) and not value.args[-1].has_rows:
            return [self._product(value)]
        return [self._call(value, self.at(value))]

    def _filled(self, value: Value) -> list[Step]:
        """Compute what reads nothing: once for all steps, if it isn't random."""
        if value not in self.each:  # a number
            args, kwargs = (substitute(part, self._number) for part in (value.args, value.kwargs))
            self.hold_one(value, value.of(*args, **kwargs))
            return []
        call = self._call(value, self.at(value))
        if value.is_random:
            return [call]
        for t in range(len(self.stacked[value]) if value in self.stacked else 1):
            call(t)
        return []

    def _copies(self, value: Value) -> list[Step]:
        """Copy what isn't in its place in a concatenation."""
        found: list[Step] = []
        start = 0
        dim = value.args[1]
        for part in value.parts:
            length = part.shape[dim]
            source = self.at(part)
            if self.at(value)[0].narrow(dim, start, length).data_ptr() != source[0].data_ptr():
                found.append(copy_each(source, [whole.narrow(dim, start, length) for whole in self.at(value)]))
            start += length
        return found

    def _product(self, value: Value) -> Step:
        """x w or b + x w, by a weight prepared once."""
        *bias, x, w = value.args
        product = prepare(self.at(w)[0].t(), lower=self.lower)
        xs, outs = self.at(x), self.at(value)
        if not bias:
            return lambda t: product(xs[t], outs[t], None)
        adds = self.at(bias[0])
        return lambda t: product(xs[t], outs[t], adds[t])

    def _call(self, value: Value, outs: Sequence[Tensor] | None) -> Step:
        """An operation that writes to its memory, or copies its result there if it can't."""
        writes = None if outs is None else with_output(value.function)
        args = [self._argument(_as_tensor(part, value)) for part in value.args]
        kwargs = substitute(value.kwargs, self._number)
        if writes is not None and outs is not None:
            function, name = writes
            return _writing(functools.partial(function, **kwargs) if kwargs else function, name, args, outs)
        function = functools.partial(value.operation, **kwargs)
        if outs is None:
            results: list[Any] = [None] * self.steps
            self.each[value] = results
            return lambda t: results.__setitem__(t, function(*[arg[t] for arg in args]))
        return lambda t: outs[t].copy_(function(*[arg[t] for arg in args]))

    def _argument(self, part: Any) -> Sequence[Any]:
        """An argument at each step."""
        if isinstance(part, Value):
            return self.at(part)
        if isinstance(part, list | tuple) and any(True for _ in values_in(part)):
            each = [self._argument(p) for p in part]
            return [[column[t] for column in each] for t in range(self.steps)]
        return [substitute(part, self._number)] * self.steps


def _as_tensor(part: Any, value: Value) -> Any:
    """A number of sums and products of real numbers as a tensor, which torch would else make at each step."""
    if value.function in ARITHMETIC and isinstance(part, int | float) and value.dtype.is_floating_point:
        return torch.full((), part, dtype=value.dtype, device=value.device)
    return part


def _of_all_steps(function: Any, stacked: Tensor, args: Sequence[Any]) -> Tensor | None:
    """A view of all steps, [T, n, ...], by a view of one step [n, ...]; None where it takes a view of each."""
    if function is aten.slice.Tensor:
        dim, start, stop = args
        return stacked.narrow(dim + 1, start, stop - start)
    if function is aten.t.default:
        return stacked.transpose(1, 2)
    if function is aten.reshape.default:
        return stacked.reshape(stacked.shape[0], *args[0])
    return None


def _parts_in_place(value: Value, order: set[Value], placed: Any) -> list[tuple[Value, int]]:
    """The parts of a concatenation of columns that are computed in `order` and have no memory yet."""
    if value.function is not aten.cat.default or value.args[1] != len(value.shape) - 1:
        return []
    found: list[tuple[Value, int]] = []
    start = 0
    for part in value.parts:
        free = part.function is not None and part.function not in VIEWS and part not in placed and part in order
        if free and part not in (p for p, _ in found) and part.function is not aten.cat.default:
            found.append((part, start))
        start += part.length(-1)
    return found


def copy_each(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Step:
    """What copies a value to its place at each step."""
    return lambda t: targets[t].copy_(sources[t])


def _writing(f: Callable[..., Any], name: str, args: Sequence[Sequence[Any]], outs: Sequence[Tensor]) -> Step:
    """f(*args at t, out=outs[t])."""
    if name == "out" and len(args) == 1:
        (a,) = args
        return lambda t: f(a[t], out=outs[t])
    if name == "out" and len(args) == 2:
        a, b = args
        return lambda t: f(a[t], b[t], out=outs[t])
    if name == "out" and len(args) == 3:
        a, b, c = args
        return lambda t: f(a[t], b[t], c[t], out=outs[t])
    if name == "grad_input" and len(args) == 2:
        a, b = args
        return lambda t: f(a[t], b[t], grad_input=outs[t])
    return lambda t: f(*[arg[t] for arg in args], **{name: outs[t]})
