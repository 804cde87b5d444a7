"""The evidence lower bound of long sequences, a chunk at a time: the same number in less memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UserError
from ..models.base import SequenceModel, State, map_state
from ..observations import SequenceBatch, between
from .base import Bound, BoundResult, Weights, check_bound
from .elbo import ELBO


@dataclass(frozen=True)
class ChunkedELBO(Bound):
    """The ELBO as a sum over chunks of `steps` steps, the state carried from each to the next.

    log p(x_1..x_T) = sum over chunks of log p(chunk | all before), and a chunk's state holds all before. What is left
    is what the posterior may look at, where it looks ahead (a backward network): with `look_ahead=None` the whole
    sequence, encoded in a first pass, which gives exactly the ELBO of the whole; with n the chunk and n steps behind
    it, which is another posterior and so another, usually lower, bound on the same log p(x). Not for training: nothing
    is kept between chunks that a gradient could go through.
    """

    particles: ClassVar[int] = 1  # type: ignore[misc]  # no setting here: a field elsewhere

    steps: int
    """time steps in a chunk"""
    look_ahead: int | None = None
    """time steps behind a chunk that its posterior sees; null: all of them"""

    def __post_init__(self) -> None:
        check_bound(self)
        if self.steps < 1:
            raise UserError(f"chunks of {self.steps} steps: it must be 1 or more")
        if self.look_ahead is not None and self.look_ahead < 0:
            raise UserError(f"a look-ahead of {self.look_ahead} steps: it must be 0 or more, or all")

    @torch.no_grad()
    def __call__(
        self,
        model: SequenceModel,
        batch: SequenceBatch,
        *,
        weights: Weights = Weights(),
        noise: Tensor | None = None,
    ) -> BoundResult:
        """noise: [B, T, Z], standard normal; None draws it, for all chunks at once."""
        noise = model.draw_noise(batch) if noise is None else noise
        state = model.initial_state(len(batch), start=batch.start)
        whole = model.encode(batch, state=state) if self.look_ahead is None else None
        log_px, kl = (torch.zeros(len(batch), dtype=torch.float64, device=batch.x.device) for _ in range(2))
        elbo, active = ELBO(), torch.ones_like(batch.lengths, dtype=torch.bool)
        for start in range(0, int(batch.lengths.max()), self.steps):
            chunk, rows = between(batch, start, start + self.steps)
            state = map_state(lambda v, going=rows[active]: v[going], state)  # of the rows that are left
            active = rows
            context = (
                whole[rows, start : start + self.steps]
                if whole is not None
                else self._context(model, batch, start, state)
            )
            said = elbo(model, chunk, noise=noise[rows, start : start + self.steps], state=state, context=context)
            state = said.state
            log_px[rows] += said.terms["log_px"]
            kl[rows] += said.terms["kl"]
        return BoundResult(
            value=log_px - kl,
            loss=kl * weights.kl - log_px,
            terms={"log_px": log_px, "kl": kl},
            kind="lower bound" if model.latent_size else "exact",
        )

    def _context(self, model: SequenceModel, batch: SequenceBatch, start: int, state: State) -> Tensor:
        """What encoding the chunk and `look_ahead` steps behind it says of the chunk's steps, [rows, steps, C]."""
        seen, _ = between(batch, start, start + self.steps + (self.look_ahead or 0))
        return model.encode(seen, state=state)[:, : self.steps]
