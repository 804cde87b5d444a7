"""Which sequences go into which batch: a pure function of the seed and the epoch, so that a run can resume anywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 64  # batches sorted by length together: enough to fill them evenly, few enough to stay shuffled


def training_batches(lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches of indices, each sequence once, sequences of similar length together, in random order.

    A shuffle, cut into windows of 64 batches, each window sorted by length and cut into batches, the batches
    shuffled. The last batch may be smaller.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for window in range(0, len(order), WINDOW * batch_size):
        near = order[window : window + WINDOW * batch_size]
        near = near[np.argsort(lengths[near], kind="stable")]
        batches += [near[i : i + batch_size].tolist() for i in range(0, len(near), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def evaluation_batches(lengths: NDArray[np.int64], batch_size: int) -> list[list[int]]:
    """Every sequence once, longest first (so that a batch too large for the memory fails at once), no randomness."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
