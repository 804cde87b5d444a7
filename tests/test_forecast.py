"""Forecasts: beside Kalman's and a constant emission's closed forms, their table and files, inputs, gaps and seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

import zforcing
from conftest import RNN_SIZE, SPECS, VRNN_SIZE, Case
from test_score import ONE_OF_EACH, model_of, sequences
from vae import BinaryVAE, BinaryVAEConfig
from zforcing import Forecast, LinearGaussian, ObservationSpec, SequenceModel, Sequences, UserError
from zforcing.files.reading import Array
from zforcing.tasks.forecasts import quantile_of

A, Q, R = 0.9, 0.5**2, 0.3**2


def ar_like(**settings: Any) -> LinearGaussian:
    """z' = 0.9 z + B u + 0.5 noise, x = z + 0.3 noise, B = 0.2."""
    model = LinearGaussian(ObservationSpec("real", 1, **settings), latent_size=1).eval()
    with torch.no_grad():
        model.A.fill_(A)
        model.C.fill_(1)
        model.log_q.fill_(math.log(Q) / 2)
        model.log_r.fill_(math.log(R) / 2)
        if model.B is not None:
            model.B.fill_(0.2)
    return model


def kalman(x: Array, steps: int, inputs: Array | None = None) -> tuple[Array, Array]:
    """Mean and variance of x at each of the steps after x [T], NaN being missing; inputs: [T + steps]."""
    mean, variance, found = 0.0, 0.0, []
    for t in range(len(x) + steps):
        mean, variance = A * mean + (0 if inputs is None else 0.2 * inputs[t]), A * A * variance + Q
        if t >= len(x):
            found.append((mean, variance + R))
        elif not np.isnan(x[t]):
            gain = variance / (variance + R)
            mean, variance = mean + gain * (x[t] - mean), (1 - gain) * variance
    means, variances = np.array(found).T
    return means, variances


SERIES = [np.array([1.0, 1.5, 0.5, 2.0]), np.array([-1.0, 0.3])]
MANY = 20_000


def check_gaussian(samples: Array, mean: Array, variance: Array) -> None:
    """Samples [S, steps]: mean, variance and quantiles within 4 standard errors."""
    n, std = len(samples), np.sqrt(variance)
    assert (np.abs(samples.mean(0) - mean) < 4 * std / math.sqrt(n)).all()
    assert (np.abs(samples.var(0) - variance) < 4 * variance * math.sqrt(2 / n)).all()
    for q in (0.05, 0.5, 0.9):
        error = 4 * math.sqrt(q * (1 - q) / n) * std / norm.pdf(norm.ppf(q))
        assert (np.abs(quantile_of(samples, q) - (mean + std * norm.ppf(q))) < error).all()


@pytest.mark.parametrize("past", ["filter", "posterior"])
def test_a_linear_gaussian_forecast_is_kalmans(past: Any) -> None:
    """Sequences of two lengths, in one batch. The posterior is exact: smoothing."""
    model = ar_like()
    model = LinearGaussian(model.spec, replace(model.config, proposal="smoothing")).eval()
    model.load_state_dict(ar_like().state_dict())
    data = Sequences(SERIES, normalize=False)
    found = zforcing.forecast(model, data, steps=3, num_samples=MANY, particles=MANY, past=past, max_rows=MANY * 2)
    assert found.mean is not None
    for x, samples, mean in zip(SERIES, found.samples, found.mean, strict=True):
        check_gaussian(samples[:, :, 0], *kalman(x, 3))
        np.testing.assert_allclose(mean, samples.mean(0))


def test_what_is_missing_at_the_end_is_forecast_through() -> None:
    model = ar_like(missing=True)
    x = np.array([1.0, np.nan, 2.0, np.nan, np.nan])
    data = Sequences([x], normalize=False, missing=True)
    found = zforcing.forecast(model, data, steps=2, num_samples=MANY, particles=MANY)
    check_gaussian(found.samples[0][:, :, 0], *kalman(x, 2))


def test_known_inputs_of_the_steps_to_come_are_read_in_the_datas_units() -> None:
    model, rng = ar_like(inputs=1), np.random.default_rng(0)
    known = [10 + 3 * rng.standard_normal((len(x) + 2, 1)) for x in SERIES]
    past = [u[:-2] for u in known]
    data = Sequences(SERIES, inputs=past, normalize=True)
    model.description = data.description
    x_scale, u_scale = data.description.normalization, data.description.input_normalization
    assert x_scale is not None and u_scale is not None  # noqa: PT018  # for mypy
    ahead = np.stack([u[-2:] for u in known])
    found = zforcing.forecast(model, data, steps=2, num_samples=MANY, particles=MANY, inputs=ahead)
    for x, u, samples in zip(SERIES, known, found.samples, strict=True):
        mean, variance = kalman(x_scale.apply(x[:, None])[:, 0], 2, u_scale.apply(u)[:, 0])
        std = np.asarray(x_scale.std)
        check_gaussian(samples[:, :, 0], mean * std + np.asarray(x_scale.mean), variance * std**2)


