"""The log-likelihood, estimated by importance sampling from the posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ..models.density import DensityModel
from ..models.state import State
from ..observations import SequenceBatch
from ..settings import Count
from .base import Bound, BoundResult, Weights, refuse
from .iwae import IWAE


@dataclass(frozen=True)
class Importance(Bound):
    """The importance-sampling estimate log p(x) ~ log (1/K) sum_k w_k, which papers report (VRNN: K = 40).

    The value is that of `IWAE`. The estimate of p(x) is unbiased, so that its logarithm is too low on average, by less
    with more particles. The standard error over repeats measures the noise, an increase with K shows the bias.

    Raises:
        UserError: `max_rows` is below 1; at a call, `state` or `context` is given.
    """

    name: ClassVar[str] = "importance"

    particles: Count = 40
    """K, the number of latent samples per sequence"""
    max_rows: Count = 8192
    """the most rows (particles times sequences) in memory at a time"""

    def __call__(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """Compute the estimate for each sequence. See `Bound`."""
        refuse(self, state=state, context=context)
        result = IWAE(self.particles, max_rows=self.max_rows)(model, batch, weights=weights, noise=noise)
        return replace(result, kind="estimate" if model.latent_size else "exact")
