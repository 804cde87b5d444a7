"""Interpolation between two sequences through their latents, as in A. Goyal et al., "Z-Forcing", NIPS 2017."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data import InMemory, SequenceDataset
from ..data.dataset import check_dataset, description_of
from ..distributions import most_likely
from ..errors import UserError
from ..files.reading import Array
from ..models import DensityModel, Generated, SequenceModel
from ..observations import DataDescription, Drawn, Example, SequenceBatch, collate
from ..runtime.device import place_of
from ..runtime.threads import cpu_threads
from ..settings import Count, Range, Seed, must_be, must_fit
from .posterior import COLLAPSED, IN_WORDS, Inferred, Reads, infer_latents, what_posterior_reads, with_latents
from .sample import Choose, draw, generate

LatentPath = Literal["linear", "spherical"]
Decode = Literal["greedy", "sample"]
Infer = Literal["mean", "draw"]


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


@dataclass(frozen=True, repr=False, eq=False)
class Interpolation:
    """Sequences on the way from one to another.

    Attributes:
        model: name of the model.
        reads: what the posterior that gave the ends' latents reads: "future", "present" or "past"; see `encode`.
        weights: [num], of the second sequence in each row.
        latents: [num, T, Z].
        made: [num, T, D] or [num, T], as the model reads it.
        start: [num, D] or [num], x_0 of each row, where the model conditions on it; else None.
        nats_per_step: the KL of the two ends' latents, see `Encoded.kl`.
        description: says what the units are.
    """

    model: str
    reads: Reads
    weights: Array
    latents: Array
    made: Array
    start: Array | None
    nats_per_step: float
    description: DataDescription

    def __len__(self) -> int:
        return len(self.made)

    def __repr__(self) -> str:
        steps = self.made.shape[1]
        return f"<Interpolation: {len(self)} sequences of {steps} steps; {self.warning or IN_WORDS[self.reads]}>"

    @property
    def x(self) -> Array:
        """[num, T, D] or [num, T] in the data's units; with `start` before it, where there is one."""
        whole = self.made if self.start is None else np.concatenate([self.start[:, None], self.made], axis=1)
        return np.asarray(self.description.format.to_units(whole, self.description))

    @property
    def collapsed(self) -> bool:
        """Whether the ends' latents carry nothing: less than 0.01 nats per step."""
        return self.nats_per_step < COLLAPSED

    @property
    def warning(self) -> str | None:
        """What makes the way mean little, on one line; None where nothing does."""
        if not self.collapsed:
            return None
        return (
            f"the latents carry nothing of the two sequences ({self.nats_per_step:.2g} nats per step): what is between "
            "them is what the model makes of any latents (posterior collapse)"
        )

    @property
    def drawn(self) -> Drawn:
        """For `description.format.write`."""
        return Drawn(self.made, self.latents, self.start)


