"""Truncated back-propagation through time: the state carried from chunk to chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import SequenceDataset
from ..data.streams import Piece, load_pieces, streams
from ..models import SequenceModel, State, map_state, where_rows
from ..observations import SequenceBatch, slice_steps
from ..runtime.device import place_of

PREFIX = "carried."  # of the names under which a checkpoint keeps a state


@dataclass(frozen=True)
class CarriedState:
    """The state that a batch of chunks continues from, and the steps after them that the posterior may see.

    state:  after the chunk before, without gradient; what it holds of rows that begin is of no use. None: all begin
    begins: [B] bool, the rows whose chunk is a sequence's first
    ahead:  the chunks and the steps that follow them, or None
    """

    state: State | None
    begins: Tensor
    ahead: SequenceBatch | None = None

    def drop_words(
        self, chunk: SequenceBatch, drop: Callable[[SequenceBatch], SequenceBatch]
    ) -> tuple[SequenceBatch, CarriedState]:
        """Drop the same words in the chunk and in `ahead`: SRNN's context is computed from what its network was fed."""
        if self.ahead is None:
            return drop(chunk), self
        ahead = drop(self.ahead)
        if ahead is self.ahead:
            return chunk, self
        return slice_steps(ahead, 0, chunk.x.shape[1])[0], replace(self, ahead=ahead)

    def before(self, model: SequenceModel, chunk: SequenceBatch) -> State:
        """The state of each row before its chunk's first step. Rows that begin have read x_0 in this very update."""
        new = model.initial_state(len(chunk), start=chunk.start)
        return new if self.state is None else where_rows(self.begins, new, self.state)

    def context(self, model: SequenceModel, steps: int, *, state: State) -> Tensor | None:
        """The posterior's context in the chunks' own steps, [B, steps, C]; None where it reads only the chunks."""
        return None if self.ahead is None else model.encode(self.ahead, state=state)[:, :steps]


class Carry:
    """An epoch in chunks of `steps` steps. The state is carried from update to update, detached: no gradient is.

    Each row of the batch stays on one sequence until it ends; then it takes another one, from the initial state
    (`zforcing.data.streams`). look_ahead: steps behind a chunk that a backward network reads before it enters the
    chunk; at 0 it begins at the chunk's end. The state between two updates belongs to a checkpoint (`tensors`).
    """

    def __init__(self, data: SequenceDataset, model: SequenceModel, *, batch_size: int, steps: int, look_ahead: int):
        self.data, self.model = data, model
        self.batch_size, self.steps, self.look_ahead = batch_size, steps, look_ahead
        self.state: State | None = None
        self.rows: list[int] = []  # of the batch, which the state's rows belong to

    def plan(self, *, seed: int, epoch: int) -> list[list[Piece]]:
        """The epoch's batches."""
        scored = self.data.lengths - self.model.spec.unscored_steps
        return streams(scored, self.batch_size, self.steps, seed=seed, epoch=epoch)

    def batches(
        self, plan: Sequence[list[Piece]], device: torch.device, *, epoch: int = 0
    ) -> Iterator[tuple[list[Piece], SequenceBatch, CarriedState]]:
        """Iterate over the batches of chunks with the state before each. Call `keep` before taking the next one."""
        loaded = load_pieces(self.data.at_epoch(epoch), plan, self.model.spec, look_ahead=self.look_ahead)
        for pieces, ahead in zip(plan, loaded, strict=True):
            ahead = ahead.to(device, place_of(self.model)[1])
            chunk, _ = slice_steps(ahead, 0, max(p.stop - p.start for p in pieces))
            begins = torch.tensor([p.start == 0 for p in pieces], device=device)
            yield pieces, chunk, CarriedState(self._continued(pieces), begins, ahead if self.look_ahead else None)

    def keep(self, pieces: Sequence[Piece], state: State | None) -> None:
        """Keep the state after an update. None (after one that was not finite) makes all rows start again."""
        self.state = None if state is None else map_state(torch.Tensor.detach, state)
        self.rows = [] if state is None else [p.row for p in pieces]

    def _continued(self, pieces: Sequence[Piece]) -> State | None:
        """The kept state in the order of these pieces."""
        if self.state is None:
            return None
        index = torch.tensor([self.rows.index(p.row) for p in pieces], device=self.state[0].device)
        return map_state(lambda v: v[index], self.state)

    # In a checkpoint.

    def tensors(self) -> dict[str, Tensor]:
        """The state and its rows, by names that begin with `PREFIX`; nothing at the beginning of an epoch."""
        if self.state is None:
            return {}
        named = {f"{PREFIX}{name}": value for name, value in self.state._asdict().items()}
        return named | {f"{PREFIX}rows": torch.tensor(self.rows)}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """The inverse of `tensors`. Raises KeyError or ValueError for tensors of another model."""
        if not tensors:
            return
        rows = tensors[f"{PREFIX}rows"].tolist()
        kind = self.model.initial_state(len(rows))
        values = {name: tensors[f"{PREFIX}{name}"] for name in kind._fields}
        for name, value in kind._asdict().items():
            if values[name].shape[1:] != value.shape[1:] or len(values[name]) != len(rows):
                raise ValueError(f"{name} is {list(values[name].shape)}; it must be {list(value.shape)}")
        self.state, self.rows = type(kind)(**{name: value.to(device) for name, value in values.items()}), rows
