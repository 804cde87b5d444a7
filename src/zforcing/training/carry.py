"""Truncated back-propagation through time: the state carried from chunk to chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import SequenceDataset
from ..data.streams import Piece, load_pieces, streams
from ..distributions import row_seeds
from ..models import SequenceModel, State, map_state, where_rows
from ..observations import SequenceBatch, slice_steps
from ..runtime.device import place_of
from .parallel import Processes, SingleProcess

NO_ROW = -1  # of a piece that is taken along, and counts nothing
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


def _from_beginning(piece: Piece) -> Piece:
    """As many steps of the sequence's beginning, in no row."""
    return replace(piece, row=NO_ROW, start=0, stop=piece.stop - piece.start)


class Carry:
    """An epoch in chunks of `steps` steps. The state is carried from update to update, detached: no gradient is.

    Each row of the batch stays on one sequence until it ends; then it takes another one, from the initial state
    (`zforcing.data.streams`). look_ahead: steps behind a chunk that a backward network reads before it enters the
    chunk; at 0 it begins at the chunk's end. The state between two updates belongs to a checkpoint (`tensors`).
    """

    def __init__(
        self,
        data: SequenceDataset,
        model: SequenceModel,
        *,
        batch_size: int,
        steps: int,
        look_ahead: int,
        here: Processes | None = None,
    ):
        self.data, self.model = data, model
        self.batch_size, self.steps, self.look_ahead = batch_size, steps, look_ahead
        self.here = here or SingleProcess(place_of(model)[0])
        self.state: State | None = None
        self.rows: list[int] = []  # of the batch, of this process, which the state's rows belong to

    def plan(self, *, seed: int, epoch: int) -> list[list[Piece]]:
        """The epoch's batches, of all processes: row r is on process r % world all the time."""
        scored = self.data.lengths - self.model.spec.unscored_steps
        return streams(scored, self.batch_size, self.steps, seed=seed, epoch=epoch)

    def batches(
        self, plan: Sequence[list[Piece]], *, noise: Sequence[int], epoch: int = 0
    ) -> Iterator[tuple[list[Piece], float, SequenceBatch, CarriedState]]:
        """Iterate over the batches: all of their pieces, the share of them that this process has, its chunks, and the
        state before them. Call `keep` before taking the next one. noise: a seed for each batch.

        A process that has no row any more takes a sequence's beginning with a share of 0, so that all take the same
        steps.
        """
        parts = [self._own(pieces) for pieces in plan]
        own = [part or [_from_beginning(pieces[0])] for part, pieces in zip(parts, plan, strict=True)]
        loaded = load_pieces(self.data.at_epoch(epoch), own, self.model.spec, look_ahead=self.look_ahead)
        for pieces, part, taken, seed, ahead in zip(plan, parts, own, noise, loaded, strict=True):
            ahead = ahead.seeded(row_seeds(seed, [p.index for p in taken]))
            ahead = ahead.to(self.here.device, place_of(self.model)[1])
            chunk, _ = slice_steps(ahead, 0, max(p.stop - p.start for p in taken))
            begins = torch.tensor([p.start == 0 for p in taken], device=self.here.device)
            carried = CarriedState(self._continued(part), begins, ahead if self.look_ahead else None)
            yield pieces, len(part) / len(pieces), chunk, carried

    def keep(self, pieces: Sequence[Piece], state: State | None) -> None:
        """Keep the state after an update of these pieces, of all processes. None (after one that was not finite) makes
        all rows start again.
        """
        rows = [p.row for p in self._own(pieces)]
        self.state = None if state is None or not rows else map_state(torch.Tensor.detach, state)
        self.rows = [] if self.state is None else rows

    def _own(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those of this process."""
        return [p for p in pieces if p.row % self.here.world == self.here.rank]

    def _continued(self, pieces: Sequence[Piece]) -> State | None:
        """The kept state in the order of these pieces."""
        if self.state is None or not pieces:
            return None
        index = torch.tensor([self.rows.index(p.row) for p in pieces], device=self.state[0].device)
        return map_state(lambda v: v[index], self.state)

    # In a checkpoint.

    def tensors(self) -> dict[str, Tensor]:
        """The state and its rows, of all processes, by names that begin with `PREFIX`; nothing at the beginning of an
        epoch. All processes call this together.
        """
        own = {} if self.state is None else {k: v.cpu() for k, v in self.state._asdict().items()}
        own |= {"rows": torch.tensor(self.rows)} if own else {}
        parts = [part for part in self.here.gather(own) if part]
        if not parts:
            return {}
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        order = whole["rows"].argsort()
        return {f"{PREFIX}{name}": value[order] for name, value in whole.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`, in as many processes as there are now. Raises KeyError or ValueError for tensors of
        another model.
        """
        if not tensors:
            return
        rows = tensors[f"{PREFIX}rows"].tolist()
        kind = self.model.initial_state(len(rows))
        values = {name: tensors[f"{PREFIX}{name}"] for name in kind._fields}
        for name, value in kind._asdict().items():
            if values[name].shape[1:] != value.shape[1:] or len(values[name]) != len(rows):
                raise ValueError(f"{name} is {list(values[name].shape)}; it must be {list(value.shape)}")
        own = [i for i, row in enumerate(rows) if row % self.here.world == self.here.rank]
        if own:
            self.state = type(kind)(**{name: value[own].to(self.here.device) for name, value in values.items()})
            self.rows = [rows[i] for i in own]
