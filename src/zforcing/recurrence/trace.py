"""Trace a function of tensors: which operations it does, as a `Program` for any number of rows.

The only place that knows torch's tracer (`make_fx`, experimental). The function runs twice, with two numbers of rows;
what differs between the two records is the number of rows.
"""

from __future__ import annotations

import contextlib
import operator
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from .program import Rows, Value, aten, merge_equal, rewrite
from .views import simplify

ROWS = (5, 7)  # two numbers of rows to trace with: what differs is the number of rows
MANY_ROWS = (1009,)  # enough to trace once, where sizes are known: none of them may be a multiple of it


class Untraceable(Exception):
    """The function can't be written as operations on rows; the message says which operation, and why."""


def trace(
    f: Callable[..., Any],
    example: Callable[[int], Sequence[Any]],
    names: Sequence[str],
    *,
    rows: tuple[int, ...] = ROWS,
) -> tuple[list[Value], Any]:
    """Trace a function.

    Args:
        f: A function of the arguments; its results are tensors in a pytree.
        example: Returns arguments (pytrees of tensors) with this number of rows.
        names: A name for each tensor of the arguments.
        rows: The numbers of rows to trace with.

    Returns:
        The inputs, one for each tensor of the arguments, and the results: what f returned, with a `Value` for each
        tensor.

    Raises:
        Untraceable: f depends on a tensor's values, mixes rows, or changes a tensor that it doesn't own.
    """
    graphs, structures = [], []
    for number in rows:
        arguments = example(number)
        leaves, spec = pytree.tree_flatten(arguments)
        holder: list[Any] = []

        def flat(*tensors: Tensor, spec: Any = spec, holder: list[Any] = holder) -> list[Tensor]:
            results, structure = pytree.tree_flatten(f(*pytree.tree_unflatten(tensors, spec)))
            holder.append(structure)
            return results

        graphs.append(_record(flat, leaves))
        structures.append(holder[-1])
    if structures[0] != structures[-1]:
        raise Untraceable("the structure of the result depends on the number of rows")
    inputs, results = _convert(graphs[0], graphs[-1], names, _Sizes(rows))
    return inputs, pytree.tree_unflatten(merge_equal(rewrite(results, simplify)), structures[0])


def with_rows(rows: int, tensor: Tensor) -> Tensor:
    """A copy of a tensor with another number of rows, its own ones over and over: an example to trace with."""
    return tensor[torch.arange(rows, device=tensor.device) % len(tensor)].detach().clone()


def _record(f: Callable[..., Any], leaves: Sequence[Tensor]) -> fx.Graph:
    """The operations of f, in torch's own form.

    In a thread of its own, which has none of the modes that torch is in: the hooks of a checkpoint, a profiler's.
    """

    def record() -> fx.Graph:
        with torch.no_grad(), _traceable():
            return make_fx(f, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves).graph

    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            graph = thread.submit(record).result()
        except Exception as error:  # torch raises many kinds
            raise Untraceable(_reason(error)) from error
    graph.eliminate_dead_code()
    return graph


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
    if isinstance(error, GuardOnDataDependentSymNode):
        said = "it depends on the values of a tensor, not on its shape alone"
    return f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}, `{frames[-1].line}`: {said}"


def _is_torchs(filename: str) -> bool:
    return Path(filename).is_relative_to(Path(torch.__file__).parent) or not Path(filename).is_file()


# ---- torch's record -> values


