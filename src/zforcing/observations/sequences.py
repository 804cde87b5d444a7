"""Batches of padded sequences with lengths and missing values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

from ..distributions.row_noise import LATER, copies, derived
from .spec import missing_mark


@dataclass(frozen=True)
class SequenceBatch:
    """B sequences, padded on the right to T steps.

    Values of x in the padding and where nothing is observed (NaN, for example) are replaced by 0, so that they reach no
    result and no gradient; so is the padding of `inputs`.

    Raises:
        ValueError: The shapes don't fit each other, or a length is not in 1..T. On a GPU the values of `lengths` are
            not checked, which would wait for the GPU.

    Example:
        >>> import torch
        >>> batch = SequenceBatch(torch.randn(2, 5, 3), torch.tensor([5, 2]), start=torch.zeros(2, 3))
        >>> batch.mask.sum(1)
        tensor([5, 2])
    """

    x: Tensor
    """[B, T, D] float, or [B, T] int64 for categories: the observations that are scored, x_1..x_T"""
    lengths: Tensor
    """[B] int64, in steps, each in 1..T"""
    start: Tensor
    """[B, D] or [B]: x_0; NaN (-1 for categories) where it is missing"""
    observed: Tensor | None = None
    """like x, bool: which values are observed, and so scored; None when nothing is missing"""
    inputs: Tensor | None = None
    """[B, T, U] float: the known inputs u_1..u_T, one for each of x_1..x_T, never missing; None where there are none"""
    seeds: Tensor | None = None
    """[B] int64: of each row's noise, which is then a function of its seed alone (`zforcing.distributions.row_noise`);
    None: noise comes from torch's global generator"""

    def __post_init__(self) -> None:
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
        if self.inputs is not None:
            _check_inputs(self.inputs, shape)
        if self.seeds is not None and (self.seeds.shape != shape[:1] or self.seeds.dtype != torch.int64):
            raise ValueError(f"seeds is {self.seeds.dtype} {list(self.seeds.shape)}; it must be int64 [{shape[0]}]")
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
            if self.inputs is not None:
                u = self.inputs
                object.__setattr__(self, "inputs", torch.where(self.mask[:, :, None], u, torch.zeros_like(u)))

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def mask(self) -> Tensor:
        """[B, T] bool: True at the steps before each sequence's end, False in the padding."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return steps < self.lengths[:, None]

    @property
    def read(self) -> Tensor:
        """x as models read it: missing values are NaN, or -1 for categories (`x` itself is always finite)."""
        if self.observed is None:
            return self.x
        return torch.where(self.observed, self.x, torch.full_like(self.x, missing_mark(self.x)))

    @property
    def past(self) -> Tensor:
        """What `after_observation` reads of x_1..x_T: `read`, unless word dropout feeds other words. Like x."""
        return self.read

    @property
    def previous(self) -> Tensor:
        """x_0..x_{T-1}, the observation before each of x_1..x_T; NaN or -1 where it is missing. Shaped like x."""
        return torch.cat([self.start[:, None], self.read[:, :-1]], dim=1)

    @property
    def scored(self) -> Tensor:
        """Shaped like x, bool: True where a value counts in the likelihood (it exists and is observed)."""
        return self.exists if self.observed is None else self.exists & self.observed

    @property
    def exists(self) -> Tensor:
        """`mask` expanded to the shape of x."""
        return self.mask if self.x.dim() == 2 else self.mask[:, :, None].expand_as(self.x)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that aren't None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def stepwise(self) -> dict[str, Tensor]:
        """The fields with a time dimension, by name: x, and the others that aren't None."""
        return {name: value for name, value in self.tensors.items() if name not in ("lengths", "start", "seeds")}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Return the batch on another device, its real numbers in this floating type if one is given."""
        types = {name: dtype if value.is_floating_point() else None for name, value in self.tensors.items()}
        return type(self)(**{name: v.to(device=device, dtype=types[name]) for name, v in self.tensors.items()})

    def repeat(self, k: int) -> Self:
        """Repeat the batch k times: row i + j B of the k B rows is copy j of sequence i, with noise of its own."""
        if k == 1:
            return self
        values = {name: v.repeat(k, *[1] * (v.dim() - 1)) for name, v in self.tensors.items()}
        return type(self)(**values | ({} if self.seeds is None else {"seeds": copies(self.seeds, k)}))

    def seeded(self, seeds: Tensor) -> Self:
        """The same batch, each row's noise by its seed of `seeds` [B] int64."""
        return replace(self, seeds=seeds.to(self.x.device))


Batch = TypeVar("Batch", bound=SequenceBatch)


def slice_steps(batch: Batch, start: int, stop: int) -> tuple[Batch, Tensor]:
    """Cut out steps start+1..stop, with x_start as x_0, of the sequences that are longer than `start`.

    Args:
        batch: B sequences.
        start: Steps before the slice.
        stop: Steps before the end of the slice.

    Returns:
        The slice, with the rows of the sequences that reach it, and a mask [B] bool of these rows. Its x_0 is what was
        observed, also where the state was fed something else: a state carried into the slice has read that already.
    """
    rows = batch.lengths > start
    before = batch.start[rows] if start == 0 else batch.read[rows, start - 1]
    lengths = (batch.lengths[rows] - start).clamp(max=stop - start)
    steps = {name: value[rows, start:stop] for name, value in batch.stepwise.items()}
    if batch.seeds is not None:  # a later slice has noise of its own
        steps["seeds"] = derived(derived(batch.seeds[rows], LATER), start) if start else batch.seeds[rows]
    return type(batch)(lengths=lengths, start=before, **steps), rows


def _check_inputs(inputs: Tensor, shape: tuple[int, ...]) -> None:
    steps = list(shape[:2])
    if inputs.dim() != 3 or list(inputs.shape[:2]) != steps or not inputs.is_floating_point():
        raise ValueError(
            f"inputs is {inputs.dtype} {list(inputs.shape)}; it must be float [{steps[0]}, {steps[1]}, U], U numbers "
            f"at each step of x"
        )


def is_missing(x: Tensor) -> Tensor:
    """Where x is missing (NaN, or negative in integers), bool like x."""
    return x.isnan() if x.is_floating_point() else x < 0


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the steps where mask is True, [B, T] -> [B] in float64, in the unit of `values` (nats)."""
    return torch.where(mask, values, torch.zeros_like(values)).sum(dim=1, dtype=torch.float64)


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence in time and leave its padding at the end.

    An RNN over the result never reads padding before a step of the sequence. Reversing twice gives x back.

    Args:
        x: [B, T, ...].
        lengths: [B], in steps.

    Returns:
        Tensor like x.
    """
    return reverse_time_first(x.transpose(0, 1), lengths).transpose(0, 1)


def reverse_time_first(x: Tensor, lengths: Tensor) -> Tensor:
    """`reverse` for time-first tensors [T, B, ...]."""
    T, B = x.shape[:2]
    if lengths.device.type == "cpu" and bool((lengths == T).all()):
        return x.flip(0)
    steps = torch.arange(T, device=x.device)[:, None]
    index = torch.where(steps < lengths, lengths - 1 - steps, steps) * B + torch.arange(B, device=x.device)  # [T, B]
    reversed_rows: Tensor = x.flatten(0, 1).index_select(0, index.flatten()).reshape(x.shape)
    return reversed_rows
