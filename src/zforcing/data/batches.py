"""Which sequences go into which batch: a pure function of the seed and the epoch, so that a run can resume anywhere.

And to which of a few lengths a batch is padded where every length costs something of its own (a CUDA graph).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ..observations import ObservationSpec, SequenceBatch, collate
from .dataset import SequenceDataset

WINDOW = 64  # batches sorted by length together: enough to fill them evenly, few enough to stay shuffled
MOST_STEPS = 2**22  # of an evaluation's batch, padding included


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


def evaluation_batches(lengths: NDArray[np.int64], batch_size: int, *, most_steps: int = MOST_STEPS) -> list[list[int]]:
    """Every sequence once, longest first (so that a batch too large for the memory fails at once), no randomness.

    A batch has `batch_size` sequences, or fewer where these would have more than `most_steps` steps in all, which are
    never more than `MOST_STEPS`.
    """
    most_steps = min(most_steps, MOST_STEPS)
    order = np.argsort(-lengths, kind="stable")
    batches, at = [], 0
    while at < len(order):
        size = min(batch_size, max(1, most_steps // max(1, int(lengths[order[at]]))))
        batches.append(order[at : at + size].tolist())
        at += size
    return batches


def load_batches(data: SequenceDataset, plan: Sequence[list[int]], spec: ObservationSpec) -> Iterator[SequenceBatch]:
    """The batches of a plan, one after the other. Torch's global generator is left alone."""
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_sampler=plan,
        collate_fn=partial(collate, spec=spec),  # a worker can't be sent a lambda
        generator=torch.Generator(),
    )
    return iter(loader)


def bucket(steps: int, *, most: int | None = None) -> int:
    """The least of 8, 16, ..., 64, 80, 96, 112, 128, 160, ... that is `steps` or more, but no more than `most` is.

    Multiples of 8, and from 32 on four for each doubling: a batch gets less than a quarter of its steps more.
    """
    unit = max(8, 1 << max(0, (steps - 1).bit_length() - 3))
    longer = -(-steps // unit) * unit
    return longer if most is None else max(steps, min(longer, most))


def pad_steps(batch: SequenceBatch, steps: int) -> SequenceBatch:
    """The same sequences, padded on the right to so many steps."""
    more = steps - batch.x.shape[1]
    if more == 0:
        return batch

    def pad(x: Tensor) -> Tensor:
        return F.pad(x, [0, 0] * (x.dim() - 2) + [0, more])

    return replace(batch, **{name: pad(value) for name, value in batch.stepwise.items()})
