"""Batches to check models with, and the changes to them that must or must not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..observations import ObservationSpec, SequenceBatch, missing_mark, slice_steps

SPECS: dict[str, ObservationSpec] = {
    "real": ObservationSpec("real", 3),
    "binary": ObservationSpec("binary", 2),
    "categorical": ObservationSpec("categorical", 5),
    "conditioned": ObservationSpec("real", 2, first_observation="conditioned"),
    "with gaps": ObservationSpec("real", 3, missing=True),
    "categorical with gaps": ObservationSpec("categorical", 5, missing=True),
    "conditioned with gaps": ObservationSpec("real", 2, first_observation="conditioned", missing=True),
}
"""What a model can be asked to observe, by name: for tests over all that yours supports."""


def random_batch(
    spec: ObservationSpec, lengths: Sequence[int] = (5, 3, 1), *, missing: bool = False, seed: int = 1
) -> SequenceBatch:
    """Random sequences of these lengths (steps), float64; with `missing`, about a third of the numbers is unobserved.

    The same seed gives the same batch, whatever torch's default dtype; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    x = _observations(spec, len(lengths), max(lengths), generator=generator)
    if spec.conditions_on_first:
        start = _observations(spec, len(lengths), generator=generator)
    else:
        start = spec.blank(len(lengths), device=x.device, dtype=torch.float64)
    batch = SequenceBatch(x, torch.tensor(lengths), start)
    return with_gaps(batch, conditioned=spec.conditions_on_first, seed=seed + 1) if missing else batch


def with_gaps(batch: SequenceBatch, *, conditioned: bool = False, seed: int = 2) -> SequenceBatch:
    """The batch with gaps: a third of the numbers at random (of x_0 too, if `conditioned`), one step altogether."""
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(batch.x.shape, generator=generator, dtype=torch.float64) > 0.3
    observed[0, int(batch.lengths[0]) // 2] = False  # nothing at all, in the middle of a sequence
    start = batch.start
    if conditioned:
        known = torch.rand(start.shape, generator=generator, dtype=torch.float64) > 0.3
        start = torch.where(known, start, torch.full_like(start, missing_mark(start)))
    return replace(batch, start=start, observed=observed)


def other_values(x: Tensor, spec: ObservationSpec) -> Tensor:
    """For each number another one that it could have been; it stays in the support."""
    if spec.kind == "categorical":
        return (x + 1) % spec.size
    return 1 - x if spec.kind == "binary" else 3 - 2 * x


def garbage_in_padding(batch: SequenceBatch, spec: ObservationSpec) -> SequenceBatch:
    """The same sequences with other values behind their ends, and another mask. Raises ValueError without padding."""
    behind = ~batch.mask
    if not behind.any():
        raise ValueError(f"lengths are {batch.lengths.tolist()}: nothing is padded; take sequences of several lengths")
    numbers = behind if batch.x.dim() == 2 else behind[:, :, None].expand_as(batch.x)  # shaped like x
    wild = torch.full_like(batch.x, 1000) if spec.kind == "real" else other_values(batch.x, spec)
    observed = None if batch.observed is None else torch.where(numbers, ~batch.observed, batch.observed)
    return with_x(replace(batch, observed=observed), torch.where(numbers, wild, batch.x))


def with_x(batch: SequenceBatch, x: Tensor) -> SequenceBatch:
    """The same batch with these observations, as they are: a `SequenceBatch` zeroes on its own what isn't scored, and
    a model must not lean on that.
    """
    other = replace(batch)
    object.__setattr__(other, "x", x)
    return other


def one_row(batch: SequenceBatch, row: int) -> SequenceBatch:
    """A sequence alone, without padding."""
    this, steps = slice(row, row + 1), int(batch.lengths[row])
    of_steps = {name: value[this, :steps] for name, value in batch.stepwise.items()}
    return SequenceBatch(lengths=batch.lengths[this], start=batch.start[this], **of_steps)


def halves(batch: SequenceBatch) -> tuple[SequenceBatch, SequenceBatch, Tensor]:
    """The sequences that reach the second half of the steps, cut in two, and which they are, [B] bool.

    Raises ValueError for a batch of one step.
    """
    cut = batch.x.shape[1] // 2
    if not cut:
        raise ValueError("a batch of one step can't be cut in two; take sequences of 2 steps or more")
    second, rows = slice_steps(batch, cut, batch.x.shape[1])
    whole, _ = slice_steps(batch, 0, cut)
    return SequenceBatch(**{name: value[rows] for name, value in whole.tensors.items()}), second, rows


def _observations(spec: ObservationSpec, *shape: int, generator: torch.Generator) -> Tensor:
    if spec.kind == "categorical":
        return torch.randint(spec.size, shape, generator=generator)
    x = torch.randn(*shape, spec.size, generator=generator, dtype=torch.float64)
    return (x > 0).to(x.dtype) if spec.kind == "binary" else x
