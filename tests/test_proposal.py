"""The proposal `mixture` of the particle filter: prior and posterior mixed, and weighed so that nothing is biased."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Distribution

import zforcing
from conftest import SPECS, VRNN_SIZE, Case
from test_score import ONE_OF_EACH, linear_gaussian, log_likelihood_of_steps, model_of, sequences, sharp_scores
from zforcing import LinearGaussian, ObservationSpec, UserError
from zforcing.distributions import diagonal_gaussian, gaussian, gaussian_log_ratio
from zforcing.files.reading import Array
from zforcing.models.proposal import Mixture
from zforcing.observations import SequenceBatch, collate
from zforcing.recurrence.trace import Untraceable, trace
from zforcing.tasks.filtering import ParticleFilter, filtered
from zforcing.tasks.proposals import Proposal
from zforcing.testing import random_batch

LATENT = [case for case in ONE_OF_EACH if case.model != "rnn"]


def sharp(noise: float, sequences: int = 4) -> tuple[LinearGaussian, SequenceBatch]:
    """A linear-Gaussian model whose emission has this standard deviation, and sequences of it."""
    model = linear_gaussian()
    model.backend = "reference"
    with torch.no_grad():
        model.log_r.fill_(math.log(noise))
        x = zforcing.sample(model, sequences, steps=10, seed=1).x
    return model, SequenceBatch(x, torch.full((sequences,), 10), torch.zeros(sequences, 2))


# ---- the mixture


def test_each_particle_is_the_priors_as_often_as_its_share_and_so_are_all_together() -> None:
    for one_in, K in ((4, 8), (4, 7), (10, 3), (2, 1)):
        chosen = Mixture(one_in).components(K, np.random.default_rng(0), steps=4000)
        assert chosen.shape == (4000, K)
        np.testing.assert_allclose(chosen.mean(0), 1 / one_in, atol=4 / (one_in * 4000) ** 0.5)  # 4 standard errors
        for start in range(0, K - one_in + 1, one_in):
            assert (chosen[:, start : start + one_in].sum(1) == 1).all()


@pytest.mark.parametrize("size", [1, 3])
def test_a_draw_weighs_what_the_densities_say_and_never_more_than_the_inverse_share(size: int) -> None:
    torch.manual_seed(0)
    p, q = (diagonal_gaussian(2 * torch.randn(50, size), torch.randn(50, size)) for _ in range(2))
    by_prior = torch.arange(50) % 2 == 0
    noise = torch.randn(50, size)
    z, log_ratio = Mixture(5).draw(p, q, noise=noise, by_prior=by_prior)
    for of, rows in ((p, by_prior), (q, ~by_prior)):
        torch.testing.assert_close(z[rows], (of.mean + of.stddev * noise)[rows])
    m = 0.2 * p.log_prob(z).exp() + 0.8 * q.log_prob(z).exp()
    torch.testing.assert_close(log_ratio, p.log_prob(z) - m.log(), rtol=1e-4, atol=1e-4)
    assert (log_ratio <= math.log(5) + 1e-6).all()


def test_a_ratio_of_densities_is_the_difference_of_their_logarithms() -> None:
    torch.manual_seed(0)
    z, means, logs = torch.randn(5, 3), torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    full = [gaussian(m, torch.diag_embed(v.exp())) for m, v in zip(means, logs, strict=True)]
    diagonal = [diagonal_gaussian(m, 2 * v) for m, v in zip(means, logs, strict=True)]
    pairs: list[tuple[Distribution, Distribution]] = [(full[0], full[1]), (diagonal[0], diagonal[1])]
    for q, p in (*pairs, (full[0], diagonal[1])):
        torch.testing.assert_close(gaussian_log_ratio(q, p, z), q.log_prob(z) - p.log_prob(z), rtol=1e-4, atol=1e-4)


# ---- against Kalman


@pytest.mark.parametrize("noise", [1.0, 0.1, 0.01])
def test_a_mixture_of_few_particles_is_near_kalmans_where_the_prior_is_not(noise: float) -> None:
    model, batch = sharp(noise)
    exact = log_likelihood_of_steps(model, batch).sum(1).mean()
    error: dict[Proposal, float] = {}
    for proposal in ("prior", "mixture"):
        error[proposal] = filtered(model, batch, particles=16, seed=0, proposal=proposal).total.sum(1).mean() - exact
    assert abs(error["mixture"]) < 1.5
    assert error["prior"] < -30 or noise > 0.1


def test_a_steps_mixture_of_many_particles_is_kalmans() -> None:
    model, batch = sharp(0.1, sequences=1)
    found = filtered(model, batch, particles=5000, seed=0, proposal="mixture")
    np.testing.assert_allclose(found.total, log_likelihood_of_steps(model, batch), atol=0.15)


def ratios_to_kalmans(model: LinearGaussian, batch: SequenceBatch, *, particles: int, seeds: int) -> Array:
    """p(x) of the mixture over Kalman's, of the first t steps, [seeds, B, T]."""
    exact = log_likelihood_of_steps(model, batch)
    found = [filtered(model, batch, particles=particles, seed=s, proposal="mixture").total for s in range(seeds)]
    return np.asarray(np.exp((np.stack(found) - exact).cumsum(2)))


