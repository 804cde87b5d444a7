"""How real observations were scaled."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from .checks import is_number

LEAST = 1e-150  # a standard deviation whose square float64 holds with all its digits


@dataclass(frozen=True)
class Normalization:
    """x = (raw - mean) / std, per feature, with the mean and the standard deviation of the training split.

    log p(raw) = log p(x) - sum over the scored numbers of ln std.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if not all(is_number(v) and abs(v) <= sys.float_info.max for v in numbers):
                raise UserError(f"normalization.{name} is {_brief(numbers)}; it must hold finite numbers")
        if len(self.mean) != len(self.std) or not all(v > 0 for v in self.std):
            raise UserError(f"normalization.std is {_brief(self.std)}; it must hold a positive number for each mean")

    @classmethod
    def fit(cls, rows: Array) -> Normalization:
        """From the training split's rows [N, D], NaN where nothing is observed. A constant feature keeps std 1."""
        if rows.dtype.kind == "f":  # squares of 1e-25 and of 1e20 are 0 and infinite in float32
            rows = rows.astype(np.float64, copy=False)
        mean = np.asarray(np.nanmean(rows, axis=0, dtype=np.float64))
        std = np.asarray(np.nanstd(rows, axis=0, dtype=np.float64))
        if (std < LEAST).any():  # squares of 1e-200 are 0 in float64
            unit = np.nanmax(np.abs(rows - mean), axis=0)
            unit = np.where((unit > 0) & (std < LEAST), unit, 1.0)
            std = np.where(std < LEAST, unit * np.nanstd((rows - mean) / unit, axis=0), std)
        # By its range: the standard deviation of a constant 0.1 comes out as 1e-15, and its density as e^34.
        constant = (np.nanmin(rows, axis=0) == np.nanmax(rows, axis=0)) | (std == 0)
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist()))

    def apply(self, raw: Array) -> Array:
        """[..., D] in the data's units -> float32 in units of the standard deviation."""
        normalized: Array = ((raw - np.asarray(self.mean)) / np.asarray(self.std)).astype(np.float32)
        return normalized

    def invert(self, x: Array) -> Array:
        """[..., D] in units of the standard deviation -> the data's units."""
        raw: Array = x * np.asarray(self.std) + np.asarray(self.mean)
        return raw


def _brief(numbers: Sequence[object]) -> str:
    return f"[{', '.join(map(repr, numbers[:8]))}{', ...' if len(numbers) > 8 else ''}]"
