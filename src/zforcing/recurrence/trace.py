"""Trace a function of tensors: which operations it does, as a `Program` for any number of rows.

The function runs twice, with two numbers of rows, and a mode of torch's dispatcher records its operations; what differs
between the two records is the number of rows.
"""

from __future__ import annotations

import contextlib
import operator
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from .program import Rows, Value, aten, merge_equal, rewrite
from .record import Call, Operation, Record, changed_by, record, shares_memory, tensors_in
from .views import simplify

T = TypeVar("T")
_THREAD = threading.local()
_ONE_AT_A_TIME = threading.Lock()  # what `_traceable` changes, all threads see
ROWS = (5, 7)  # two numbers of rows to trace with: what differs is the number of rows


class Untraceable(Exception):
    """The function can't be written as operations on rows; the message says which operation, and why."""


def trace(
    f: Callable[..., Any], example: Callable[[int], Sequence[Any]], names: Sequence[str]
) -> tuple[list[Value], Any]:
    """Trace a function.

    Args:
        f: A function of the arguments; its results are tensors in a pytree.
        example: Returns arguments (pytrees of tensors) with this number of rows.
        names: A name for each tensor of the arguments.

    Returns:
        The inputs, one for each tensor of the arguments, and the results: what f returned, with a `Value` for each
        tensor.

    Raises:
        Untraceable: f depends on a tensor's values, mixes rows, or changes a tensor that it doesn't own.
    """
    given = [example(rows) for rows in ROWS]
    one, two = apart(lambda: [_record(f, arguments) for arguments in given])
    if one.structure != two.structure:
        raise Untraceable("the structure of the result depends on the number of rows")
    conversion = _Conversion(one, two, names)
    results = merge_equal(rewrite(conversion.results, simplify))
    return conversion.inputs, pytree.tree_unflatten(results, one.structure)


def with_rows(rows: int, tensor: Tensor) -> Tensor:
    """A copy of a tensor with another number of rows, its own ones over and over: an example to trace with."""
    return tensor[torch.arange(rows, device=tensor.device) % len(tensor)].detach().clone()


def _record(f: Callable[..., Any], arguments: Sequence[Any]) -> Record:
    """What f does."""
    leaves, spec = pytree.tree_flatten(arguments)
    with torch.no_grad():
        return record(lambda *tensors: f(*pytree.tree_unflatten(tensors, spec)), leaves)


def apart(f: Callable[[], T]) -> T:
    """Run f in a thread of its own, which has none of the modes that torch is in: hooks of a checkpoint, a profiler's.

    Raises:
        Untraceable: f fails.
    """

    def run() -> T:
        _THREAD.is_apart = True
        with _traceable():
            return f()

    # what is traced may trace another model itself
    turn = contextlib.nullcontext() if getattr(_THREAD, "is_apart", False) else _ONE_AT_A_TIME
    with turn, futures.ThreadPoolExecutor(max_workers=1) as thread:
        try:
            return thread.submit(run).result()
        except Untraceable:
            raise
        except Exception as error:  # torch raises many kinds
            raise Untraceable(_reason(error)) from error


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Without what stands in a tracer's way: fused layers, and checks of distributions' values.

    Autocast is off in a thread that hasn't asked for it. To leave it here would empty its cache of weights, and so
    change the rounding of the update that happens to trace.
    """
    validates = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
                yield
    finally:
        Distribution.set_default_validate_args(validates)


def _reason(error: Exception) -> str:
    """What has failed, and in which line of the traced function."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_torchs(f.filename)]
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not frames:
        return said
    return f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}, `{frames[-1].line}`: {said}"


def _is_torchs(filename: str) -> bool:
    """Whether a line is of torch, of what records, or of the thread that it is done in."""
    path = Path(filename)
    ours = {Path(__file__).parent, Path(threading.__file__).parent, Path(futures.__file__).parent}
    return path.is_relative_to(Path(torch.__file__).parent) or not path.is_file() or path.parent in ours


# ---- records -> values


