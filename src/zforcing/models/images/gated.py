"""The network of the gated PixelCNN: two stacks of convolutions, which give all conditionals of an image in one pass.

    a_l = V_l v_{l-1},                                             v_l = gate(a_l)
    h_l = h_{l-1} + O_l gate(S_l h_{l-1} + W_l down(a_l)),         v_0 = h_0 = x, and no h_0 in h_1
    gate(a) = tanh(a' + U z) * sigmoid(a'' + U' z), of the halves a', a'' of a's channels

V_l reads the rows up to its own, whole; down moves them one row down, so that h at (r, c) has read the rows above r,
and by S_l row r up to c; S_1 ends left of c. Kernels are cut to what they may read: nothing is masked, and there is no
blind spot. Without z, U is left out.

A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu, "Conditional image generation with
PixelCNN decoders", NIPS 2016, arXiv 1606.05328.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ...settings import Count, check


@dataclass(frozen=True)
class GatedSettings:
    """The network's settings. The `Config` of a model inherits these."""

    channels: Count = 16
    """channels of both stacks, C"""
    num_layers: Count = 5
    """gated layers, the first one included, L"""
    first_kernel: Count = 7
    """width of what the first layer reads, an odd number of 3 or more"""
    kernel: Count = 5
    """width of what the other layers read, an odd number of 3 or more"""
    width: Count | None = None
    """columns of an image; null: it is square"""

    def __post_init__(self) -> None:
        check(self, "model")
        for kernel in (self.first_kernel, self.kernel):
            if kernel < 3 or kernel % 2 == 0:
                raise UserError(f"a kernel of the model is {kernel} wide; it must be an odd number of 3 or more")


class GatedPixels(nn.Module):
    """Logits of the pixels of images [n, 1, H, W], each from the pixels before it, row after row, and from z [n, Z].

    Args:
        channels: C, of both stacks.
        num_layers: L, the first one included.
        first_kernel: width of what the first layer reads, odd.
        kernel: of what the others read, odd.
        latent_size: Z; 0: there is no z, which is None then.
    """

    def __init__(self, *, channels: int, num_layers: int, first_kernel: int, kernel: int, latent_size: int = 0):
        super().__init__()
        C, Z = channels, latent_size
        first = GatedLayer(1, C, first_kernel, reads_own=False, latent_size=Z)
        others = [GatedLayer(C, C, kernel, reads_own=True, latent_size=Z) for _ in range(num_layers - 1)]
        self.layers = nn.ModuleList([first, *others])
        self.gates = nn.ModuleList(Gate(C, Z) for _ in others)
        self.head = nn.ModuleList(nn.Conv2d(C, 2 * C, 1) for _ in range(2))
        self.head_gates = nn.ModuleList(Gate(C, Z) for _ in range(2))
        self.output = nn.Conv2d(C, 1, 1, bias=False)
        keep_the_size(self)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """The logits [n, H, W]."""
        return self.across(x, (down(a) for a in self.downwards(x, z)), z)

    def downwards(self, x: Tensor, z: Tensor | None) -> Iterator[Tensor]:
        """The vertical stack: a_l [n, 2 C, H, W] of each layer."""
        v = x
        for layer, gate in zip(self._layers, [*self.gates, None], strict=True):
            a = layer.vertical(v)
            yield a
            v = a if gate is None else gate(a, z)

    def across(self, x: Tensor, above: Iterable[Tensor], z: Tensor | None) -> Tensor:
        """The horizontal stack of any rows [n, 1, R, W]: their logits [n, R, W], given down(a_l) [n, 2 C, R, W]."""
        above = iter(above)
        first, *others = self._layers
        h = first.horizontal(x, next(above), z)
        for layer, a in zip(others, above, strict=True):
            h = h + layer.horizontal(h, a, z)
        for widen, gate in zip(self.head, self.head_gates, strict=True):
            h = gate(widen(h), z)
        logits: Tensor = self.output(h)
        return logits[:, 0]

    @classmethod
    def of(cls, settings: GatedSettings, *, latent_size: int = 0) -> GatedPixels:
        """The network of these settings."""
        return cls(
            channels=settings.channels,
            num_layers=settings.num_layers,
            first_kernel=settings.first_kernel,
            kernel=settings.kernel,
            latent_size=latent_size,
        )

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, *, bias: Tensor, z: Tensor | None = None) -> Tensor:
        """Draw the pixels [n, H, W] that aren't known, row after row. bias [H, W] is added to the logits.

        The vertical stack runs once a row, on the rows above, and the horizontal one for each pixel on its row alone.
        """
        x = torch.where(known, x, torch.zeros_like(x))[:, None]
        for r in (~known).any(0).any(1).nonzero()[:, 0].tolist():
            above = [down(a)[:, :, -1:] for a in self.downwards(x[:, :, : r + 1], z)]
            for c in (~known[:, r]).any(0).nonzero()[:, 0].tolist():
                row = x[:, :, r : r + 1, : c + 1]
                logit = self.across(row, (a[..., : c + 1] for a in above), z)[:, 0, c] + bias[r, c]
                x[:, 0, r, c] = torch.where(known[:, r, c], x[:, 0, r, c], torch.bernoulli(torch.sigmoid(logit)))
        return x[:, 0]

    @property
    def _layers(self) -> list[GatedLayer]:
        return cast("list[GatedLayer]", list(self.layers))  # a module list forgets of what


