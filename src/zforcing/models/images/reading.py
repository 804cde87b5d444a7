"""What models of binary images read of a batch, and the sum of what it says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distributions import at_least_float32
from ...errors import UserError
from ...observations import ObservationSpec, SequenceBatch
from ..density import DensityModel


def check_pixels(name: str, spec: ObservationSpec) -> None:
    """Raise UserError where observations aren't binary vectors without inputs, all of them scored."""
    if spec.kind != "binary" or spec.inputs or spec.conditions_on_first:
        raise UserError(f"model {name} is of binary images without inputs, all of them scored; not of {spec}")


def pixels_of(model: DensityModel, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
    """x, 0 where it is missing, and what is known of it, [B, D]. Raises UserError for several steps."""
    model.check_batch(batch)
    if batch.x.shape[1] != 1:
        raise UserError(
            f"model {model.name} reads an image as one observation; these are sequences of {batch.x.shape[1]} "
            f"steps (data.order image reads images whole)"
        )
    x = batch.x[:, 0]
    if batch.observed is None:
        return x, torch.ones_like(x, dtype=torch.bool)
    known = batch.observed[:, 0]
    return torch.where(known, x, torch.zeros_like(x)), known


def log_bernoulli(logits: Tensor, x: Tensor, known: Tensor | None = None) -> Tensor:
    """sum_d log p(x_d) over what is known of n vectors [n, D] of 0 and 1, [n] float64."""
    nats = -F.binary_cross_entropy_with_logits(at_least_float32(logits), x, reduction="none")
    kept = nats if known is None else torch.where(known, nats, torch.zeros_like(nats))
    return kept.sum(1, dtype=torch.float64)


def refuse_holes(model: DensityModel, batch: SequenceBatch, *, order: Tensor | None = None) -> None:
    """Refuse images where something is known behind what isn't, in an order [D] or as they are: nothing here sums that
    out. Where pixels may be missing, this waits for the GPU.
    """
    if batch.observed is None:
        return
    known = batch.observed[:, 0] if order is None else batch.observed[:, 0, order]
    holes = known[:, 1:] & ~known[:, :-1].cummin(1).values.bool()
    wrong = holes.any(1).nonzero()
    if len(wrong):
        raise UserError(
            f"model {model.name} draws pixels in its own order, and can do without those behind the last one that "
            f"is known; row {int(wrong[0])} of the batch has a gap before that"
        )
