"""What is traced of models is kept, and shared by models of the same structure: tracing takes a third of a second."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..recurrence.trace import Untraceable
from .contract import RecurrentModel

logger = logging.getLogger(__name__)
T = TypeVar("T")
_OF_MODEL: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = weakref.WeakKeyDictionary()
_SHARED: dict[Hashable, Any] = {}  # by models of the same structure
MOST_SHARED = 128


def made_of(
    model: RecurrentModel, asked: Hashable, make: Callable[[], T], *, is_own: Callable[[T], bool] = lambda made: False
) -> T | str:
    """What `make` traces of a model, once for what is asked; or why it can't be traced, which is logged once.

    `is_own` says of what was traced whether it holds weights of this model, so that no other may share it.
    """
    structure, own = _structure(model), _OF_MODEL.setdefault(model, {})
    key = (asked, _settings(model) if structure is None else structure, torch.get_default_dtype())
    made: T | str | None = own.get(key, _SHARED.get(key))
    if made is not None:
        return made
    try:
        made = make()
    except Untraceable as reason:
        made = str(reason)
        logger.warning("%s runs step by step, which is slow: %s", model.name, reason)
    if structure is None or (not isinstance(made, str) and is_own(made)):
        own[key] = made
        return made
    if len(_SHARED) >= MOST_SHARED:
        _SHARED.pop(next(iter(_SHARED)))
    _SHARED[key] = made
    return made


def type_of(tensor: Tensor) -> Hashable:
    """What a trace depends on of a tensor [n, ...]."""
    return tensor.dtype, tensor.device.type, tensor.shape[1:]


PLAIN = (bool, int, float, str, type(None))
OF_DATA = ("description", "starts")  # attributes of a model that no step reads
OF_TORCH = frozenset(vars(nn.Module()))


def _settings(model: nn.Module) -> Hashable:
    """Whatever a trace of this model depends on beside its parameters and buffers, and may change.

    Plain attributes of its modules, and which tensors stand in others: a trace keeps those that it has read.
    """

    def of(module: nn.Module) -> Iterator[Hashable]:
        for key, value in vars(module).items():
            if isinstance(value, PLAIN):
                yield key, value
            elif isinstance(value, Tensor):
                yield key, id(value)

    return tuple((name, *of(module)) for name, module in model.named_modules())


def _structure(model: nn.Module) -> Hashable | None:
    """All that a trace of the model depends on beside the values of its tensors; None if it may be more than is seen.

    Models with the same structure share what is derived.
    """
    found: list[Hashable] = []
    for path, module in model.named_modules():
        found.append((path, type(module)))
        for name, value in vars(module).items():
            if name in OF_TORCH or (module is model and name in OF_DATA):
                if name.endswith("_hooks") and value:
                    return None
            elif _is_plain(value) or is_dataclass(value):
                found.append((name, repr(value)))
            elif not type(module).__module__.startswith("torch.nn."):
                return None
        found.append(module.training)
    found += [(name, type_of(tensor[None])) for name, tensor in model.state_dict(keep_vars=True).items()]
    return tuple(found)


def _is_plain(value: Any) -> bool:
    """Whether a value's text tells all of it."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)
