"""Between two sequences, through their latents, as A. Goyal et al., "Z-Forcing", NIPS 2017, do between sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..models.base import SequenceModel
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads
from .encode import infer_latents
from .sample import Choose, Generated, draw, generate

LatentPath = Literal["linear", "spherical"]


def linear(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """(1 - w) a + w b."""
    return torch.lerp(a, b, weight)


def spherical(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """[sin((1 - w) o) a + sin(w o) b] / sin o, o the angle between a and b [..., Z]: keeps to lengths that Gaussian
    latents have (T. White, "Sampling generative networks", 2016, arXiv 1609.04468). Linear where o is 0 or pi.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1, eps=torch.finfo(a.dtype).tiny)[..., None]
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    defined = sine > torch.finfo(a.dtype).eps ** 0.25  # below, rounding of the cosine decides what the angle is
    divisor = torch.where(defined, sine, torch.ones_like(sine))
    mixed = (torch.sin((1 - weight) * angle) * a + torch.sin(weight * angle) * b) / divisor
    return torch.where(defined, mixed, linear(a, b, weight))


PATHS: dict[LatentPath, Callable[[Tensor, Tensor, float], Tensor]] = {"linear": linear, "spherical": spherical}


@torch.no_grad()
def interpolate(
    model: SequenceModel,
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
    """Sequences on the way from a to b: their latents are inferred, mixed step by step, and decoded.

    Row i has the weight i / (num_samples - 1) of b. x_t is chosen from p(x_t | z_<=t, x_<t) of the row's own x_<t,
    which begin with `first_observations`. Beyond the end of a or b the prior's mean stands for its latent. The first
    and the last row are reconstructions, the shorter one's prolonged.

    Args:
        model: in eval mode.
        a: a batch of one sequence.
        b: another one.
        num_samples: rows, both ends included.
        path: how latents are mixed, linearly or spherically.
        choose: `most_likely` (greedy decoding) or `draw`.
        infer: the posterior's means, or draws from it.
        steps: how many are decoded; by default as many as the longer sequence has.
        seed: of all that is drawn. Torch's global generator is left as it was.

    Raises:
        UserError: the model has no latents, or num_samples is below 2.
    """
    if num_samples < 2:
        raise UserError(f"{num_samples} sequences from one to the other: it must be 2 or more, with both ends")
    with torch.random.fork_rng(), cpu_threads(model, rows=num_samples):
        torch.manual_seed(seed)
        ends = [infer_latents(model, x, noise=model.draw_noise(x) if infer == "draw" else None)[0] for x in (a, b)]
        weights = [i / (num_samples - 1) for i in range(num_samples)]

        def latent(t: int, prior: Tensor) -> Tensor:
            """[num_samples, Z] from the prior's mean [num_samples, Z]."""
            of_a, of_b = (z[t].expand_as(prior) if t < len(z) else prior for z in ends)
            return torch.stack([PATHS[path](*rows) for rows in zip(of_a, of_b, weights, strict=True)])

        state = model.initial_state(num_samples, start=first_observations(model, a, b, num_samples=num_samples))
        steps = max(map(len, ends)) if steps is None else steps
        return generate(model, state, steps, latent=lambda t, prior: latent(t, prior.mean), choose=choose)


def first_observations(model: SequenceModel, a: SequenceBatch, b: SequenceBatch, *, num_samples: int) -> Tensor:
    """x_0 of the sequences from a to b, [num_samples, D] or [num_samples]: mixed linearly where observations are real,
    else the nearer sequence's.
    """
    of_a, of_b = a.start[0], b.start[0]
    weights = [i / (num_samples - 1) for i in range(num_samples)]
    if model.spec.kind == "real":
        return torch.stack([linear(of_a, of_b, weight) for weight in weights])
    return torch.stack([of_a if weight < 0.5 else of_b for weight in weights])
