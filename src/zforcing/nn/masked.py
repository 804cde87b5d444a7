"""A linear layer of which a mask keeps some weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """y = (W * mask) x + b. The mask is given at each call, so that no checkpoint holds it."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]  # a linear layer and its mask
        """y [..., O] of x [..., I] and mask [O, I], bool."""
        return F.linear(x, self.weight * mask, self.bias)
