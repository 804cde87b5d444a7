"""Models whose weights are never drawn, since they are read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

DRAWS = (torch.Tensor.normal_, nn.init.normal_)


class Undrawn(TorchFunctionMode):
    """Within it `normal_` leaves a tensor as it is.

    The meta device has no kernel for it: torch's stand-in in Python imports the compiler, which took 1.3 of the 1.9 CPU
    seconds that a model with a table of categories (`nn.Embedding`) needed to be loaded.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in DRAWS:
            return args[0] if args else named["tensor"]  # nn.init gives it by its name
        return func(*args, **named)
