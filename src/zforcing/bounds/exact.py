"""The log-likelihood itself, for the models that have one in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..models.base import SequenceModel
from ..observations import SequenceBatch
from .base import Bound, BoundResult, Weights


@dataclass(frozen=True)
class Exact(Bound):
    """log p(x): deterministic networks (a sum over steps) and the linear-Gaussian model (Kalman filter).

    Raises UserError for other models, which have bounds and estimates only.
    """

    name: ClassVar[str] = "exact"

    particles: ClassVar[int] = 1  # type: ignore[misc]  # no setting here: a field elsewhere
    capturable = True

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """log p(x) of each sequence; there is nothing that weights could weigh."""
        value = model.log_likelihood(batch).double()
        zero = value.new_zeros(value.shape)
        return BoundResult(value.detach(), -value, {"log_px": value.detach(), "kl": zero}, "exact")
