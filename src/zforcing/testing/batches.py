"""Random batches for checks, and changes to them that must or must not change a model's results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..observations import (
    BinaryColumn,
    CategoryColumn,
    Column,
    CountColumn,
    ObservationSpec,
    PositiveColumn,
    RealColumn,
    SequenceBatch,
    missing_mark,
    slice_steps,
)

MIXED = (
    *(RealColumn(), RealColumn(), PositiveColumn(0.1, 1.5)),
    *(CountColumn(1.4, 0.7, 0.6), BinaryColumn(), CategoryColumn(3)),
)
SPECS: dict[str, ObservationSpec] = {
    "real": ObservationSpec("real", 3),
    "binary": ObservationSpec("binary", 2),
    "categorical": ObservationSpec("categorical", 5),
    "conditioned": ObservationSpec("real", 2, first_observation="conditioned"),
    "with gaps": ObservationSpec("real", 3, missing=True),
    "categorical with gaps": ObservationSpec("categorical", 5, missing=True),
    "conditioned with gaps": ObservationSpec("real", 2, first_observation="conditioned", missing=True),
    "with inputs": ObservationSpec("real", 3, inputs=2),
    "mixed": ObservationSpec("mixed", 6, columns=MIXED, missing=True),
}
"""Specifications of each kind of observation, and of known inputs, by name, to test a model on those it supports."""


def random_batch(
    spec: ObservationSpec, lengths: Sequence[int] = (5, 3, 1), *, missing: bool = False, seed: int = 1
) -> SequenceBatch:
    """Make a batch of random sequences in float64, without using torch's global generator.

    Args:
        spec: What one observation is.
        lengths: Length of each sequence, in steps.
        missing: Whether about a third of the values are unobserved.
        seed: The same seed gives the same batch, whatever torch's default dtype.

    Returns:
        A batch of `len(lengths)` sequences.
    """
    generator = torch.Generator().manual_seed(seed)
    x = _observations(spec, len(lengths), max(lengths), generator=generator)
    if spec.conditions_on_first:
        start = _observations(spec, len(lengths), generator=generator)
    else:
        start = spec.blank(len(lengths), device=x.device, dtype=torch.float64)
    inputs = None
    if spec.inputs:
        inputs = torch.randn(len(lengths), max(lengths), spec.inputs, generator=generator, dtype=torch.float64)
    batch = SequenceBatch(x, torch.tensor(lengths), start, inputs=inputs)
    return with_gaps(batch, conditioned=spec.conditions_on_first, seed=seed + 1) if missing else batch


def with_gaps(batch: SequenceBatch, *, conditioned: bool = False, seed: int = 2) -> SequenceBatch:
    """Make a third of the values missing at random (also of x_0, if `conditioned`), and one step entirely."""
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(batch.x.shape, generator=generator, dtype=torch.float64) > 0.3
    observed[0, int(batch.lengths[0]) // 2] = False  # a whole step in the middle of a sequence
    start = batch.start
    if conditioned:
        start_observed = torch.rand(start.shape, generator=generator, dtype=torch.float64) > 0.3
        start = torch.where(start_observed, start, torch.full_like(start, missing_mark(start)))
    return replace(batch, start=start, observed=observed)


def other_values(x: Tensor, spec: ObservationSpec) -> Tensor:
    """Replace each value by a different one in the support."""
    if spec.kind == "categorical":
        return (x + 1) % spec.size
    if spec.columns is not None:
        return torch.stack([_other(c, v) for c, v in zip(spec.columns, x.unbind(-1), strict=True)], dim=-1)
    return 1 - x if spec.kind == "binary" else 3 - 2 * x


def _other(column: Column, x: Tensor) -> Tensor:
    """A different value of a column for each."""
    if isinstance(column, CategoryColumn):
        return (x + 1) % column.size
    return 1 - x if isinstance(column, BinaryColumn) else 2 * x + 1


def garbage_in_padding(batch: SequenceBatch, spec: ObservationSpec) -> SequenceBatch:
    """Put other values, inputs and another mask into the padding. Raises ValueError for a batch without padding."""
    padding = ~batch.mask
    if not padding.any():
        raise ValueError(f"lengths are {batch.lengths.tolist()}: nothing is padded; use sequences of different lengths")
    padded = padding if batch.x.dim() == 2 else padding[:, :, None].expand_as(batch.x)  # shaped like x
    garbage = torch.full_like(batch.x, 1000) if spec.kind == "real" else other_values(batch.x, spec)
    observed = None if batch.observed is None else torch.where(padded, ~batch.observed, batch.observed)
    other = with_x(replace(batch, observed=observed), torch.where(padded, garbage, batch.x))
    if batch.inputs is not None:
        object.__setattr__(other, "inputs", torch.where(padding[:, :, None], 3.0, batch.inputs))
    return other


def with_x(batch: SequenceBatch, x: Tensor) -> SequenceBatch:
    """Replace x without the zeroing of unscored values that `SequenceBatch` does: a model must not rely on that."""
    other = replace(batch)
    object.__setattr__(other, "x", x)
    return other


def inputs_by_step(batch: SequenceBatch) -> tuple[Tensor | None, ...]:
    """u_t [B, U] of each step; None where there are none."""
    return (None,) * batch.x.shape[1] if batch.inputs is None else batch.inputs.unbind(1)


def one_row(batch: SequenceBatch, row: int) -> SequenceBatch:
    """Select one sequence as a batch without padding."""
    this, steps = slice(row, row + 1), int(batch.lengths[row])
    values = {name: value[this, :steps] for name, value in batch.stepwise.items()}
    return type(batch)(lengths=batch.lengths[this], start=batch.start[this], **values)


def halves(batch: SequenceBatch) -> tuple[SequenceBatch, SequenceBatch, Tensor]:
    """Cut the sequences that are longer than half of the steps in two.

    Args:
        batch: B sequences of 2 steps or more.

    Returns:
        The first and the second parts of these sequences, and a mask [B] bool of which they are.

    Raises:
        ValueError: The batch has only one step.
    """
    cut = batch.x.shape[1] // 2
    if not cut:
        raise ValueError("a batch of one step can't be cut in two; use sequences of 2 steps or more")
    second, rows = slice_steps(batch, cut, batch.x.shape[1])
    first, _ = slice_steps(batch, 0, cut)
    return type(first)(**{name: value[rows] for name, value in first.tensors.items()}), second, rows


def _observations(spec: ObservationSpec, *shape: int, generator: torch.Generator) -> Tensor:
    if spec.kind == "categorical":
        return torch.randint(spec.size, shape, generator=generator)
    x = torch.randn(*shape, spec.size, generator=generator, dtype=torch.float64)
    if spec.columns is not None:
        return torch.stack([_of_column(c, v) for c, v in zip(spec.columns, x.unbind(-1), strict=True)], dim=-1)
    return (x > 0).to(x.dtype) if spec.kind == "binary" else x


def _of_column(column: Column, z: Tensor) -> Tensor:
    """Standard normal numbers as values of a column."""
    if isinstance(column, CategoryColumn):
        return torch.floor(torch.sigmoid(z) * column.size)
    if isinstance(column, BinaryColumn):
        return (z > 0).to(z.dtype)
    if isinstance(column, CountColumn):
        return torch.floor(torch.exp(z))
    return torch.exp(z) if isinstance(column, PositiveColumn) else z
