"""The exact oracles: Kalman and forward recursions against dense algebra and enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from zforcing import ObservationSpec, SequenceBatch, UserError
from zforcing.models import LinearGaussian, LinearGaussianConfig
from zforcing.processes import HiddenMarkovChain, LinearGaussianSystem

STEPS = 5
SYSTEM = LinearGaussianSystem.random(2, 3, seed=1)
PROPOSALS = ("smoothing", "filtering", "learned", "prior")


def joint(system: LinearGaussianSystem, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of (z_1..z_T) and the matrix that takes it to (x_1..x_T) without noise: the model as one Gaussian."""
    n = len(system.q)
    propagate = np.zeros((steps * n, steps * n))
    for t in range(steps):
        for s in range(t + 1):
            block = np.linalg.matrix_power(system.A, t - s)
            propagate[t * n : (t + 1) * n, s * n : (s + 1) * n] = block
    z_covariance = propagate @ np.kron(np.eye(steps), np.diag(system.q**2)) @ propagate.T
    return z_covariance, np.kron(np.eye(steps), system.C)


def with_gaps(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = SYSTEM.simulate(STEPS, rng=rng)[1]
    x[rng.random(x.shape) < 0.3] = np.nan
    return x


def as_batch(*sequences: np.ndarray) -> SequenceBatch:
    lengths = torch.tensor([len(s) for s in sequences])
    x = torch.zeros(len(sequences), max(map(len, sequences)), sequences[0].shape[1])
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)
    return SequenceBatch(x, lengths, torch.zeros_like(x[:, 0]), ~x.isnan())


def model(proposal: str = "filtering") -> LinearGaussian:
    config = LinearGaussianConfig(2, proposal, system_seed=1)  # type: ignore[arg-type]
    return LinearGaussian(ObservationSpec("real", 3), config).double()


def test_the_oracle_equals_the_density_of_the_joint_gaussian() -> None:
    x = with_gaps()
    z_covariance, C = joint(SYSTEM, STEPS)
    covariance = C @ z_covariance @ C.T + np.kron(np.eye(STEPS), np.diag(SYSTEM.r**2))
    flat, seen = x.ravel(), ~np.isnan(x.ravel())
    expected = multivariate_normal(np.zeros(seen.sum()), covariance[np.ix_(seen, seen)]).logpdf(flat[seen])
    assert math.isclose(SYSTEM.log_likelihood(x), expected, rel_tol=1e-12)


def test_the_models_likelihood_equals_the_oracles_with_ragged_lengths_and_gaps() -> None:
    sequences = [with_gaps(0), with_gaps(1)[:3], with_gaps(2)[:1], np.full((4, 3), np.nan)]
    expected = torch.tensor([SYSTEM.log_likelihood(s) for s in sequences])
    torch.testing.assert_close(model().log_likelihood(as_batch(*sequences)).detach(), expected, rtol=0, atol=1e-11)
    assert expected[3] == 0  # nothing seen, nothing said


def test_the_smoother_equals_conditioning_the_joint_gaussian() -> None:
    x = with_gaps()
    z_covariance, C = joint(SYSTEM, STEPS)
    seen = ~np.isnan(x.ravel())
    C, noise = C[seen], np.kron(np.eye(STEPS), np.diag(SYSTEM.r**2))[np.ix_(seen, seen)]
    gain = z_covariance @ C.T @ np.linalg.inv(C @ z_covariance @ C.T + noise)
    mean, covariance = gain @ x.ravel()[seen], z_covariance - gain @ C @ z_covariance
    found_mean, found_covariance = model().smooth(as_batch(x))
    np.testing.assert_allclose(found_mean.detach()[0], mean.reshape(STEPS, 2), atol=1e-11)
    for t in range(STEPS):
        block = slice(2 * t, 2 * t + 2)
        np.testing.assert_allclose(found_covariance.detach()[0, t], covariance[block, block], atol=1e-11)


def test_under_the_exact_posterior_every_weight_is_the_likelihood() -> None:
    batch = as_batch(with_gaps(0), with_gaps(1)[:3])
    torch.manual_seed(0)
    for _ in range(5):
        run = model("smoothing").unroll(batch)
        ratio = torch.where(batch.mask, run.prior.log_prob(run.latents) - run.posterior.log_prob(run.latents), 0.0)
        log_w = (run.log_px + ratio).sum(1)
        torch.testing.assert_close(log_w, model().log_likelihood(batch), rtol=0, atol=1e-11)


def test_with_the_exact_posterior_the_elbo_is_the_likelihood() -> None:
    """E[ELBO] without Monte Carlo: it is quadratic in the noise, so +-sqrt(n) e_i, i = 1..n, integrate it exactly."""
    x = with_gaps()
    n = STEPS * 2
    points = torch.cat([torch.eye(n), -torch.eye(n)]) * math.sqrt(n)  # [2 n, n]
    batch = as_batch(*[x] * (2 * n))
    run = model("smoothing").unroll(batch, noise=points.reshape(2 * n, STEPS, 2))
    elbo = (run.log_px - run.kl).sum(1).mean()
    assert math.isclose(elbo.item(), SYSTEM.log_likelihood(x), rel_tol=0, abs_tol=1e-9)
    worse = model("filtering").unroll(batch, noise=points.reshape(2 * n, STEPS, 2))
    assert (worse.log_px - worse.kl).sum(1).mean() < elbo - 0.1  # another posterior's is a bound


def test_the_likelihood_can_be_learned() -> None:
    rng = np.random.default_rng(3)
    batch = as_batch(*[SYSTEM.simulate(8, rng=rng)[1] for _ in range(60)])
    torch.manual_seed(0)
    learner = LinearGaussian(ObservationSpec("real", 3), LinearGaussianConfig(2)).double()
    adam = torch.optim.Adam(learner.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        (-learner.log_likelihood(batch).mean()).backward()
        adam.step()
    truth = model().log_likelihood(batch).mean()
    assert learner.log_likelihood(batch).mean() > truth - 0.1  # on the training set it may be above


def test_linear_gaussian_refuses_what_is_not_real() -> None:
    with pytest.raises(UserError, match="linear_gaussian emits real observations"):
        LinearGaussian(ObservationSpec("binary", 2))


@pytest.mark.parametrize("x", [[0, 1, 2, 0], [0, -1, 2, -1], [-1, -1, -1], [1]])
def test_the_forward_algorithm_equals_enumeration_with_and_without_gaps(x: list[int]) -> None:
    chain = HiddenMarkovChain.random(3, 4, seed=0)
    expected = chain.enumerated_log_likelihood(np.array(x))
    assert math.isclose(chain.log_likelihood(np.array(x)), expected, rel_tol=1e-10, abs_tol=1e-12)


def test_the_chains_probabilities_sum_to_one() -> None:
    chain = HiddenMarkovChain.random(2, 3, seed=1)
    total = sum(math.exp(chain.log_likelihood(np.array([a, b]))) for a in range(3) for b in range(3))
    assert math.isclose(total, 1.0)
