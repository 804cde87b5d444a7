"""Checks of models that know p(x) up to a constant: log Z, estimate and gradient, against sums over all bits."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from ..bounds.ais import AIS, HasPartition
from ..bounds.chib import HasChain
from ..models.density import DensityModel
from .comparison import require
from .image_check import all_images, image_check, images_of
from .listing import listed_log_likelihood, listed_terms

CHAINS, TEMPERATURES, SEEDS = 400, 60, 12
PARTICLES, CHAIN_DRAWS = 20_000, 4000
BATCHES, FIRST = 150, 10
"""of training at weights that stay, of which the first ones only move the chains away from where they began"""


@image_check
def check_partition(model: DensityModel) -> None:
    """Check annealed importance sampling against log Z, where that is listed: Z is estimated without bias, with the
    error that is said, and by no more than one temperature too.
    """
    if not isinstance(model, HasPartition):
        return
    log_z = float(listed_terms(model, images_of(all_images(model.spec.size)[:1])).log_z.detach())
    for temperatures in (1, TEMPERATURES):
        found = [model.log_partition(chains=CHAINS, temperatures=temperatures, seed=seed) for seed in range(SEEDS)]
        ratio = torch.tensor([f.value - log_z for f in found], dtype=torch.float64).exp()
        error = float(ratio.std()) / SEEDS**0.5
        require(
            abs(float(ratio.mean()) - 1) < 4.5 * error,
            f"by {temperatures} temperatures, exp(log Z estimated - log Z) is {float(ratio.mean()):.4f} ± {error:.2g}",
        )
    said = sum(f.error for f in found) / SEEDS
    spread = float(ratio.log().std())
    require(said / 2.5 < spread < said * 2.5, f"errors of log Z are {spread:.2g}, and {said:.2g} is said")


@image_check
def check_estimate(model: DensityModel) -> None:
    """Check that weights have the mean p(x) Z, whole and in part, and that bound `ais` is the listed log p(x)."""
    if not isinstance(model, HasPartition):
        return
    images = all_images(model.spec.size)[[9, 22, 63]]
    known = torch.ones_like(images, dtype=torch.bool)
    known[1, ::2] = False
    batch = images_of(images, known)
    with torch.no_grad():
        log_p, log_z = listed_log_likelihood(model, batch), listed_terms(model, batch).log_z
        terms = model.unnormalized(batch, particles=PARTICLES)
        log_w = (terms.log_px + terms.log_prior - terms.log_q).view(PARTICLES, -1)
    ratio = (log_w - log_p - log_z).exp()
    error = ratio.std(0) / PARTICLES**0.5
    wrong = ((ratio.mean(0) - 1).abs() > 4.5 * error + 1e-10).any()
    require(not wrong, f"weights have the mean {ratio.mean(0).tolist()} of p(x) Z, with errors of {error.tolist()}")
    if isinstance(model, HasChain):
        found = model.log_by_chain(images_of(images.repeat(CHAIN_DRAWS, 1), known.repeat(CHAIN_DRAWS, 1)), states=3)
        ratio = (found.estimate.view(CHAIN_DRAWS, -1) - log_p - log_z).exp()
        error = ratio.std(0) / CHAIN_DRAWS**0.5
        off = ((ratio.mean(0) - 1).abs() > 4.5 * error + 1e-10).any()
        require(not off, f"by chains, the mean is {ratio.mean(0).tolist()} of p(x) Z, with errors of {error.tolist()}")
    result = AIS(PARTICLES, chains=CHAINS, temperatures=TEMPERATURES).prepared(model)(model, batch)
    off = float((result.value - log_p).abs().max())
    require(off < 0.1, f"bound ais is off by {off:.3g} nats")
    require(result.kind == "estimate", f"bound ais calls itself {result.kind}, though log Z is estimated")


@image_check
def check_learning(model: DensityModel) -> None:
    """Check that the gradient of training, with chains that have come far, is on average that of the mean over draws
    of h of log p(x, h), as all bits are listed, in the parameters that training reaches.

    The model's weights must not decay.
    """
    if not isinstance(model, HasPartition):
        return
    batch, parameters = images_of(all_images(model.spec.size)[5::7]), list(model.parameters())
    terms = listed_terms(model, batch)
    exact: tuple[Tensor | None, ...] = torch.autograd.grad(
        -(terms.q * (terms.log_joint - terms.log_z)).sum(0).mean(), parameters, allow_unused=True
    )
    trained, found = deepcopy(model).train(), []
    for number in range(FIRST + BATCHES):
        loss = trained.learn(batch).loss.mean()
        drawn: tuple[Tensor | None, ...] = torch.autograd.grad(loss, list(trained.parameters()), allow_unused=True)
        if number >= FIRST:
            found.append(drawn)
    reached = 0
    for (name, _), wanted, each in zip(model.named_parameters(), exact, zip(*found, strict=True), strict=True):
        if any(g is None for g in each):
            continue
        assert wanted is not None, f"log p(x, h) doesn't depend on {name}"
        values, reached = torch.stack([g for g in each if g is not None]), reached + 1
        limit = 5 * values.std(0) / BATCHES**0.5 + 1e-6
        errors = float(((values.mean(0) - wanted).abs() / limit).max()) * 5
        require(errors < 5, f"the gradient of {name} is off by {errors:.1f} standard errors")
    require(reached > 0, "training reaches no parameter")