class _Conversion:
    """Two records, of the same function with different numbers of rows, as values.

    Attributes:
        inputs: A value for each tensor that the function got.
        results: A value for each tensor that it returned.
    """

    def __init__(self, one: Record, two: Record, names: Sequence[str]):
        self.values: dict[int, Value] = {}  # by the id of the first record's tensor
        if [call.operation for call in one.calls] != [call.operation for call in two.calls]:
            raise Untraceable("what is computed depends on the number of rows")
        _require_kept(one)
        for name, x, y in zip(names, one.inputs, two.inputs, strict=False):
            self.values[id(x)] = Value(name, shape=_shape(x, y), dtype=x.dtype, device=x.device)
        self.inputs = [self.values[id(tensor)] for tensor in one.inputs]
        for a, b in zip(one.calls, two.calls, strict=True):
            self._add(a, b)
        self.results: list[Any] = self._arguments(list(one.results), list(two.results))

    def _add(self, a: Call, b: Call) -> None:
        """The value of one operation, or those of several results."""
        args, kwargs = self._arguments(a.args, b.args), self._arguments(dict(a.kwargs), dict(b.kwargs))
        if isinstance(a.result, Tensor):
            self.values[id(a.result)] = self._operation(a, b, args, kwargs)
        elif a.operation in SPLITS:
            for part, value in zip(a.result, _parts(a, b, args, kwargs), strict=True):
                self.values[id(part)] = value
        elif isinstance(a.result, list | tuple):
            whole = Value(function_name(a.operation), a.operation, args, kwargs)
            for i, (m, n) in enumerate(zip(a.result, b.result, strict=True)):
                if isinstance(m, Tensor):
                    name = f"{whole.name}_{i}"
                    self.values[id(m)] = Value(name, operator.getitem, (whole, i), {}, _shape(m, n), m.dtype, m.device)

    def _operation(self, a: Call, b: Call, args: Any, kwargs: Any) -> Value:
        result = a.result
        shape = _shape(result, b.result)
        made = MADE.get(a.operation)
        if made is not None:  # of another tensor only the shape, the type and the device matter
            args, kwargs = (list(shape),), {"dtype": result.dtype, "device": result.device}
        function = _functional(a) if made is None else made
        if a.operation is aten.bernoulli_.float and len(args) == 1:  # torch leaves defaults out
            args = (*args, 0.5)
        return Value(function_name(function), function, args, kwargs, shape, result.dtype, result.device)

    def _arguments(self, one: Any, two: Any) -> Any:
        """Arguments, values for tensors, and `Rows` for what is in proportion to the number of rows."""
        if isinstance(one, Tensor):
            return self._value(one, two)
        if isinstance(one, dict):
            return {name: self._arguments(part, two[name]) for name, part in one.items()}
        if isinstance(one, list | tuple):
            if len(one) != len(two):
                raise Untraceable("the number of arguments depends on the number of rows")
            return type(one)(self._arguments(a, b) for a, b in zip(one, two, strict=True))
        if isinstance(one, int) and not isinstance(one, bool):
            return _number(one, two)
        if one != two and not (one != one and two != two):
            raise Untraceable(f"an argument is {one} for {ROWS[0]} rows and {two} for {ROWS[1]}")
        return one

    def _value(self, one: Tensor, two: Tensor) -> Value:
        """The value of a tensor; a constant, if the function has found it."""
        value = self.values.get(id(one))
        if value is None:
            if one is not two and not (one.shape == two.shape and torch.equal(one, two)):
                raise Untraceable("a tensor that it makes of numbers depends on what it is given, or on how many rows")
            value = Value("constant", Constant(one), (), {}, tuple(one.shape), one.dtype, one.device)
            self.values[id(one)] = value
        return value


