"""One observation in the user's units inside a graph: read as the model reads it, and what is expected given back."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..observations import (
    BinaryColumn,
    CategoryColumn,
    Column,
    CountColumn,
    DataDescription,
    Normalization,
    ObservationSpec,
    PositiveColumn,
)
from ..observations.columns.count import LARGEST
from ..observations.formats.audio import LEAST, LEVELS, MOST, MU, AudioFormat
from ..observations.formats.base import Format


class Read(NamedTuple):
    """x_t of B sequences as a model reads it."""

    x: Tensor
    """[B, D], or [B] int64 of categories; 0 where there is nothing"""
    observed: Tensor
    """[B, D] bool, what is there and can be read"""
    wrong: Tensor
    """[B] bool, whether something is there that the model can't read"""


class Units(nn.Module):
    """Converts between the user's units and the model's, without a branch on a value.

    Args:
        description: Of the model's data.
        dtype: Of the model.
    """

    mean: Tensor
    std: Tensor
    input_mean: Tensor
    input_std: Tensor

    def __init__(self, description: DataDescription, dtype: torch.dtype):
        super().__init__()
        self.spec, self.dtype, kind = description.spec, dtype, description.format
        self.size = 1 if self.spec.kind == "categorical" else self.spec.size
        self.encoding = kind.encoding if isinstance(kind, AudioFormat) else "float"
        own = type(kind).from_units is not Format.from_units and not isinstance(kind, AudioFormat)
        self.of = "model" if own else "user"
        """whose units x is in: a format of one's own may convert as no graph can"""
        scaling, known = None if own else description.normalization, description.input_normalization
        self._keep("", scaling or _as_it_is(self.size))
        self._keep("input_", known or _as_it_is(self.spec.inputs))

    def _keep(self, what: str, scaling: Normalization) -> None:
        self.register_buffer(f"{what}mean", torch.tensor(scaling.mean, dtype=torch.float64))
        self.register_buffer(f"{what}std", torch.tensor(scaling.std, dtype=torch.float64))

    @property
    def is_affine(self) -> bool:
        """Whether moments can be converted."""
        return self.encoding != "mulaw"

    def read(self, raw: Tensor) -> Read:
        """x_t from [B, D] float64; NaN is missing, of categories also -1."""
        categorical = self.spec.kind == "categorical"
        missing = torch.isnan(raw) | (raw == -1) if categorical else torch.isnan(raw)
        x = self._scaled(raw)
        there = ~missing & torch.isfinite(raw) & torch.isfinite(x) & fits(raw, self.spec)
        wrong = ~(missing | there).all(-1)
        if categorical:
            return Read(torch.where(there, raw, 0.0).long()[:, 0], there, wrong)
        return Read(torch.where(there, x, 0.0).to(self.dtype), there, wrong)

    def read_inputs(self, raw: Tensor) -> Tensor:
        """u_t from [B, U] float64."""
        return ((raw - self.input_mean) / self.input_std).float().to(self.dtype)

    def moments(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, D] in the user's units; see `is_affine`."""
        if self.encoding == "pcm":
            half = (MOST - LEAST) / 2
            return (mean + 1) * half + LEAST, std * half
        return mean * self.std + self.mean, std * self.std

    def _scaled(self, raw: Tensor) -> Tensor:
        """[B, D] float32, as `Format.from_units` has it."""
        levels = LEVELS[self.encoding]
        if levels is None:
            return ((raw - self.mean) / self.std).float()
        samples = torch.round(raw).clamp(LEAST, MOST)
        level = _mulaw(samples / (MOST + 1)) if self.encoding == "mulaw" else samples - LEAST
        return (2 * level / (levels - 1) - 1).float()


def _as_it_is(size: int) -> Normalization:
    return Normalization((0.0,) * size, (1.0,) * size)


def _mulaw(s: Tensor) -> Tensor:
    """Codes 0..255, see `observations.formats.audio.mulaw_encode`."""
    companded = torch.sign(s) * torch.log(1 + MU * s.abs()) / math.log1p(MU)
    return torch.floor(MU * (companded + 1) / 2 + 0.5).clamp(0, MU)


def fits(raw: Tensor, spec: ObservationSpec) -> Tensor:
    """Whether numbers [B, D] are some that observations have, [B, D] bool."""
    if spec.kind == "binary":
        return _bits(raw)
    if spec.kind == "categorical":
        return _whole(raw, spec.size - 1)
    if spec.columns is None:
        return torch.ones_like(raw, dtype=torch.bool)
    each = zip(raw.split(1, dim=-1), spec.columns, strict=True)
    return torch.cat([_fits_column(x, column) for x, column in each], dim=-1)


def _fits_column(raw: Tensor, column: Column) -> Tensor:
    if isinstance(column, BinaryColumn):
        return _bits(raw)
    if isinstance(column, CategoryColumn):
        return _whole(raw, column.size - 1)
    if isinstance(column, CountColumn):
        return _whole(raw, LARGEST)
    return raw > 0 if isinstance(column, PositiveColumn) else torch.ones_like(raw, dtype=torch.bool)


def _bits(raw: Tensor) -> Tensor:
    return (raw == 0) | (raw == 1)


def _whole(raw: Tensor, most: int) -> Tensor:
    return (raw >= 0) & (raw <= most) & (raw == torch.floor(raw))
