"""A step of a model as a program whose inputs are the model's parameters and buffers, and what the step is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from ..recurrence.program import Value
from ..recurrence.trace import trace


class Traced(NamedTuple):
    """The program of a step.

    Attributes:
        weights: The inputs that stand for the model's parameters and buffers, by name.
        inputs: The others, one for each tensor of the arguments.
        results: What the step returned, with a `Value` for each tensor.
    """

    weights: dict[str, Value]
    inputs: list[Value]
    results: Any


def trace_step(
    model: nn.Module, step: Callable[..., Any], example: Callable[[int], Sequence[Any]], names: Sequence[str]
) -> Traced:
    """Trace what a step of a model does; `example` gives its arguments, as for `recurrence.trace.trace`.

    Raises:
        Untraceable: The step can't be written as operations on rows.
    """
    call = _Call(model, step)
    weights = dict(model.named_parameters()) | dict(model.named_buffers())

    def f(weights: dict[str, Tensor], *arguments: Any) -> Any:
        return functional_call(call, {f"model.{name}": tensor for name, tensor in weights.items()}, arguments)

    inputs, results = trace(f, lambda rows: (weights, *example(rows)), [*weights, *names])
    return Traced(dict(zip(weights, inputs, strict=False)), inputs[len(weights) :], results)


class _Call(nn.Module):
    """A function that calls a model, as a module whose only part is the model."""

    def __init__(self, model: nn.Module, f: Callable[..., Any]):
        super().__init__()
        self.model, self.f = model, f

    def forward(self, *arguments: Any) -> Any:
        """What the function returns."""
        return self.f(*arguments)


def tensor_at(model: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its name; or what `torch.func.functional_call` has put in its place."""
    owner, _, name = path.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(owner), name)
    return tensor
