"""What each update of an epoch trains on: whole sequences, or chunks of them with a carried state.

Both are pure functions of the seed and the epoch, so that a run can resume anywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from ..bounds import ELBO, BoundResult, ChunkedELBO, Weights
from ..data import SequenceDataset
from ..data.batches import load_batches, training_batches
from ..distributions import row_seeds, seed_for
from ..models import DensityModel, SequenceModel, of_sequences
from ..models.in_chunks import LONG
from ..observations import SequenceBatch
from ..runtime.device import place_of
from .carry import Carry
from .parallel import Processes
from .settings import TrainingConfig
from .update import BoundModule, Part, Updated


@dataclass(frozen=True)
class Work:
    """What one update trains on. indices: its sequences, of all processes; parts: what this process computes."""

    indices: list[int]
    parts: list[Part]


class Feed(ABC):
    """The updates of an epoch. per: what a batch's rows are, a whole "sequence" or a "chunk" of one."""

    per: str

    @abstractmethod
    def plan(self, epoch: int) -> list[Any]:
        """An entry for each update of the epoch."""

    @abstractmethod
    def updates(self, plan: Sequence[Any], *, epoch: int, step: int) -> Iterator[Work]:
        """What these entries of a plan train on, one after the other, the first of them at update `step`. The noise of
        a sequence is a function of the seed, the update and its index in the data.
        """

    @abstractmethod
    def measure(self, module: BoundModule, batch: SequenceBatch, weights: Weights) -> BoundResult:
        """The bound of whole sequences, as training's memory allows."""

    @abstractmethod
    def keep(self, entry: Any, updated: Updated) -> None:
        """Keep the state that the next update starts from, after the update of a plan's entry."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the state, at the end of an epoch."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The state between two updates, for a checkpoint."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`. Raises KeyError or ValueError for tensors of another model."""


class WholeSequences(Feed):
    """Batches of whole sequences; an update takes `accumulate` of them, one after the other."""

    per = "sequence"

    def __init__(
        self, data: SequenceDataset, model: DensityModel, settings: TrainingConfig, *, seed: int, here: Processes
    ):
        self.data, self.model, self.seed, self.here = data, model, seed, here
        self.batch_size, self.accumulate = settings.batch_size, settings.accumulate

    def plan(self, epoch: int) -> list[list[int]]:
        """The sequences of each update: `accumulate` batches together."""
        return training_batches(self.data.lengths, self.batch_size * self.accumulate, seed=self.seed, epoch=epoch)

    def updates(self, plan: Sequence[list[int]], *, epoch: int, step: int) -> Iterator[Work]:
        cuts = [_cut(indices, self.batch_size) for indices in plan]
        noise = [noise_seed(self.seed, at) for at, cut in enumerate(cuts, step) for _ in cut]
        flat = [batch for cut in cuts for batch in cut]
        batches = own_parts(self.data.at_epoch(epoch), flat, self.model, self.here, noise=noise)
        for indices, cut in zip(plan, cuts, strict=True):
            own = zip(cut, islice(batches, len(cut)), strict=True)
            yield Work(indices, [Part(batch, share * len(b) / len(indices)) for b, (batch, share) in own])

    def measure(self, module: BoundModule, batch: SequenceBatch, weights: Weights) -> BoundResult:
        result: BoundResult = module(batch, weights)
        return result

    def keep(self, entry: Any, updated: Updated) -> None:
        """Whole sequences carry no state."""

    def forget(self) -> None:
        """Whole sequences carry no state."""

    def tensors(self) -> dict[str, Tensor]:
        """Empty: whole sequences carry no state."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Whole sequences carry no state."""


class Chunks(Feed):
    """Truncated back-propagation through time: each chunk starts from the state after the one before (`Carry`)."""

    per = "chunk"

    def __init__(
        self, data: SequenceDataset, model: DensityModel, settings: TrainingConfig, *, seed: int, here: Processes
    ):
        assert settings.truncated_bptt_steps is not None, "whole sequences have no state to carry"
        self.model = of_sequences(model, needed_by="training.truncated_bptt_steps")
        self.seed, self.here = seed, here
        self.steps = settings.truncated_bptt_steps
        self.carry = Carry(
            data,
            self.model,
            batch_size=settings.batch_size,
            steps=settings.truncated_bptt_steps,
            look_ahead=settings.look_ahead,
            here=here,
        )

    def plan(self, epoch: int) -> list[Any]:
        return self.carry.plan(seed=self.seed, epoch=epoch)

    def updates(self, plan: Sequence[Any], *, epoch: int, step: int) -> Iterator[Work]:
        noise = [noise_seed(self.seed, at) for at, _ in enumerate(plan, step)]
        for pieces, share, batch, carried in self.carry.batches(plan, epoch=epoch, noise=noise):
            yield Work([piece.index for piece in pieces], [Part(batch, share, carried)])

    def measure(self, module: BoundModule, batch: SequenceBatch, weights: Weights) -> BoundResult:
        free_nats = module.bound.free_nats if isinstance(module.bound, ELBO) else 0.0
        return ChunkedELBO(self.steps, free_nats=free_nats)(self.model, batch, weights=weights)

    def keep(self, entry: Any, updated: Updated) -> None:
        self.carry.keep(entry, updated.state if updated.applied else None)

    def forget(self) -> None:
        self.carry.keep([], None)

    def tensors(self) -> dict[str, Tensor]:
        return self.carry.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.carry.restore(tensors)


def make_feed(
    data: SequenceDataset, model: DensityModel, settings: TrainingConfig, *, seed: int, here: Processes
) -> Feed:
    """Whole sequences, or chunks if `truncated_bptt_steps` is set."""
    if settings.truncated_bptt_steps is None:
        return WholeSequences(data, model, settings, seed=seed, here=here)
    return Chunks(data, model, settings, seed=seed, here=here)


def held_whole(model: DensityModel, data: SequenceDataset, settings: TrainingConfig) -> list[str]:
    """Which setting bounds the memory, where a gradient through all steps of long sequences takes much."""
    longest = int(data.lengths.max())
    if longest <= LONG or settings.truncated_bptt_steps is not None or not isinstance(model, SequenceModel):
        return []
    grows = f"sequences of up to {longest} steps are trained whole, in memory that grows with each step"
    return [f"{grows}: training.truncated_bptt_steps 500 (of the elbo) takes 500 at a time, with the state carried"]


def own_parts(
    data: SequenceDataset, plan: Sequence[list[int]], model: DensityModel, here: Processes, *, noise: Sequence[int]
) -> Iterator[tuple[SequenceBatch, float]]:
    """This process's part of each batch, and the weight that makes mean-over-part * weight add up to the batch's mean.
    A process with nothing left takes one sequence with weight 0, so that all take the same steps. noise: a seed for
    each batch.
    """
    parts = [batch[here.rank :: here.world] for batch in plan]
    own = [part or batch[:1] for part, batch in zip(parts, plan, strict=True)]
    loaded = load_batches(data, own, model.spec)
    for whole, part, indices, seed, batch in zip(plan, parts, own, noise, loaded, strict=True):
        yield batch.seeded(row_seeds(seed, indices)).to(*place_of(model)), len(part) / len(whole)


def noise_seed(seed: int, step: int) -> int:
    """The seed of the noise of an update's sequences."""
    return seed_for(seed, "noise", step)


def _cut(indices: list[int], size: int) -> list[list[int]]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]