class GatedLayer(nn.Module):
    """V_l, S_l, W_l and O_l: what both stacks read in one layer.

    Args:
        inputs: channels of what both read.
        channels: C.
        kernel: k, odd: V is k columns wide and (k + 1) / 2 rows high, S reaches (k - 1) / 2 columns to the left.
        reads_own: whether S reads its own column too.
        latent_size: Z.
    """

    def __init__(self, inputs: int, channels: int, kernel: int, *, reads_own: bool, latent_size: int):
        super().__init__()
        C, self.reach = channels, kernel // 2
        self.V = nn.Conv2d(inputs, 2 * C, (self.reach + 1, kernel))
        self.S = nn.Conv2d(inputs, 2 * C, (1, self.reach + reads_own), bias=False)
        self.W = nn.Conv2d(2 * C, 2 * C, 1)
        self.O = nn.Conv2d(C, C, 1)
        self.gate = Gate(C, latent_size)

    def vertical(self, v: Tensor) -> Tensor:
        """V v [n, 2 C, H, W]: of each pixel's row and those above it."""
        k = self.reach
        found: Tensor = self.V(F.pad(v, (k, k, k, 0)))
        return found

    def horizontal(self, h: Tensor, above: Tensor, z: Tensor | None) -> Tensor:
        """O gate(S h + W above) [n, C, R, W], of rows each for itself."""
        to_the_left = self.S(F.pad(h, (self.reach, 0)))[..., : h.shape[3]]
        found: Tensor = self.O(self.gate(to_the_left + self.W(above), z))
        return found


class Gate(nn.Module):
    """tanh(a' + U z) * sigmoid(a'' + U' z), of the halves of 2 C channels [n, 2 C, H, W]; without z, none of it."""

    def __init__(self, channels: int, latent_size: int):
        super().__init__()
        self.U = nn.Linear(latent_size, 2 * channels, bias=False) if latent_size else None

    def forward(self, a: Tensor, z: Tensor | None) -> Tensor:
        """The gated channels [n, C, H, W]."""
        if self.U is not None:
            a = a + self.U(z)[:, :, None, None]
        left, right = a.chunk(2, dim=1)
        return torch.tanh(left) * torch.sigmoid(right)


def keep_the_size(network: nn.Module) -> None:
    """Begin so that ReLU layers keep the size of what they read, and gated ones more than half of it, as PixelVAE's
    authors do: uniform weights with the standard deviation sqrt(4 / (inputs + outputs)) of convolutions, 1 over
    sqrt(inputs) of linear maps, and no biases.

    By smaller ones a deep encoder begins with one posterior for all images, which a decoder learns to ignore.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2))
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def down(a: Tensor) -> Tensor:
    """Move rows [n, C, H, W] down by one: zeros on top, and the last row is gone."""
    return F.pad(a, (0, 0, 1, -1))
