"""The baseline of mixed observations: each column on its own, by the density of its kind with the same parameters at
every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..distributions import ColumnProduct, Factor, log_prob_of_observed
from ..emissions import EmissionSettings, factors_of
from ..observations import Column, Example
from .gaussian_baselines import MIN_STD, Padded, Steps

MOST_ITERATIONS = 100  # of L-BFGS, which takes some twenty


@dataclass(frozen=True, eq=False)
class IndependentColumns:
    """p(x_t) = prod_d p_d(x_td). parameters: [P], of all columns, the likeliest of the training split."""

    parameters: Tensor
    factors: tuple[Factor, ...]
    name: str = "independent columns"

    @classmethod
    def fit(cls, train: Steps, columns: Sequence[Column]) -> IndependentColumns:
        """By maximum likelihood, with no standard deviation below `MIN_STD` in the model's units."""
        factors = tuple(factors_of(columns, EmissionSettings(min_std=MIN_STD)))
        x, seen = torch.from_numpy(train.x), torch.from_numpy(train.seen)
        size = sum(factor.columns * factor.size for factor in factors)
        parameters = torch.zeros(size, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([parameters], max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            mean = -log_prob_of_observed(ColumnProduct(parameters, factors), x, seen).mean()
            mean.backward()
            return mean

        with torch.enable_grad():
            search.step(loss)
        return cls(parameters.detach(), factors)

    def log_prob(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """[N, T] nats of each step, 0 in the padding."""
        batch = Padded.of(examples)
        product = ColumnProduct(self.parameters, self.factors)
        nats: NDArray[np.float64] = log_prob_of_observed(
            product, torch.from_numpy(batch.x), torch.from_numpy(batch.seen)
        ).numpy()
        return nats
