"""Checks of density models of binary images, which know the answer: at a tiny size every image can be listed.

    from zforcing.testing import check_image_model

    check_image_model(lambda spec: MADE(spec, hidden_size=8))

Each check takes a model in float64, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from ..bounds.ais import HasPartition
from ..bounds.orders import HasOrders
from ..models.density import DensityModel, Draws
from ..models.images import AutoregressiveModel, LatentImageModel
from ..observations import ObservationSpec, SequenceBatch
from .comparison import assert_same, require, seed
from .image_check import ImageCheck, all_images, image_check, images_of
from .listing import listed_log_likelihood
from .moves import check_moves
from .partition import check_estimate, check_learning, check_partition

DRAWS = 20_000
TINY = ObservationSpec("binary", 6)


def numbers_of(images: Tensor) -> Tensor:
    """Which row of `all_images` each image [n, D] is, [n] int64."""
    return (images.long() << torch.arange(images.shape[1] - 1, -1, -1)).sum(1)


def probabilities(model: DensityModel) -> Tensor:
    """p(x) of every image, [2^D]: exact, or as `listed_log_likelihood` has it."""
    return listed_log_likelihood(model, images_of(all_images(model.spec.size))).exp()


def is_weighted(model: DensityModel) -> bool:
    """Whether its draws of latents have importance weights."""
    return not (model.is_exact or isinstance(model, HasPartition | HasOrders))


def reads_parts(model: DensityModel) -> bool:
    """Whether it is a model of parts of images too."""
    return type(model).complete is not DensityModel.complete


def chi_square(counts: Tensor, expected: Tensor) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom; cells where fewer than 5 are expected are one cell."""
    rare = expected < 5
    cells = [torch.cat([v[~rare], v[rare].sum()[None]]) for v in (counts.double(), expected)]
    kept = cells[1] >= 5
    statistic = ((cells[0] - cells[1])[kept] ** 2 / cells[1][kept]).sum()
    return float(statistic), max(int(kept.sum()) - 1, 1)


def assert_drawn_from(images: Tensor, p: Tensor, what: str) -> None:
    """Require images [n, D] to be draws from p [2^D], by a chi-square test whose false alarms are below 1 in 10^5."""
    drawn = numbers_of(images)
    require(bool((p[drawn] > 0).all()), f"{what}: an image was drawn that has probability 0")
    statistic, freedom = chi_square(drawn.bincount(minlength=len(p)), p * len(images))
    limit = freedom * (1 - 2 / (9 * freedom) + 4.3 * (2 / (9 * freedom)) ** 0.5) ** 3  # Wilson and Hilferty, 1931
    require(statistic < limit, f"{what}: chi-square {statistic:.1f} with {freedom} degrees of freedom")


@torch.no_grad()
def dependencies(model: AutoregressiveModel, *, member: int = 0) -> Tensor:
    """Which pixels each conditional reads, [D, D] bool: [d, j] is whether the logit of d changes where x_j is flipped.

    Over every image. A gradient would miss what is read by comparison, or detached.
    """
    x = all_images(model.spec.size)
    before, reads = model.logits(x, member=member), []
    for j in range(model.spec.size):
        flipped = x.clone()
        flipped[:, j] = 1 - flipped[:, j]
        reads.append(((model.logits(flipped, member=member) - before).abs() > 1e-12).any(0))
    return torch.stack(reads, dim=1)


# ---- the checks


@image_check
def check_total(model: DensityModel) -> None:
    """Check that the probabilities of all images sum to 1."""
    total = float(probabilities(model).sum())
    require(abs(total - 1) < 1e-10, f"the probabilities of all images sum to {total:.12g}")


@image_check
def check_order(model: DensityModel) -> None:
    """Check that each conditional reads only pixels before its own in the order, where there is one."""
    if not isinstance(model, AutoregressiveModel):
        return
    for member, place in enumerate(model.place):
        wrong = dependencies(model, member=member) & (place[:, None] <= place)
        where = ", ".join(f"{j} in {d}" for d, j in wrong.nonzero().tolist())
        require(not where, f"conditionals read pixels that don't come before theirs (pixel in conditional): {where}")


