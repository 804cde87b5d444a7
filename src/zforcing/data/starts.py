"""First observations of sequences, for the samples of models that condition on them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..observations import DataDescription, collate
from .dataset import SequenceDataset

MOST = 64  # that a model keeps


def first_observations(data: SequenceDataset, description: DataDescription, *, most: int = MOST) -> Tensor | None:
    """x_0 of some training sequences, [n, D] or [n], for a model to keep; None where it doesn't condition on them.

    Always the same ones of the same data, at random; NaN, or -1 of categories, is a missing value.
    """
    if not description.spec.conditions_on_first:
        return None
    count = len(data)
    rows = np.random.default_rng(0).permutation(count)[:most] if count > most else np.arange(count)
    return collate([data.piece(i, 0, 2) for i in rows.tolist()], description.spec).start


def random_first_observations(data: SequenceDataset, description: DataDescription, n: int, *, seed: int) -> Tensor:
    """x_0 of n sequences drawn from `data`, for models that condition on the first observation. [n, D] or [n]."""
    rows = np.random.default_rng(seed).integers(len(data), size=n).tolist()
    return collate([data.piece(i, 0, 2) for i in rows], description.spec).start
