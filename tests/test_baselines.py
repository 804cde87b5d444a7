"""Baselines: against dense Gaussians, counts by hand, and processes whose likelihood is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

import zforcing as zf
from zforcing.data import InMemory
from zforcing.evaluation import baselines as module
from zforcing.evaluation.baselines import Bernoulli, Scores, Unigram, fit_baselines
from zforcing.evaluation.gaussian_baselines import (
    MIN_STD,
    Autoregression,
    IndependentGaussian,
    Padded,
    Steps,
    most_lags,
)
from zforcing.observations import Example, ObservationSpec

Floats = NDArray[np.float64]


def examples(*sequences: Floats, gaps: float = 0.0, seed: int = 0) -> list[Example]:
    """Sequences [T, D], with this share of them missing."""
    draw = np.random.default_rng(seed)
    masks = [draw.random(x.shape) >= gaps if gaps else None for x in sequences]
    return [Example(np.asarray(x, dtype=np.float64), m) for x, m in zip(sequences, masks, strict=True)]


def autoregressive(lags: Sequence[Floats], noise: Floats, *, steps: int, sequences: int, seed: int = 0) -> list[Floats]:
    """Draw from x_t = sum_k A_k x_{t-k} + e, after 200 steps that nobody sees."""
    draw, D = np.random.default_rng(seed), len(noise)
    root, found = np.linalg.cholesky(noise), []
    for _ in range(sequences):
        x = np.zeros((200 + steps, D))
        for t in range(len(lags), len(x)):
            x[t] = sum(A @ x[t - k] for k, A in enumerate(lags, start=1)) + root @ draw.standard_normal(D)
        found.append(x[200:])
    return found


def dense_log_prob(model: Autoregression, example: Example) -> float:
    """log p of what is observed of a sequence, by the covariance of all its numbers."""
    T, D = example.x.shape
    p = len(model.lags)
    root = np.linalg.cholesky(model.noise)
    start = np.linalg.cholesky(model.before + 1e-13 * np.eye(len(model.before)))
    # every x_t is a linear map of independent normals: those of the steps before, newest first, and of each step
    maps = [np.zeros((D, p * D + T * D)) for _ in range(p + T)]
    for k in range(p):
        maps[p - 1 - k][:, : p * D] = start[k * D : (k + 1) * D]
    for t in range(T):
        maps[p + t] = sum((A @ maps[p + t - k] for k, A in enumerate(model.lags, start=1)), maps[p + t])
        maps[p + t][:, p * D + t * D : p * D + (t + 1) * D] += root
    linear = np.concatenate(maps[p:])
    seen = np.ones(T * D, dtype=bool) if example.observed is None else example.observed.ravel()
    if not seen.any():
        return 0.0
    covariance = (linear @ linear.T)[np.ix_(seen, seen)]
    return float(multivariate_normal.logpdf(example.x.ravel()[seen], np.tile(model.mean, T)[seen], covariance))


A = np.array([[0.7, 0.2], [-0.3, 0.5]])
Q = np.array([[1.0, 0.3], [0.3, 0.5]])


@pytest.mark.parametrize("lengths", [(6, 1, 4), (2, 1)])
@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize(("features", "lags"), [(1, [3]), (2, [0]), (2, [1]), (2, [2])])
def test_a_gaussian_baseline_is_the_dense_gaussian_of_what_is_observed(
    features: int, lags: list[int], gaps: float, lengths: tuple[int, ...]
) -> None:
    draw = np.random.default_rng(1)
    train = [np.cumsum(draw.standard_normal((40, features)), 0) for _ in range(5)]
    model = Autoregression.fit(Steps.of(examples(*train, gaps=gaps)), lags=lags)
    assert model is not None
    scored = examples(*(draw.standard_normal((steps, features)) for steps in lengths), gaps=gaps)
    found = model.log_prob(Padded.of(scored)).sum(1)
    np.testing.assert_allclose(found, [dense_log_prob(model, e) for e in scored], rtol=1e-8, atol=1e-8)


def test_a_step_of_which_nothing_is_observed_is_a_gap() -> None:
    model = Autoregression.fit(Steps.of(examples(*autoregressive([A], Q, steps=50, sequences=4))), lags=[1])
    assert model is not None
    scored = [Example(np.ones((5, 2)), np.repeat([[True], [False], [False], [True], [False]], 2, axis=1))]
    assert model.log_prob(Padded.of(scored)).sum() == pytest.approx(dense_log_prob(model, scored[0]), rel=1e-9)


def test_an_autoregression_finds_the_process_and_its_entropy() -> None:
    train = examples(*autoregressive([A], Q, steps=500, sequences=20))
    model = Autoregression.fit(Steps.of(train), lags=[1])
    assert model is not None
    np.testing.assert_allclose(model.lags[0], A, atol=0.03)  # 10 000 steps: standard errors below 0.01
    np.testing.assert_allclose(model.noise, Q, atol=0.05)
    held_out = examples(*autoregressive([A], Q, steps=500, sequences=20, seed=1))
    rate = model.log_prob(Padded.of(held_out))[:, 1:].mean()
    entropy = math.log(2 * math.pi * math.e) + 0.5 * math.log(np.linalg.det(Q))
    assert abs(rate + entropy) < 4 / math.sqrt(20 * 500)  # log p of a step has the standard deviation 1


@pytest.mark.parametrize(
    ("lengths", "most"), [([1000], 10), ([12], 5), ([12, 12], 7), ([4] * 50, 3), ([1, 1], 1), ([2, 2, 2], 1)]
)
def test_short_data_has_an_autoregression_of_an_order_that_it_can_fit(lengths: list[int], most: int) -> None:
    """Of order p there are length - p rows of p + 1 numbers; there are to be more than p + 1."""
    assert most_lags(lengths) == most
    spec = ObservationSpec("real", 1)
    train = InMemory(examples(*(np.random.default_rng(n).normal(size=(n, 1)) for n in lengths)))
    names = [found.name for found in fit_baselines(train, spec, scored=np.array(lengths))]
    assert len(names) == (1 if lengths == [1, 1] else 2)


def test_the_order_of_one_feature_is_found() -> None:
    lags = [np.array([[0.5]]), np.array([[0.0]]), np.array([[-0.6]])]
    train = examples(*autoregressive(lags, np.eye(1), steps=2000, sequences=1))
    model = Autoregression.fit(Steps.of(train), lags=range(1, 11))
    assert model is not None
    assert 3 <= len(model.lags) <= 5  # cross-validation takes one or two too many, at hardly any cost
    assert model.name == f"AR({len(model.lags)})"
    np.testing.assert_allclose(model.lags[:3, 0, 0], [0.5, 0.0, -0.6], atol=0.1)


def test_gaps_in_training_data_change_little() -> None:
    sequences = autoregressive([A], Q, steps=500, sequences=20)
    model = Autoregression.fit(Steps.of(examples(*sequences, gaps=0.5)), lags=[1])
    assert model is not None
    np.testing.assert_allclose(model.lags[0], A, atol=0.08)
    np.testing.assert_allclose(model.noise, Q, atol=0.12)


def test_more_features_than_steps_are_no_reason_to_explode() -> None:
    draw = np.random.default_rng(0)
    train, held_out = (examples(*draw.standard_normal((4, 5, 30))) for _ in range(2))
    steps, batch = Steps.of(train), Padded.of(held_out)
    apart = IndependentGaussian.fit(steps).log_prob(batch).sum()
    for lags in ([0], [1]):
        model = Autoregression.fit(steps, lags=lags)
        assert model is not None
        assert apart - 120 < model.log_prob(batch).sum() < apart  # 0.2 nats a number: the truth is that they are apart


def test_independent_gaussians_are_those_of_scipy() -> None:
    train = [np.array([[1.0, 10], [3, 10], [5, 10]])]
    model = IndependentGaussian.fit(Steps.of(examples(*train)))
    found = model.log_prob(Padded.of(examples(np.array([[2.0, 10]]))))
    expected = norm.logpdf(2, 3, math.sqrt(8 / 3)) + norm.logpdf(10, 10, MIN_STD)
    assert found.item() == pytest.approx(expected)


def test_bits_and_symbols_are_counted() -> None:
    bits = [Example(np.array([[1.0], [1], [0], [1]]), np.array([[True], [True], [True], [False]]))]
    model = Bernoulli.fit(Steps.of(bits))
    assert model.log_prob(bits).sum() == pytest.approx(2 * math.log(2.5 / 4) + math.log(1.5 / 4))
    words = [Example(np.array([0, 2, 2, 1]), np.array([True, True, True, False])), Example(np.array([2]))]
    unigram = Unigram.fit(words, 3, lambda example: example.x)
    of = [math.log(share / 5.5) for share in (1.5, 0.5, 3.5)]
    np.testing.assert_allclose(unigram.log_prob(words), [[of[0], of[2], of[2], 0], [of[2], 0, 0, 0]])


def test_levels_of_quantized_audio_are_symbols() -> None:
    spec = ObservationSpec("quantized", 2, levels=3)
    data = InMemory([Example(np.array([[-1, 0], [1, 1]], dtype=np.float32))])
    (unigram,) = fit_baselines(data, spec, scored=data.lengths)
    assert unigram.log_prob(data.examples).sum() == pytest.approx(2 * math.log(1.5 / 5.5) + 2 * math.log(2.5 / 5.5))


# ---- in an evaluation


def test_an_evaluation_has_baselines_in_both_units() -> None:
    data = zf.Sequences([5 + 3 * x for x in autoregressive([A], Q, steps=30, sequences=40)])
    train, _, test = data.split(0.6, 0.2, 0.2, seed=0)
    torch.manual_seed(0)
    model = zf.RNN.for_data(train, hidden_size=2)
    model.backend = "reference"
    found = zf.evaluate(model.double(), test, baselines=train)
    assert [score.name for score in found.baselines] == ["independent Gaussian", "full Gaussian", "VAR(1)"]
    apart, together, in_time = (score.nats_per_sequence for score in found.baselines)
    assert apart < together < in_time
    for score in found.baselines:
        of_scaling = found.nats_per_sequence - (found.raw_nats_per_sequence or 0)
        assert score.nats_per_sequence - (score.raw_nats_per_sequence or 0) == pytest.approx(of_scaling)
    assert found.better_baselines[0].name == "VAR(1)"  # the RNN isn't trained
    assert zf.Evaluation.from_json(found.to_json()) == found
    assert zf.evaluate(model, test).baselines == ()
    without = {name: value for name, value in found.to_json().items() if name != "baselines"}
    assert zf.Evaluation.from_json(without).baselines == ()


def test_a_first_observation_that_is_conditioned_on_is_seen_and_not_scored() -> None:
    sequences = examples(*autoregressive([A], Q, steps=6, sequences=9))
    spec = ObservationSpec("real", 2, first_observation="conditioned")
    found = fit_baselines(InMemory(sequences), spec, scored=np.full(9, 6))
    first, rest = Scores(found, 9, unscored=0), Scores(found, 9, unscored=1)
    for scores in (first, rest):
        scores.add(list(range(9)), sequences)
    model = found[-1]
    for name in first.nats:
        assert not np.allclose(first.nats[name], rest.nats[name])
    np.testing.assert_allclose(rest.nats[model.name], model.log_prob(sequences)[:, 1:].sum(1))


def test_many_sequences_are_scored_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = examples(*autoregressive([A], Q, steps=6, sequences=9))
    found = fit_baselines(InMemory(sequences), ObservationSpec("real", 2), scored=np.full(9, 6))
    whole, parts = Scores(found, 9, unscored=0), Scores(found, 9, unscored=0)
    whole.add(list(range(9)), sequences)
    monkeypatch.setattr(module, "AT_ONCE", 2 * 12)
    parts.add(list(range(9)), sequences)
    for name in whole.nats:
        np.testing.assert_allclose(parts.nats[name], whole.nats[name])


def test_a_filter_that_would_take_minutes_is_left_out() -> None:
    data = InMemory(examples(*autoregressive([A], Q, steps=6, sequences=9), gaps=0.2))
    spec = ObservationSpec("real", 2, missing=True)
    names = [b.name for b in fit_baselines(data, spec, scored=np.array([10**6]))]
    assert names == ["independent Gaussian", "full Gaussian"]
    assert len(fit_baselines(data, spec, scored=np.array([10**3]))) == 3


def test_large_training_data_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIT_ON", 50)
    data, counted = InMemory(examples(*(np.full((n, 1), n) for n in range(1, 40)))), itertools.count()

    class Counting(InMemory):
        def piece(self, index: int, start: int, stop: int) -> Example:
            next(counted)
            return super().piece(index, start, stop)

    assert fit_baselines(Counting(data.examples), ObservationSpec("real", 1), scored=data.lengths)
    assert next(counted) < 20