@image_check
def check_draws(model: DensityModel) -> None:
    """Check that samples have the probabilities that the likelihood says, and the form of data."""
    p = probabilities(model)
    drawn = model.sample(DRAWS)
    expected = (DRAWS, 1, model.spec.size)
    require(drawn.x.shape == expected, f"samples are {list(drawn.x.shape)}; they must be {list(expected)}")
    assert_drawn_from(drawn.x[:, 0], p, "samples aren't from the density that is scored")


@image_check
def check_known_part(model: DensityModel) -> None:
    """Check log p of a part of an image, and draws of the rest, against the sum over all completions.

    The part is the first half of the order, if there is one; models in several orders, or that don't complete, pass.
    """
    orders = model.place if isinstance(model, AutoregressiveModel) else torch.arange(model.spec.size)[None]
    if isinstance(model, HasOrders) or len(orders.unique(dim=0)) > 1 or not reads_parts(model):
        return  # in another order the half is no beginning
    joint = probabilities(model)
    half, x = orders[0].argsort()[: model.spec.size // 2], all_images(model.spec.size)
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, half] = True
    alike = (x[:, None, half] == x[None, :, half]).all(-1)
    marginal = (alike * joint).sum(1)
    found = listed_log_likelihood(model, images_of(x, known))
    assert_same(found, marginal.log(), "log p of a part of an image isn't that of all its completions together")
    image = int(marginal.argmax())
    rows = [image] * (DRAWS if model.is_exact else DRAWS // 10)  # what is resampled is only close to p
    drawn = model.complete(images_of(x[rows], known[rows])).x[:, 0]
    p = torch.where(alike[image], joint, 0.0) / marginal[image]
    assert_drawn_from(drawn, p, "completions aren't from p(missing | known)")


@image_check
def check_weights(model: DensityModel) -> None:
    """Check that importance weights have the mean p(x), whole and in part, and that the ELBO has the mean of theirs in
    logarithms, at most log p(x).
    """
    if not is_weighted(model):
        return
    images = all_images(model.spec.size)[[number % 2**model.spec.size for number in (9, 22, 63)]]
    known = torch.ones_like(images, dtype=torch.bool)
    known[1, -2:] = not reads_parts(model)
    batch = images_of(images, known)
    log_p = listed_log_likelihood(model, batch)
    with torch.no_grad():
        draws = model.draw(batch, particles=DRAWS)
        log_w = draws.log_px + draws.log_ratio if isinstance(model, LatentImageModel) else balanced(model, batch, draws)
        ratio = log_w.view(DRAWS, -1).sub(log_p).exp()
        elbo, surplus = (v.view(DRAWS, -1) for v in (draws.log_px - draws.kl, draws.kl + draws.log_ratio))
    error = ratio.std(0) / DRAWS**0.5
    wrong = ((ratio.mean(0) - 1).abs() > 4.5 * error).nonzero()[:, 0].tolist()
    require(not wrong, f"weights have the mean {ratio.mean(0).tolist()} of p(x), with errors of {error.tolist()}")
    off = surplus.mean(0)
    within = off.abs() < 4.5 * surplus.std(0) / DRAWS**0.5 + 1e-10
    require(bool(within.all()), f"the KL isn't the mean of log q - log p over draws, but off by {off.tolist()} nats")
    above = elbo.mean(0) - log_p
    require(
        bool((above < 4.5 * elbo.std(0) / DRAWS**0.5).all()), f"the ELBO is above log p(x), by {above.tolist()} nats"
    )


def balanced(model: DensityModel, batch: SequenceBatch, draws: Draws) -> Tensor:
    """log of p(x, z) / (q(z | x) + N(z; 0, I)), summed over a draw of either, [N]: weights of mean p(x).

    They are bounded where those of q alone, which may be narrow, have no variance (Veach and Guibas, 1995).
    """
    standard = Normal(draws.latents.new_zeros(()), 1.0)
    others = model.draw(batch, particles=DRAWS, latents=standard.sample(draws.latents.shape))
    log_w = []
    for one in (draws, others):
        log_n = standard.log_prob(one.latents).flatten(1).sum(1)
        log_w.append(one.log_px + one.log_pz - torch.logaddexp(one.log_pz - one.log_ratio, log_n))
    return torch.logaddexp(*log_w)


@image_check
def check_rows_alone(model: DensityModel) -> None:
    """Check that log p of an image doesn't depend on the others of its batch."""
    x = all_images(model.spec.size)[5:9]
    together, *alone = [listed_log_likelihood(model, images_of(images)) for images in (x, *x[:, None])]
    assert_same(together, torch.cat(alone), "log p of an image depends on its batch")


@image_check
def check_every_gradient(model: DensityModel) -> None:
    """Check that the gradient of log p, or of a bound at fixed noise, reaches every parameter, and is the slope along
    one line by finite differences; of bits only that it reaches them, for their slope is a convention.
    """
    if isinstance(model, HasPartition):
        return  # which is trained by another gradient: `check_learning`
    batch, parameters = images_of(all_images(model.spec.size)), [p for p in model.parameters() if p.requires_grad]
    noise = None if model.is_exact else model.draw_noise(batch)
    found: tuple[Tensor | None, ...] = torch.autograd.grad(_total(model, batch, noise), parameters, allow_unused=True)
    idle = [name for (name, _), g in zip(model.named_parameters(), found, strict=True) if g is None or not g.any()]
    require(not idle, f"no gradient reaches {', '.join(idle)}")
    if isinstance(model, LatentImageModel) and model.latent_kind == "bits":
        return
    along = [torch.randn_like(p) for p in parameters]
    slope = sum(float((g * a).sum()) for g, a in zip(found, along, strict=True) if g is not None)
    sides = [_total_at(model, batch, noise, parameters, along, step) for step in (1e-5, -1e-5)]
    difference = (sides[0] - sides[1]) / 2e-5
    require(
        abs(slope - difference) < 1e-5 * max(1.0, abs(slope)),
        f"the gradient of log p says {slope:.8g} along a line, and finite differences {difference:.8g}",
    )


def _total(model: DensityModel, batch: SequenceBatch, noise: Tensor | None) -> Tensor:
    """The sum of log p, or of its bound."""
    if noise is None:
        return model.log_likelihood(batch).sum()
    draws = model.draw(batch, noise=noise)
    return (draws.log_px - draws.kl).sum()


@torch.no_grad()
def _total_at(
    model: DensityModel,
    batch: SequenceBatch,
    noise: Tensor | None,
    parameters: list[torch.nn.Parameter],
    along: list[Tensor],
    step: float,
) -> float:
    """The same where the parameters are moved along a line by a step; they are moved back."""
    before = [p.clone() for p in parameters]
    for p, a in zip(parameters, along, strict=True):
        p.add_(a, alpha=step)
    total = float(_total(model, batch, noise))
    for p, b in zip(parameters, before, strict=True):
        p.copy_(b)
    return total


IMAGE_CHECKS: tuple[ImageCheck, ...] = (
    check_order,
    check_total,
    check_partition,
    check_estimate,
    check_learning,
    check_draws,
    check_known_part,
    check_moves,
    check_weights,
    check_rows_alone,
    check_every_gradient,
)
"""The checks of a model of images, ordered so that an early failure explains later ones."""


def check_image_model(build: Callable[[ObservationSpec], DensityModel], spec: ObservationSpec = TINY) -> None:
    """Run all checks of a density model of binary images, with random parameters. What doesn't apply is passed over.

    Latents are at most three Gaussian ones, or a few bits of a LatentImageModel: over them log p(x) is listed.

    Args:
        build: Makes a small model from a specification.
        spec: A few binary pixels, of which every image is listed.

    Raises:
        AssertionError: A check failed; the message names the check and what is wrong.

    Example:
        >>> from zforcing import NADE
        >>> check_image_model(lambda spec: NADE(spec, hidden_size=5))
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        seed(0)
        model = build(spec).double()
        for p in model.parameters():
            p.normal_().mul_(1.0 if model.is_exact else 0.5)  # weights of a posterior far off are of no use
    for check in IMAGE_CHECKS:
        check(model)
