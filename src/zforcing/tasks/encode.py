"""The latents that the posterior infers of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..models.base import SequenceModel
from ..observations import SequenceBatch


@torch.no_grad()
def infer_latents(model: SequenceModel, batch: SequenceBatch, *, noise: Tensor | None = None) -> Tensor:
    """z_t of each sequence, [B, T, Z]: the posterior's means, each step's given those before it, or with `noise`
    [B, T, Z] (standard normal) draws. Raises UserError for a model without latents.
    """
    if not model.latent_size:
        raise UserError(
            f"model {model.name} has no latents to go from one to the other: take a run of zforcing, vrnn or srnn"
        )
    if noise is None:
        noise = torch.zeros_like(model.draw_noise(batch))
    return model.unroll(batch, noise=noise).latents
