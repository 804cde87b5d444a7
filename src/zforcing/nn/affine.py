"""An affine map that is computed later, so that it can be merged with the matrix that reads it."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Affine(NamedTuple):
    """W u + b for u [..., F], not computed yet; it is u if W is None."""

    u: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """W u + b, computed."""
        return self.u if self.weight is None else F.linear(self.u, self.weight, self.bias)

    def times(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Merge with a following affine map: the weight and bias that map u to weight (W u + b) + bias."""
        if self.weight is None or self.bias is None:
            return weight, bias
        return weight @ self.weight, weight @ self.bias + bias

    def at(self, steps: slice) -> Affine:
        """Select steps of the first dimension."""
        return self._replace(u=self.u[steps])
