"""The specification of one observation: its kind, its size, and how the first one is treated."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from ..errors import UserError
from .columns import Column, columns_from_json

Kind = Literal["real", "binary", "categorical", "quantized", "mixed"]


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
    to 1; its likelihood is a probability, not a density. A `mixed` one is a vector of `size` numbers, each of a kind of
    its own, in `columns`"""
    size: int
    """numbers in a vector, or how many categories there are"""
    first_observation: Literal["scored", "conditioned"] = "scored"
    """what x_0 is, which the model reads before it emits x_1. scored: blank (zeros; for categories an extra symbol with
    the number `size`; NaN in mixed observations), and every observation counts in the likelihood. conditioned: the
    first observation of the sequence, which is read but not scored: log p(x_2..x_T | x_1), as SRNN and Z-Forcing report
    on speech"""
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
    columns: tuple[Column, ...] | None = None
    """mixed observations: the kind of each of the `size` numbers"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(f"kind is {self.kind!r}; it must be real, binary, categorical, quantized or mixed")
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
        self._check_columns()

    def _check_unknown(self) -> None:
        if self.unknown is None:
            return
        if self.kind != "categorical":
            raise UserError(f"unknown is {self.unknown!r} for {self.kind} observations; categorical ones may have it")
        if type(self.unknown) is not int or not 0 <= self.unknown < self.size:
            raise UserError(f"unknown is {self.unknown!r}; it must be null or a category, 0..{self.size - 1}")

    def _check_columns(self) -> None:
        if (self.kind == "mixed") != (self.columns is not None):
            raise UserError(f"columns is {self.columns!r} for {self.kind} observations; mixed ones have columns")
        if self.columns is None:
            return
        if not all(isinstance(column, Column) for column in tuple(self.columns)):
            raise UserError(f"columns is {self.columns!r}; it must be a tuple of columns, such as (RealColumn(),)")
        if len(self.columns) != self.size:
            raise UserError(f"there are {len(self.columns)} columns for observations of size {self.size}; give as many")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: value for name, value in asdict(self).items() if name != "columns"}
        return values if self.columns is None else values | {"columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`. Raises KeyError, TypeError or UserError for what no specification is."""
        given = dict(**values)
        columns = given.get("columns")
        return cls(**given | {"columns": None if columns is None else columns_from_json(columns)})

    @property
    def has_density(self) -> bool:
        """Whether p(x_t) is a density, and no probability."""
        return self.kind == "real" or not all(column.discrete for column in self.columns or ())

    @property
    def conditions_on_first(self) -> bool:
        """Whether x_0 is the first observation, which is read but not scored."""
        return self.first_observation == "conditioned"

    @property
    def unscored_steps(self) -> int:
        """Steps at the start of a sequence that are read but not scored: 1 if the first is conditioned on, else 0."""
        return int(self.conditions_on_first)

    def blank(self, n: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the x_0 that says nothing: zeros, the start symbol of categories, or NaN in mixed observations, where
        0 may be a category.

        Args:
            n: Number of sequences.
            device: Device of the result.
            dtype: Floating-point type of the result; categories are int64.

        Returns:
            Tensor [n, D], or [n] int64 for categories.
        """
        if self.kind == "categorical":
            return torch.full((n,), self.size, device=device, dtype=torch.int64)
        nothing = math.nan if self.kind == "mixed" else 0.0
        return torch.full((n, self.size), nothing, device=device, dtype=dtype)


def missing_mark(x: Tensor) -> float:
    """The value that marks a missing entry of x in what models read: NaN, or -1 in integers."""
    return math.nan if x.is_floating_point() else -1
