"""Columns of categories, which are whole numbers from 0 or codes of names: read as one-hot, with a softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ...distributions import Softmax
from ...errors import UserError
from ...files.reading import Array, listed
from ..checks import is_size
from .base import Column, DensitySettings, Known, Refusal

MOST = 10_000  # each is a number that models read, and a row of the head


@dataclass(frozen=True)
class CategoryColumn(Column):
    """P(x) = softmax(logits)_x over x = 0..size-1.

    size: how many there are; labels: their names, of text.
    """

    name: ClassVar[str] = "category"
    discrete: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = True
    takes_size: ClassVar[bool] = True

    size: int
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not is_size(self.size):
            raise UserError(f"columns.size is {self.size!r}; it must be a whole number, 1 or more")
        names = self.labels
        if names is not None and (len(set(names)) != self.size or not all(isinstance(name, str) for name in names)):
            raise UserError(f"columns.labels is {names!r}; it must be {self.size} different names, one for each")

    @classmethod
    def refused(cls, values: Array) -> Refusal:
        wrong = (values < 0) | (values != np.floor(values)) | (values >= MOST)
        return Refusal(
            wrong, f"a category is a whole number, 0..{MOST - 1}: renumber them (numpy.unique, return_inverse)"
        )

    @classmethod
    def fit(cls, known: Known) -> Self:
        if known.labels is not None:
            return cls(len(known.labels), known.labels)
        return cls(int(known.values.max()) + 1 if known.size is None else known.size)

    def unfit(self, values: Array) -> Refusal:
        of = f"the categories of the training split are {self.brief}"
        more = "" if self.labels else f"; to have more, train with the kind category({int(values.max()) + 1})"
        return Refusal(values >= self.size, of + more)

    @property
    def brief(self) -> str:
        """The categories, in a message."""
        return f"0..{self.size - 1}" if self.labels is None else listed(self.labels)

    @property
    def num_read(self) -> int:
        return self.size

    def read(self, x: Tensor) -> Tensor:
        return (x[..., None] == torch.arange(self.size, device=x.device)).to(x.dtype)

    def num_parameters(self, settings: DensitySettings) -> int:
        return self.size

    def density(self, parameters: Tensor, settings: DensitySettings) -> Distribution:
        return Softmax(parameters)

    def cell(self, value: float) -> str:
        return str(int(value)) if self.labels is None else self.labels[int(value)]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        labels = values.get("labels")
        return cls(values["size"], None if labels is None else tuple(labels))
