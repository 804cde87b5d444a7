"""Refuse programs whose gradients aren't those of the function that was traced.

A record holds operations. What is done to gradients alone leaves none: `torch.no_grad`, an `autograd.Function` with a
derivative of its own, the gradient of `torch.autograd.grad` taken as a constant, hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .program import Value, evaluate
from .rows import is_close, shaken
from .trace import ROWS, Untraceable, apart


def require_same_gradients(
    f: Callable[..., Any],
    arguments: Sequence[Any],
    inputs: Sequence[Value],
    results: Sequence[Value],
    *,
    fixed: Collection[Value] = (),
) -> None:
    """Require that a program has the gradients of the function that it was traced from.

    Args:
        f: The function; its results are tensors in a pytree.
        arguments: What it is given, pytrees of tensors, with `ROWS[0]` rows.
        inputs: For each of these tensors, the program's input.
        results: For each tensor that f returns, the program's value.
        fixed: Those of the inputs that never get a gradient.

    Raises:
        Untraceable: A gradient differs.
    """
    leaves, spec = pytree.tree_flatten(arguments)
    if any(leaf.is_meta for leaf in leaves):  # there is nothing to compare
        return
    apart(lambda: _compare(lambda *tensors: f(*pytree.tree_unflatten(tensors, spec)), leaves, inputs, results, fixed))


@torch.enable_grad()
def _compare(
    f: Callable[..., Any],
    tensors: Sequence[Tensor],
    inputs: Sequence[Value],
    results: Sequence[Value],
    fixed: Collection[Value],
) -> None:
    leaves = [_leaf(v, t, has_gradient=v.is_smooth and v not in fixed) for v, t in zip(inputs, tensors, strict=True)]
    known: dict[Value, Any] = dict(zip(inputs, leaves, strict=True))
    with _SameDraws():  # type: ignore[no-untyped-call]  # torch's
        expected = pytree.tree_leaves(f(*leaves))
        evaluate(results, known, rows=ROWS[0])
    found = [known[value] for value in results]
    smooth = [leaf for leaf in leaves if leaf.requires_grad]
    pairs = zip(_gradients(found, smooth), _gradients(expected, smooth), strict=True)
    if not all(is_close(one, two) for one, two in pairs):
        own = ", ".join(dict.fromkeys(_own_functions(expected)))
        reason = f"{own} has a derivative of its own" if own else "torch.no_grad, torch.autograd or a hook changes them"
        raise Untraceable(f"gradients aren't those of its operations: {reason}")


def _leaf(value: Value, tensor: Tensor, *, has_gradient: bool) -> Tensor:
    """A copy that gets a gradient, with rows that differ; a parameter stays one."""
    copy = shaken(value, tensor.detach())
    return nn.Parameter(copy, has_gradient) if isinstance(tensor, nn.Parameter) else copy.requires_grad_(has_gradient)


def _gradients(results: Sequence[Tensor], leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    """Of a sum of the results with random weights, by each of the leaves; zeros where it doesn't depend on one."""
    generator = torch.Generator().manual_seed(0)
    total = sum(
        (result * torch.randn(result.shape, generator=generator).to(result)).sum()
        for result in results
        if result.requires_grad
    )
    if not isinstance(total, Tensor):
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def _own_functions(results: Iterable[Tensor]) -> Iterator[str]:
    """The names of the `autograd.Function`s that results were computed by."""
    stack: list[Any] = [result.grad_fn for result in results if result.grad_fn is not None]
    seen: set[Any] = set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                yield type(node).__name__.removesuffix("Backward")
            stack.extend(after for after, _ in node.next_functions if after is not None)


class _SameDraws(TorchDispatchMode):
    """Lets each operation draw the same random numbers, whatever was drawn before it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            torch.manual_seed(0)
        return func(*args, **(kwargs or {}))
