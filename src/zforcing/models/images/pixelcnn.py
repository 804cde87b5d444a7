"""The gated PixelCNN: p(x) = prod_d p(x_d | x_<d), row after row, by the two stacks of `gated`; exact in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...observations import ObservationSpec
from ..density import Examples
from .autoregressive import AutoregressiveModel
from .gated import GatedPixels, GatedSettings
from .grid import shape_of
from .marginals import set_to_marginals


@dataclass(frozen=True)
class PixelCNNConfig(GatedSettings):
    """Settings of the gated PixelCNN."""


class PixelCNN(AutoregressiveModel):
    """The gated PixelCNN, with exact likelihood.

    A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu, "Conditional image generation
    with PixelCNN decoders", NIPS 2016, arXiv 1606.05328. A bias for each pixel, at first its marginal logit, is ours.

    Args:
        spec: Binary vectors: images, row after row.
        config: The settings.

    Raises:
        UserError: The vectors are no images of this width.
    """

    name = "pixelcnn"
    paper = (
        "A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu, "
        '"Conditional Image Generation with PixelCNN Decoders", NIPS 2016, arXiv 1606.05328'
    )
    Config = PixelCNNConfig

    def __init__(self, spec: ObservationSpec, config: PixelCNNConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config)
        self.shape = shape_of(spec.size, config.width)
        self.pixels = GatedPixels.of(config)
        self.b = nn.Parameter(torch.zeros(spec.size))

    def begin_with(self, data: Examples) -> None:
        """Set the pixels' biases to their marginal logits."""
        set_to_marginals(self.b, data)

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """One pass of both stacks."""
        logits: Tensor = self.pixels(x.view(-1, 1, *self.shape)).flatten(1) + self.b
        return logits

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        """Pixel by pixel, each by the part of the network that reaches it."""
        x, known = (v.view(-1, *self.shape) for v in (x, known))
        return self.pixels.fill(x, known, bias=self.b.view(self.shape)).flatten(1)
