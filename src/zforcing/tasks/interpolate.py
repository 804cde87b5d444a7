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
from .sample import Choose, Generated, draw, drawn

Path = Literal["linear", "spherical"]


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


PATHS: dict[Path, Callable[[Tensor, Tensor, float], Tensor]] = {"linear": linear, "spherical": spherical}


@torch.no_grad()
def interpolate(
    model: SequenceModel,
    a: SequenceBatch,
    b: SequenceBatch,
    *,
    num: int,
    path: Path = "linear",
    choose: Choose = draw,
    infer: Literal["mean", "draw"] = "mean",
    steps: int | None = None,
    seed: int = 0,
) -> Generated:
    """`num` sequences from a to b, both of one sequence: row i has the weight i / (num - 1) of b.

    The latents of both are inferred, mixed step by step, and decoded: x_t is chosen from p(x_t | z_<=t, x_<t) of the
    sequence's own x_<t, which begin with `first_observations`. Beyond the end of a or b the prior's mean stands for its
    latent. The first and the last row are reconstructions, the shorter one's prolonged.

    choose: `most_likely` (greedy) or `draw`
    infer:  the posterior's means, or draws
    steps:  how many are decoded; as many as the longer one has by default

    Raises UserError when the model has no latents, or num is below 2. The model should be in eval mode. Torch's
    global generator is left as it was.
    """
    if num < 2:
        raise UserError(f"{num} sequences from one to the other: it must be 2 or more, with both ends")
    with torch.random.fork_rng(), cpu_threads(model, rows=num):
        torch.manual_seed(seed)
        ends = [infer_latents(model, x, noise=model.draw_noise(x) if infer == "draw" else None)[0] for x in (a, b)]
        weights = [i / (num - 1) for i in range(num)]

        def latent(t: int, prior: Tensor) -> Tensor:
            """[num, Z] from the prior's mean [num, Z]."""
            of_a, of_b = (z[t].expand_as(prior) if t < len(z) else prior for z in ends)
            return torch.stack([PATHS[path](*rows) for rows in zip(of_a, of_b, weights, strict=True)])

        state = model.initial_state(num, start=first_observations(model, a, b, num=num))
        steps = max(map(len, ends)) if steps is None else steps
        return drawn(model, state, steps, latent=lambda t, prior: latent(t, prior.mean), choose=choose)


def first_observations(model: SequenceModel, a: SequenceBatch, b: SequenceBatch, *, num: int) -> Tensor:
    """x_0 of `num` sequences from a to b, [num, D] or [num]: mixed on a line where they are real, else the nearer
    sequence's.
    """
    of_a, of_b = a.start[0], b.start[0]
    weights = [i / (num - 1) for i in range(num)]
    if model.spec.kind == "real":
        return torch.stack([linear(of_a, of_b, weight) for weight in weights])
    return torch.stack([of_a if weight < 0.5 else of_b for weight in weights])
