"""What a model expects next: the distribution of one observation, in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import combine
from ..files.reading import Array
from ..observations import DataDescription
from .categories import are_categories
from .filtering import Prediction

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class NextStep:
    """p(x_{t+1} | x_<=t) of one sequence, a mixture of the particles' emissions; all in the data's units.

    Each part is computed when it is asked for.
    """

    prediction: Prediction
    """of one sequence, as the model reads it"""
    description: DataDescription
    """which says what the units are"""
    seed: int
    """of what is drawn, for quantiles"""

    @cached_property
    def mean(self) -> Array | None:
        """[D]; of 0 and 1 the probability of 1. None of categories."""
        return self._moments[0]

    @cached_property
    def std(self) -> Array | None:
        """[D], the standard deviation. None of categories."""
        return self._moments[1]

    @cached_property
    def probabilities(self) -> Array | None:
        """[V], of each category; None of other observations."""
        if self.description.spec.kind != "categorical":
            return None
        logits = getattr(self.prediction.emission, "logits")  # noqa: B009  # those of a Categorical, whose type isn't known
        each = torch.log_softmax(logits.double().cpu(), dim=-1)
        return np.asarray((self._weights[:, None] * each.exp()).sum(0).numpy())

    def quantile(self, q: float | Sequence[float]) -> Array:
        """[D], or [len(q), D]: the values that x is below with these probabilities, by 1000 draws.

        [] of categories, by their codes; NaN of columns of categories among others.
        """
        found = np.asarray(np.quantile(self.draws, q, axis=0, method="inverted_cdf"))
        spec = self.description.spec
        return found if spec.columns is None else np.where(are_categories(spec), np.nan, found)

    @cached_property
    def draws(self) -> Array:
        """[1000, D] draws, or [1000] of categories."""
        emission = self.prediction.emission
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            particle = torch.multinomial(self._weights, DRAWS, replacement=True)
            x: Tensor = combine(lambda v: v[particle], emission).sample()
        return self._in_units(x)

    @cached_property
    def _weights(self) -> Tensor:
        """[K], of the particles."""
        return torch.from_numpy(np.exp(self.prediction.log_weights[:, 0]))

    @cached_property
    def _moments(self) -> tuple[Array | None, Array | None]:
        """Mean and standard deviation: of the mixture, or where they have no closed form of the draws."""
        spec = self.description.spec
        if spec.kind == "categorical":
            return None, None
        moments = None if spec.kind == "quantized" else _moments_of(self.prediction.emission)
        if moments is None:
            return self.draws.mean(axis=0), self.draws.std(axis=0)
        mean, variance = (v.double().cpu() for v in moments)
        w = self._weights[:, None]
        center = (w * mean).sum(0)
        std = (w * (variance + (mean - center).square())).sum(0).sqrt()
        here, above = self._in_units(center), self._in_units(center + std)  # units are affine
        return here, above - here

    def _in_units(self, x: Tensor) -> Array:
        raw: Array = np.asarray(self.description.format.to_units(x.cpu().numpy(), self.description))
        return raw


def _moments_of(emission: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean and variance of each number, [K, D]; None where they have no closed form."""
    try:
        return emission.mean, emission.variance
    except NotImplementedError:
        return None