def test_a_mixtures_likelihood_is_unbiased_with_gaps_too() -> None:
    """Over p(x), its mean over seeds is 1, within 4 standard errors."""
    model = linear_gaussian(missing=True)
    model.backend = "reference"
    batch = random_batch(model.spec, (3, 3), missing=True)
    ratios = ratios_to_kalmans(model, batch, particles=16, seeds=30)
    error = ratios.std(0, ddof=1) / math.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - 1) < 4 * error + 1e-12).all()
    assert error.max() < 0.3  # else it would say nothing


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "particles"), [(1.0, 1), (1.0, 4), (0.3, 7), (0.05, 64)])
def test_a_mixtures_likelihood_is_unbiased_at_any_number_of_particles(noise: float, particles: int) -> None:
    model, batch = sharp(noise)
    batch = replace(batch, x=batch.x[:, :4], lengths=torch.full((4,), 4))
    ratios = ratios_to_kalmans(model, batch, particles=particles, seeds=400)
    error = ratios.std(0, ddof=1) / math.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - 1) < 4.5 * error + 1e-12).all()
    assert error.max() < 0.9


# ---- what it reads


def test_where_nothing_is_observed_the_prior_draws() -> None:
    data = sequences(SPECS["with gaps"])
    model = model_of(Case("vrnn", VRNN_SIZE), data)
    batch = collate(list(data), model.spec).to("cpu", torch.float64)
    nothing = replace(batch, observed=torch.zeros_like(batch.x, dtype=torch.bool))
    ends = []
    for proposal in ("prior", "mixture"):
        steps = ParticleFilter.begin(model, batch.start, particles=6, seed=0, proposal=proposal)
        for x, seen in zip(nothing.x.unbind(1), nothing.scored.unbind(1), strict=True):
            steps.predict()
            assert (np.abs(steps.read(x, seen).total) < 1e-12).all()
        ends.append(steps.state.model.h)
    assert torch.equal(ends[0], ends[1])


def test_what_is_expected_before_x_is_seen_is_of_the_priors_draws() -> None:
    model, batch = sharp(0.1)
    with torch.no_grad():
        steps = ParticleFilter.begin(model, batch.start, particles=8, seed=0, proposal="mixture")
        z = steps._noise.at(0).normal.repeat_interleave(len(batch), dim=0) * model.log_q.exp()  # z_0 = 0
        torch.testing.assert_close(steps.predict().emission.mean, z @ model.C.t())
        steps.read(batch.x[:, 0])


