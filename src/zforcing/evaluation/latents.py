"""Does the latent matter? How much the latents carry, where, in which dimensions, and what x gains by them.

    KL by step        E_q KL(q(z_t | z_<t, .) || p(z_t | z_<t, x_<t)): in closed form at each step, the past by K draws
    KL by dimension   the same between the marginals of z_{t,d}, summed over t. Of diagonal Gaussians the dimensions sum
                      to the KL. Of others they needn't: with a diagonal prior they lack what the posterior knows of one
                      dimension by another
    active units      dimensions d whose posterior mean, in units of the prior, varies by more than 0.01:
                      Var[(E_q z_{t,d} - E_p z_{t,d}) / Std_p z_{t,d}] over all steps of all sequences, along the means
    log p(x | z)      E_q[sum_t log p(x_t | z_<=t, x_<t)], and with z_t from the prior p(z_t | z_<t, x_<t) instead; x_<t
                      is the data's in both (teacher-forced)

Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, arXiv 1509.00519, section 5.2,
count Var_x[E_q z_d] > 0.01. Their prior is N(0, I), with which ours is the same number. A learned prior moves: the
mean of a collapsed unit, whose posterior is the prior, follows x_<t and would count as active; so what is counted is
what the posterior adds to the prior.

The KL is also an upper bound on information: sum_t I_q(z_t; x_t..x_T | z_<t, x_<t) <= KL (M. Hoffman, M. Johnson,
"ELBO surgery", 2016, step by step), with equality where the prior is the average of the posteriors. And E_p[log p(x |
z)] is, like the ELBO, a lower bound on log p(x): where the ELBO is below it, what the latents carry costs more than it
gains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data import SequenceDataset
from ..distributions import log_probs_of_observed, reparameterize
from ..errors import UserError
from ..files.reading import Array
from ..models import DensityModel, SequenceModel
from ..models.stepper import Stepper
from ..models.unroll import Unroll
from ..observations import SequenceBatch, masked_sum
from ..settings import Count, must_fit
from ..tasks.passes import Pass
from ..tasks.posterior import noise_of, what_posterior_reads
from .latents_report import LatentsReport, mean_and_error


def latents_report(
    model: DensityModel,
    data: SequenceDataset,
    *,
    num_samples: int = 4,
    seed: int = 0,
    max_rows: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> LatentsReport:
    """Measure whether a model uses its latents, on data: see the module's docstring for the numbers.

    The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model of sequences with latents.
        data: sequences, such as `Sequences`; read as the model's description says.
        num_samples: K, draws of the latents of each sequence, from the posterior and from the prior.
        seed: of the draws; those of a sequence depend on its number in the data, and not on the others.
        max_rows: sequences times draws at a time (at least one sequence); None: 256.
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch with the number of sequences done in it.

    Returns:
        KL by step and by dimension, active units, log p(x | z) with z from the posterior and from the prior, and
        `advice`, lines that say what is wrong and what to try.

    Raises:
        UserError: the model has no latents or no time steps, or the data doesn't fit it.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2)
        >>> report = zf.latents_report(model, data)
        >>> report.kl_by_step.shape, report.kl_by_dimension.shape
        ((3,), (2,))
        >>> report.active_units <= report.latent_size
        True
    """
    must_fit(num_samples, Count, "num_samples")
    run = Pass.over(data, model, needed_by="a latents report", seed=seed, device=device)
    found = _Sums.empty(len(run), int(run.data.lengths.max()) - run.first_step, run.model.latent_size)
    with run.running(copies=num_samples, max_rows=max_rows) as batches:
        for indices, batch in batches:
            shape = (num_samples, batch.x.shape[1], run.model.latent_size)
            noise = noise_of(seed, indices, shape, like=next(run.model.parameters()))  # of both: less of it in the gain
            found.add_means(run.model, batch)
            found.add_draws(run.model.unroll(batch, noise=noise, particles=num_samples), indices, num_samples)
            found.add_prior(log_px_by_prior(run.model, batch.repeat(num_samples), noise), indices, num_samples)
            progress(len(indices))
    found.check()
    gain, gain_error = mean_and_error(found.by_posterior - found.by_prior)
    return LatentsReport(
        model=run.model.label,
        data=run.description.name,
        reads=what_posterior_reads(run.model),
        num_sequences=len(run),
        num_steps=int(found.steps.sum()),
        num_samples=num_samples,
        seed=seed,
        kl_per_sequence=float(found.kl.mean()),
        kl_by_step=found.kl_by_step / np.maximum(found.steps, 1),
        sequences_by_step=found.steps,
        kl_by_dimension=found.kl_by_dimension / len(run),
        variances=found.scaled.variance,
        variances_of_means=found.means.variance,
        log_px_posterior=float(found.by_posterior.mean()),
        log_px_prior=float(found.by_prior.mean()),
        gain=gain,
        gain_error=gain_error,
        hints=hints_of(run.model),
    )


def hints_of(model: SequenceModel) -> tuple[str, ...]:
    """What a model of this kind can be trained with so that its latents matter, the most effective first."""
    hints = ["KL annealing (weights.kl.start 0.2, end 1, per_step 5e-5)", "free bits (bound.free_nats 0.1)"]
    if "auxiliary" in model.cost_names:
        hints.insert(0, "larger weights.auxiliary and weights.backward")
    if getattr(model.config, "posterior", None) == "recurrent":
        hints.append("model.posterior parallel")
    if getattr(model.config, "posterior", None) == "filtering":
        hints.append("model.posterior smoothing, which sees the future")
    if getattr(model.config, "output_skip", False):
        hints.append("model.output_skip false (the emission then reads x_<t through the state alone)")
    return tuple(hints)


@torch.no_grad()
def log_px_by_prior(model: SequenceModel, batch: SequenceBatch, noise: Tensor) -> Tensor:
    """sum_t log p(x_t | z_<=t, x_<t) with z_t drawn from p(z_t | z_<t, x_<t) by noise [B, T, Z]; [B], nats, float64."""
    stepper = Stepper(model, model.initial_state(len(batch), start=batch.start))
    nothing: list[Tensor | None] = [None] * batch.x.shape[1]
    inputs = nothing if batch.inputs is None else batch.inputs.unbind(1)
    observed = nothing if batch.observed is None else batch.scored.unbind(1)
    found = []
    columns = zip(batch.x.unbind(1), batch.past.unbind(1), observed, inputs, noise.unbind(1), strict=True)
    for x, read, seen, u, e in columns:
        emission = stepper.emit(reparameterize(stepper.begin(u), e))
        found.append(log_probs_of_observed(emission, x, seen).total)
        stepper.read(read)
    return masked_sum(torch.stack(found, dim=1), batch.mask)


def marginal_kl(q: Distribution, p: Distribution) -> Tensor:
    """KL(q(z_d) || p(z_d)) of each dimension of Gaussians, [..., Z] in nats, float64."""
    ratio = (q.variance.double() / p.variance.double()).clamp(min=torch.finfo(torch.float64).tiny)
    distance = (q.mean.double() - p.mean.double()).square() / p.variance.double()
    return (ratio + distance - 1 - ratio.log()) / 2


@dataclass
class _Moments:
    """Mean and variance of rows that come in parts (T. Chan, G. Golub, R. LeVeque, 1979), float64."""

    count: int = 0
    mean: Array = field(default_factory=lambda: np.zeros(()))
    squares: Array = field(default_factory=lambda: np.zeros(()))

    def add(self, rows: Tensor) -> None:
        """[R, Z]."""
        values = rows.double().cpu().numpy()
        mean, total = values.mean(0), self.count + len(values)
        off = mean - self.mean
        self.squares = self.squares + ((values - mean) ** 2).sum(0) + off**2 * (self.count * len(values) / total)
        self.mean, self.count = self.mean + off * (len(values) / total), total

    @property
    def variance(self) -> Array:
        """[Z], over all rows."""
        variance: Array = self.squares / self.count
        return variance


@dataclass
class _Sums:
    """What has been measured of the sequences so far."""

    kl: Array  # [N], mean over draws
    by_posterior: Array  # [N], log p(x | z), mean over draws
    by_prior: Array  # [N]
    kl_by_step: Array  # [T], summed over sequences
    steps: Array  # [T], how many sequences have this step
    kl_by_dimension: Array  # [Z], summed over sequences and steps
    scaled: _Moments  # of (posterior mean - prior mean) / prior std
    means: _Moments  # of the posterior mean

    @classmethod
    def empty(cls, sequences: int, steps: int, latent_size: int) -> _Sums:
        """Nothing yet."""
        return cls(
            kl=np.zeros(sequences),
            by_posterior=np.zeros(sequences),
            by_prior=np.zeros(sequences),
            kl_by_step=np.zeros(steps),
            steps=np.zeros(steps, dtype=np.int64),
            kl_by_dimension=np.zeros(latent_size),
            scaled=_Moments(),
            means=_Moments(),
        )

    def add_means(self, model: SequenceModel, batch: SequenceBatch) -> None:
        """Where the posterior's means are, along themselves."""
        run = model.unroll(batch, noise=torch.zeros_like(model.draw_noise(batch)))
        mean, prior = run.posterior.mean, run.prior
        self.means.add(mean[batch.mask])
        self.scaled.add(((mean - prior.mean) / prior.stddev)[batch.mask])
        self.steps[: batch.x.shape[1]] += batch.mask.sum(0).cpu().numpy()

    def add_draws(self, run: Unroll, indices: list[int], draws: int) -> None:
        """KL, and log p(x | z) with z from the posterior."""
        mask = run.batch.mask
        self.kl[indices] = _mean_of_draws(masked_sum(run.kl, mask), draws)
        self.by_posterior[indices] = _mean_of_draws(masked_sum(run.log_px, mask), draws)
        self.kl_by_step[: mask.shape[1]] += run.kl.double().sum(0).cpu().numpy() / draws
        self.kl_by_dimension += marginal_kl(run.posterior, run.prior)[mask].sum(0).cpu().numpy() / draws

    def add_prior(self, log_px: Tensor, indices: list[int], draws: int) -> None:
        """log p(x | z) with z from the prior."""
        self.by_prior[indices] = _mean_of_draws(log_px, draws)

    def check(self) -> None:
        """Refuse what has no mean."""
        for name, each in (("KL", self.kl), ("log p(x | z)", self.by_posterior), ("log p(x | z)", self.by_prior)):
            wrong = np.flatnonzero(~np.isfinite(each))
            if len(wrong):
                raise UserError(f"the {name} of sequence {wrong[0]} is {each[wrong[0]]}: was the training stable?")


def _mean_of_draws(values: Tensor, draws: int) -> Array:
    """[K B] -> [B]."""
    mean: Array = values.unflatten(0, (draws, -1)).mean(0).cpu().numpy()
    return mean
