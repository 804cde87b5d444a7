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
    """One sequence: x [T, D] float32 (normalized), or [T] int64; observed like x, bool, or None when all of it is."""

    x: Array
    observed: Array | None = None


def collate(examples: Sequence[Example], spec: ObservationSpec) -> SequenceBatch:
    """Pad B sequences on the right with zeros; move the first observation into `start` where it is conditioned on."""
    first = 1 if spec.conditions_on_first else 0
    lengths = torch.tensor([len(e.x) - first for e in examples], dtype=torch.int64)
    if int(lengths.min()) < 1:
        raise UserError(f"a sequence of {first} steps has nothing to score: every sequence needs {first + 1} or more")
    steps = int(lengths.max())

    def pad(values: Sequence[Array]) -> torch.Tensor:
        out = torch.zeros(len(values), steps, *values[0].shape[1:], dtype=torch.from_numpy(values[0][:0]).dtype)
        for row, value in zip(out, values, strict=True):
            row[: len(value) - first] = torch.from_numpy(value[first:])
        return out

    x = pad([e.x for e in examples])
    missing = any(e.observed is not None for e in examples)
    seen = [np.ones(e.x.shape, dtype=bool) if e.observed is None else e.observed for e in examples] if missing else None
    if first:
        start = torch.stack([torch.as_tensor(e.x[0]) for e in examples])
        if seen is not None:
            known = torch.stack([torch.as_tensor(s[0]) for s in seen])
            start = torch.where(known, start, torch.full_like(start, missing_mark(start)))
    else:
        start = spec.blank(len(examples), device=x.device, dtype=x.dtype)
    return SequenceBatch(x, lengths, start, None if seen is None else pad(seen))
