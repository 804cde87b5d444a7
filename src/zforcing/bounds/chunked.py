"""The evidence lower bound of long sequences, computed chunk by chunk: the same value in less memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UserError
from ..models.density import DensityModel
from ..models.sequence import SequenceModel, of_sequences
from ..models.state import State, map_state
from ..observations import SequenceBatch, masked_sum, slice_steps
from ..settings import NotNegative
from .base import Bound, BoundResult, Weights, is_needed, kind_of, refuse, weighted_sum
from .elbo import ELBO


@dataclass(frozen=True)
class ChunkedELBO(Bound):
    """The ELBO as a sum over chunks of `steps` steps, with the state carried from one chunk to the next.

    log p(x_1..x_T) = sum over chunks of log p(chunk | everything before it), and the state summarizes everything before
    it. A posterior with a backward network also reads the future. With `look_ahead=None` it reads the whole sequence,
    encoded in a first pass, and the result equals the ELBO of the whole. With `look_ahead=n` it reads the chunk
    and the n steps after it: another posterior, and so another, usually lower, bound on the same log p(x).

    Extra terms of the context are those of the whole sequence, by the contexts of all its chunks.

    For evaluation only: no gradient flows between chunks, and the call runs under `torch.no_grad`.

    Raises:
        UserError: `steps` is below 1, `look_ahead` below 0 or `free_nats` negative.
    """

    name: ClassVar[str] = "elbo"  # the same bound, in less memory

    steps: int
    """time steps in a chunk"""
    look_ahead: int | None = None
    """time steps after a chunk that its posterior reads; null: all of them"""
    free_nats: NotNegative = 0.0
    """free bits of the loss, in nats per step, as `ELBO` has them"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise UserError(f"chunks of {self.steps} steps: the number of steps must be 1 or more")
        if self.look_ahead is not None and self.look_ahead < 0:
            raise UserError(f"a look-ahead of {self.look_ahead} steps: it must be 0 or more, or all")

    @torch.no_grad()
    def __call__(
        self,
        model: DensityModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
        state: State | None = None,
        context: Tensor | None = None,
    ) -> BoundResult:
        """Compute the ELBO of each sequence. See `Bound`.

        Raises:
            UserError: The model isn't one of sequences, or `state` or `context` is given: it makes its own.
        """
        refuse(self, state=state, context=context)
        model = of_sequences(model, needed_by="a bound in chunks")
        noise = model.draw_noise(batch) if noise is None else noise
        state = model.initial_state(len(batch), start=batch.start)
        contexts = model.encode(batch, state=state) if self.look_ahead is None else None
        longest = int(batch.lengths.max())
        of_whole, of_chunks = _parted(weights, model, chunks=math.ceil(longest / self.steps))
        read: list[Tensor] = []  # the contexts of the chunks so far, [B, steps, ...] each
        totals: dict[str, Tensor] = {}
        elbo, active = ELBO(self.free_nats), torch.ones_like(batch.lengths, dtype=torch.bool)
        for start in range(0, longest, self.steps):
            chunk, rows = slice_steps(batch, start, start + self.steps)
            state = map_state(lambda v, left=rows[active]: v[left], state)  # drop the sequences that have ended
            active = rows
            context = (
                contexts[rows, start : start + self.steps]
                if contexts is not None
                else self._context(model, batch, start, state)
            )
            parts = noise[rows, start : start + self.steps]
            result = elbo(model, chunk, weights=of_chunks, noise=parts, state=state, context=context)
            state = result.state
            if contexts is None and of_whole.costs:
                read.append(_in_all_rows(context, rows))
            for name, part in ({"loss": result.loss} | result.terms).items():
                total = totals.setdefault(name, torch.zeros(len(batch), dtype=torch.float64, device=part.device))
                total[rows] += part
        loss = totals.pop("loss")
        if of_whole.costs:
            costs = _context_costs(model, batch, torch.cat(read, dim=1) if contexts is None else contexts, of_whole)
            loss, totals = loss - weighted_sum(costs, of_whole), totals | costs
        return BoundResult(totals["log_px"] - totals["kl"], loss, totals, kind_of(model))

    def _context(self, model: SequenceModel, batch: SequenceBatch, start: int, state: State) -> Tensor:
        """The posterior's context for one chunk, encoded from it and the next `look_ahead` steps, [rows, steps, C]."""
        readable, _ = slice_steps(batch, start, start + self.steps + (self.look_ahead or 0))
        return model.encode(readable, state=state)[:, : self.steps]


def _parted(weights: Weights, model: SequenceModel, *, chunks: int) -> tuple[Weights, Weights]:
    """The weights of terms that are to be computed of whole sequences, and of those that add up over chunks.

    A term of the context may count nothing at an x_0 that isn't an observation. Then it can't tell a chunk's, which is
    one, from a sequence's.
    """
    adds_up = chunks == 1 or model.spec.conditions_on_first
    of_whole = {n: w for n, w in weights.costs.items() if not adds_up and n in model.context_costs and is_needed(w)}
    others = {n: w for n, w in weights.costs.items() if n not in of_whole}
    return Weights(costs=of_whole), Weights(weights.kl, costs=others)


def _context_costs(model: SequenceModel, batch: SequenceBatch, context: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The extra terms [B] of the context that have weights, of whole sequences."""
    steps, _ = slice_steps(batch, 0, context.shape[1])  # a batch may be padded further
    return {name: masked_sum(getattr(model, name)(steps, context), steps.mask) for name in weights.costs}


def _in_all_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Values of these rows of a batch [n, ...], with zeros in the others [B, ...]."""
    whole = values.new_zeros(len(rows), *values.shape[1:])
    whole[rows] = values
    return whole
