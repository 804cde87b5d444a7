"""What is traced of models is kept, and shared by models of the same structure: tracing takes a third of a second."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from ..recurrence.trace import Untraceable
from .contract import RecurrentModel

logger = logging.getLogger(__name__)
T = TypeVar("T")
_OF_MODEL: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = weakref.WeakKeyDictionary()
_SHARED: dict[Hashable, Any] = {}  # by models of the same structure
MOST_KEPT = 128  # of all models together, and of each one that shares nothing


def made_of(
    model: RecurrentModel, asked: Hashable, make: Callable[[], T], *, is_own: Callable[[T], bool] = lambda made: False
) -> T | str:
    """What `make` traces of a model, once for what is asked; or why it can't be traced, which is logged once.

    `is_own` says of what was traced whether it holds weights of this model, so that no other may share it.
    """
    structure, own = structure_of(model), _OF_MODEL.setdefault(model, {})
    key: Hashable = (asked, structure, torch.get_default_dtype())
    made: T | str | None = own.get(key, own.get(asked, _SHARED.get(key)))
    if made is not None:
        return made
    is_private = not structure.is_shared
    try:
        made = make()
        is_private |= is_own(made)
    except Untraceable as reason:
        made = _logged(model, reason)
        if isinstance(reason, ChangesModel):  # it will have another structure the next time
            key, is_private = asked, True
    kept = own if is_private else _SHARED
    if len(kept) >= MOST_KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = made
    return made


def refuse(model: RecurrentModel, made: object, reason: Untraceable) -> None:
    """Let a model walk from now on, where what was made of it turns out not to do; this is logged."""
    said = _logged(model, reason)
    for kept in (_OF_MODEL.get(model, {}), _SHARED):
        kept.update({key: said for key, value in kept.items() if value is made})


def _logged(model: RecurrentModel, reason: Untraceable) -> str:
    logger.warning("%s runs step by step, which is slow: %s", model.name, reason)
    return str(reason)


def type_of(tensor: Tensor) -> Hashable:
    """What a trace depends on of a tensor [n, ...]."""
    return tensor.dtype, tensor.device.type, tensor.shape[1:]


PLAIN = (bool, int, float, str, type(None))
OF_DATA = ("description", "starts")  # attributes of a model that no step reads
OF_TORCH = frozenset(vars(nn.Module()))
HOOKS = tuple(sorted(name for name in OF_TORCH if name.endswith("_hooks")))


class ChangesModel(Untraceable):
    """A step of a model leaves something on the model."""


class Structure(NamedTuple):
    """All that a trace of a model depends on beside the values of its parameters and buffers, as far as it is seen.

    Attributes:
        of: Types, attributes, hooks and sizes of its modules.
        is_shared: Whether a model with an equal structure does the same.
    """

    of: tuple[tuple[Hashable, ...], ...]
    is_shared: bool


def structure_of(model: nn.Module) -> Structure:
    """The structure of a model as it is now."""
    found: list[tuple[Hashable, ...]] = []
    is_shared = True
    first: dict[int, tuple[str, str]] = {}  # of each tensor its first name
    for path, module in model.named_modules(remove_duplicate=False):
        found.append((path, "", cast(Hashable, type(module)), module.training))
        is_torchs = _is_torchs(module)
        for name, value in _attributes(module, is_model=module is model):
            plain = _is_plain(value)
            if plain or not is_torchs or callable(value):  # others of torch's own layers are caches
                found.append((path, name, repr(value) if plain else _Same.of(value)))
                is_shared &= (plain or is_torchs) and name not in HOOKS
        for name, tensor in (*vars(module)["_parameters"].items(), *vars(module)["_buffers"].items()):
            kind = None if tensor is None else type_of(tensor[None])
            found.append((path, name, kind, first.setdefault(id(tensor), (path, name))))
    return Structure(tuple(found), is_shared)


def _attributes(module: nn.Module, *, is_model: bool) -> Iterator[tuple[str, Any]]:
    """What a module's methods may read, beside parameters, buffers and parts."""
    attributes = vars(module)
    for name, value in attributes.items():
        if name not in OF_TORCH and not (is_model and name in OF_DATA):
            yield name, value
    for name in HOOKS:
        if attributes.get(name):
            yield from ((name, hook) for hook in attributes[name].values())


def _is_torchs(module: nn.Module) -> bool:
    """Whether its layer is torch's own, whose other attributes are caches."""
    return type(module).__module__.startswith("torch.nn.")


def _is_plain(value: Any) -> bool:
    """Whether a value's text tells all of it."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if is_dataclass(value) and not isinstance(value, type):
        return all(field.repr and _is_plain(getattr(value, field.name)) for field in fields(value))
    return False


class _Same:
    """A thing as a key: equal to itself alone, as long as it lives."""

    def __init__(self, thing: Any):
        self.number = id(thing)
        self.thing = weakref.ref(thing)

    @classmethod
    def of(cls, thing: Any) -> Hashable:
        """The key; of a list or a dictionary that of each of its parts, as they are now."""
        if isinstance(thing, list | tuple | set | frozenset):
            return (type(thing), *(cls.of(part) for part in thing))
        if isinstance(thing, dict):
            return (dict, *((cls.of(name), cls.of(part)) for name, part in thing.items()))
        if _is_plain(thing):
            return repr(thing)
        try:
            return cls(thing)
        except TypeError:  # of some types of C
            return id(thing)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing() is not None and self.thing() is other.thing()
