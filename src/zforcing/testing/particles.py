"""Check of particles: copies of a batch in one run, and resampling of those that continue.

It takes a model in float64 and a batch, and raises an AssertionError that begins with the check's name.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..models.sequence import SequenceModel
from ..observations import SequenceBatch
from .comparison import (
    assert_same,
    assert_same_numbers,
    model_check,
    noise_for,
    require,
    run_gradients,
    run_results,
    terms,
)

K = 3


@model_check
def check_particles(model: SequenceModel, batch: SequenceBatch) -> None:
    """Check that K copies in one run equal K runs, and that after resampling row i continues from row index[i].

    The check finds copies in another order, a context or an ancestor of another row, a result of `resample` that is
    ignored or used a step late, and ancestors that get no gradient from their descendants.
    """
    _check_copies(model, batch)
    if batch.x.shape[1] > 1:  # `resample` isn't called after the last step
        _check_descendants(model, batch)
        _check_ancestors(model, batch)


@torch.no_grad()
def _check_copies(model: SequenceModel, batch: SequenceBatch) -> None:
    noise = noise_for(model, batch, particles=K)
    together = run_results(model.unroll(batch, noise=noise, particles=K), batch.repeat(K))
    parts = [run_results(model.unroll(batch, noise=part), batch) for part in noise.split(len(batch))]
    separate = {name: torch.cat([part[name] for part in parts]) for name in together}
    assert_same_numbers(
        together, separate, f"of {K} particles is not that of {K} runs: row i + j B is copy j of sequence i"
    )


@torch.no_grad()
def _check_descendants(model: SequenceModel, batch: SequenceBatch) -> None:
    """After all copies continue from the first one, with the same noise, they have its results."""
    n, last = len(batch), (batch.x.shape[1] - 1) // 2  # the step after which all continue from the first copy
    noise = noise_for(model, batch, particles=K)
    noise[:, last + 1 :] = noise[:n, last + 1 :].repeat(K, 1, 1)
    continues = (batch.lengths > last + 1).repeat(K)
    rows = torch.arange(K * n)
    index = torch.where(continues, rows % n, rows)
    resampled = model.unroll(batch, noise=noise, particles=K, resample=lambda t, log_w: index if t == last else None)
    first = model.unroll(batch, noise=noise[:n])
    what = f"after step {last} of particles that continue from the first copy is not that of the first copy"
    for name, of_first in terms(first).items():
        actual, expected = (term[:, last + 1 :] for term in (terms(resampled)[name], of_first))
        assert_same(actual[continues], expected.repeat(K, 1)[continues], f"{name} {what}")
    for name, value in first.state._asdict().items():
        expected = value.repeat(K, *[1] * (value.dim() - 1))
        assert_same(getattr(resampled.state, name)[continues], expected[continues], f"state.{name} {what}")


def _check_ancestors(model: SequenceModel, batch: SequenceBatch) -> None:
    """`unroll` calls `resample` with the arguments of the reference loop, and has its results and gradients."""
    noise, rows = noise_for(model, batch, particles=K), batch.repeat(K)
    numbers, gradients = [], []
    for unroll in (model.unroll, partial(SequenceModel.walk, model)):
        choose = Ancestors(batch, K)
        run = unroll(batch, noise=noise, particles=K, resample=choose)
        choose.require_asked()
        numbers.append(choose.shown | run_results(run, rows))
        gradients.append(run_gradients(model, run))
    what = "by unroll than by the reference loop, with resampling"
    assert_same_numbers(numbers[0], numbers[1], f"is different {what}")
    assert_same_numbers(gradients[0], gradients[1], f"has another gradient {what}", tolerance=1e-9)


class Ancestors:
    """A deterministic `resample` function that records its arguments."""

    def __init__(self, batch: SequenceBatch, particles: int):
        self.rows, self.lengths, self.particles = batch.repeat(particles), batch.lengths, particles
        self.asked: list[int] = []
        self.shown: dict[str, Tensor] = {}  # the weights of each step, by name

    def __call__(self, t: int, log_w: Tensor) -> Tensor | None:
        """Give two copies of three the same ancestor, another one at each step; skip every third step."""
        self.asked.append(t)
        self.shown[f"log_w that resample is shown at step {t}"] = log_w.clone()
        if t % 3 == 1:
            return None
        copies = torch.arange(self.particles)[:, None]
        ancestors = torch.where(t + 1 < self.lengths, (copies.square() + t) % self.particles, copies)
        return (ancestors * len(self.lengths) + torch.arange(len(self.lengths))).reshape(-1)

    def require_asked(self) -> None:
        """Require that it was called after each step but the last, in order."""
        expected = list(range(self.rows.x.shape[1] - 1))
        require(self.asked == expected, f"resample is called after steps {self.asked}; it must be {expected}")
