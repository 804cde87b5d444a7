"""Scores of forecasts: the CRPS beside its closed form, coverage where the model is the truth, baselines by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

import zforcing
from conftest import RNN_SIZE, SPECS, Case
from test_forecast import ar_like, constant
from test_score import model_of, sequences
from zforcing import Sequences, UserError, evaluate_forecast
from zforcing.cli.evaluate_forecast import show
from zforcing.evaluation.forecast_baselines import Baselines, last_observed
from zforcing.evaluation.forecasts import ForecastRow, ForecastTable
from zforcing.evaluation.proper_scores import LEVELS, crps, scored


def gaussian_crps(x: float, mean: float = 0, std: float = 1) -> float:
    """T. Gneiting, A. Raftery, 2007, equation 21."""
    z = (x - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))


@pytest.mark.parametrize("size", [2, 5, 100])
def test_the_crps_of_samples_is_the_gaussians_on_average_for_any_number_of_them(size: int) -> None:
    """Over 20000 sets of samples, within 4 standard errors."""
    rng = np.random.default_rng(0)
    for x in (-0.3, 2.0):
        found = crps(3 + 2 * rng.standard_normal((size, 20_000)), np.full(20_000, x))
        assert abs(found.mean() - gaussian_crps(x, 3, 2)) < 4 * found.std() / math.sqrt(20_000)


def test_the_crps_is_what_its_formula_says_pair_by_pair() -> None:
    samples, x = np.array([[1.0], [4.0], [2.0]]), np.array([3.0, -1.0])
    pairs = (3 + 1 + 2) / 3  # the mean of |X_i - X_j| over pairs
    np.testing.assert_allclose(crps(samples, x), [4 / 3 - pairs / 2, 10 / 3 - pairs / 2])


def test_of_bits_the_crps_is_the_brier_score() -> None:
    samples = (np.arange(10_000) < 8_000).astype(float)[:, None]
    np.testing.assert_allclose(crps(samples, np.array([1.0, 0.0])), [0.04, 0.64], atol=1e-4)


def test_what_did_not_come_has_no_score() -> None:
    found = scored(np.arange(9.0)[:, None], np.array([4.0, np.nan, 100.0]))
    assert found.covered[:, 0].tolist() == [1] * 4
    assert found.covered[:, 2].tolist() == [0] * 4
    assert found.error[[0, 2]].tolist() == [0, 96]
    assert all(np.isnan(values[..., 1]).all() for values in found)


def test_where_the_model_is_the_truth_its_intervals_cover_what_they_say() -> None:
    """Data drawn from the model itself: 400 sequences, independent at one step ahead, within 4 binomial errors. Its
    CRPS is that of the true Gaussian, and both baselines' is larger.
    """
    model, n, steps = ar_like(), 400, 4
    x = zforcing.sample(model, n, steps=12 + steps, seed=1).x.numpy()
    train = Sequences(zforcing.sample(model, 100, steps=30, seed=2).x.numpy(), normalize=False)
    table = evaluate_forecast(model, Sequences(x, normalize=False), steps=steps, train=train, particles=100, seed=3)
    assert [(r.name, r.first, r.last) for r in table.rows[:4]] == [
        ("linear_gaussian", a, b) for a, b in ((1, 1), (2, 2), (4, 4), (1, 4))
    ]
    for row in table.rows[:3]:
        assert row.coverage is not None
        for level, share in zip(LEVELS, row.coverage, strict=True):
            assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / n)
    variance = 0.0
    for _ in range(50):  # of z, predicted one step ahead, in the long run
        gain = variance / (variance + 0.09)
        variance = 0.81 * (1 - gain) * variance + 0.25
    true = math.sqrt((variance + 0.09) / math.pi)  # the CRPS of N(0, s^2) for its own draws: s / sqrt(pi)
    assert abs(table.rows[0].crps[0] - true) < 4 * 0.75 * true / math.sqrt(n)  # its standard deviation is 0.74 of it
    best, *others = table.overall
    assert [row.name for row in others] == ["last value", "climatology"]
    assert all(row.crps[0] > best.crps[0] for row in others)
    assert all(row.coverage is not None and abs(row.coverage[2] - 0.9) < 0.06 for row in others)
    assert (table.sequences, table.too_short, table.numbers) == (n, 0, n * steps)


def test_the_last_value_has_the_errors_of_the_training_data() -> None:
    """By hand: a ramp of slope 1 per step with a gap; its errors at step h are h."""
    ramp = Sequences([np.arange(8.0)[:, None], [[5.0], [np.nan], [7.0], [8.0]]], normalize=False, missing=True)
    known = Baselines.of(ramp, ramp.description, steps=2, seed=0)
    assert known.stretches.shape == (6 + 2, 3, 1)
    assert set(known.errors(1, 0).tolist()) == {1.0}
    assert set(known.errors(2, 0).tolist()) == {2.0}
    nothing = np.array([np.nan])
    found = known.last_value(2, 0, np.array([12.0, 12.0]), np.array([10.0, np.nan]))
    assert found.error[0] == 0
    assert found.error[1] == known.climatology(2, 0, np.array([12.0]), nothing).error[0] > 3
    assert last_observed(np.array([[1.0, 2.0], [np.nan, 3.0], [np.nan, np.nan]])).tolist() == [1, 3]
    assert np.isnan(last_observed(np.full((2, 1), np.nan))).all()


def test_many_stretches_are_drawn_evenly() -> None:
    data = Sequences([np.full((n, 1), float(i)) for i, n in enumerate((2001, 3, 6001))], normalize=False)
    known = Baselines.of(data, data.description, steps=1, seed=0)
    counts = np.bincount(known.stretches[:, 0, 0].astype(int), minlength=3)
    assert counts.sum() == 1000
    assert abs(counts[0] - 250) < 4 * math.sqrt(1000 * 0.25 * 0.75)
    assert len(known.values(0)) == 1000


def test_scores_are_of_what_was_observed_in_the_datas_units() -> None:
    """A model that is certain of a value: its errors by hand, with gaps, inputs, and a sequence that is too short."""
    first = [[10.0, 1.0], [14.0, 2.0], [12.0, np.nan], [16.0, 5.0]]
    data = Sequences(
        [first, [[11.0, 2.0]] * 2, [[8.0, 2.0]] * 4],
        inputs=[np.arange(n)[:, None] for n in (4, 2, 4)],
        names=["speed", "heat"],
        missing=True,
    )
    model = constant(model_of(Case("rnn", RNN_SIZE), data), [0.0, 0.0, -60.0, -60.0])
    table = evaluate_forecast(model, data, steps=2, num_samples=4, particles=2)
    mean = [np.nanmean([row[d] for i in range(3) for row in data.raw(i).tolist()]) for d in range(2)]
    expected = [np.mean([abs(v - mean[0]) for v in (12, 16, 8, 8)]), np.mean([abs(v - mean[1]) for v in (5, 2, 2)])]
    (row,) = table.overall
    np.testing.assert_allclose(row.median_error, expected, rtol=1e-4)
    np.testing.assert_allclose(row.crps, expected, rtol=1e-4)
    assert (table.sequences, table.too_short, table.numbers, table.names) == (2, 1, 7, ("speed", "heat"))
    assert table.rows[0].median_error[1] == pytest.approx(abs(2 - mean[1]), rel=1e-4)


@pytest.mark.parametrize("kind", ["conditioned", "binary", "with inputs"])
def test_other_data_has_scores_too(kind: str) -> None:
    spec = SPECS[kind]
    data = sequences(spec, lengths=(6, 4))
    table = evaluate_forecast(
        model_of(Case("rnn", RNN_SIZE), data), data, steps=3, train=data, num_samples=5, particles=2
    )
    assert len(table.rows) == 3 * 4
    assert all((row.coverage is None) == (kind == "binary") for row in table.rows)
    values = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert len(values["rows"][0]["crps"]) == spec.size


def test_a_feature_that_never_came_has_no_score() -> None:
    data = Sequences([[[1.0, 2.0], [3.0, 1.0], [2.0, np.nan]]], missing=True)
    table = evaluate_forecast(model_of(Case("rnn", RNN_SIZE), data), data, steps=1, num_samples=3)
    assert math.isnan(table.overall[0].crps[1])
    assert table.to_json()["rows"][0]["crps"][1] is None


def test_where_nothing_came_in_a_span_its_json_is_null() -> None:
    data = Sequences([[[1.0], [3.0], [np.nan], [2.0]]], missing=True)
    table = evaluate_forecast(model_of(Case("rnn", RNN_SIZE), data), data, steps=2, num_samples=3)
    assert table.rows[0].coverage is not None
    assert all(map(math.isnan, table.rows[0].coverage))
    assert json.loads(json.dumps(table.to_json(), allow_nan=False))["rows"][0]["coverage"] == [None] * len(LEVELS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 9}, "no sequence has more than 9 steps, the longest has 6: hold out fewer"),
        ({"num_samples": 1}, "scores take 2 samples or more"),
        ({"steps": 0}, "steps is 0"),
        ({"train": [[1.0]]}, "train is a list; it must be Sequences"),
        ({"train": "short"}, "no sequence of the training data has more than 3 steps"),
    ],
)
def test_nonsense_is_refused(given: dict[str, Any], message: str) -> None:
    data = sequences(SPECS["real"])
    if given.get("train") == "short":
        given = {"train": data[[2]]}
    with pytest.raises(UserError, match=message):
        evaluate_forecast(model_of(Case("rnn", RNN_SIZE), data), data, **{"steps": 3, **given})


def test_categories_and_nothing_observed_are_refused() -> None:
    words = sequences(SPECS["categorical"])
    with pytest.raises(UserError, match="categories have no intervals to score"):
        evaluate_forecast(model_of(Case("rnn", RNN_SIZE), words), words, steps=1)
    gaps = Sequences([[[1.0], [2.0], [np.nan]]], missing=True)
    with pytest.raises(UserError, match="nothing was observed in the last 1 steps"):
        evaluate_forecast(model_of(Case("rnn", RNN_SIZE), gaps), gaps, steps=1)
    assert torch.is_grad_enabled()


def test_columns_of_categories_are_drawn_and_have_no_scores() -> None:
    """Of a real, a 0/1 and a category column: futures of all, numbers and scores of the first two."""
    rng = np.random.default_rng(0)
    rows = [np.stack([rng.normal(size=6), rng.integers(2, size=6), rng.integers(3, size=6)], axis=1) for _ in range(3)]
    data = Sequences(rows, kind="mixed", kinds=["real", "binary", "category"])
    model = model_of(Case("rnn", RNN_SIZE, kinds=("mixed",)), data)
    ahead = zforcing.forecast(model, data, steps=2, num_samples=20)
    assert set(np.stack(ahead.samples)[..., 2].ravel().tolist()) <= {0.0, 1.0, 2.0}
    (probabilities,) = ahead.column_probabilities.values()
    drawn = ahead.samples[1][:, :, 2]
    np.testing.assert_allclose(probabilities[1], np.stack([(drawn == v).mean(0) for v in range(3)], axis=-1))
    assert list(ahead.column_probabilities) == ["x2"]
    table_of_all = ahead.columns()
    rows = {name: [table_of_all[name][i] for i in range(len(table_of_all["step"]))] for name in table_of_all}
    chances = {(s, t): dict[str, float]() for s in range(3) for t in (1, 2)}
    for s, t, feature, category, share, mean in zip(
        *(rows[name] for name in ("sequence", "step", "feature", "category", "probability", "mean")), strict=True
    ):
        assert (feature == "x2") == math.isnan(mean) == (category != "") == (not math.isnan(share))
        if feature == "x2":
            chances[int(s), int(t)][str(category)] = float(share)
    for (s, t), found in chances.items():
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert [found.get(str(v), 0.0) for v in range(3)] == probabilities[s][t - 1].tolist()
    assert ahead.mean is not None
    for values in (ahead.mean[0], ahead.quantile(0.9)[0], ahead.interval(0.5)[0].low):
        assert np.isnan(values).tolist() == [[False, False, True]] * 2
    table = evaluate_forecast(model, data, steps=2, train=data, num_samples=20)
    assert [math.isnan(v) for v in table.overall[1].crps] == [False, False, True]
    for row in table.overall:  # of 3 sequences and 2 steps of the real number alone: sixths
        sixths = 6 * np.array(row.coverage)
        np.testing.assert_allclose(sixths, np.rint(sixths), atol=1e-9)
    without = Sequences([x[:, 1:] for x in data.to_arrays()], kind="mixed", kinds=["binary", "category"])
    ways = evaluate_forecast(model_of(Case("rnn", RNN_SIZE, kinds=("mixed",)), without), without, steps=2)
    assert ways.overall[0].coverage is None
    cold = zforcing.forecast(model, data, steps=1, num_samples=20, temperature=1e-9)
    assert len(np.unique(cold.samples[0][:, 0, 2])) == 1


def test_a_wide_table_is_whole_where_no_terminal_is_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("the temperature of the first bearing of machine 1, in kelvin", "load")
    row = ForecastRow("the last value, and its errors", 1, 7, (0.5, 0.9), (12345.6, 2.0), (23456.7, 3.0))
    show(ForecastTable("causal", 7, 3, 0, 42, names, (0.5, 0.9), (row,)), Path("f.json"), every_feature=True)
    shown = capsys.readouterr().out
    assert [word for word in (*names, "1.235e+04", "2.346e+04", "median's error") if word not in shown] == []
