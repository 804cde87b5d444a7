"""What one observation is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import UserError

Kind = Literal["real", "binary", "categorical", "quantized"]


@dataclass(frozen=True)
class ObservationSpec:
    """What one observation x_t is. The data says it; models are built from it.

    `real` and `binary` observations are vectors of `size` numbers; a `categorical` one is an integer in 0..size-1. A
    `quantized` one is a vector of `size` numbers out of `levels` equally spaced ones from -1 to 1 (integer audio):
    level k of 0..L-1 is the number -1 + 2 k / (L - 1), and its likelihood is a probability, not a density.

    x_0, what the model reads before it emits x_1, is a data protocol. With `first_observation="scored"` it is blank
    (zeros; for categories an extra symbol with the number `size`) and every observation counts in the likelihood. With
    `"conditioned"` it is the sequence's first observation, which is read and not scored: log p(x_2..x_T | x_1), as
    SRNN and Z-Forcing report on speech.

    `missing` says that observations may have gaps: a model then learns what to read in their place, and reads the mask.

    `unknown` is the category that stands for words outside the vocabulary, in text: what word dropout feeds instead of
    a word. It is one of the `size` categories, and is observed and scored as they are.
    """

    kind: Kind
    size: int
    first_observation: Literal["scored", "conditioned"] = "scored"
    missing: bool = False
    levels: int | None = None
    unknown: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(f"kind is {self.kind!r}; it must be real, binary, categorical or quantized")
        if (self.kind == "quantized") != (self.levels is not None):
            raise UserError(f"levels is {self.levels!r} for {self.kind} observations; quantized ones have levels")
        if self.levels is not None and (type(self.levels) is not int or self.levels < 2):
            raise UserError(f"levels is {self.levels!r}; it must be a whole number, 2 or more")
        if type(self.size) is not int or self.size < 1:
            raise UserError(f"an observation of size {self.size!r}: it must be a whole number, 1 or more")
        if self.first_observation not in ("scored", "conditioned"):
            raise UserError(f"first_observation is {self.first_observation!r}; it must be scored or conditioned")
        if not isinstance(self.missing, bool):
            raise UserError(f"missing is {self.missing!r}; it must be true or false")
        self._check_unknown()

    def _check_unknown(self) -> None:
        if self.unknown is None:
            return
        if self.kind != "categorical":
            raise UserError(f"unknown is {self.unknown!r} for {self.kind} observations; categorical ones may have it")
        if type(self.unknown) is not int or not 0 <= self.unknown < self.size:
            raise UserError(f"unknown is {self.unknown!r}; it must be null or a category, 0..{self.size - 1}")

    @property
    def conditions_on_first(self) -> bool:
        """Whether x_0 is an observation, and so a target of the backward network too."""
        return self.first_observation == "conditioned"

    def blank(self, n: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """x_0 when nothing is known: zeros [n, D], or the start symbol [n]."""
        if self.kind == "categorical":
            return torch.full((n,), self.size, device=device, dtype=torch.int64)
        return torch.zeros(n, self.size, device=device, dtype=dtype)


def missing_mark(x: Tensor) -> float:
    """What stands for a missing value in what models read: NaN, or -1 in integers."""
    return math.nan if x.is_floating_point() else -1
