"""Draws of what is missing, as a model reads it: a smoother's particles, moved where they come from few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch

from ..files.reading import Array
from ..models import SequenceModel
from ..observations import Example, SequenceBatch, collate
from .genealogy import effective_of, lines_of
from .moves import Block, Mover, Paths, blocks_of, worth
from .smoothing import Histories, Smoother

LONGEST = 10  # steps of a block that moves at once
PART = 256  # steps whose draws are chosen at once
ENOUGH = 0.5  # of K: draws that are worth as many aren't moved


class Draws(NamedTuple):
    """Draws of one sequence."""

    x: Array
    """[K, G, D]: complete observations at the G scored steps that have gaps"""
    steps: Array
    """[G]"""
    ancestors: Array
    """[G], how many particles they come from"""
    effective: Array
    """[G], how many independent draws they are worth"""


def drawn_sequences(
    model: SequenceModel, examples: Sequence[Example], *, particles: int, lag: int | None, moves: int
) -> list[Draws]:
    """K draws of each of B sequences, from torch's global generator.

    Args:
        model: In eval mode.
        examples: B sequences.
        particles: K.
        lag: Steps behind a gap that say something about it; None: all.
        moves: Of each block of steps.
    """
    batch = collate(examples, model.spec)
    gaps = (batch.exists & ~batch.scored).reshape(*batch.x.shape[:2], -1).any(-1).numpy()
    smoother = Smoother(model, batch, particles=particles)
    histories = smoother.run(keep_latents=moves > 0)
    lines = [lines_of(histories, b, gaps[b, :steps], lag=lag) for b, steps in enumerate(batch.lengths.tolist())]
    paths = _paths(histories, lines, smoother.batch)
    effective = [np.array([effective_of(line) for line in of]) for of in lines]
    if moves:
        blocks = [_blocks(gaps[b, : len(e)] & (e < ENOUGH * particles)) for b, e in enumerate(effective)]
        mover = Mover(model, smoother.batch, paths, lag=lag)
        for turn in zip_longest(*blocks):
            for e, block, alike in zip(effective, turn, mover.move(turn, times=moves).tolist(), strict=True):
                if block is not None:
                    steps = slice(block.first, block.last + 1)
                    e[steps] = worth(particles, e[steps], alike)
    x = paths.x.reshape(len(paths.x), particles, len(batch), -1).cpu().numpy()
    return [_draws(x[:, :, b], lines[b], effective[b], gaps[b]) for b in range(len(batch))]


def _paths(histories: Histories, lines: Sequence[Array], batch: SequenceBatch) -> Paths:
    """The draws' latents and observations, of the model's types; in the padding the last particles' own.

    They take the place of the histories in memory: of long sequences there is none for both.
    """

    def chosen(values: Array) -> torch.Tensor:
        for b, line in enumerate(lines):
            for first in range(0, len(line), PART):
                picked = line[first : first + PART]
                part = values[first : first + len(picked), :, b]
                part[:] = np.take_along_axis(part, picked[:, :, None], axis=1)
        return torch.from_numpy(values).flatten(1, 2).to(batch.x.device)

    x = chosen(histories.x)
    return Paths(chosen(histories.z), x if batch.x.dim() == 3 else x[..., 0])


def _blocks(poor: Array) -> list[Block]:
    return blocks_of(np.flatnonzero(poor).tolist(), longest=LONGEST)


def _draws(x: Array, lines: Array, effective: Array, gaps: Array) -> Draws:
    steps = np.flatnonzero(gaps[: len(lines)])
    ancestors = np.array([len(np.unique(line)) for line in lines[steps]], dtype=np.int64)
    shuffled = torch.randperm(x.shape[1]).numpy()  # resampled particles stand in the order of their ancestors
    return Draws(np.ascontiguousarray(x[steps].swapaxes(0, 1)[shuffled]), steps, ancestors, effective[steps])
