"""A program: what a function of tensors computes, as operations on values. It is data: to analyse, rewrite and run.

Every value of a program that depends on the rows of a batch has them as its first dimension, and no operation mixes
rows. So one program runs for one step's n rows as for the T n rows of all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

aten = torch.ops.aten
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Rows:
    """The number of rows, in the arguments of an operation, times a constant."""

    times: int = 1


@dataclass(frozen=True, eq=False)
class Value:
    """An input of a program, or what one of its operations computes.

    Attributes:
        name: For people.
        function: The operation, such as `torch.ops.aten.addmm.default`; None for an input.
        args: Its arguments: values, numbers, `Rows`, sequences of them.
        kwargs: Its keyword arguments.
        shape: Of the result; `Rows` where it is the number of rows.
        dtype: Of the result.
        device: Of the result.
    """

    name: str
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int | Rows, ...] = ()
    dtype: torch.dtype = torch.float32
    device: torch.device = CPU

    @cached_property
    def reads(self) -> list[Value]:
        """The values among the arguments, in order, each once."""
        return list(dict.fromkeys(values_in((self.args, self.kwargs))))

    @cached_property
    def has_rows(self) -> bool:
        """Whether the first dimension is that of the rows."""
        return bool(self.shape) and isinstance(self.shape[0], Rows)

    def length(self, dim: int) -> int:
        """The length of a dimension that isn't that of the rows."""
        length = self.shape[dim]
        assert isinstance(length, int), f"dimension {dim} of {self} is that of the rows"
        return length

    @property
    def is_smooth(self) -> bool:
        """Whether it can have a gradient."""
        return self.dtype.is_floating_point

    @cached_property
    def size(self) -> int:
        """The number of elements in one row, or in all of a value without rows."""
        size = 1
        for length in self.shape:
            size *= length.times if isinstance(length, Rows) else length
        return size

    @cached_property
    def is_random(self) -> bool:
        """Whether the operation draws random numbers."""
        tags = getattr(self.function, "tags", ())
        return torch.Tag.nondeterministic_seeded in tags

    @property
    def operand(self) -> Value:
        """The first argument, of an operation that has a value there."""
        first: Value = self.args[0]
        return first

    @property
    def parts(self) -> list[Value]:
        """The first argument, of an operation that has a list of values there, such as a concatenation."""
        return list(self.args[0])

    @property
    def operation(self) -> Callable[..., Any]:
        """The operation that computes it."""
        assert self.function is not None, f"the input {self} isn't computed"
        return self.function

    def of(self, *args: Any, **kwargs: Any) -> Any:
        """The operation's result, in the type of the trace: under autocast only products are less precise."""
        result = self.operation(*args, **kwargs)
        return result.to(self.dtype) if self.shape and result.dtype != self.dtype else result

    def with_args(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Value:
        """The same operation of other arguments."""
        return replace(self, args=args, kwargs=self.kwargs if kwargs is None else kwargs)

    def with_function(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Value:
        """A value of the same shape by another operation."""
        name = getattr(function, "overloadpacket", function).__name__
        return replace(self, name=name, function=function, args=args, kwargs={})

    def __repr__(self) -> str:
        return self.name


def values_in(structure: Any) -> Iterator[Value]:
    """The values in arguments, which may be nested, in order."""
    if isinstance(structure, Value):
        yield structure
    elif isinstance(structure, dict | list | tuple):
        for part in structure.values() if isinstance(structure, dict) else structure:
            if isinstance(part, Value | dict | list | tuple):
                yield from values_in(part)


def substitute(structure: Any, f: Callable[[Any], Any]) -> Any:
    """Arguments with f applied to each value, `Rows` and constant in them."""
    if isinstance(structure, dict):
        return {name: substitute(part, f) for name, part in structure.items()}
    if isinstance(structure, list | tuple):
        parts = [substitute(part, f) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    return f(structure)


def in_order(wanted: Iterable[Value]) -> list[Value]:
    """All values that these need, each after those that it reads."""
    return in_order_from(wanted, {})


def users_of(values: Iterable[Value]) -> dict[Value, list[Value]]:
    """For each value, those among `values` that read it."""
    users: dict[Value, list[Value]] = {}
    for value in values:
        for read in value.reads:
            users.setdefault(read, []).append(value)
    return users


def rewrite(wanted: Sequence[Value], rule: Callable[[Value], Value]) -> list[Value]:
    """These values after `rule` has been applied to each value that they need, innermost first.

    The rule gets each value with its arguments already rewritten, and returns it or another one.
    """
    new: dict[Value, Value] = {}
    for value in in_order(wanted):
        reads = value.reads
        if any(new[read] is not read for read in reads):
            args, kwargs = (
                substitute(part, lambda v: new[v] if isinstance(v, Value) else v) for part in (value.args, value.kwargs)
            )
            new[value] = rule(value.with_args(args, kwargs))
        else:
            new[value] = rule(value)
    return [new[value] for value in wanted]


def replace_values(wanted: Sequence[Value], new: Mapping[Value, Value]) -> list[Value]:
    """These values, with others in the place of some that they need."""
    return rewrite(wanted, lambda value: new.get(value, value))


def merge_equal(wanted: Sequence[Value]) -> list[Value]:
    """These values, with equal operations of equal arguments computed once. What is random stays as it is."""
    known: dict[Hashable, Value] = {}

    def rule(value: Value) -> Value:
        if value.function is None or value.is_random:
            return value
        return known.setdefault((value.function, _key(value.args), _key(value.kwargs)), value)

    return rewrite(wanted, rule)


def _key(structure: Any) -> Hashable:
    if isinstance(structure, dict):
        return tuple((name, _key(part)) for name, part in structure.items())
    if isinstance(structure, list | tuple):
        return tuple(_key(part) for part in structure)
    return (type(structure), id(structure) if isinstance(structure, Value) else structure)


def is_alike(one: Value, two: Value, same: dict[Value, Value], *, free: Collection[Value] = ()) -> bool:
    """Whether `two` is computed as `one` is, from what takes the place of its inputs. Nothing random is.

    Args:
        one: A value.
        two: Another one.
        same: For values that `one` needs, what takes their place; other inputs stand for themselves.
        free: Values that anything of their shape may take the place of; `same` gets what does.
    """
    if one in free and one not in same and one.shape == two.shape:
        same[one] = two
    if one in same or one.function is None:
        return same.get(one, one) is two
    if one is two:
        return not set(in_order([one])) & set(same) and not one.is_random
    if one.function is not two.function or one.is_random or _numbers(one) != _numbers(two):
        return False
    pairs = zip(*(values_in((value.args, value.kwargs)) for value in (one, two)), strict=True)
    return all(is_alike(a, b, same, free=free) for a, b in pairs)


def _numbers(value: Value) -> Any:
    """The arguments with a mark for each value."""
    return substitute((value.args, dict(value.kwargs)), lambda part: "value" if isinstance(part, Value) else part)


def evaluate(wanted: Iterable[Value], known: dict[Value, Any], *, rows: int) -> None:
    """Compute values by torch's operations; `known` holds the inputs' tensors, and gets all results."""

    def tensor_of(part: Any) -> Any:
        if isinstance(part, Value):
            return known[part]
        return part.times * rows if isinstance(part, Rows) else part

    for value in in_order_from(wanted, known):
        if value.function is None:
            raise KeyError(f"the program's input {value} has no value")
        args, kwargs = (substitute(part, tensor_of) for part in (value.args, value.kwargs))
        known[value] = value.of(*args, **kwargs)


def in_order_from(wanted: Iterable[Value], known: Mapping[Value, Any]) -> list[Value]:
    """The values that these need and that aren't known, each after those that it reads."""
    done: dict[Value, None] = {}
    stack: list[tuple[Value, bool]] = [(value, False) for value in reversed(list(wanted))]
    while stack:
        value, ready = stack.pop()
        if value in done or value in known:
            continue
        if ready:
            done[value] = None
        else:
            stack.append((value, True))
            stack.extend((read, False) for read in reversed(value.reads))
    return list(done)
