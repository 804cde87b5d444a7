"""The log-likelihood estimated by importance sampling from the posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import UserError
from ..models.base import SequenceModel
from ..observations import SequenceBatch
from .base import Bound, BoundResult, Weights, check_bound
from .iwae import IWAE


@dataclass(frozen=True)
class Importance(Bound):
    """log p(x) ~ log (1/K) sum_k w_k, as the papers of this family report it (VRNN: K = 40).

    The estimate of p(x) is unbiased, its logarithm is low on average (it is IWAE's number under another name): with
    few particles it is a bound in disguise, which is why it says `estimate`. Its standard error over repeats tells
    the noise, a rise with K the bias.
    """

    name: ClassVar[str] = "importance"

    particles: int = 40
    """K, how many latents are drawn for a sequence"""
    max_rows: int = 8192
    """particles times sequences that are in memory at once"""

    def __post_init__(self) -> None:
        check_bound(self)
        if self.max_rows < 1:
            raise UserError(f"bound.max_rows is {self.max_rows}; it must be 1 or more")

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """The estimate for each sequence."""
        result = IWAE(self.particles, max_rows=self.max_rows)(model, batch, weights=weights)
        return replace(result, kind="estimate" if model.latent_size else "exact")