def constant(model: SequenceModel, values: list[float]) -> SequenceModel:
    """An emission that depends on nothing: the layer's outputs are these."""
    with torch.no_grad():
        model.emission_net.linear.weight.zero_()
        model.emission_net.linear.bias.copy_(torch.tensor(values))
    return model


def test_a_constant_gaussian_is_itself_at_every_step_in_the_datas_units() -> None:
    data = Sequences([[[10.0], [14.0]], [[12.0]]])
    model = constant(model_of(Case("rnn", RNN_SIZE), data), [0.5, 2 * math.log(0.8)])
    found = zforcing.forecast(model, data, steps=2, num_samples=MANY)
    std = float(np.std([10, 14, 12]))
    for samples in found.samples:
        check_gaussian(samples[:, :, 0], np.full(2, 12 + 0.5 * std), np.full(2, (0.8 * std) ** 2))
    low, high = found.interval(0.9)[0]
    np.testing.assert_allclose((high - low)[:, 0], 2 * 1.645 * 0.8 * std, rtol=0.05)
    assert (found.past, found.particles) == ("exact", 1)
    assert found.kind == f"estimate by {MANY} samples from the model"


def test_categories_have_probabilities_and_a_most_likely_one() -> None:
    p = [0.1, 0.6, 0.3]
    data = Sequences([[0, 1, 2], [1]], kind="categorical")
    model = constant(model_of(Case("rnn", RNN_SIZE), data), np.log(p).tolist())
    found = zforcing.forecast(model, data, steps=2, num_samples=4000)
    assert found.probabilities is not None
    assert found.most_likely is not None
    assert (found.mean, found.std) == (None, None)
    for probabilities, likely in zip(found.probabilities, found.most_likely, strict=True):
        assert probabilities.shape == (2, 3)
        assert (np.abs(probabilities - p) < 4 * np.sqrt(np.array(p) * (1 - np.array(p)) / 4000)).all()
        assert likely.tolist() == [1, 1]
    with pytest.raises(UserError, match="categories have no order, and so no quantiles"):
        found.quantile(0.5)
    frame = found.to_frame()
    assert list(frame) == ["sequence", "step", "category", "probability"]
    assert frame.groupby(["sequence", "step"])["probability"].sum().to_numpy() == pytest.approx(np.ones(4))
    assert frame.groupby(["sequence", "step"])["category"].first().tolist() == [1] * 4
    cold = zforcing.forecast(model, data, steps=2, num_samples=50, temperature=1e-6)
    assert (np.stack(cold.samples) == 1).all()
    kept = zforcing.forecast(model, data, steps=2, num_samples=300, top_p=0.7)
    assert set(np.stack(kept.samples).ravel().tolist()) == {1, 2}
    assert "temperature 1, top_p 0.7: no longer the model's distribution" in kept.kind


