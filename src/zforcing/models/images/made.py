"""MADE: an autoencoder whose masks make it autoregressive, so that one pass gives the exact likelihood.

h^l = relu((W^l * M^l) h^{l-1} + b^l), h^0 = x;   logits = (V * M^V) h^L + (A * M^A) x + c

Each unit has a degree, a pixel its place in the order, 1..D. A unit reads units of its degree or less, an output only
those below its own: on every path from x_j to the output of x_d the degrees rise, so that j comes before d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...nn.masked import MaskedLinear
from ...observations import ObservationSpec
from ...settings import Count, check
from ..density import Examples
from .autoregressive import AutoregressiveModel, Order
from .marginals import marginal_logits


@dataclass(frozen=True)
class MADEConfig:
    """Settings of MADE."""

    hidden_size: Count = 500
    """units of each hidden layer"""
    num_layers: Count = 1
    """hidden layers, L"""
    direct: bool = True
    """whether outputs read the pixels before them directly too, by A"""
    order: Order = "raster"
    """raster, from the top left row after row; or random, drawn with the weights"""
    masks: Count = 1
    """M sets of masks (each in an order of its own, if random): training takes one at random for each batch, and the
    model is their mixture, whose evaluation takes M passes"""

    def __post_init__(self) -> None:
        check(self, "model")


class MADE(AutoregressiveModel):
    """The masked autoencoder for distribution estimation, with exact likelihood.

    M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", ICML 2015,
    arXiv 1502.03509.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "made"
    Config = MADEConfig
    degrees: Tensor
    """[M, L, H], of the hidden units"""

    def __init__(self, spec: ObservationSpec, config: MADEConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config, order=config.order, members=config.masks)
        D, H, L = spec.size, config.hidden_size, config.num_layers
        self.hidden = nn.ModuleList(MaskedLinear(D if layer == 0 else H, H) for layer in range(L))
        self.output = MaskedLinear(H, D)
        self.direct = MaskedLinear(D, D, bias=False) if config.direct else None
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.output.bias)
        degrees = torch.stack([random_degrees(D, H, L) for _ in range(config.masks)])
        self.register_buffer("degrees", degrees.to(self.place.dtype))

    def begin_with(self, data: Examples) -> None:
        """Set the output biases to the pixels' marginal logits."""
        with torch.no_grad():
            self.output.bias.copy_(marginal_logits(data))

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """The module's equations, with a member's masks: hidden units read >=, outputs read >."""
        place = self.place[member]
        h, below = x, place
        for layer, own in zip(self.hidden, self.degrees[member], strict=True):
            h, below = torch.relu(layer(h, own[:, None] >= below)), own
        logits: Tensor = self.output(h, place[:, None] > below)
        return logits if self.direct is None else logits + self.direct(x, place[:, None] > place)


def random_degrees(inputs: int, hidden: int, layers: int) -> Tensor:
    """Degrees [L, H]: uniform from the smallest of the layer below (of inputs 1) to D - 1, so that each unit has some
    to read and some that read it.
    """
    degrees, lowest = [], torch.ones(())
    for _ in range(layers):
        degrees.append(lowest + (torch.rand(hidden) * (inputs - lowest)).floor())
        lowest = degrees[-1].min()
    return torch.stack(degrees)
