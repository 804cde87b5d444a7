"""Batches for truncated back-propagation: each row stays on one sequence, a chunk an update, until that ends.

The plan is a pure function of the seed and the epoch, as that of whole sequences is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..observations import ObservationSpec, SequenceBatch, collate
from .dataset import SequenceDataset


@dataclass(frozen=True)
class Piece:
    """Scored steps start..stop-1 (from 0) of the sequence `index`, in this row of the batch."""

    row: int
    index: int
    start: int
    stop: int


def streams(scored: NDArray[np.int64], batch_size: int, steps: int, *, seed: int, epoch: int) -> list[list[Piece]]:
    """One epoch's batches: every sequence once, cut into chunks of `steps`, the last one shorter.

    scored: [N], how many steps of each sequence are scored. The sequences come in random order; a row whose sequence
    has ended takes the next one, and leaves when there is none. Rows are in the same order in each batch.
    """
    waiting = iter(np.random.default_rng([seed, epoch]).permutation(len(scored)).tolist())
    at: dict[int, tuple[int, int]] = {}  # row -> sequence and the step to go on from
    batches = []
    rows = list(range(batch_size))
    while rows:
        pieces = []
        for row in rows:
            index, start = at.get(row, (-1, 0))
            if index < 0 or start >= scored[index]:
                index, start = next(waiting, -1), 0
            if index < 0:
                continue
            stop = min(start + steps, int(scored[index]))
            pieces.append(Piece(row, index, start, stop))
            at[row] = (index, stop)
        rows = [piece.row for piece in pieces]
        if pieces:
            batches.append(pieces)
    return batches


def load_pieces(
    data: SequenceDataset, plan: Sequence[list[Piece]], spec: ObservationSpec, *, look_ahead: int = 0
) -> Iterator[SequenceBatch]:
    """The batches of a plan, each piece with the `look_ahead` steps behind it, as far as its sequence goes.

    `start` is the observation before the piece where the spec conditions on the first one; else it is blank, and only
    a piece that begins its sequence should read it: the others go on from a state that has.
    """
    first = spec.unscored_steps
    for pieces in plan:
        ends = [min(p.stop + look_ahead, int(data.lengths[p.index]) - first) for p in pieces]
        examples = [data.piece(p.index, p.start, end + first) for p, end in zip(pieces, ends, strict=True)]
        yield collate(examples, spec)