def test_bits_have_the_probability_of_1() -> None:
    data = Sequences([[[0, 1], [1, 1]]], kind="binary")
    model = constant(model_of(Case("rnn", RNN_SIZE), data), [math.log(4), -math.log(4)])
    found = zforcing.forecast(model, data, steps=1, num_samples=4000)
    assert found.probabilities is not None
    assert found.most_likely is not None
    np.testing.assert_allclose(found.probabilities[0], [[0.8, 0.2]], atol=4 * 0.4 / math.sqrt(4000))
    assert found.most_likely[0].tolist() == [[1, 0]]


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
@pytest.mark.parametrize("kind", ["real", "conditioned", "with gaps", "with inputs", "categorical"])
def test_a_forecast_has_the_datas_shape_and_follows_its_seed(case: Case, kind: str) -> None:
    spec = SPECS[kind]
    if spec.kind not in case.kinds:
        return
    data = sequences(spec)
    model = model_of(case, data)
    inputs = np.zeros((3, 2, spec.inputs)) if spec.inputs else None
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    given: dict[str, Any] = {"steps": 2, "num_samples": 5, "particles": 3, "inputs": inputs}
    one, same, other = (zforcing.forecast(model, data, seed=seed, **given) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    tail = () if spec.kind == "categorical" else (spec.size,)
    assert [x.shape for x in one.samples] == [(5, 2, *tail)] * 3
    np.testing.assert_array_equal(np.stack(one.samples), np.stack(same.samples))
    assert not np.array_equal(np.stack(one.samples), np.stack(other.samples))
    assert all(np.isfinite(x).all() for x in one.samples)


def test_a_first_observation_that_is_only_read_is_the_start() -> None:
    """With it as the past, what follows depends on it."""
    spec = SPECS["conditioned"]
    base = sequences(spec, lengths=(1,))
    model = model_of(Case("vrnn", VRNN_SIZE), base)
    moved = Sequences([base.raw(0) + np.array([[300.0], [0.0]])], first_observation="conditioned")
    means = [zforcing.forecast(model, data, steps=1, num_samples=50).mean for data in (base, moved)]
    assert means[0] is not None
    assert means[1] is not None
    assert not np.allclose(means[0][0], means[1][0])


def forecast_of_two(**given: Any) -> Forecast:
    data = Sequences([[[10.0, 1.0], [14.0, 2.0]], [[12.0, 3.0]]], names=["speed", "heat"])
    return zforcing.forecast(model_of(Case("rnn", RNN_SIZE), data), data, steps=3, num_samples=40, **given)


def test_a_table_has_a_row_for_each_step_and_feature() -> None:
    found = forecast_of_two()
    frame = found.to_frame()
    assert list(frame) == ["sequence", "step", "feature", "mean", "std", "q5", "q25", "q50", "q75", "q95"]
    assert len(frame) == 2 * 3 * 2
    assert found.mean is not None
    row = frame[(frame["sequence"] == 1) & (frame["step"] == 2) & (frame["feature"] == "heat")].iloc[0]
    assert row["mean"] == pytest.approx(found.mean[1][1, 1])
    assert row["q95"] == pytest.approx(found.quantile(0.95)[1][1, 1])
    assert "3 steps of 2 sequences; estimate by 40 samples" in repr(found)


def test_files_hold_the_table_or_the_futures(tmp_path: Path) -> None:
    found = forecast_of_two()
    frame = pd.read_csv(found.save(tmp_path / "f.csv"))
    pd.testing.assert_frame_equal(frame, found.to_frame(), check_dtype=False)
    with np.load(found.save(tmp_path / "f.npz")) as arrays:
        np.testing.assert_array_equal(arrays["samples"], np.stack(found.samples))
        np.testing.assert_array_equal(arrays["quantiles"][:, 2], np.stack(found.quantile(0.5)))
        assert arrays["names"].tolist() == ["speed", "heat"]
    with pytest.raises(UserError, match=r"its suffix is '.txt'; forecasts are written"):
        found.save(tmp_path / "f.txt")


def test_quantiles_leave_new_draws_below_them_as_often_as_they_say() -> None:
    """Of 19 samples, by 20000 of them: within 4 standard errors."""
    rng = np.random.default_rng(0)
    samples, new = rng.standard_normal((19, 20_000)), rng.standard_normal(20_000)
    for q in (0.05, 0.5, 0.9):
        share = (new < quantile_of(samples, q)).mean()
        assert abs(share - q) < 4 * math.sqrt(q * (1 - q) / 20_000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"particles": 0}, "particles is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 2.0}, "top_p is 2.0"),
        ({"past": "future"}, "past is 'future'; it must be filter, or posterior"),
        ({"inputs": np.zeros((3, 2, 1))}, "the model reads none: leave them out"),
    ],
)
def test_nonsense_is_refused(given: dict[str, Any], message: str) -> None:
    data = sequences(SPECS["real"])
    with pytest.raises(UserError, match=message):
        zforcing.forecast(model_of(Case("rnn", RNN_SIZE), data), data, **{"steps": 2, **given})


def test_what_cant_be_held_is_refused_before_it_is_drawn() -> None:
    data = sequences(SPECS["real"])
    with pytest.raises(RuntimeError, match="alloc"):
        zforcing.forecast(model_of(Case("rnn", RNN_SIZE), data), data, steps=10**13)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "give inputs, those of the steps to come"),
        (np.zeros((3, 1, 2)), r"inputs is \[3, 1, 2\]; it must be \[steps, inputs\] = \[2, 2\] for each of 3"),
        (np.full((3, 2, 2), np.nan), "inputs holds NaN"),
        ([["a"]], "can't be read as numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Any, message: str) -> None:
    spec = replace(SPECS["with inputs"], inputs=2)
    data = sequences(spec)
    with pytest.raises(UserError, match=message):
        zforcing.forecast(model_of(Case("rnn", RNN_SIZE), data), data, steps=2, inputs=inputs)


def test_what_can_not_be_forecast_is_refused() -> None:
    with pytest.raises(UserError, match="a forecast needs a model of sequences"):
        zforcing.forecast(BinaryVAE(ObservationSpec("binary", 1), BinaryVAEConfig()), sequences(SPECS["binary"]))
    data = sequences(SPECS["real"])
    model = model_of(Case("rnn", RNN_SIZE), data)
    with torch.no_grad():
        model.emission_net.linear.bias.fill_(math.nan)
    with pytest.raises(UserError, match=r"not finite.*was its training stable"):
        zforcing.forecast(model, data, steps=2)