class _Sizes:
    """Which numbers in the records are sizes in proportion to the number of rows.

    Args:
        rows: The numbers of rows that were traced with.
    """

    def __init__(self, rows: tuple[int, ...]):
        self.first, self.last = rows[0], rows[-1]

    def arguments(self, one: Any, two: Any, values: dict[fx.Node, Any]) -> Any:
        """Arguments, values for torch's nodes, and `Rows` for what is in proportion to the number of rows."""
        if isinstance(one, fx.Node):
            return values[one]
        if isinstance(one, dict):
            return {name: self.arguments(part, two[name], values) for name, part in one.items()}
        if isinstance(one, list | tuple):
            return type(one)(self.arguments(a, b, values) for a, b in zip(one, two, strict=True))
        return self.number(one, two) if isinstance(one, int) and not isinstance(one, bool) else one

    def number(self, one: int, two: int) -> int | Rows:
        """A size, or `Rows`."""
        once = self.first == self.last
        if one == two and not (once and one and one % self.first == 0):
            return one
        if one % self.first or two * self.first != one * self.last:
            raise Untraceable(
                f"a size is {one} for {self.first} rows and {two} for {self.last}: not in proportion to them"
            )
        return Rows(one // self.first)

    def shape(self, a: fx.Node, b: fx.Node) -> tuple[int | Rows, ...]:
        """The shape of a result; () of several."""
        one, two = (node.meta.get("val") for node in (a, b))
        if not isinstance(one, Tensor) or not isinstance(two, Tensor):
            return ()
        return tuple(self.number(m, n) for m, n in zip(one.shape, two.shape, strict=True))


def _convert(one: fx.Graph, two: fx.Graph, names: Sequence[str], sizes: _Sizes) -> tuple[list[Value], list[Any]]:
    """Values from the records for two numbers of rows."""
    pairs = list(zip(one.nodes, two.nodes, strict=False))
    if len(one.nodes) != len(two.nodes) or any(a.op != b.op or str(a.target) != str(b.target) for a, b in pairs):
        raise Untraceable("what is computed depends on the number of rows")
    _require_pure(one)
    values: dict[fx.Node, Any] = {}
    inputs: list[Value] = []
    results: list[Any] = []
    for a, b in pairs:
        if a.op == "placeholder":
            values[a] = Value(names[len(inputs)], shape=sizes.shape(a, b), dtype=_dtype(a), device=_device(a))
            inputs.append(values[a])
        elif a.op == "get_attr":
            values[a] = _constant(a, getattr(one.owning_module, str(a.target)))
        elif a.op == "call_function":
            args, kwargs = (
                sizes.arguments(x, y, values) for x, y in ((a.args, b.args), (dict(a.kwargs), dict(b.kwargs)))
            )
            _require_known_sizes(a)
            values[a] = _operation(a, b, args, kwargs, sizes)
        elif a.op == "output":
            results = list(sizes.arguments(tuple(a.args[0]), tuple(b.args[0]), values))
    return inputs, results


def _constant(node: fx.Node, tensor: Tensor) -> Value:
    return Value(node.name, Constant(tensor), (), {}, tuple(tensor.shape), tensor.dtype, tensor.device)


class Constant:
    """A tensor that the function has made from numbers, or that it has found."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __call__(self) -> Tensor:
        return self.tensor


def _operation(a: fx.Node, b: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: _Sizes) -> Any:
    """The value of one operation, or a list of the parts of a split."""
    if a.target is operator.getitem:
        whole, index = args
        if isinstance(whole, list):
            return whole[index]
        return Value(a.name, operator.getitem, args, {}, sizes.shape(a, b), _dtype(a), _device(a))
    if a.target in SPLITS:
        return _parts(a, b, args, kwargs, sizes)
    made = MADE.get(a.target)
    if made is not None:  # of another tensor only the shape, the type and the device matter
        like = {"dtype": _dtype(a), "device": a.meta["val"].device}
        return Value(
            function_name(made), made, (list(sizes.shape(a, b)),), like, sizes.shape(a, b), _dtype(a), _device(a)
        )
    function = _functional(a)
    if a.target is aten.bernoulli_.float and len(args) == 1:  # torch leaves defaults out
        args = (*args, 0.5)
    return Value(function_name(function), function, args, kwargs, sizes.shape(a, b), _dtype(a), _device(a))


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


def _require_known_sizes(node: fx.Node) -> None:
    """Refuse a number, or a size, that depends on what is in a tensor."""
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, Tensor) else [value]
    if any(isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool) for size in sizes):
        raise Untraceable(f"{node.target} depends on the values of a tensor, not on its shape alone")


def _parts(a: fx.Node, b: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: _Sizes) -> list[Value]:
    """The parts of a split as slices, of an unbind as selections."""
    x, dim = args[0], _dim(args, kwargs, 1 if a.target is aten.unbind.int else 2)
    dim = dim % len(x.shape)
    parts, start = [], 0
    for one, two in zip(a.meta["val"], b.meta["val"], strict=True):
        shape = tuple(sizes.number(m, n) for m, n in zip(one.shape, two.shape, strict=True))
        if a.target is aten.unbind.int:
            parts.append(Value("select", aten.select.int, (x, dim, start), {}, shape, x.dtype, x.device))
            start += 1
        else:
            length = shape[dim]
            if isinstance(length, Rows):
                raise Untraceable(f"{a.name} splits the rows")
            parts.append(
                Value("slice", aten.slice.Tensor, (x, dim, start, start + length), {}, shape, x.dtype, x.device)
            )
            start += length
    return parts


def _dim(args: tuple[Any, ...], kwargs: dict[str, Any], position: int) -> int:
    dim: int = args[position] if len(args) > position else kwargs.get("dim", 0)
    return dim


def function_name(function: Callable[..., Any]) -> str:
    """The name of an operation, without its namespace and overload."""
    packet = getattr(function, "overloadpacket", function)
    return str(getattr(packet, "__name__", type(packet).__name__)).lstrip("_")


def _device(a: fx.Node) -> torch.device:
    value = a.meta.get("val")
    return value.device if isinstance(value, Tensor) else torch.device("cpu")


def _dtype(a: fx.Node) -> torch.dtype:
    value = a.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else torch.float32


# ---- operations in place


def _require_pure(graph: fx.Graph) -> None:
    """Refuse an operation in place on what is read again in its old form, or on an input."""
    root: dict[fx.Node, fx.Node] = {}
    position = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_function" and node.args else None
        is_part = node.target is operator.getitem and isinstance(source, fx.Node) and _is_view(source)
        shares = isinstance(source, fx.Node) and (_is_view(node) or _in_place(node) or is_part)
        root[node] = root[source] if shares and isinstance(source, fx.Node) else node
    for node in graph.nodes:
        if not _in_place(node):
            continue
        owner = root[node]
        if owner.op != "call_function":
            raise Untraceable(f"{node.target} changes an input in place")
        for other, other_root in root.items():
            if other_root is owner and position[other] < position[node]:
                late = [user for user in other.users if position[user] > position[node]]
                if late:
                    raise Untraceable(f"{node.target} changes in place what {late[0].target} reads later")


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def _in_place(node: fx.Node) -> bool:
    schema = _schema(node)
    return bool(schema is not None and schema.is_mutable)


def _is_view(node: fx.Node) -> bool:
    """Whether a result shares memory with an argument. The parts of `unsafe_split` share none, by its contract."""
    schema = _schema(node)
    return bool(schema is not None and any(r.alias_info is not None for r in schema.returns))


def _functional(node: fx.Node) -> Callable[..., Any]:
    """The operation that returns what one in place leaves."""
    target: Any = node.target
    if not _in_place(node):
        return target  # type: ignore[no-any-return]
    if target in DRAWN:
        return DRAWN[target]
    name = target.overloadpacket.__name__
    packet = getattr(aten, name.removesuffix("_"), None)
    if not name.endswith("_") or packet is None or target._overloadname not in packet.overloads():
        raise Untraceable(f"{target} changes a tensor in place")
    return getattr(packet, target._overloadname)  # type: ignore[no-any-return]
