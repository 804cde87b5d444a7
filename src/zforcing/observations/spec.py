"""The specification of one observation: its kind, its size, and how the first one is treated."""

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
    """The kind and size of one observation x_t. The data set determines it, and models are built from it.

    Raises:
        UserError: A field has a value that isn't allowed, or that this kind of observation doesn't have.

    Example:
        >>> ObservationSpec("real", 3).unscored_steps
        0
        >>> ObservationSpec("real", 200, first_observation="conditioned").unscored_steps
        1
    """

    kind: Kind
    """`real` and `binary` observations are vectors of `size` numbers, a `categorical` one is an integer in 0..size-1. A
    `quantized` one (integer audio) is a vector of `size` numbers, each one of `levels` equally spaced numbers from -1
    to 1; its likelihood is a probability, not a density"""
    size: int
    """numbers in a vector, or how many categories there are"""
    first_observation: Literal["scored", "conditioned"] = "scored"
    """what x_0 is, which the model reads before it emits x_1. scored: blank (zeros; for categories an extra symbol with
    the number `size`), and every observation counts in the likelihood. conditioned: the first observation of the
    sequence, which is read but not scored: log p(x_2..x_T | x_1), as SRNN and Z-Forcing report on speech"""
    missing: bool = False
    """whether values may be missing. A model then reads the mask, and a learned value in place of each missing one"""
    levels: int | None = None
    """quantized observations: L, how many levels there are; level k of 0..L-1 is the number -1 + 2 k / (L - 1)"""
    unknown: int | None = None
    """text: the category of words outside the vocabulary, which word dropout feeds in place of a word. It is one of the
    `size` categories, observed and scored like the others"""
    inputs: int = 0
    """U, the size of the known inputs u_t, such as control signals or the calendar, which models read at every step and
    nobody scores; 0 where there are none"""

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
        if type(self.inputs) is not int or self.inputs < 0:
            raise UserError(f"inputs is {self.inputs!r}; it must be a whole number, 0 or more")
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
        """Whether x_0 is the first observation, which is read but not scored."""
        return self.first_observation == "conditioned"

    @property
    def unscored_steps(self) -> int:
        """Steps at the start of a sequence that are read but not scored: 1 if the first is conditioned on, else 0."""
        return int(self.conditions_on_first)

    def blank(self, n: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the x_0 that says nothing: zeros, or the start symbol of categories.

        Args:
            n: Number of sequences.
            device: Device of the result.
            dtype: Floating-point type of the result; categories are int64.

        Returns:
            Tensor [n, D], or [n] int64 for categories.
        """
        if self.kind == "categorical":
            return torch.full((n,), self.size, device=device, dtype=torch.int64)
        return torch.zeros(n, self.size, device=device, dtype=dtype)


def missing_mark(x: Tensor) -> float:
    """The value that marks a missing entry of x in what models read: NaN, or -1 in integers."""
    return math.nan if x.is_floating_point() else -1
