"""An affine map of an input that isn't multiplied yet."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Affine(NamedTuple):
    """W u + b of u [..., F], not computed; without W it is u."""

    u: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """W u + b."""
        return self.u if self.weight is None else F.linear(self.u, self.weight, self.bias)

    def times(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight and the bias by which u gives weight (W u + b) + bias."""
        if self.weight is None or self.bias is None:
            return weight, bias
        return weight @ self.weight, weight @ self.bias + bias

    def at(self, steps: slice) -> Affine:
        """Of some of the first dimension."""
        return self._replace(u=self.u[steps])
