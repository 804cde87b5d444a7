"""MADE: an autoencoder whose masks make it autoregressive, so that one pass gives the exact likelihood.

h^l = relu((W^l * M^l) h^{l-1} + b^l), h^0 = x;   logits = (V * M^V) h^L + (A * M^A) x + c

Each unit has a degree, a pixel its place in the order, 1..D. A unit reads units of its degree or less, an output only
those below its own: on every path from x_j to the output of x_d the degrees rise, so that j comes before d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...observations import ObservationSpec
from ...settings import Count, check
from ..density import Examples
from .autoregressive import AutoregressiveModel, Order
from .marginals import set_to_marginals


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


class MaskedWeights(NamedTuple):
    """(W^l * M^l, b^l) of each hidden layer, V * M^V, and A * M^A if there is A."""

    hidden: list[tuple[Tensor, Tensor]]
    output: Tensor
    direct: Tensor | None


class MADE(AutoregressiveModel):
    """The masked autoencoder for distribution estimation, with exact likelihood.

    M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", ICML 2015,
    arXiv 1502.03509.

    Args:
        spec: Binary vectors.
        config: The settings.
    """

    name = "made"
    paper = (
        "M. Germain, K. Gregor, I. Murray, H. Larochelle, "
        '"MADE: Masked Autoencoder for Distribution Estimation", ICML 2015, arXiv 1502.03509'
    )
    Config = MADEConfig
    degrees: Tensor
    """[M, L, H], of the hidden units"""

    def __init__(self, spec: ObservationSpec, config: MADEConfig | None = None, **settings: Any):
        config = self.make_config(config, settings)
        super().__init__(spec, config, order=config.order, members=config.masks)
        D, H, L = spec.size, config.hidden_size, config.num_layers
        self.hidden = nn.ModuleList(nn.Linear(D if layer == 0 else H, H) for layer in range(L))
        self.output = nn.Linear(H, D)
        self.direct = nn.Linear(D, D, bias=False) if config.direct else None
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.output.bias)
        degrees = torch.stack([random_degrees(D, H, L) for _ in range(config.masks)])
        self.register_buffer("degrees", degrees.to(self.place.dtype))

    def begin_with(self, data: Examples) -> None:
        """Set the output biases to the pixels' marginal logits."""
        set_to_marginals(self.output.bias, data)

    def logits(self, x: Tensor, *, member: int = 0) -> Tensor:
        """The module's equations, with a member's masks."""
        weights, h = self._masked(member), x
        for W, b in weights.hidden:
            h = torch.relu(F.linear(h, W, b))
        logits = F.linear(h, weights.output, self.output.bias)
        return logits if weights.direct is None else logits + F.linear(x, weights.direct)

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, member: int = 0) -> Tensor:
        """Pixel by pixel: each adds its column to what the first layer has read."""
        weights, x = self._masked(member), x.clone()
        (first, bias), *deeper = weights.hidden
        a = bias.repeat(len(x), 1)
        for d in self.order(member).tolist():
            h = torch.relu(a)
            for W, b in deeper:
                h = torch.relu(F.linear(h, W, b))
            logit = h @ weights.output[d] + self.output.bias[d]
            logit = logit if weights.direct is None else logit + x @ weights.direct[d]
            x[:, d] = torch.where(known[:, d], x[:, d], torch.bernoulli(torch.sigmoid(logit)))
            a.addr_(x[:, d], first[:, d])
        return x

    def _masked(self, member: int) -> MaskedWeights:
        """The weights that a member's masks leave: hidden units read degrees up to their own, outputs those below."""
        hidden: list[tuple[Tensor, Tensor]] = []
        place = below = self.place[member]
        for layer, own in zip(self.hidden, self.degrees[member], strict=True):
            assert isinstance(layer, nn.Linear), "a module list forgets of what"
            hidden.append((layer.weight * (own[:, None] >= below), layer.bias))
            below = own
        direct = None if self.direct is None else self.direct.weight * (place[:, None] > place)
        return MaskedWeights(hidden, self.output.weight * (place[:, None] > below), direct)


def random_degrees(inputs: int, hidden: int, layers: int) -> Tensor:
    """Degrees [L, H]: uniform from the smallest of the layer below (of inputs 1) to D - 1, so that each unit has some
    to read and some that read it.
    """
    degrees, lowest = [], torch.ones(())
    for _ in range(layers):
        degrees.append(lowest + (torch.rand(hidden) * (inputs - lowest)).floor())
        lowest = degrees[-1].min()
    return torch.stack(degrees)