def interpolate(
    model: DensityModel,
    a: SequenceDataset | Example,
    b: SequenceDataset | Example,
    *,
    num: int = 7,
    path: LatentPath = "linear",
    decode: Decode = "greedy",
    infer: Infer = "mean",
    steps: int | None = None,
    seed: int = 0,
) -> Interpolation:
    """Interpolate between sequences a and b: infer their latents, mix them step by step, and decode.

    Row i has the weight i / (num - 1) of b. x_t is chosen from p(x_t | z_<=t, x_<t) given the row's own x_<t, which
    start with `first_observations`. After the end of a or b the prior's mean is used as its latent. The first and the
    last row are reconstructions; that of the shorter sequence continues after its end.

    Where the latents carry nothing (`collapsed`) the rows show what the model makes of any latents, and `warning` says
    so. The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences with latents.
        a: data of one sequence, such as `test[3:4]` or `Sequences([array])`; or an item of data that was read by the
            model's description, such as `test[3]`.
        b: the same.
        num: how many rows, with both ends.
        path: how latents are mixed, linearly or spherically.
        decode: "greedy": the likeliest x_t; "sample": drawn.
        infer: whether latents are the posterior's means, or draws from it.
        steps: steps to decode; None is the length of the longer sequence.
        seed: of all that is drawn.

    Returns:
        `num` sequences in the data's units, with their latents.

    Raises:
        UserError: the model has no latents, has no time steps or reads known inputs, num is below 2, a choice is none,
            or a or b isn't one sequence.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> way = zf.interpolate(model, data[0:1], data[1:2], num=5)
        >>> way.x.shape
        (5, 3, 1)
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    must_fit(seed, Seed, "seed")
    must_fit(num, Annotated[int, Range(at_least=2)], "num")  # it counts both ends
    must_fit(steps, Count | None, "steps")
    for name, choice, choices in (("path", path, LatentPath), ("decode", decode, Decode), ("infer", infer, Infer)):
        must_fit(choice, choices, name)
    known = with_latents(model, needed_by="interpolate").eval()
    if known.spec.inputs:
        raise UserError(f"model {known.name} reads known inputs, and there are none between two sequences")
    (of_a, description), (of_b, _) = _one(a, known, "a"), _one(b, known, "b")
    length = max(len(of_a.x), len(of_b.x)) if steps is None else steps
    torch.empty(num, length, known.latent_size)  # what can't be held is refused at once
    start = first_observations(known, of_a, of_b, num=num)
    with torch.random.fork_rng(), torch.no_grad(), cpu_threads(known, rows=num):
        torch.manual_seed(seed)
        ends = [_inferred(known, batch, drawn=infer == "draw") for batch in (of_a, of_b)]
        choose = most_likely if decode == "greedy" else draw
        made = _between(known, [end.z[0] for end in ends], start, path=path, choose=choose, steps=steps)
    kl = torch.cat([end.kl[0] for end in ends]).double()
    return Interpolation(
        model=known.label,
        reads=what_posterior_reads(known),
        weights=np.array(weights_of(num)),
        latents=made.latents.cpu().numpy(),
        made=made.x.cpu().numpy(),
        start=start.cpu().numpy() if known.spec.conditions_on_first else None,
        nats_per_step=float(kl.mean()),
        description=description,
    )


def weights_of(num: int) -> list[float]:
    """Of b, in each row."""
    return [i / (num - 1) for i in range(num)]


def _one(data: SequenceDataset | Example, model: SequenceModel, name: str) -> tuple[SequenceBatch, DataDescription]:
    """A batch of the one sequence, where the model is, and what its units are."""
    if isinstance(data, Example):
        data = InMemory([data])
    check_dataset(data, name)
    if len(data) != 1:
        raise UserError(f"{name} holds {len(data)} sequences; it must be one, such as data[3:4]")
    description = description_of(model, data)
    return collate([data.described_as(description)[0]], description.spec).to(*place_of(model)), description


def _inferred(model: SequenceModel, batch: SequenceBatch, *, drawn: bool) -> Inferred:
    return infer_latents(model, batch, noise=model.draw_noise(batch) if drawn else None)


def _between(
    model: SequenceModel,
    ends: Sequence[Tensor],
    start: Tensor,
    *,
    path: LatentPath,
    choose: Choose,
    steps: int | None,
) -> Generated:
    """Decode what is between latents [T_a, Z] and [T_b, Z], from the x_0 of each row on."""
    weights = weights_of(len(start))

    def latent(t: int, prior: Distribution) -> Tensor:
        """[num, Z]; after an end, the prior's mean stands for it."""
        z_a, z_b = (z[t].expand_as(prior.mean) if t < len(z) else prior.mean for z in ends)
        return torch.stack([PATHS[path](*rows) for rows in zip(z_a, z_b, weights, strict=True)])

    state = model.initial_state(len(start), start=start)
    return generate(model, state, max(map(len, ends)) if steps is None else steps, latent=latent, choose=choose)


def first_observations(model: DensityModel, a: SequenceBatch, b: SequenceBatch, *, num: int) -> Tensor:
    """Interpolate x_0: linearly if observations are real, else, and where one lacks a number, that of the nearer one.

    Args:
        model: The model.
        a: A batch of one sequence.
        b: A batch of one sequence.
        num: Number of rows, with both ends.

    Returns:
        x_0 of each row, [num, D] or [num].
    """
    x_a, x_b = a.start[0], b.start[0]
    weights = weights_of(num)
    nearer = torch.stack([x_a if weight < 0.5 else x_b for weight in weights])
    if model.spec.kind != "real":
        return nearer
    between = torch.stack([linear(x_a, x_b, weight) for weight in weights])
    return torch.where(between.isnan(), nearer, between)
