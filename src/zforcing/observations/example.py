"""One sequence, and a batch made of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import UserError
from ..files.reading import Array
from .sequences import SequenceBatch
from .spec import ObservationSpec, missing_mark


@dataclass(frozen=True)
class Example:
    """One sequence as a model reads it, in NumPy arrays."""

    x: Array
    """[T, D] float32, normalized, or [T] int64 for categories"""
    observed: Array | None = None
    """like x, bool: which values are observed; None when all of them are"""
    inputs: Array | None = None
    """[T, U] float32, normalized: the known inputs u_t, one for each step of x; None where there are none"""

    def cut(self, start: int, stop: int) -> Example:
        """Steps start..stop-1."""
        observed, inputs = (None if v is None else v[start:stop] for v in (self.observed, self.inputs))
        return Example(self.x[start:stop], observed, inputs)


def collate(examples: Sequence[Example], spec: ObservationSpec) -> SequenceBatch:
    """Make a batch of sequences: pad them on the right, and move a first observation that isn't scored into `start`.

    The inputs of such a first observation are dropped: they aren't x_1's, and nothing is emitted where they are read.

    Args:
        examples: B sequences.
        spec: What their observations are.

    Returns:
        The batch, on the CPU.

    Raises:
        UserError: A sequence has no step that is scored, or its inputs aren't of the spec's size.

    Example:
        >>> import numpy as np
        >>> examples = [Example(np.zeros((steps, 2), np.float32)) for steps in (4, 3)]
        >>> collate(examples, ObservationSpec("real", 2, first_observation="conditioned")).lengths
        tensor([3, 2])
    """
    unscored = spec.unscored_steps
    lengths = torch.tensor([len(e.x) - unscored for e in examples], dtype=torch.int64)
    if int(lengths.min()) < 1:
        raise UserError(
            f"a sequence of {unscored} steps has nothing to score: every sequence needs {unscored + 1} or more"
        )
    steps = int(lengths.max())

    def pad(values: Sequence[Array]) -> torch.Tensor:
        out = torch.zeros(len(values), steps, *values[0].shape[1:], dtype=torch.from_numpy(values[0][:0]).dtype)
        for row, value in zip(out, values, strict=True):
            row[: len(value) - unscored] = torch.from_numpy(value[unscored:])
        return out

    x = pad([e.x for e in examples])
    missing = any(e.observed is not None for e in examples)
    masks = [_observed(e) for e in examples] if missing else None
    if unscored:
        start = torch.stack([torch.as_tensor(e.x[0]) for e in examples])
        if masks is not None:
            observed = torch.stack([torch.as_tensor(mask[0]) for mask in masks])
            start = torch.where(observed, start, torch.full_like(start, missing_mark(start)))
    else:
        start = spec.blank(len(examples), device=x.device, dtype=x.dtype)
    known = [_inputs(e, spec.inputs) for e in examples]
    inputs = pad(known) if spec.inputs else None
    return SequenceBatch(x, lengths, start, None if masks is None else pad(masks), inputs)


def _inputs(example: Example, size: int) -> Array:
    """u_t of each step, [T, U]; U may be 0."""
    steps = len(example.x)
    inputs = np.empty((steps, 0), dtype=np.float32) if example.inputs is None else example.inputs
    if inputs.shape != (steps, size):
        raise UserError(f"a sequence of {steps} steps has inputs {list(inputs.shape)}; they must be [{steps}, {size}]")
    return inputs


def _observed(example: Example) -> Array:
    """The mask of observed values, all True where there is none."""
    return np.ones(example.x.shape, dtype=bool) if example.observed is None else example.observed
