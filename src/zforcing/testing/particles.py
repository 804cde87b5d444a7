"""Check of particles: copies of a batch in one run, and the choice of those that go on.

It takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..models.base import SequenceModel, Step
from ..observations import SequenceBatch
from .comparison import TERMS, assert_same, assert_same_numbers, model_check, noise_for, require, results, run_gradients

K = 3


@model_check
def check_particles(model: SequenceModel, batch: SequenceBatch) -> None:
    """K copies of a batch in one run are K runs of it; after a choice of ancestors, row i goes on from row index[i].

    Catches copies in another order, a context or an ancestor that is another row's, an answer of `resample` that is
    ignored or comes a step late, and ancestors that get no gradient from their descendants.
    """
    _check_copies(model, batch)
    if batch.x.shape[1] > 1:  # else there is nothing to choose for
        _check_descendants(model, batch)
        _check_ancestors(model, batch)


@torch.no_grad()
def _check_copies(model: SequenceModel, batch: SequenceBatch) -> None:
    noise = noise_for(model, batch, particles=K)
    together = results(model.unroll(batch, noise=noise, particles=K), batch.repeat(K))
    parts = [results(model.unroll(batch, noise=part), batch) for part in noise.split(len(batch))]
    alone = {name: torch.cat([part[name] for part in parts]) for name in together}
    assert_same_numbers(
        together, alone, f"of {K} particles is not that of {K} runs: row i + j B is copy j of sequence i"
    )


@torch.no_grad()
def _check_descendants(model: SequenceModel, batch: SequenceBatch) -> None:
    """With the same noise, all that descend from the first copy say from then on what it says."""
    n, last = len(batch), (batch.x.shape[1] - 1) // 2  # the step after which all go on from the first copy
    noise = noise_for(model, batch, particles=K)
    noise[:, last + 1 :] = noise[:n, last + 1 :].repeat(K, 1, 1)
    going = batch.lengths > last + 1
    rows, going = torch.arange(K * n), going.repeat(K)
    index = torch.where(going, rows % n, rows)
    family = model.unroll(batch, noise=noise, particles=K, resample=lambda t, step: index if t == last else None)
    first = model.unroll(batch, noise=noise[:n])
    what = f"after step {last} of particles that go on from the first copy is not what the first copy says"
    for name in TERMS:
        found, expected = (getattr(run, name)[:, last + 1 :] for run in (family, first))
        assert_same(found[going], expected.repeat(K, 1)[going], f"{name} {what}")
    for name, value in first.state._asdict().items():
        expected = value.repeat(K, *[1] * (value.dim() - 1))
        assert_same(getattr(family.state, name)[going], expected[going], f"state.{name} {what}")


def _check_ancestors(model: SequenceModel, batch: SequenceBatch) -> None:
    """`unroll` shows `resample` what the contract's loop shows it, and says with its choices what that says."""
    noise, rows = noise_for(model, batch, particles=K), batch.repeat(K)
    numbers, slopes = [], []
    for unroll in (model.unroll, partial(SequenceModel.walk, model)):
        choose = Ancestors(batch, K)
        run = unroll(batch, noise=noise, particles=K, resample=choose)
        choose.require_asked()
        numbers.append(choose.shown | results(run, rows))
        slopes.append(run_gradients(model, run))
    what = "by unroll than by the contract's loop, under a choice of ancestors"
    assert_same_numbers(numbers[0], numbers[1], f"is another {what}")
    assert_same_numbers(slopes[0], slopes[1], f"has another gradient {what}", tolerance=1e-9)


class Ancestors:
    """A `resample` that names ancestors after some steps, the same at every run, and remembers what it was shown."""

    def __init__(self, batch: SequenceBatch, particles: int):
        self.rows, self.lengths, self.particles = batch.repeat(particles), batch.lengths, particles
        self.asked: list[int] = []
        self.shown: dict[str, Tensor] = {}  # of the steps that exist, by name

    def __call__(self, t: int, step: Step) -> Tensor | None:
        """Two copies of three have one ancestor, another one at each step; after every third step nothing happens."""
        self.asked.append(t)
        self._remember(t, step)
        if t % 3 == 1:
            return None
        copies = torch.arange(self.particles)[:, None]
        ancestors = torch.where(t + 1 < self.lengths, (copies.square() + t) % self.particles, copies)
        return (ancestors * len(self.lengths) + torch.arange(len(self.lengths))).reshape(-1)

    def require_asked(self) -> None:
        """After each step but the last, in order."""
        expected = list(range(self.rows.x.shape[1] - 1))
        require(self.asked == expected, f"resample is asked after steps {self.asked}; it must be {expected}")

    @torch.no_grad()
    def _remember(self, t: int, step: Step) -> None:
        """At once: after the call a step's memory may be used for the next one."""
        numbers = {
            "latent": step.latent,
            "prior": step.prior.log_prob(step.latent),
            "posterior": step.posterior.log_prob(step.latent),
            "emission": step.emission.log_prob(self.rows.x[:, t]),
        }
        exists = self.rows.mask[:, t]
        self.shown |= {f"the {name} that resample is shown at step {t}": v[exists] for name, v in numbers.items()}
