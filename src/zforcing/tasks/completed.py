"""Draws of what is missing of observations without time: the model's own, each independent of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import UserError
from ..models import DensityModel
from ..observations import Example, collate
from ..runtime.device import place_of
from .drawing import Draws


@torch.no_grad()
def completed(model: DensityModel, examples: Sequence[Example], *, particles: int) -> list[Draws]:
    """K independent draws from p(missing | observed) of each of B observations, from torch's global generator.

    Args:
        model: One without time, in eval mode.
        examples: B observations, of one step each.
        particles: K.

    Raises:
        UserError: The model can't draw a part of an observation, or not these; or there are several steps.
    """
    batch = collate(examples, model.spec)
    if batch.x.shape[1] != 1:
        raise UserError(f"model {model.name} has no time steps; these are sequences of up to {batch.x.shape[1]}")
    if batch.observed is None:
        return [_draws(np.empty((particles, 0, model.spec.size), np.float32)) for _ in examples]
    drawn = model.complete(batch.to(*place_of(model)).repeat(particles)).x
    x = drawn.reshape(particles, len(batch), 1, -1).cpu().numpy()
    gaps = (~batch.observed[:, 0]).any(-1).tolist()
    return [_draws(x[:, b] if gap else x[:, b, :0]) for b, gap in enumerate(gaps)]


def _draws(x: np.ndarray) -> Draws:
    """Of x [K, G, D], G being 1, or 0 where nothing is missing: each draw is worth itself."""
    K, G = x.shape[:2]
    return Draws(x, np.arange(G), np.full(G, K), np.full(G, float(K)))
