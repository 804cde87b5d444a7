"""PixelRNN: p(x) = prod_d p(x_d | x_<d), row after row, by the layers of `diagonal`; exact in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...observations import ObservationSpec
from ...settings import Count, check
from ..density import Examples
from .autoregressive import AutoregressiveModel
from .diagonal import DiagonalBiLSTM, RowByRow
from .grid import shape_of
from .marginals import set_to_marginals


@dataclass(frozen=True)
class PixelRNNConfig:
    """Settings of PixelRNN."""

    hidden_size: Count = 16
    """units of each direction, h; a pixel has 2 h features"""
    num_layers: Count = 1
    """diagonal BiLSTMs, each with a residual connection"""
    head_size: Count = 32
    """units of both layers between features and logit"""
    width: Count | None = None
    """columns of an image; null: it is square"""

    def __post_init__(self) -> None:
        check(self, "model")


class PixelRNN(AutoregressiveModel):
    """PixelRNN with diagonal BiLSTMs, with exact likelihood.

    A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016, arXiv 1601.06759.
    A bias for each pixel, at first its marginal logit, is ours.

    Args:
        spec: Binary vectors: images, row after row.
        config: The settings.

    Raises:
        UserError: The vectors are no images of this width.
    """

    name = "pixelrnn"
    paper = (
        "A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, "
        '"Pixel Recurrent Neural Networks", ICML 2016, arXiv 1601.06759'
    )
    Config = PixelRNNConfig

    def __init__(self, spec: ObservationSpec, config: PixelRNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        self.shape = shape_of(spec.size, config.width)
        features, head = 2 * config.hidden_size, config.head_size
        self.above = nn.Conv2d(1, features, (3, 7))
        self.left = nn.Conv2d(1, features, (1, 3), bias=False)
        self.layers = nn.ModuleList([DiagonalBiLSTM(config.hidden_size) for _ in range(config.num_layers)])
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(features, head), nn.ReLU(), nn.Linear(head, head), nn.ReLU(), nn.Linear(head, 1)
        )
        self.b = nn.Parameter(torch.zeros(spec.size))

    def begin_with(self, data: Examples) -> None:
        """Set the pixels' biases to their marginal logits."""
        set_to_marginals(self.b, data)

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """One pass over all diagonals."""
        a = self.before(x.view(-1, 1, *self.shape)).permute(2, 3, 0, 1)
        for layer in self.layers:
            a = a + layer(a)
        logits: Tensor = self.head(a)[..., 0].permute(2, 0, 1).flatten(1) + self.b
        return logits

    def before(self, x: Tensor) -> Tensor:
        """The 7 x 7 convolution of mask A, [n, 2 h, R, W]: three rows above, and three pixels to the left."""
        above: Tensor = self.above(F.pad(x, (3, 3, 3, 0))[:, :, :-1])
        left: Tensor = self.left(F.pad(x, (3, 0))[..., :-1])
        return above + left

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        """Pixel by pixel: each is one step of every layer, which keeps the states of the row above."""
        x, known = (v.view(-1, *self.shape) for v in (torch.where(known, x, torch.zeros_like(x)), known))
        passes = [RowByRow(layer, x.shape[2], len(x)) for layer in self._layers]
        for r in range(x.shape[1]):
            for s in range(x.shape[2]):
                p = torch.sigmoid(self._next_logit(x[:, : r + 1], s, passes))
                if not bool(known[:, r, s].all()):
                    x[:, r, s] = torch.where(known[:, r, s], x[:, r, s], torch.bernoulli(p))
            for layer in passes:
                layer.end_row()
        return x.flatten(1)

    def _next_logit(self, x: Tensor, column: int, passes: Sequence[RowByRow]) -> Tensor:
        """The logit [n] of a pixel in the last of the rows [n, R, W] so far."""
        a = self.before(x[:, None, -4:])[:, :, -1, column]
        for layer in passes:
            a = a + layer.step(a)
        logit: Tensor = self.head(a)[:, 0] + self.b.view(self.shape)[x.shape[1] - 1, column]
        return logit

    @property
    def _layers(self) -> list[DiagonalBiLSTM]:
        return cast("list[DiagonalBiLSTM]", list(self.layers))  # a module list forgets of what
