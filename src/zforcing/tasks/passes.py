"""A pass over data: all its sequences, in batches that a model reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.dataset import check_dataset, description_of
from ..models import DensityModel, SequenceModel
from ..observations import DataDescription, SequenceBatch, TableFormat, collate
from ..runtime.device import as_device, place_of
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit
from .posterior import with_latents

ROWS = 256  # sequences times draws at a time, whose steps are all in memory
Indexed = tuple[list[int], SequenceBatch]


@dataclass(frozen=True)
class Pass:
    """A model with latents, in eval mode, and what it is to read."""

    model: SequenceModel
    data: SequenceDataset
    """as the model's description says"""
    description: DataDescription
    seed: int

    @classmethod
    def over(
        cls, data: SequenceDataset, model: DensityModel, *, needed_by: str, seed: int, device: torch.device | str | None
    ) -> Pass:
        """Raises UserError where the model has no latents or no time steps, or the data doesn't fit it."""
        must_be(model, DensityModel, "model", "a model, such as load(folder)")
        check_dataset(data, "data")
        must_fit(seed, Seed, "seed")
        steps = with_latents(model, needed_by=needed_by)
        described = description_of(steps, data)
        sequences = data.described_as(described)
        return cls((steps if device is None else steps.to(as_device(device))).eval(), sequences, described, seed)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def ids(self) -> tuple[Any, ...]:
        """Of the sequences: their numbers, where they have no others."""
        return tuple(getattr(self.data, "ids", range(len(self))))

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the numbers of a step, where the data or the model's training data named them."""
        own: tuple[str, ...] | None = getattr(self.data, "names", None)
        kind = self.description.format
        return own or (kind.names if isinstance(kind, TableFormat) else None)

    @property
    def first_step(self) -> int:
        """The first step that has a latent."""
        return self.description.spec.unscored_steps

    @contextmanager
    def running(self, *, copies: int = 1, max_rows: int | None = None) -> Iterator[Iterator[Indexed]]:
        """In a `with` block: the numbers of some sequences, and these, where the model is, long ones first.

        Gradients are off, and torch's global generator is seeded, and left as it was.

        Args:
            copies: how many rows a sequence will take.
            max_rows: at a time (at least one sequence); None: 256.
        """
        must_fit(max_rows, Count | None, "max_rows")
        rows = min(max_rows or ROWS, copies * len(self))
        with torch.random.fork_rng(), torch.no_grad(), cpu_threads(self.model, rows=rows):
            torch.manual_seed(self.seed)
            yield self._batches(max(1, rows // copies))

    def _batches(self, size: int) -> Iterator[Indexed]:
        for indices in evaluation_batches(self.data.lengths, size):
            batch = collate([self.data[i] for i in indices], self.description.spec)
            yield indices, batch.to(*place_of(self.model))
