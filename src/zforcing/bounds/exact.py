"""The exact log-likelihood, for the models that have it in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..models.sequence import SequenceModel
from ..observations import SequenceBatch
from .base import Bound, BoundResult, Weights


@dataclass(frozen=True)
class Exact(Bound):
    """The exact log p(x): of deterministic networks (a sum over steps) and linear-Gaussian models (a Kalman filter)."""

    name: ClassVar[str] = "exact"

    particles: ClassVar[int] = 1  # type: ignore[misc]  # no setting here: a field elsewhere
    capturable = True

    def __call__(self, model: SequenceModel, batch: SequenceBatch, *, weights: Weights = Weights()) -> BoundResult:
        """Compute log p(x) of each sequence.

        Args:
            model: A model whose `log_likelihood` is exact.
            batch: B sequences.
            weights: Without effect: there is no KL and no auxiliary cost.

        Returns:
            log p(x) of each sequence, in nats.

        Raises:
            UserError: The model has no exact likelihood.
        """
        value = model.log_likelihood(batch).double()
        zero = value.new_zeros(value.shape)
        return BoundResult(value.detach(), -value, {"log_px": value.detach(), "kl": zero}, "exact")
