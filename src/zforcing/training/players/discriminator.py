"""A discriminator of trajectories: convolutions along time, or over the picture that the steps are the pixels of."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

KERNEL, STRIDE = 5, 2


class Discriminator(nn.Module):
    """The logit of whether a trajectory [T, F] was teacher-forced.

    Convolutions of 5 steps and stride 2 with ReLUs, each with twice the channels of the one before; their mean over
    what is within the sequence; a linear map. With a width the steps are pixels row by row, and the kernels 5 x 5.
    Padding never reaches the logit.

    Args:
        features: F, of a step.
        channels: Of the first convolution.
        layers: How many convolutions.
        dropout: Of the features and after each convolution, in training mode.
        width: Steps in a row of the picture; None: no picture.
    """

    def __init__(self, features: int, *, channels: int, layers: int, dropout: float, width: int | None = None):
        super().__init__()
        self.width = width
        height = 1 if width is None else KERNEL
        sizes = [features, *(channels * 2**layer for layer in range(layers))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(below, above, (height, KERNEL), self._stride, (height // 2, KERNEL // 2))
            for below, above in pairwise(sizes)
        )
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(sizes[-1], 1)

    @property
    def _stride(self) -> tuple[int, int]:
        return (1 if self.width is None else STRIDE, STRIDE)

    def forward(self, trajectories: Tensor, mask: Tensor) -> Tensor:
        """The logits [B] of trajectories [B, T, F], of which `mask` [B, T] says where they exist."""
        exists = self._as_picture(mask[:, :, None].to(trajectories.dtype))  # [B, 1, rows, columns]
        x = self.dropout(self._as_picture(trajectories)) * exists
        down, across = self._stride
        for convolution in self.convolutions:
            exists = exists[:, :, ::down, ::across]
            x = self.dropout(convolution(x).relu()) * exists
        logits: Tensor = self.readout(x.sum((2, 3)) / exists.sum((2, 3)))
        return logits[:, 0]

    def _as_picture(self, steps: Tensor) -> Tensor:
        """[B, T, F] -> [B, F, rows, columns]; one row without a width, and zeros to fill up the last one."""
        width = steps.shape[1] if self.width is None else self.width
        filled = nn.functional.pad(steps, (0, 0, 0, -steps.shape[1] % width))
        return filled.transpose(1, 2).reshape(len(steps), steps.shape[2], -1, width)


def accuracy(real: Tensor, made: Tensor) -> Tensor:
    """The share of logits [B] on their side of 0, of both together, []."""
    right = torch.cat([real > 0, made < 0])
    return right.double().mean()
