"""Interpolation between two sequences through their latents, as in A. Goyal et al., "Z-Forcing", NIPS 2017."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..models import DensityModel, Generated, of_sequences
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads
from .encode import infer_latents
from .sample import Choose, draw, generate

LatentPath = Literal["linear", "spherical"]


def linear(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """Linear interpolation, (1 - w) a + w b."""
    return torch.lerp(a, b, weight)


def spherical(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """Spherical interpolation, [sin((1 - w) o) a + sin(w o) b] / sin o, o the angle between a and b [..., Z].

    It keeps the norms that Gaussian latents have (T. White, "Sampling generative networks", 2016, arXiv 1609.04468).
    It is linear where o is 0 or pi.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1, eps=torch.finfo(a.dtype).tiny)[..., None]
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    defined = sine > torch.finfo(a.dtype).eps ** 0.25  # below, the angle is a rounding error of the cosine
    divisor = torch.where(defined, sine, torch.ones_like(sine))
    mixed = (torch.sin((1 - weight) * angle) * a + torch.sin(weight * angle) * b) / divisor
    return torch.where(defined, mixed, linear(a, b, weight))


PATHS: dict[LatentPath, Callable[[Tensor, Tensor, float], Tensor]] = {"linear": linear, "spherical": spherical}


@torch.no_grad()
def interpolate(
    model: DensityModel,
    a: SequenceBatch,
    b: SequenceBatch,
    *,
    num_samples: int = 7,
    path: LatentPath = "linear",
    choose: Choose = draw,
    infer: Literal["mean", "draw"] = "mean",
    steps: int | None = None,
    seed: int = 0,
) -> Generated:
    """Interpolate between sequences a and b: infer their latents, mix them step by step, and decode.

    Row i has the weight i / (num_samples - 1) of b. x_t is chosen from p(x_t | z_<=t, x_<t) given the row's own x_<t,
    which start with `first_observations`. After the end of a or b the prior's mean is used as its latent. The first and
    the last row are reconstructions; that of the shorter sequence continues after its end.

    Args:
        model: In eval mode.
        a: A batch of one sequence.
        b: A batch of one sequence.
        num_samples: Number of rows, with both ends.
        path: How latents are mixed, linearly or spherically.
        choose: `most_likely` (greedy decoding) or `draw`.
        infer: Whether latents are the posterior's means, or draws from it.
        steps: Steps to decode; None is the length of the longer sequence.
        seed: Seed of all random numbers. Torch's global generator is restored.

    Returns:
        `num_samples` sequences.

    Raises:
        UserError: The model has no latents, has no time steps or reads known inputs, or num_samples is below 2.
    """
    model = of_sequences(model, needed_by="an interpolation")
    if model.spec.inputs:
        raise UserError(f"model {model.name} reads known inputs, and there are none between two sequences")
    if num_samples < 2:
        raise UserError(f"num_samples is {num_samples}; it must be 2 or more, as it counts both ends")
    with torch.random.fork_rng(), cpu_threads(model, rows=num_samples):
        torch.manual_seed(seed)
        ends = [infer_latents(model, x, noise=model.draw_noise(x) if infer == "draw" else None)[0] for x in (a, b)]
        weights = [i / (num_samples - 1) for i in range(num_samples)]

        def latent(t: int, prior: Tensor) -> Tensor:
            """[num_samples, Z] from the prior's mean [num_samples, Z]."""
            z_a, z_b = (z[t].expand_as(prior) if t < len(z) else prior for z in ends)
            return torch.stack([PATHS[path](*rows) for rows in zip(z_a, z_b, weights, strict=True)])

        state = model.initial_state(num_samples, start=first_observations(model, a, b, num_samples=num_samples))
        steps = max(map(len, ends)) if steps is None else steps
        return generate(model, state, steps, latent=lambda t, prior: latent(t, prior.mean), choose=choose)


def first_observations(model: DensityModel, a: SequenceBatch, b: SequenceBatch, *, num_samples: int) -> Tensor:
    """Interpolate x_0: linearly if observations are real, else that of the nearer sequence.

    Args:
        model: The model.
        a: A batch of one sequence.
        b: A batch of one sequence.
        num_samples: Number of rows, with both ends.

    Returns:
        x_0 of each row, [num_samples, D] or [num_samples].
    """
    x_a, x_b = a.start[0], b.start[0]
    weights = [i / (num_samples - 1) for i in range(num_samples)]
    if model.spec.kind == "real":
        return torch.stack([linear(x_a, x_b, weight) for weight in weights])
    return torch.stack([x_a if weight < 0.5 else x_b for weight in weights])
