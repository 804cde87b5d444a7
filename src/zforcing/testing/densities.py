"""Checks of the densities: the KL, that sampling and training use the same ones, and that none reads the future.

Each takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

from ..distributions import reparameterize
from ..models.sequence import SequenceModel
from ..observations import SequenceBatch
from ..tasks.sample import sample
from .batches import inputs_by_step, other_values
from .comparison import assert_same, model_check, noise_for, require


@model_check
@torch.no_grad()
def check_kl(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that KL(posterior || prior) >= 0 is the mean of log q - log p under q, and 0 for equal distributions.

    log q - log p of Gaussians is quadratic, so that its mean over the 2Z points mean +- sqrt(Z) (column of the root of
    the covariance) is exact (S. Julier, J. Uhlmann, 1997). The check finds a KL of the wrong sign or direction, or
    summed over the wrong dimension.
    """
    run, Z, exists = model.unroll(batch, noise=noise_for(model, batch)), model.latent_size, batch.mask
    kl = run.kl.detach()[exists]
    require(bool((kl >= -1e-12).all()), f"the KL is {kl.min().item():.3g} nats at a step: is its sign wrong?")
    axes = torch.eye(Z, dtype=kl.dtype) * Z**0.5
    points = torch.cat([axes, -axes]) if Z else axes.new_zeros(1, 0)
    z = reparameterize(run.posterior, points[:, None, None].expand(len(points), *exists.shape, Z))
    mean = (run.posterior.log_prob(z) - run.prior.log_prob(z)).detach().mean(0)[exists]
    what = "the KL is not the mean of log q(z) - log p(z) under the posterior q: are q and p exchanged?"
    assert_same(kl, mean, what, tolerance=1e-8)
    self_kl = kl_divergence(run.prior, run.prior)[exists]
    assert_same(self_kl, torch.zeros_like(self_kl), "the KL of the prior from itself is not 0")


@model_check
def check_sampling(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that a run over samples, with the sampled latents, has the densities that they were sampled from.

    The check finds densities in training that differ from those in generation: a decoder that doesn't read x_{t-1}, or
    that reads h_{t-1} in one and h_t in the other, or another x_0. Samples must also have the data's shape and type.
    """
    start = batch.start if model.spec.conditions_on_first else None
    steps = batch.x.shape[1]
    with torch.no_grad():
        samples = sample(model, len(batch), steps=steps, seed=4, start=start, inputs=batch.inputs)
        require(
            (samples.x.shape, samples.x.dtype) == (batch.x.shape, batch.x.dtype),
            f"samples are {samples.x.dtype} {list(samples.x.shape)}; data is {batch.x.dtype} {list(batch.x.shape)}",
        )
        lengths = torch.full_like(batch.lengths, steps)
        sampled_batch = SequenceBatch(samples.x, lengths, batch.start, inputs=batch.inputs)
        run = model.unroll(sampled_batch, noise=_noise_of(model, sampled_batch, samples.latents))
    # the noise was solved for, hence the tolerance
    what = "the posterior doesn't give the latents that were sampled"
    assert_same(run.latents, samples.latents, what, tolerance=1e-8)
    trained, sampled = (emission.log_prob(samples.x) for emission in (run.emission, samples.emission))
    assert_same(trained, sampled, "the emission in training is not the one that samples come from", tolerance=1e-8)


def _noise_of(model: SequenceModel, batch: SequenceBatch, latents: Tensor) -> Tensor:
    """The noise for which the posterior gives these latents, [B, T, Z]."""
    context, state, noise = model.encode(batch), model.initial_state(len(batch), start=batch.start), []
    columns = (batch.read.unbind(1), context.unbind(1), latents.unbind(1), inputs_by_step(batch))
    for x, c, z, u in zip(*columns, strict=True):
        state = model.after_inputs(state, u)
        noise.append(_standardized(model.posterior(state, c), z))
        state = model.after_observation(model.after_latent(state, z), x)
    return torch.stack(noise, dim=1)


def _standardized(q: Distribution, z: Tensor) -> Tensor:
    """The inverse of `reparameterize`."""
    if isinstance(q, MultivariateNormal):
        solved: Tensor = torch.linalg.solve_triangular(q.scale_tril, (z - q.mean)[..., None], upper=False)[..., 0]
        return solved
    return (z - q.mean) / q.stddev


@model_check
def check_inputs(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that the known inputs of each step reach the prior or the emission of that step, with finite gradients.

    A batch without inputs passes. The check finds a model that was given inputs and ignores them, or whose posterior
    alone reads them, so that samples don't depend on them; every result is still a valid bound.
    """
    if batch.inputs is None:
        return
    u = batch.inputs.detach().requires_grad_()
    z = model.unroll(batch, noise=noise_for(model, batch)).latents.detach()
    run = model.unroll(replace(batch, inputs=u), latents=z)
    generated = run.log_px + run.prior.log_prob(z)
    for t in range(batch.x.shape[1]):
        term = generated[:, t].sum()
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(term, u, retain_graph=True, allow_unused=True)
        by_u = torch.zeros_like(u) if gradients[0] is None else gradients[0]
        require(bool(by_u.isfinite().all()), f"the gradient of step {t}'s densities by the inputs is not finite")
        reached = by_u[:, t].any(-1) | ~batch.mask[:, t]
        require(bool(reached.all()), f"the inputs of step {t} don't reach its prior or emission: are they read?")


@model_check
def check_causality(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that, given the latents, neither the prior of z_t nor the emission of x_t reads x_t or anything later.

    For each t, x_s, z_{s+1} and the known inputs u_{s+1}, s >= t, are replaced by others. (A gradient would miss
    detached paths and categories.) The check finds the future leaking into the generative model, which looks like a
    very good likelihood. The posterior may read the future.
    """
    T = batch.x.shape[1]
    copies, steps = batch.repeat(T), torch.arange(T)  # the x of row i + t B changes from step t on
    cut = steps.repeat_interleave(len(batch))[:, None]
    future = steps >= cut if batch.x.dim() == 2 else (steps >= cut)[:, :, None]
    changed = replace(copies, x=torch.where(future, other_values(copies.x, model.spec), copies.x))
    if copies.inputs is not None:
        later = (steps > cut)[:, :, None]
        changed = replace(changed, inputs=torch.where(later, 3 - 2 * copies.inputs, copies.inputs))
    with torch.no_grad():
        z = model.unroll(batch, noise=noise_for(model, batch)).latents.repeat(T, 1, 1)
        before = model.unroll(copies, latents=z)
        after = model.unroll(changed, latents=torch.where((steps > cut)[:, :, None], z + 1, z))
    compared = copies.mask & (steps <= cut)  # [T B, T]
    for name, value in (("prior", z), ("emission", copies.x)):
        old, new = (getattr(run, name).log_prob(value) for run in (before, after))
        what = f"the {name} changes with the x that it predicts, or a later x, z or u (at index: from step, row, step)"
        assert_same(torch.where(compared, new, old).reshape(T, -1, T), old.reshape(T, -1, T), what)