class Constant:
    """A tensor that the function has made from numbers, or that it has found."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __call__(self) -> Tensor:
        return self.tensor


def _shape(one: Tensor, two: Tensor) -> tuple[int | Rows, ...]:
    """The shape of a tensor."""
    return tuple(_number(m, n) for m, n in zip(one.shape, two.shape, strict=True))


def _number(one: int, two: int) -> int | Rows:
    """A size, or `Rows`."""
    if one == two:
        return one
    first, second = ROWS
    if one % first or two * first != one * second:
        raise Untraceable(f"a size is {one} for {first} rows and {two} for {second}: not in proportion to them")
    return Rows(one // first)


MADE: dict[Any, Callable[..., Any]] = {
    aten.empty_like.default: aten.empty.memory_format,
    aten.zeros_like.default: aten.zeros.default,
    aten.ones_like.default: aten.ones.default,
    aten.rand_like.default: aten.rand.default,
    aten.randn_like.default: aten.randn.default,
    aten.new_empty.default: aten.empty.memory_format,
    aten.new_zeros.default: aten.zeros.default,
    aten.new_ones.default: aten.ones.default,
}
DRAWN: dict[Any, Callable[..., Any]] = {
    aten.bernoulli_.float: aten.bernoulli.p,
    aten.normal_.default: aten.normal_functional.default,
    aten.uniform_.default: aten.uniform.default,
}
SPLITS = (
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unsafe_split.Tensor,
    aten.unsafe_split_with_sizes.default,
    aten.unbind.int,
)


def _parts(a: Call, b: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Value]:
    """The parts of a split as slices, of an unbind as selections."""
    x, dim = args[0], _dim(args, kwargs, 1 if a.operation is aten.unbind.int else 2)
    dim = dim % len(x.shape)
    parts, start = [], 0
    for one, two in zip(a.result, b.result, strict=True):
        shape = _shape(one, two)
        if a.operation is aten.unbind.int:
            parts.append(Value("select", aten.select.int, (x, dim, start), {}, shape, x.dtype, x.device))
            start += 1
        else:
            length = shape[dim]
            if isinstance(length, Rows):
                raise Untraceable(f"{a.operation} splits the rows")
            parts.append(
                Value("slice", aten.slice.Tensor, (x, dim, start, start + length), {}, shape, x.dtype, x.device)
            )
            start += length
    return parts


def _dim(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int) -> int:
    dim: int = args[position] if len(args) > position else kwargs.get("dim", 0)
    return dim


def function_name(function: Callable[..., Any]) -> str:
    """The name of an operation, without its namespace and overload."""
    packet = getattr(function, "overloadpacket", function)
    return str(getattr(packet, "__name__", type(packet).__name__)).lstrip("_")


# ---- operations in place


def _require_kept(record: Record) -> None:
    """Refuse an operation in place on what is read again in its old form."""
    owner: dict[int, int] = {}  # by the id of a tensor, that of the one whose memory it shares
    last_read = {id(tensor): i for i, call in enumerate(record.calls) for tensor in call.reads}
    last_read |= {id(tensor): len(record.calls) for tensor in tensors_in(record.results)}
    for i, call in enumerate(record.calls):
        for tensor in changed_by(call.operation, call.args, call.kwargs):
            shared = owner.get(id(tensor), id(tensor))
            others = {shared, *(other for other, of in owner.items() if of == shared)} - {id(tensor)}
            if any(last_read.get(other, -1) > i for other in others):
                raise Untraceable(f"{call.operation} changes in place what is read later")
        if call.reads and shares_memory(call.operation):
            source = id(call.reads[0])
            shared = owner.get(source, source)
            owner |= {id(tensor): shared for tensor in tensors_in(call.result) if id(tensor) != source}


def _functional(call: Call) -> Callable[..., Any]:
    """The operation that returns what one in place leaves."""
    operation: Operation = call.operation
    function: Callable[..., Any] = operation
    if not changed_by(operation, call.args, call.kwargs):
        return function
    if operation in DRAWN:
        return DRAWN[operation]
    name = operation.overloadpacket.__name__
    packet = getattr(aten, name.removesuffix("_"), None)
    if not name.endswith("_") or packet is None or operation._overloadname not in packet.overloads():
        raise Untraceable(f"{operation} changes a tensor in place")
    function = getattr(packet, operation._overloadname)
    return function
