"""Elementwise work on large tensors in chunks that fit the CPU cache, which is several times as fast.

A density of [T, n, H] numbers takes about twenty passes, forward and backward, each of which writes a tensor of that
size that is no longer in the cache when it is read. In chunks, recomputed in the backward pass instead of stored, only
the arguments and the sums go through memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 2**17  # numbers of the largest argument in a chunk


def in_chunks(f: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Compute f(*tensors) a few steps at a time on a CPU, and at once on a GPU. Differentiable once.

    Args:
        f: Maps tensors [T, ...] to a tensor [T, ...]. It must treat each step separately, and all tensors that need a
            gradient must be arguments.
        *tensors: Tensors with the same first dimension.

    Returns:
        f(*tensors).
    """
    steps = max(1, AT_ONCE * len(tensors[0]) // max(tensor.numel() for tensor in tensors))
    if steps >= len(tensors[0]) or tensors[0].device.type != "cpu":  # a GPU has the bandwidth; launches would cost more
        return f(*tensors)
    result: Tensor = _InChunks.apply(f, steps, *tensors)  # type: ignore[no-untyped-call]  # torch's is
    return result


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Callable[..., Tensor], steps: int, *tensors: Tensor) -> Tensor:
        ctx.f, ctx.steps = f, steps
        ctx.save_for_backward(*tensors)
        return torch.cat([f(*chunk) for chunk in _chunks(tensors, steps)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        results = [torch.empty_like(tensor) if need else None for tensor, need in zip(tensors, needed, strict=True)]
        start = 0
        for values, outer in zip(_chunks(tensors, ctx.steps), gradient.split(ctx.steps), strict=True):
            chunk = [value.detach().requires_grad_(need) for value, need in zip(values, needed, strict=True)]
            with torch.enable_grad():
                output = ctx.f(*chunk)
            inner = iter(torch.autograd.grad(output, [value for value in chunk if value.requires_grad], outer))
            for result in results:
                if result is not None:
                    result[start : start + len(outer)] = next(inner)
            start += len(outer)
        return None, None, *results


def _chunks(tensors: tuple[Tensor, ...], steps: int) -> Any:
    return zip(*(tensor.split(steps) for tensor in tensors), strict=True)
