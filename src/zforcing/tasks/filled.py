"""One sequence with gaps, and the draws of what is missing in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..files.reading import Array


@dataclass(frozen=True, eq=False)
class FilledSequence:
    """One sequence of T steps and D numbers each (1 of categories), in the user's units."""

    x: Array
    """[T, D], what was observed"""
    missing: Array
    """[T, D] bool"""
    steps: Array
    """[G]: the steps that were drawn; gaps of a first observation that the model only reads aren't"""
    draws: Array
    """[K, M]: their missing numbers, step by step"""
    ancestors: Array
    """[G]: how many particles the draws of a step come from"""
    effective: Array
    """[G]: how many independent draws they are worth"""

    @property
    def drawn(self) -> Array:
        """[T, D] bool, where there are draws: M numbers."""
        drawn = np.zeros_like(self.missing)
        drawn[self.steps] = self.missing[self.steps]
        return drawn

    def put(self, values: Array, into: Array) -> Array:
        """A copy of [..., T, D] with values [..., M] in the gaps."""
        whole = into.copy()
        whole[..., self.drawn] = values
        return whole


class Interval(NamedTuple):
    """Of each sequence [T_i, D]; what was observed is its own interval."""

    lower: list[Array]
    upper: list[Array]
