"""Inference of latents from sequences, by the posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..models import DensityModel, of_sequences
from ..observations import SequenceBatch


@torch.no_grad()
def infer_latents(model: DensityModel, batch: SequenceBatch, *, noise: Tensor | None = None) -> Tensor:
    """Infer the latents of sequences.

    Args:
        model: In eval mode.
        batch: B sequences of T steps.
        noise: [B, T, Z] standard normal, for draws from the posterior; None gives its mean at each step, given the
            means of the steps before.

    Returns:
        z, [B, T, Z].

    Raises:
        UserError: The model has no latents, or no time steps.
    """
    if not model.latent_size:
        raise UserError(
            f"model {model.name} has no latents: use a run of a model with latents (zforcing, vrnn or srnn)"
        )
    model = of_sequences(model, needed_by="inference step by step")
    if noise is None:
        noise = torch.zeros_like(model.draw_noise(batch))
    return model.unroll(batch, noise=noise).latents
