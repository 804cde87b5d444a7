"""Truncated back-propagation through time: the state that each row of the batch goes on from."""

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
class GoingOn:
    """What a batch of chunks comes with.

    state: where each row goes on from; ahead: the same chunks with steps behind them, for the posterior to see, or None
    """

    state: State
    ahead: SequenceBatch | None = None

    def dropped(
        self, chunk: SequenceBatch, drop: Callable[[SequenceBatch], SequenceBatch]
    ) -> tuple[SequenceBatch, GoingOn]:
        """The chunk and the steps behind it with words dropped, the same ones in both: SRNN's context is made of what
        its network was fed.
        """
        if self.ahead is None:
            return drop(chunk), self
        ahead = drop(self.ahead)
        if ahead is self.ahead:
            return chunk, self
        return slice_steps(ahead, 0, chunk.x.shape[1])[0], replace(self, ahead=ahead)

    def context(self, model: SequenceModel, steps: int) -> Tensor | None:
        """What the posterior looks at in the chunks' own steps, [B, steps, C], if it is more than the chunks."""
        return None if self.ahead is None else model.encode(self.ahead, state=self.state)[:, :steps]


class Carry:
    """An epoch in chunks of `steps` steps: the state goes from an update to the next, detached, and no gradient does.

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
        scored = self.data.lengths - (1 if self.model.spec.conditions_on_first else 0)
        return streams(scored, self.batch_size, self.steps, seed=seed, epoch=epoch)

    def batches(
        self, plan: Sequence[list[Piece]], device: torch.device, *, epoch: int = 0
    ) -> Iterator[tuple[list[Piece], SequenceBatch, GoingOn]]:
        """Each batch of chunks, with what it goes on from. Call `keep` before the next one is taken."""
        loaded = load_pieces(self.data.at_epoch(epoch), plan, self.model.spec, look_ahead=self.look_ahead)
        for pieces, ahead in zip(plan, loaded, strict=True):
            ahead = ahead.to(device, place_of(self.model)[1])
            chunk, _ = slice_steps(ahead, 0, max(p.stop - p.start for p in pieces))
            yield pieces, chunk, GoingOn(self._first(pieces, chunk), ahead if self.look_ahead else None)

    def keep(self, pieces: Sequence[Piece], state: State | None) -> None:
        """The state after an update; None forgets it (after an update that was not finite): all rows begin anew."""
        self.state = None if state is None else map_state(torch.Tensor.detach, state)
        self.rows = [] if state is None else [p.row for p in pieces]

    def _first(self, pieces: Sequence[Piece], chunk: SequenceBatch) -> State:
        new = self.model.initial_state(len(chunk), start=chunk.start)
        if self.state is None:
            return new
        index = torch.tensor([self.rows.index(p.row) for p in pieces], device=chunk.x.device)
        begins = torch.tensor([p.start == 0 for p in pieces], device=chunk.x.device)
        return where_rows(begins, new, map_state(lambda v: v[index], self.state))

    # In a checkpoint.

    def tensors(self) -> dict[str, Tensor]:
        """The state and its rows, by names that begin with `PREFIX`; nothing at the beginning of an epoch."""
        if self.state is None:
            return {}
        named = {f"{PREFIX}{name}": value for name, value in self.state._asdict().items()}
        return named | {f"{PREFIX}rows": torch.tensor(self.rows)}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """The inverse of `tensors`. Raises KeyError or ValueError for those of another model."""
        if not tensors:
            return
        rows = tensors[f"{PREFIX}rows"].tolist()
        kind = self.model.initial_state(len(rows))
        found = {name: tensors[f"{PREFIX}{name}"] for name in kind._fields}
        for name, value in kind._asdict().items():
            if found[name].shape[1:] != value.shape[1:] or len(found[name]) != len(rows):
                raise ValueError(f"{name} is {list(found[name].shape)}; it must be {list(value.shape)}")
        self.state, self.rows = type(kind)(**{name: value.to(device) for name, value in found.items()}), rows
