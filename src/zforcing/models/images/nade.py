"""NADE: each pixel is predicted from hidden units that have read those before it, by one update of O(H) a pixel.

a_1 = c;   h_i = sigmoid(a_i);   p(x_i = 1 | x_<i) = sigmoid(b_i + V_i h_i);   a_{i+1} = a_i + W_i x_i

i goes over the pixels in the order; W_i and V_i are the pixel's rows. Where x_i = 0 the hidden units stay as they are,
and seven of eight pixels of MNIST's images are 0: h is computed once for each stretch of equal a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...observations import ObservationSpec
from ...settings import Count, check
from ..density import Examples
from .autoregressive import AutoregressiveModel, Order
from .marginals import set_to_marginals


@dataclass(frozen=True)
class NADEConfig:
    """Settings of NADE."""

    hidden_size: Count = 500
    """hidden units, H"""
    order: Order = "raster"
    """raster, from the top left row after row; or random, drawn with the weights"""

    def __post_init__(self) -> None:
        check(self, "model")


class NADE(AutoregressiveModel):
    """The neural autoregressive distribution estimator, with exact likelihood.

    H. Larochelle, I. Murray, "The neural autoregressive distribution estimator", AISTATS 2011; B. Uria, M.-A. Côté,
    K. Gregor, I. Murray, H. Larochelle, "Neural autoregressive distribution estimation", JMLR 2016, arXiv 1605.02226.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "nade"
    paper = (
        'H. Larochelle, I. Murray, "The Neural Autoregressive Distribution Estimator", AISTATS 2011; '
        "B. Uria, M.-A. Côté, K. Gregor, I. Murray, H. Larochelle, "
        '"Neural Autoregressive Distribution Estimation", JMLR, 2016, arXiv 1605.02226'
    )
    Config = NADEConfig
    capturable = False  # how many distinct hidden states a batch has is read from the data

    def __init__(self, spec: ObservationSpec, config: NADEConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config, order=config.order)
        D, H = spec.size, config.hidden_size
        self.W = nn.Parameter(torch.empty(D, H).normal_(std=0.01))
        self.V = nn.Parameter(torch.empty(D, H).normal_(std=0.01))
        self.b = nn.Parameter(torch.zeros(D))
        self.c = nn.Parameter(torch.zeros(H))

    def begin_with(self, data: Examples) -> None:
        """Set b to the pixels' marginal logits."""
        set_to_marginals(self.b, data)

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """The recursion, in blocks of about sqrt(D) pixels."""
        order = self.order(member)
        size = math.isqrt(len(order) - 1) + 1
        blocks = zip(*(v.split(size, dim) for v, dim in self._in(order, x)), strict=True)
        a, found = self.c.expand(len(x), -1), []
        for x_block, W, V in blocks:
            found.append(block_logits(x_block, a, W, V))
            a = torch.addmm(a, x_block, W)
        logits: Tensor = torch.cat(found, dim=1)[:, order.argsort()] + self.b
        return logits

    def _in(self, order: Tensor, x: Tensor) -> list[tuple[Tensor, int]]:
        """x, W and V in the order, each with the dimension that it runs along."""
        return [(x[:, order], 1), (self.W.index_select(0, order), 0), (self.V.index_select(0, order), 0)]

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        """By the recursion itself, O(H D)."""
        x, a = x.clone(), self.c.repeat(len(x), 1)
        for i in self.order(member).tolist():
            drawn = torch.bernoulli(torch.sigmoid(self.b[i] + torch.sigmoid(a) @ self.V[i]))
            x[:, i] = torch.where(known[:, i], x[:, i], drawn)
            a.addr_(x[:, i], self.W[i])
        return x


def block_logits(x: Tensor, a: Tensor, W: Tensor, V: Tensor) -> Tensor:
    """V_i sigmoid(a_i) of the k pixels of a block [n, k], from the sums a [n, H] before it.

    A state begins with the block, and behind each pixel that is on. All S states of the block are two products: what
    each has read of the block times W, and what it says of the block's pixels, of which each pixel takes its own.
    """
    n, k = x.shape
    begins = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], dim=1) > 0  # [n, k]
    row, first = begins.nonzero(as_tuple=True)  # [S]
    pixel = torch.arange(k, device=x.device)
    read = x[row] * (pixel < first[:, None])  # [S, k]
    h = torch.sigmoid(torch.addmm(a.index_select(0, row), read, W))
    said = h @ V.T  # [S, k]
    state = begins.flatten().cumsum(0).view(n, k) - 1
    return said.flatten().index_select(0, (state * k + pixel).flatten()).view(n, k)
