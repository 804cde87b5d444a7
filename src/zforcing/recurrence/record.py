"""Record the operations that a function of tensors does.

The only place that knows torch's dispatcher. The function runs with real tensors, so that whatever it does without
looking at their values works; what would be lost in a record is refused before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

Operation = Any  # torch's OpOverload, which has no public type
BY_VALUE = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
OUTSIDE = (Tensor.numpy, Tensor.__array__, Tensor.tolist, Tensor.data_ptr, Tensor.__dlpack__, Tensor.untyped_storage)


class Unseen(Exception):
    """The function does what a record can't hold."""


@dataclass(frozen=True, eq=False)
class Call:
    """One operation.

    Attributes:
        operation: What has been called.
        args: Its arguments; tensors are those that were there.
        kwargs: Its keyword arguments.
        result: A tensor, several, or something else.
    """

    operation: Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    @property
    def reads(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return tensors_in((self.args, self.kwargs))


@dataclass(frozen=True)
class Record:
    """What a function has done.

    Attributes:
        inputs: The tensors that it got.
        calls: Its operations, in order. All tensors are kept, so that each has an id of its own.
        results: The tensors that it has returned.
        structure: Of what it has returned.
    """

    inputs: Sequence[Tensor]
    calls: Sequence[Call]
    results: Sequence[Any]
    structure: Any


def record(f: Callable[..., Any], inputs: Sequence[Tensor]) -> Record:
    """Run a function and record its operations.

    Raises:
        Unseen: It depends on the values of its inputs, or changes a tensor that isn't its own.
    """
    recorder = _Recorder(inputs)
    with recorder, _Refusing():
        results, structure = pytree.tree_flatten(f(*inputs))
    return Record(inputs, recorder.calls, results, structure)


class _Recorder(TorchDispatchMode):
    """Sees each operation below autograd, as the kernels get it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles a record, and to skip torch's compiler it would be imported, which takes a second."""
        return False

    def __init__(self, inputs: Sequence[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.calls: list[Call] = []
        self.owned: dict[int, bool] = {id(tensor): False for tensor in inputs}  # of what is known: may it be changed?
        self.memory: dict[int, int] = {}  # of a tensor that shares its memory, the id of the one whose that is
        self.made: set[int] = (
            set()
        )  # memory that is made of numbers alone, whatever the inputs are: it may be looked at

    def __torch_dispatch__(
        self, func: Operation, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = tensors_in((args, kwargs))
        self._check(func, args, kwargs, read)
        result = func(*args, **kwargs)
        self.calls.append(Call(func, args, kwargs, result))
        shares = shares_memory(func) and bool(read)
        own = not shares or self.owned.get(id(read[0]), False)
        made = torch.Tag.nondeterministic_seeded not in func.tags and self._is_made(read)
        for tensor in tensors_in(result):
            self.owned[id(tensor)] = own
            if shares:
                self.memory[id(tensor)] = self._memory_of(read[0])
            elif made:
                self.made.add(id(tensor))
        if not made:
            self.made.difference_update(map(self._memory_of, changed_by(func, args, kwargs)))
        return result

    def _memory_of(self, tensor: Tensor) -> int:
        return self.memory.get(id(tensor), id(tensor))

    def _is_made(self, read: Sequence[Tensor]) -> bool:
        return all(self._memory_of(tensor) in self.made for tensor in read)

    def _check(
        self, operation: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], read: Sequence[Tensor]
    ) -> None:
        if any(tag in operation.tags for tag in BY_VALUE) and not self._is_made(read):
            raise Unseen(f"{operation} depends on the values of a tensor, not on its shape alone")
        if kwargs.get("generator") is not None:
            raise Unseen(f"{operation} draws from a generator of its own, not from torch's")
        if not all(self.owned.get(id(tensor), False) for tensor in changed_by(operation, args, kwargs)):
            raise Unseen(f"{operation} changes in place a tensor that was there before")


class _Refusing(TorchFunctionMode):
    """Refuses to show the values of tensors to others than torch's operations."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in OUTSIDE:
            raise Unseen(f"{func.__name__} shows the values of a tensor to others than torch")
        return func(*args, **(kwargs or {}))


def changed_by(operation: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The arguments that an operation changes."""
    if not operation._schema.is_mutable:
        return []
    declared = zip(operation._schema.arguments, args, strict=False)
    given = [(declaration.alias_info, value) for declaration, value in declared]
    by_name = {declaration.name: declaration.alias_info for declaration in operation._schema.arguments}
    given += [(by_name[name], value) for name, value in kwargs.items()]
    return tensors_in([value for alias, value in given if alias is not None and alias.is_write])


def shares_memory(operation: Operation) -> bool:
    """Whether a result shares memory with an argument. The parts of `unsafe_split` share none, by its contract."""
    return any(result.alias_info is not None for result in operation._schema.returns)


def tensors_in(structure: Any) -> list[Tensor]:
    """The tensors in arguments or results, which may be nested."""
    if isinstance(structure, Tensor):
        return [structure]
    if not isinstance(structure, dict | list | tuple):
        return []
    parts = structure.values() if isinstance(structure, dict) else structure
    return [tensor for part in parts for tensor in tensors_in(part)]
