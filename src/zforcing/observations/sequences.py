"""What is observed: batches of sequences with lengths and missing values, and their specification."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .spec import missing_mark


@dataclass(frozen=True)
class SequenceBatch:
    """B sequences, padded on the right to T steps.

    x:        [B, T, D] float, or [B, T] int64 for categories: the observations that are scored, x_1..x_T
    lengths:  [B] int64, each in 1..T
    start:    [B, D] or [B]: x_0, NaN (or -1 for categories) where it is missing
    observed: like x, bool, or None when nothing is missing; what is missing is not scored
    fed:      like x, or None: what a model's state reads in place of x_1..x_T (word dropout), NaN or -1 where that is
              missing. What is scored, and what a posterior looks at, remains x. x_0 is read as it is

    What x holds in padding and where nothing is observed (a NaN, say) becomes 0 here, so that it reaches no value and
    no gradient, and so does the padding of `fed`. On a GPU the values of `lengths` are not checked: that would wait for
    it.
    """

    x: Tensor
    lengths: Tensor
    start: Tensor
    observed: Tensor | None = None
    fed: Tensor | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the shapes don't fit each other, or a length is not in 1..T."""
        shape = tuple(self.x.shape)
        if len(shape) not in (2, 3) or min(shape[:2]) < 1:
            raise ValueError(f"x is {list(shape)}; it must be [B, T, D], or [B, T] for categories, with B and T >= 1")
        if self.lengths.shape != shape[:1] or self.lengths.dtype != torch.int64:
            raise ValueError(
                f"lengths is {self.lengths.dtype} {list(self.lengths.shape)}; it must be int64 [{shape[0]}]"
            )
        if self.start.shape != self.x[:, 0].shape:
            raise ValueError(f"start is {list(self.start.shape)}; x_0 of x {list(shape)} is {list(self.x[:, 0].shape)}")
        if self.observed is not None and (self.observed.shape != shape or self.observed.dtype != torch.bool):
            raise ValueError(f"observed is {self.observed.dtype} {list(self.observed.shape)}; it must be bool, as x")
        if self.fed is not None and (self.fed.shape != shape or self.fed.dtype != self.x.dtype):
            raise ValueError(f"fed is {self.fed.dtype} {list(self.fed.shape)}; it must be {self.x.dtype}, shaped as x")
        complete = False
        if self.lengths.device.type == "cpu":
            shortest, longest = int(self.lengths.min()), int(self.lengths.max())
            if shortest < 1 or longest > shape[1]:
                raise ValueError(
                    f"lengths go from {shortest} to {longest}; each must be in 1..{shape[1]}, the steps of x"
                )
            complete = shortest == shape[1] and self.observed is None
        if not complete:
            object.__setattr__(self, "x", torch.where(self.scored, self.x, torch.zeros_like(self.x)))
            if self.fed is not None:
                object.__setattr__(self, "fed", torch.where(self._exists, self.fed, torch.zeros_like(self.fed)))

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def mask(self) -> Tensor:
        """[B, T] bool: True at the steps that exist."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return steps < self.lengths[:, None]

    @property
    def read(self) -> Tensor:
        """x as models read it: NaN, or -1 for categories, marks what is missing (`x` itself is always finite)."""
        if self.observed is None:
            return self.x
        return torch.where(self.observed, self.x, torch.full_like(self.x, missing_mark(self.x)))

    @property
    def past(self) -> Tensor:
        """What `after_observation` reads of x_1..x_T, and so all that a state knows of them: `fed`, or else `read`."""
        return self.read if self.fed is None else self.fed

    @property
    def previous(self) -> Tensor:
        """x_0..x_{T-1}, what comes before x_1..x_T; NaN or -1 where it is missing. Shaped like x."""
        return torch.cat([self.start[:, None], self.read[:, :-1]], dim=1)

    @property
    def scored(self) -> Tensor:
        """Shaped like x, bool: the numbers whose likelihood counts."""
        return self._exists if self.observed is None else self._exists & self.observed

    @property
    def _exists(self) -> Tensor:
        """`mask`, shaped like x."""
        return self.mask if self.x.dim() == 2 else self.mask[:, :, None].expand_as(self.x)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that it has, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def stepwise(self) -> dict[str, Tensor]:
        """Those with a time dimension, shaped like x: x itself, `observed` and `fed`."""
        return {name: value for name, value in self.tensors.items() if name not in ("lengths", "start")}

    def to(self, device: torch.device | str) -> SequenceBatch:
        """The same batch on another device."""
        return SequenceBatch(**{name: value.to(device) for name, value in self.tensors.items()})

    def repeat(self, k: int) -> SequenceBatch:
        """[B] -> [k B]: row i + j B is copy j of sequence i."""
        if k == 1:
            return self
        return SequenceBatch(**{name: v.repeat(k, *[1] * (v.dim() - 1)) for name, v in self.tensors.items()})


def between(batch: SequenceBatch, start: int, stop: int) -> tuple[SequenceBatch, Tensor]:
    """Steps start+1..stop, with x_start as x_0, of the sequences that have them, and which those are, [B] bool.

    x_0 is what was observed: what a state was fed in its place, the state that goes on has read.
    """
    rows = batch.lengths > start
    before = batch.start[rows] if start == 0 else batch.read[rows, start - 1]
    lengths = (batch.lengths[rows] - start).clamp(max=stop - start)
    steps = {name: value[rows, start:stop] for name, value in batch.stepwise.items()}
    return SequenceBatch(lengths=lengths, start=before, **steps), rows


def is_missing(x: Tensor) -> Tensor:
    """Where the mark is."""
    return x.isnan() if x.is_floating_point() else x < 0


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over time [B, T] -> [B] in float64, of the steps that exist. Units are those of `values` (nats)."""
    return torch.where(mask, values, torch.zeros_like(values)).sum(dim=1, dtype=torch.float64)


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """[B, T, ...] with each row's first `length` steps in reverse order and its padding left at the end.

    An RNN over the result has read nothing but the sequence when it reaches each step: padding comes last. Applying
    it twice gives the original back.
    """
    return reverse_time_first(x.transpose(0, 1), lengths).transpose(0, 1)


def reverse_time_first(x: Tensor, lengths: Tensor) -> Tensor:
    """`reverse` of [T, B, ...]."""
    T, B = x.shape[:2]
    if lengths.device.type == "cpu" and bool((lengths == T).all()):
        return x.flip(0)
    steps = torch.arange(T, device=x.device)[:, None]
    index = torch.where(steps < lengths, lengths - 1 - steps, steps) * B + torch.arange(B, device=x.device)  # [T, B]
    reversed_rows: Tensor = x.flatten(0, 1).index_select(0, index.flatten()).reshape(x.shape)
    return reversed_rows
