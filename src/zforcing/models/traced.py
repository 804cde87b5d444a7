"""A step of a model as a program whose inputs are the model's parameters and buffers, and what the step is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from ..recurrence.program import Value
from ..recurrence.trace import trace
from .trace_cache import ChangesModel, structure_of


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
    weights, f = weights_of(model), of_weights(model, step)
    inputs, results = trace(f, lambda rows: (weights, *example(rows)), [*weights, *names])
    return Traced(dict(zip(weights, inputs, strict=False)), inputs[len(weights) :], results)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers, by name."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def of_weights(model: nn.Module, step: Callable[..., Any]) -> Callable[..., Any]:
    """What a step of a model does, as a function of the model's parameters and buffers, by name, and of its arguments.

    Raises:
        ChangesModel: The step leaves something on the model, as the function is called.
    """
    call = _Call(model, step)

    def f(weights: dict[str, Tensor], *arguments: Any) -> Any:
        with _require_unchanged(model):
            return functional_call(call, {f"model.{name}": tensor for name, tensor in weights.items()}, arguments)

    return f


@contextmanager
def _require_unchanged(model: nn.Module) -> Iterator[None]:
    """Require that attributes stay what they are; they do anyway."""
    before = set(structure_of(model).of)
    kept = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
        changed = [f"{entry[0]}.{entry[1]}".strip(".") for entry in set(structure_of(model).of) - before]
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)
    if changed:
        raise ChangesModel(f"a step changes the attribute {min(changed)}: what it keeps belongs into the state")


class _Call(nn.Module):
    """A function that calls a model, as a module whose only part is the model."""

    def __init__(self, model: nn.Module, f: Callable[..., Any]):
        super().__init__()
        self.model, self.f = model, f

    def forward(self, *arguments: Any) -> Any:
        """What the function returns."""
        before = weights_of(self.model)
        result = self.f(*arguments)
        after = weights_of(self.model)
        changed = [name for name, tensor in after.items() if before.get(name) is not tensor]
        if changed:
            raise ChangesModel(f"a step changes {changed[0]}: what it keeps belongs into the state")
        return result


def tensor_at(model: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its name; or what `torch.func.functional_call` has put in its place."""
    owner, _, name = path.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(owner), name)
    return tensor