@pytest.mark.pairs(case=LATENT)
def test_nothing_of_the_future_enters_a_score_by_the_mixture(case: Case, spec: ObservationSpec) -> None:
    """Of a sequence that ends at t the scores are those of a longer one, also where the posterior reads the future."""
    data = sequences(spec, (5, 5))
    model = model_of(case, data)
    batch = collate(list(data), model.spec).to("cpu", torch.float64)
    short = replace(batch, lengths=batch.lengths - 2, **{name: v[:, :3] for name, v in batch.stepwise.items()})
    one, two = (filtered(model, b, particles=4, seed=0, proposal="mixture").total for b in (batch, short))
    np.testing.assert_allclose(one[:, :3], two, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("never_walks")
@pytest.mark.filterwarnings("ignore:at . of . steps fewer than:RuntimeWarning")
@pytest.mark.parametrize("spec", ["real", "binary", "categorical", "with gaps", "with inputs"])
@pytest.mark.parametrize("case", LATENT[:3], ids=lambda case: case.model)
def test_a_traced_mixture_is_the_contracts(case: Case, spec: str) -> None:
    data = sequences(SPECS[spec])
    fast, slow = (
        zforcing.score(model_of(case, data, fast=fast), data, particles=8, proposal="mixture") for fast in (True, False)
    )
    for a, b in zip(fast.nats, slow.nats, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_without_latents_the_proposal_is_all_the_same() -> None:
    data = sequences(SPECS["real"])
    model = model_of(ONE_OF_EACH[0], data)
    one, other = (zforcing.score(model, data, proposal=proposal) for proposal in ("prior", "mixture"))
    np.testing.assert_array_equal(one.of_steps, other.of_steps)
    assert one.proposal is other.proposal is None


def test_scores_say_what_their_particles_were_drawn_from() -> None:
    data = sequences(SPECS["real"])
    model = model_of(Case("vrnn", VRNN_SIZE), data)
    by = {name: zforcing.score(model, data, particles=4, proposal=name) for name in ("prior", "mixture")}
    assert {name: scores.proposal for name, scores in by.items()} == {"prior": "prior", "mixture": "mixture"}
    assert "4 particles of prior and posterior" in repr(by["mixture"])
    assert "4 particles," in repr(by["prior"])
    assert zforcing.score(model, data, particles=4, proposal="mixture", kind="smoothed").proposal is None


def test_a_posterior_that_has_none_for_one_step_is_done_without_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = sequences(SPECS["real"])
    model = model_of(Case("vrnn", VRNN_SIZE), data)
    prior = zforcing.score(model, data, particles=4)

    def needs_two(batch: SequenceBatch, **_: Any) -> torch.Tensor:
        raise IndexError(f"two steps or more, not {batch.x.shape[1]}")

    monkeypatch.setattr(model, "encode", needs_two)
    said = r"^the particles of vrnn are drawn from its prior alone, for .* one step: two steps or more, not 1$"
    with pytest.warns(RuntimeWarning, match=said):
        scores = zforcing.score(model, data, particles=4, proposal="mixture")
    np.testing.assert_array_equal(scores.of_steps, prior.of_steps)
    assert scores.proposal == "prior"


def test_a_remark_proposes_the_mixture_where_it_was_not_taken() -> None:
    with pytest.warns(RuntimeWarning, match="take proposal mixture, more particles, or"):
        scores, _ = sharp_scores(0.01, 64)
    assert "mixture" not in replace(scores, proposal="mixture").remark


def test_an_unknown_proposal_is_one_line() -> None:
    data = sequences(SPECS["real"])
    model: Any = model_of(ONE_OF_EACH[0], data)
    calls: list[Callable[..., Any]] = [zforcing.stream, lambda model, **given: zforcing.score(model, data, **given)]
    for call in calls:
        with pytest.raises(UserError, match="proposal is 'best'; it must be prior or mixture"):
            call(model, proposal="best")


# ---- the tracer that makes it fast


def test_what_is_made_of_numbers_alone_may_be_looked_at() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        lengths = torch.ones(len(x), dtype=torch.int64)
        return x * 2 if int(lengths.max()) == 1 and bool((lengths == 1).all()) else x

    (x,), result = trace(f, lambda rows: [torch.ones(rows, 2)], ["x"])
    assert result.args == (x, 2)


@pytest.mark.parametrize("reads", [lambda made: made.sum() > 0, lambda made: made[:1].item() > 0])
def test_not_after_it_was_changed_by_what_is_given(reads: Callable[[torch.Tensor], bool]) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        made = torch.ones(2)
        made[1:].copy_(x[0, :1])
        return x * 2 if reads(made) else x

    with pytest.raises(Untraceable, match="depends on the values"):
        trace(f, lambda rows: [torch.ones(rows, 2)], ["x"])


def test_not_if_it_was_drawn() -> None:
    with pytest.raises(Untraceable, match="depends on the values"):
        trace(lambda x: x * 2 if torch.rand(()) > 0.5 else x, lambda rows: [torch.ones(rows, 2)], ["x"])
