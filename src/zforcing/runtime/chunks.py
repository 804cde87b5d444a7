"""Elementwise work on large tensors, a part at a time: what fits the cache is several times as fast.

A density of [T, n, H] numbers is some twenty passes over them, forwards and backwards, each writing a tensor of that
size which the cache has long forgotten when it is read. Taken a part at a time, and done again in the backward pass
instead of kept, only its arguments and its sums go through memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 2**17  # numbers of the largest argument in a part


def in_chunks(f: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """f of tensors that share their first dimension, [T, ...] -> [T, ...], taken a few t at a time.

    f must treat each t by itself and read nothing else that needs a gradient. Differentiable once.
    """
    steps = max(1, AT_ONCE * len(tensors[0]) // max(tensor.numel() for tensor in tensors))
    if steps >= len(tensors[0]) or tensors[0].device.type != "cpu":  # a GPU has the memory bandwidth, and no time
        return f(*tensors)
    result: Tensor = _InChunks.apply(f, steps, *tensors)  # type: ignore[no-untyped-call]  # torch's is
    return result


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Callable[..., Tensor], steps: int, *tensors: Tensor) -> Tensor:
        ctx.f, ctx.steps = f, steps
        ctx.save_for_backward(*tensors)
        return torch.cat([f(*parts) for parts in _parts(tensors, steps)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[2:]
        results = [torch.empty_like(tensor) if want else None for tensor, want in zip(tensors, wanted, strict=True)]
        at = 0
        for parts, of_part in zip(_parts(tensors, ctx.steps), gradient.split(ctx.steps), strict=True):
            parts = [part.detach().requires_grad_(want) for part, want in zip(parts, wanted, strict=True)]
            with torch.enable_grad():
                value = ctx.f(*parts)
            found = iter(torch.autograd.grad(value, [part for part in parts if part.requires_grad], of_part))
            for result in results:
                if result is not None:
                    result[at : at + len(of_part)] = next(found)
            at += len(of_part)
        return None, None, *results


def _parts(tensors: tuple[Tensor, ...], steps: int) -> Any:
    return zip(*(tensor.split(steps) for tensor in tensors), strict=True)
