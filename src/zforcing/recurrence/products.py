"""Matrix products of one weight with many small inputs, which take most of a recurrence's time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor, Tensor | None], object]
"""product(x, out, add): out = x W^T + add, [n, in] -> [n, out]. `add` may be `out` itself, or None."""
PACKED_FROM = 2**18  # size of a weight from which packing it is faster: it no longer fits the cache


def prepare(weight: Tensor, *, lower: torch.dtype | None = None) -> Product:
    """Prepare a product with W [out, in] that is computed at every step.

    On a CPU a large W is packed for oneDNN once; BLAS packs it at every step, and takes twice as long.

    Args:
        weight: W.
        lower: A lower precision of the product's inputs (autocast); the sum keeps that of the output.
    """
    if lower is not None:
        return _in_lower_precision(weight.to(lower))
    if weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.numel() >= PACKED_FROM and _can_pack():
        return _packed(weight)
    transposed = weight.t()

    def product(x: Tensor, out: Tensor, add: Tensor | None) -> None:
        if add is None:
            torch.mm(x, transposed, out=out)
        else:
            torch.addmm(add, x, transposed, out=out)

    return product


def _packed(weight: Tensor) -> Product:
    ops = torch.ops.mkldnn
    packed = ops._reorder_linear_weight(weight.contiguous())

    return _added(lambda x: ops._linear_pointwise(x, packed, None, "none", [], ""))


def _in_lower_precision(weight: Tensor) -> Product:
    transposed, lower = weight.t(), weight.dtype

    return _added(lambda x: torch.mm(x.to(lower), transposed))


def _added(multiply: Callable[[Tensor], Tensor]) -> Product:
    """A product that is computed, and then added."""

    def product(x: Tensor, out: Tensor, add: Tensor | None) -> None:
        if add is None:
            out.copy_(multiply(x))
        else:
            torch.add(add, multiply(x), out=out)

    return product


def matmul(a: Tensor, b: Tensor, lower: torch.dtype | None) -> Tensor:
    """Compute a b, with factors in the precision `lower` if it isn't None, and the result in the precision of a."""
    return a @ b if lower is None else (a.to(lower) @ b.to(lower)).to(a.dtype)


def add_matmul(out: Tensor | None, a: Tensor, b: Tensor, lower: torch.dtype | None) -> None:
    """Add a b to out; do nothing if out is None."""
    if out is None:
        return
    if lower is None:
        out.addmm_(a, b)
    else:
        out.add_(matmul(a, b, lower))


@cache
def _can_pack() -> bool:
    """Whether this build of torch has oneDNN's packed linear layer, and its result equals a plain product."""
    if not torch.backends.mkldnn.is_available():
        return False
    like = torch.empty(0, dtype=torch.float32)
    x, weight, out = like.new_ones(2, 3), torch.arange(12).reshape(4, 3).to(like), like.new_empty(2, 4)
    try:
        _packed(weight)(x, out, None)
    except (RuntimeError, AttributeError, TypeError):  # no such operator, or another signature
        return False
    return bool(torch.allclose(out, x @ weight.t()))
