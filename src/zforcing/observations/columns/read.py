"""What a model reads of the columns of an observation, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from .base import Column


def neighbours(columns: Sequence[Column]) -> list[tuple[Column, int]]:
    """Equal columns that stand side by side, and how many: what can be computed for all of them at once."""
    return [(column, len(list(group))) for column, group in groupby(columns)]


class Reading:
    """The R numbers that models read of D columns.

    Args:
        columns: D of them.
    """

    def __init__(self, columns: Sequence[Column]):
        self._runs = neighbours(columns)
        self.size = sum(column.num_read for column in columns)
        """R"""

    def __call__(self, x: Tensor) -> Tensor:
        """What is read of x, [..., D] -> [..., R]; x is finite, and 0 where nothing is there."""
        parts = x.split([count for _, count in self._runs], dim=-1)
        return torch.cat([c.read(part).flatten(-2) for (c, _), part in zip(self._runs, parts, strict=True)], dim=-1)

    def repeated(self, of_columns: Tensor) -> Tensor:
        """A value of each column, for each number that is read of it, [..., D] -> [..., R]."""
        parts = of_columns.split([count for _, count in self._runs], dim=-1)
        each = [
            part[..., None].expand(*part.shape, column.num_read).flatten(-2)
            for (column, _), part in zip(self._runs, parts, strict=True)
        ]
        return torch.cat(each, dim=-1)
