"""A window on an image: a grid of N x N Gaussian filters, differentiable in where it stands and how wide it is.

Five numbers (g'_X, g'_Y, log s^2, log d', log a) place it on an image of W columns, 1 to W, and H rows:

    g_X = (W + 1) (g'_X + 1) / 2,   g_Y = (H + 1) (g'_Y + 1) / 2,   d = (max(W, H) - 1) / (N - 1) d'
    F_X[i, w] = exp(-(w - m_i)^2 / (2 s^2)) / sum over w,   m_i = g_X + (i - N/2 - 1/2) d,   F_Y alike

Reading an image x gives a F_Y x F_X^T [N, N]; writing a patch p gives F_Y^T p F_X / a [H, W]. That is all of DRAW's
reading and writing that isn't a single layer on the whole image.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

PLACE = 5
"""numbers that place a window"""
LEAST_LOG_VARIANCE = -6.0
"""below it a filter is a single pixel, or none, and has no slope"""


class Window(NamedTuple):
    """Filters by rows F_Y [n, N, H] and by columns F_X [n, N, W], and the intensity a [n, 1, 1]."""

    rows: Tensor
    columns: Tensor
    intensity: Tensor

    def read(self, images: Tensor) -> Tensor:
        """What is seen of C images each, [n, C, H, W]: [n, C, N, N]."""
        n, C, H, W = images.shape
        across = images.view(n, C * H, W) @ self.columns.mT
        return self.intensity[:, None] * (self.rows[:, None] @ across.view(n, C, H, -1))

    def write(self, patches: Tensor) -> Tensor:
        """Images [n, H, W] of patches [n, N, N]."""
        return self.rows.mT @ (patches / self.intensity) @ self.columns


def window(place: Tensor, *, size: int, shape: tuple[int, int]) -> Window:
    """The window of N = `size` filters a side that numbers [n, 5] place on images of `shape` (H, W)."""
    (H, W), (g_x, g_y, log_variance, log_stride, log_intensity) = shape, place.split(1, dim=1)
    stride = (max(H, W) - 1) / max(size - 1, 1) * log_stride.exp()
    offsets = (torch.arange(1, size + 1, device=place.device).to(place) - size / 2 - 0.5) * stride  # [n, N]
    precision = torch.exp(-log_variance.clamp(min=LEAST_LOG_VARIANCE))

    def filters(g: Tensor, length: int) -> Tensor:
        means = (length + 1) / 2 * (g + 1) + offsets
        distance = torch.arange(1, length + 1, device=place.device).to(place) - means[:, :, None]
        return torch.softmax(-0.5 * precision[:, :, None] * distance**2, dim=2)

    return Window(filters(g_y, H), filters(g_x, W), log_intensity.exp()[:, :, None])


def placing(inputs: int, *, size: int, shape: tuple[int, int], log_intensity: float = 0.0) -> nn.Linear:
    """A layer that places a window, whose filters tile the image before it has learned, as wide as they are apart.

    With biases of 0 the outer filters would be on the image's edges, 1 pixel wide, where there is little to see.

    Args:
        inputs: Numbers that it is placed by.
        size: N.
        shape: (H, W).
        log_intensity: Where log a begins.
    """
    layer = nn.Linear(inputs, PLACE)
    length = max(shape)
    with torch.no_grad():
        nn.init.zeros_(layer.bias)
        layer.bias[2] = 2 * math.log(length / size / 2)
        layer.bias[3] = math.log(length / size * max(size - 1, 1) / max(length - 1, 1))
        layer.bias[4] = log_intensity
    return layer


class WholeReader(nn.Module):
    """A layer on all of an image and of the error of the canvas, [n, D] each."""

    def __init__(self, pixels: int, outputs: int):
        super().__init__()
        self.image, self.error = nn.Linear(pixels, outputs), nn.Linear(pixels, outputs, bias=False)

    def once(self, x: Tensor) -> Tensor:
        """What is the same at every glimpse."""
        seen: Tensor = self.image(x)
        return seen

    def forward(self, seen: Tensor, error: Tensor, h: Tensor) -> Tensor:
        """A glimpse of both [n, outputs], with what `once` returned; the decoder's h isn't asked."""
        glimpse: Tensor = seen + self.error(error)
        return glimpse


class WindowReader(nn.Module):
    """A layer on what a window shows of an image and of the error of the canvas, [n, D] each; h [n, H] places it."""

    def __init__(self, shape: tuple[int, int], *, size: int, hidden: int, outputs: int):
        super().__init__()
        self.shape, self.size = shape, size
        self.place, self.glimpse = placing(hidden, size=size, shape=shape), nn.Linear(2 * size**2, outputs)

    def once(self, x: Tensor) -> Tensor:
        """The image itself: each glimpse is of another part."""
        return x

    def forward(self, seen: Tensor, error: Tensor, h: Tensor) -> Tensor:
        """A glimpse of both [n, outputs]."""
        images = torch.stack([seen, error], dim=1).view(len(seen), 2, *self.shape)
        read = window(self.place(h), size=self.size, shape=self.shape).read(images)
        glimpse: Tensor = self.glimpse(read.flatten(1))
        return glimpse


class WindowWriter(nn.Module):
    """h [n, H] as a patch in a window that h places: what is added to the canvas [n, D]."""

    def __init__(self, shape: tuple[int, int], *, size: int, hidden: int):
        super().__init__()
        self.shape, self.size = shape, size
        spread = -2 * math.log(max(shape) / size)  # a number of the patch is as much on each pixel of its tile
        self.place = placing(hidden, size=size, shape=shape, log_intensity=spread)
        self.patch = nn.Linear(hidden, size**2)
        nn.init.zeros_(self.patch.bias)

    def forward(self, h: Tensor) -> Tensor:
        """The image that is added."""
        patch = self.patch(h).view(-1, self.size, self.size)
        return window(self.place(h), size=self.size, shape=self.shape).write(patch).flatten(1)
