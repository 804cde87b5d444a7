"""Scores of steps: a particle filter beside Kalman's, nothing of the future, streams, thresholds and detection."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zforcing
from conftest import RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case
from vae import BinaryVAE
from zforcing import LinearGaussian, ObservationSpec, Scores, SequenceModel, Sequences, Threshold, UserError
from zforcing.data import SequenceDataset
from zforcing.data.dataset import InMemory
from zforcing.distributions import Softmax
from zforcing.evaluation.detection import baseline_scores, detection, measured
from zforcing.files.reading import Array
from zforcing.observations import Example, SequenceBatch, collate, slice_steps
from zforcing.tasks.filtering import Noise, ParticleFilter, filtered
from zforcing.testing import random_batch

LENGTHS = (6, 4, 2)
ONE_OF_EACH = [
    Case("rnn", RNN_SIZE),
    Case("zforcing", ZF_SIZE),
    Case("vrnn", VRNN_SIZE),
    Case("srnn", SRNN_SIZE),
    Case("linear_gaussian", {"latent_size": 2}, kinds=("real",)),
]


def sequences(spec: ObservationSpec, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Sequences:
    """Random ones in a user's units, with gaps, inputs or a conditioned start as the spec has them."""
    rng = np.random.default_rng(seed)
    first = spec.unscored_steps
    x: list[Array] = []
    for n in lengths:
        if spec.kind == "categorical":
            values = rng.integers(spec.size, size=n + first).astype(float)
        else:
            values = 5 + 3 * rng.standard_normal((n + first, spec.size))
            values = (values > 5).astype(float) if spec.kind == "binary" else values
        if spec.missing:
            values[rng.random(values.shape) < 0.3] = np.nan
            values[first + n // 2] = np.nan
        x.append(values)
    inputs = [10 * rng.standard_normal((len(v), spec.inputs)) for v in x] if spec.inputs else None
    categories = spec.size if spec.kind == "categorical" else None
    kind: Any = spec.kind
    first_observation: Any = spec.first_observation
    return Sequences(
        x, kind=kind, categories=categories, first_observation=first_observation, missing=spec.missing, inputs=inputs
    )


def model_of(case: Case, data: SequenceDataset, *, fast: bool = False, **settings: Any) -> SequenceModel:
    assert data.description is not None
    model = case.build(data.description.spec, **settings)
    model.description = data.description
    if not fast:
        model.backend = "reference"
    return model


def linear_gaussian(size: int = 2, **settings: Any) -> LinearGaussian:
    torch.manual_seed(0)
    return LinearGaussian(ObservationSpec("real", size, **settings), latent_size=2, system_seed=3).eval()


def log_likelihood_of_steps(model: LinearGaussian, batch: SequenceBatch) -> Array:
    """log p(x_t | x_<t) [B, T], by the Kalman filter of longer and longer prefixes."""
    steps = batch.x.shape[1]
    with torch.no_grad():
        whole = [model.log_likelihood(slice_steps(batch, 0, t)[0]).numpy() for t in range(1, steps + 1)]
    return np.diff(np.stack(whole, axis=1), prepend=0.0)


# ---- the filter


def test_the_likelihood_of_a_prefix_is_estimated_without_bias_and_kalmans() -> None:
    """The product of the estimates is unbiased: over p(x), its mean over seeds is 1, within 4 standard errors."""
    model = linear_gaussian(missing=True)
    model.backend = "reference"
    batch = random_batch(model.spec, (5, 5), missing=True)
    exact = log_likelihood_of_steps(model, batch)
    ratios = np.stack(
        [np.exp((filtered(model, batch, particles=100, seed=s).total - exact).cumsum(1)) for s in range(60)]
    )
    error = ratios.std(axis=0, ddof=1) / math.sqrt(len(ratios))
    assert (np.abs(ratios.mean(axis=0) - 1) < 4 * error + 1e-12).all()
    assert error.max() < 0.2  # else it would say nothing


def test_with_many_particles_each_steps_score_is_kalmans() -> None:
    model = linear_gaussian()
    batch = random_batch(model.spec, (8,))
    exact = log_likelihood_of_steps(model, batch)
    found = filtered(model, batch, particles=20_000, seed=0)
    np.testing.assert_allclose(found.total, exact, atol=0.1)  # 1 / sqrt(20,000) for each of some log-weights' spread


def test_a_numbers_own_score_is_its_marginal_predictive_density() -> None:
    """With one of two numbers observed, the step's score is that number's."""
    model = linear_gaussian(missing=True)
    batch = random_batch(model.spec, (4,))
    observed = torch.ones_like(batch.x, dtype=torch.bool)
    observed[:, -1, 1] = False  # at the last step, so that the particles are the same until then
    both = filtered(model, batch, particles=50, seed=0, proposal="prior")
    one = filtered(model, replace(batch, observed=observed), particles=50, seed=0, proposal="prior")
    assert both.each is not None
    np.testing.assert_allclose(both.each[0, -1, 0], one.total[0, -1], rtol=1e-12)


def test_over_many_steps_resampling_keeps_the_estimate_near_kalmans(monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear_gaussian()
    x = zforcing.sample(model, 1, steps=60, seed=1).x
    batch = SequenceBatch(x, torch.tensor([60]), torch.zeros(1, 2))
    with torch.no_grad():
        exact = float(model.log_likelihood(batch))

    def errors() -> float:
        totals = [float(filtered(model, batch, particles=2000, seed=s).total.sum()) for s in range(3)]
        return float(np.abs(np.array(totals) - exact).max())

    assert errors() < 1.5  # 4 standard deviations of 0.38
    monkeypatch.setattr("zforcing.tasks.filtering.RESAMPLED_BELOW", 0)
    assert errors() > 5


@torch.no_grad()
def test_an_rnns_scores_are_exact() -> None:
    data = sequences(SPECS["with gaps"])
    model = model_of(ONE_OF_EACH[0], data)
    batch = collate(list(data), model.spec).to("cpu", torch.float64)
    found = filtered(model, batch, particles=64, seed=0)
    np.testing.assert_allclose(
        np.where(batch.mask, found.total, 0).sum(1), model.log_likelihood(batch).numpy(), rtol=1e-10
    )
    scores = zforcing.score(model, data)
    assert (scores.relation, scores.particles) == ("exact", 1)


@pytest.mark.pairs(case=ONE_OF_EACH)
def test_nothing_of_the_future_enters_a_causal_score(
    case: Case, spec: ObservationSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sequences(spec, (5, 5))
    model = model_of(case, data)
    for name in ("encode", "posterior"):
        monkeypatch.setattr(model, name, lambda *_, **__: pytest.fail("the filter looked ahead"))
    batch = collate(list(data), model.spec).to("cpu", torch.float64)
    other = collate(list(sequences(spec, (5, 5), seed=1)), model.spec).to("cpu", torch.float64)

    def spliced(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
        return None if a is None or b is None else torch.cat([a[:, :3], b[:, 3:]], dim=1)

    x, observed, u = (spliced(getattr(batch, n), getattr(other, n)) for n in ("x", "observed", "inputs"))
    assert x is not None
    changed = replace(batch, x=x, observed=observed, inputs=u)
    one, two = (filtered(model, b, particles=4, seed=0).total for b in (batch, changed))
    np.testing.assert_array_equal(one[:, :3], two[:, :3])
    assert (one[:, 3:] != two[:, 3:]).any()


def test_padding_and_the_other_sequences_change_no_score() -> None:
    data = sequences(SPECS["with gaps"])
    model = model_of(Case("vrnn", VRNN_SIZE), data)
    together = zforcing.score(model, data, particles=5)
    for i, size in ((0, 5), (1, 10), (2, 15)):
        alone = zforcing.score(model, data[[i]], particles=5, max_rows=size)
        np.testing.assert_allclose(together.nats[i], alone.nats[0], rtol=1e-10, equal_nan=True)


def test_the_random_numbers_of_a_step_are_a_function_of_the_seed_and_the_step() -> None:
    like = torch.zeros(1)
    one, other = Noise(3, 2, 4, like), Noise(3, 2, 4, like)
    for t in range(70):
        one.at(t)
    for a, b in ((one.at(40), other.at(40)), (one.at(5), other.at(5))):
        assert torch.equal(a[0], b[0])
        assert a[1] == b[1]
    assert not torch.equal(one.at(0)[0], Noise(4, 2, 4, like).at(0)[0])
    assert torch.equal(one.of_steps(0, 40)[:, 33], one.at(33)[0])


def test_where_no_particle_can_explain_a_step_the_score_is_minus_infinity_and_the_filter_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Case("vrnn", VRNN_SIZE).build(ObservationSpec("categorical", 2))
    model.backend = "reference"
    certain = torch.tensor([0.0, -math.inf])  # that it is category 0
    monkeypatch.setattr(model, "emission", lambda state: Softmax(certain.expand(len(state.h), 2), normalized=True))
    batch = SequenceBatch(torch.tensor([[0, 1, 0]]), torch.tensor([3]), torch.tensor([2]))
    found = filtered(model, batch, particles=3, seed=0)
    np.testing.assert_array_equal(found.total, [[0, -np.inf, 0]])


def test_a_model_without_time_steps_is_refused() -> None:
    data = Sequences([[[0.0, 1.0]], [[1.0, 0.0]]], kind="binary")
    with pytest.raises(UserError, match="score needs a model of sequences; binary_vae has no time steps"):
        zforcing.score(BinaryVAE.for_data(data), data)


# ---- how many particles a score stands on


def sharp_scores(noise: float, particles: int) -> tuple[Scores, float]:
    """Of data of a linear-Gaussian model whose emission has this standard deviation, and Kalman's log-likelihood."""
    model = linear_gaussian()
    with torch.no_grad():
        model.log_r.fill_(math.log(noise))
        x = zforcing.sample(model, 4, steps=20, seed=1).x
        exact = float(model.log_likelihood(SequenceBatch(x, torch.full((4,), 20), torch.zeros(4, 2))).mean())
    return zforcing.score(model, Sequences(list(x.numpy()), normalize=False), particles=particles), exact


def test_where_few_particles_explain_the_steps_the_score_is_too_low_and_a_warning_says_so() -> None:
    with pytest.warns(RuntimeWarning, match=r"at \d+ of 80 steps fewer than 5 of the 64 particles explain .* too low"):
        scores, exact = sharp_scores(0.01, 64)
    assert scores.per_sequence.mean() < exact - 20
    assert scores.effective_particles < 2
    assert f"{scores.effective_particles:.1f} or more of them effective at 3 of 4 steps" in repr(scores)


@pytest.mark.parametrize(("noise", "particles"), [(1.0, 256), (0.5, 256), (0.1, 1000)])
def test_where_many_explain_them_it_is_kalmans_and_nothing_is_said(noise: float, particles: int) -> None:
    scores, exact = sharp_scores(noise, particles)
    assert scores.per_sequence.mean() == pytest.approx(exact, abs=1.5)
    assert 5 < scores.effective_particles < particles
    assert scores.remark == ""


def test_effective_particles_are_those_of_the_weights_after_the_step() -> None:
    """At the first step the weights are the emission's densities alone."""
    model = linear_gaussian()
    batch = random_batch(model.spec, (3, 3))
    with torch.no_grad():
        steps = ParticleFilter.begin(model, batch.start, particles=7, seed=0)
        log_w = steps.predict().emission.log_prob(batch.x[:, 0].repeat(7, 1)).reshape(7, 2).double().numpy()
    weights = np.exp(log_w) / np.exp(log_w).sum(0)
    found = filtered(model, batch, particles=7, seed=0)
    np.testing.assert_allclose(found.effective[:, 0], 1 / (weights**2).sum(0), rtol=1e-10)
    assert ((found.effective >= 1) & (found.effective <= 7)).all()


def test_a_surprise_now_and_then_is_no_remark() -> None:
    worth = np.full(20, 40.0)
    worth[:5] = 1.2
    scores = replace(scores_of([0.0] * 20), relation="estimate", particles=64, effective=(worth,))
    assert scores.remark == ""
    worth[5] = 1.2
    assert scores.remark.startswith("at 6 of 20 steps fewer than 5 of the 64 particles")
    assert replace(scores, particles=3).remark == ""  # of few K / 3, here 1
    assert replace(scores, particles=6).remark.startswith("at 6 of 20 steps fewer than 2 of the 6 particles")


def test_without_latents_one_particle_is_all_there_is() -> None:
    data = sequences(SPECS["with gaps"])
    scores = zforcing.score(model_of(ONE_OF_EACH[0], data), data)
    for nats, effective in zip(scores.nats, scores.effective, strict=True):
        np.testing.assert_array_equal(effective, np.where(np.isnan(nats), np.nan, 1.0))
    assert scores.remark == ""
    assert "no latents" in repr(scores)


@pytest.mark.parametrize(
    ("case", "reads"), [(ONE_OF_EACH[0], "past"), (ONE_OF_EACH[1], "future"), (ONE_OF_EACH[2], "present")]
)
def test_smoothed_scores_say_what_they_have_read(case: Case, reads: str) -> None:
    data = sequences(SPECS["real"])
    model = model_of(case, data)
    smoothed = zforcing.score(model, data, kind="smoothed", particles=2)
    causal = zforcing.score(model, data, particles=2)
    assert (smoothed.reads, causal.reads) == (reads, "past")
    assert smoothed.effective_particles == smoothed.particles
    words = {"past": "no latents", "future": "have read the whole sequence", "present": "have read x_1..x_t"}
    assert words[reads] in repr(smoothed)


# ---- scores in the user's units


def test_scores_are_of_the_datas_own_units_and_nan_where_nothing_was_observed() -> None:
    """Data a thousand times as large has the same scores less ln 1000 for each number that was observed."""
    data = sequences(SPECS["with gaps"])
    large = Sequences([1000 * x for x in data.to_arrays()], missing=True)
    case = Case("zforcing", ZF_SIZE)
    one, other = (zforcing.score(model_of(case, d), d, particles=3) for d in (data, large))
    for raw, a, b in zip(data.to_arrays(), one.nats, other.nats, strict=True):
        seen = ~np.isnan(raw)
        assert a.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(a), ~seen.any(1))
        np.testing.assert_allclose(a - b, np.where(seen.any(1), seen.sum(1) * math.log(1000), np.nan), atol=1e-4)
    assert one.features is not None
    np.testing.assert_array_equal(np.isnan(one.features[0]), np.isnan(data.to_arrays()[0]))
    np.testing.assert_allclose(one.per_sequence, [np.nansum(x) for x in one.nats])


def test_a_conditioned_first_observation_is_a_step_without_a_score() -> None:
    data = sequences(SPECS["conditioned"])
    scores = zforcing.score(model_of(Case("srnn", SRNN_SIZE), data), data, particles=2)
    assert [len(x) for x in scores.nats] == [n + 1 for n in LENGTHS]
    assert all(np.isnan(x[0]) and np.isfinite(x[1:]).all() for x in scores.nats)
    assert scores.steps_scored == sum(LENGTHS)


@torch.no_grad()
def test_smoothed_scores_sum_to_the_elbo() -> None:
    data = sequences(SPECS["with gaps"])
    model = model_of(Case("srnn", SRNN_SIZE), data)
    scores = zforcing.score(model, data, kind="smoothed", particles=3, seed=2)
    assert scores.relation == "lower bound"
    assert data.description.normalization is not None
    batch = collate(list(data), model.spec).to("cpu", torch.float64)
    noise = Noise(2, 3, model.latent_size, torch.zeros(1)).of_steps(0, 6).repeat_interleave(3, dim=0)
    draws = model.draw(batch, noise=noise, particles=3)
    elbo = (draws.log_px - draws.kl).reshape(3, 3).mean(0).numpy()
    log_std = np.log(data.description.normalization.std)
    raw = [float(((~np.isnan(x)) * log_std).sum()) for x in data.to_arrays()]
    np.testing.assert_allclose(scores.per_sequence, elbo - raw, rtol=1e-8)


@pytest.mark.pairs(case=ONE_OF_EACH[:4])
def test_each_kind_of_observation_says_what_its_nats_are(case: Case, spec: ObservationSpec) -> None:
    data = sequences(spec)
    scores = zforcing.score(model_of(case, data), data, particles=2)
    assert scores.unit == ("density" if spec.kind == "real" else "probability")
    assert scores.features is not None
    assert scores.features[0].shape == (len(scores.nats[0]), 1 if spec.kind == "categorical" else spec.size)
    if spec.kind != "real":
        assert scores.of_steps.max() <= 0


def test_numbers_that_depend_on_each_other_have_no_scores_of_their_own() -> None:
    data = sequences(SPECS["real"])
    case = Case("rnn", RNN_SIZE)
    alone, mixture = (
        zforcing.score(model_of(case, data, **s), data) for s in ({"autoregressive": True}, {"components": 2})
    )
    assert alone.features is None
    assert set(alone.columns()) == {"sequence", "step", "nats"}
    assert mixture.features is not None


def table() -> Scores:
    frame = pd.DataFrame({"machine": ["b", "b", "a", "a", "a"], "t": [0, 1, 2, 3, 4], "speed": [1.0, None, 3, 4, 5]})
    data = Sequences.from_frame(frame, by="machine", order="t")
    return zforcing.score(model_of(Case("rnn", RNN_SIZE), data), data)


def test_a_frame_has_a_row_for_each_step_and_files_read_back_the_same(tmp_path: Path) -> None:
    scores = table()
    frame = scores.to_frame()
    assert list(frame) == ["sequence", "step", "t", "nats", "nats_speed"]
    assert frame["sequence"].tolist() == ["b", "b", "a", "a", "a"]
    assert frame["step"].tolist() == [0, 1, 0, 1, 2]
    assert frame["nats"].isna().tolist() == [False, True, False, False, False]
    pd.testing.assert_frame_equal(pd.read_csv(scores.save(tmp_path / "s.csv")), frame)
    with np.load(scores.save(tmp_path / "s.npz", alarm=np.zeros(5)), allow_pickle=False) as arrays:
        assert set(arrays) == {*frame, "alarm"}
    with pytest.raises(UserError, match=r"suffix is '.txt'"):
        scores.save(tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "filtered"}, "kind is 'filtered'; it must be causal"),
        ({"particles": 0}, "particles is 0"),
        ({"data": [[1.0]]}, "data is a list; it must be Sequences"),
        ({"data": Sequences([[[1.0]]])}, "1 features, the training split 3"),
        ({"data": Sequences([[[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]]])}, "have gaps"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], message: str) -> None:
    data = sequences(SPECS["real"])
    arguments: dict[str, Any] = {"model": model_of(ONE_OF_EACH[0], data), "data": data} | given
    with pytest.raises(UserError, match=message) as caught:
        zforcing.score(**arguments)
    assert "\n" not in str(caught.value)


def test_a_score_that_is_nan_is_refused() -> None:
    data = sequences(SPECS["real"])
    model = model_of(ONE_OF_EACH[0], data)
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(UserError, match="score 0 of sequence 0 is NaN"):
        zforcing.score(model, data)


# ---- alarms


def scores_of(*nats: list[float], kind: Any = "causal") -> Scores:
    each = tuple(map(np.array, nats))
    total = np.array([np.nansum(x) for x in each])
    ids, ones = tuple(range(len(nats))), tuple(map(np.ones_like, each))
    return Scores("m", kind, "exact", "past", 1, 0, "density", ids, None, each, total, None, ones)


def test_a_threshold_lets_the_share_of_clean_steps_through_that_it_says() -> None:
    clean = scores_of([float(i) for i in range(100)], [math.nan, 100.0])
    threshold = clean.threshold(0.05)
    assert threshold == Threshold(5.0, 0.05, 101, 5, "causal")
    assert [int(a.sum()) for a in clean.is_alarm(threshold)] == [5, 0]
    assert clean.is_alarm(0.5)[0].tolist() == [True] + [False] * 99
    assert clean.threshold(1 / 101).alarms == 1


def test_a_rate_that_the_data_cannot_tell_is_refused() -> None:
    with pytest.raises(UserError, match=r"of 0.001 can't be told from 100 scored steps, it takes 1000 or more"):
        scores_of([0.0] * 100).threshold(0.001)
    with pytest.raises(UserError, match="false_alarm_rate is 0"):
        scores_of([0.0]).threshold(0)


def test_clean_data_that_the_model_holds_impossible_has_no_threshold() -> None:
    clean = scores_of([-math.inf] * 5 + [float(i) for i in range(95)])
    assert clean.threshold(0.06).nats == 1.0
    with pytest.raises(UserError, match="5 of 100 steps of clean data are impossible to the model"):
        clean.threshold(0.04)


def test_a_threshold_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="the threshold is of smoothed scores, these are causal"):
        scores_of([0.0]).is_alarm(scores_of([0.0] * 10, kind="smoothed").threshold(0.5))


def test_detection_is_that_of_pairs_and_of_ranks() -> None:
    """By hand: of the 2 x 3 pairs of an anomaly and a usual step 4 are in order and 1 is a tie; the anomalies are at
    ranks 1 and 3 (with the tied one): precision 1 at recall 1/2, 2/4 at recall 1.
    """
    found = measured("m", np.array([-5.0, -4.0, -3.0, -3.0, -1.0]), np.array([1, 0, 1, 0, 0]))
    assert found.auroc == pytest.approx(4.5 / 6)
    assert found.average_precision == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_detection_stands_beside_chance_and_baselines_on_the_same_steps() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 1))
    labels = np.zeros(400, dtype=int)
    labels[100:120] = 1
    x[100:120] += 4
    data = Sequences([x[:200], x[200:]], missing=True)
    nats = [-np.abs(v[:, 0]) for v in (x[:200], x[200:])]
    nats[0][0] = np.nan
    for given in (labels, [labels[:200], labels[200:]], labels.tolist()):
        table = detection(scores_of(*map(list, nats)), given, data=data)
        assert (table.steps, table.anomalous) == (399, 20)
        assert [row.name for row in table.rows] == ["m", "random", "independent Gaussian", "AR(5)", "change"]
    auroc = {row.name: row.auroc for row in table.rows}
    assert auroc["m"] > 0.95
    assert auroc["independent Gaussian"] > 0.95
    assert 0.3 < auroc["random"] < 0.7
    assert auroc["change"] < 0.8  # an anomaly's inside doesn't change


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("with gaps", {"independent Gaussian", "full Gaussian", "VAR(1)"}),
        ("binary", {"independent Bernoulli"}),
        ("categorical with gaps", {"unigram"}),
    ],
)
def test_baselines_are_those_of_evaluate_step_by_step(spec: str, names: set[str]) -> None:
    data, clean = sequences(SPECS[spec]), sequences(SPECS[spec], (30,), seed=1)
    found = baseline_scores(data.described_as(clean.description), clean)
    assert set(found) == names | {"change"}
    assert all(len(values) == sum(LENGTHS) and np.isfinite(values).all() for values in found.values())


def test_change_is_the_distance_from_the_step_before() -> None:
    categories = Sequences([[0, 0, 1], [2, 2]], kind="categorical")
    np.testing.assert_array_equal(baseline_scores(categories)["change"], [0, 0, -1, 0, 0])
    gaps = Sequences([[1.0, np.nan, 3.0, 5.0]], normalize=False)
    np.testing.assert_array_equal(baseline_scores(gaps)["change"], [0, 0, 0, -4])


def test_changes_of_several_kinds_are_in_units_of_each_columns_own() -> None:
    """A number of size 1000, a 0/1 column and a category: over twice the variance, or how probably two differ."""
    x = np.array([[0.0, 0, 0], [1000, 0, 1], [1000, 1, 2], [np.nan, 1, 2], [0, 1, 2]])
    data = Sequences([x], kind="mixed", kinds=["count", "binary", "category"])
    amount, bit, category = 2 * np.var([0, 1000, 1000, 0]), 2 * 0.6 * 0.4, 1 - (0.2**2 + 0.2**2 + 0.6**2)
    expected = [0, 1e6 / amount + 1 / category, 1 / bit + 1 / category, 0, 0]
    np.testing.assert_allclose(baseline_scores(data)["change"], np.negative(expected))
    milli = Sequences([x * [1000, 1, 1]], kind="mixed", kinds=["count", "binary", "category"])
    np.testing.assert_allclose(baseline_scores(milli)["change"], np.negative(expected))
    plain = Sequences([x[:3, :2] + 1], normalize=False)  # of real numbers in their own units the same
    np.testing.assert_allclose(baseline_scores(plain)["change"], [0, -1e6 / np.var([0, 1e3, 1e3]) / 2, -9 / 4])


def test_data_that_does_not_say_what_it_is_has_no_baselines() -> None:
    with pytest.raises(UserError, match="data has no description"):
        baseline_scores(InMemory([Example(np.zeros((3, 1), dtype=np.float32))]))


def test_detection_takes_labels_with_an_index_and_refuses_other_data_and_scores() -> None:
    scores, data = scores_of([0.0, 1.0], [2.0]), Sequences([[[0.0], [1.0]], [[2.0]]])
    labels = pd.Series([0, 1, 0], index=[100, 101, 102])
    assert detection(scores, labels, data=data).anomalous == 1
    with pytest.raises(UserError, match="scores is a ndarray; it must be what score"):
        detection(np.zeros(3), labels, data=data)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="sequences of other lengths than those that were scored"):
        detection(scores, labels, data=Sequences([[[0.0]], [[1.0], [2.0]]]))
    with pytest.raises(UserError, match="a sequence 1 where 0 was scored"):
        detection(scores_of([0.0], [1.0]), [0, 1], data=Sequences([[[0.0]], [[1.0]]])[[1, 0]])


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_scores_are_saved_to_a_file_with_a_value_for_each_row(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        scores_of([0.0]).save(tmp_path)
    with pytest.raises(UserError, match="column alarm has 3 values for the table's 1 rows"):
        scores_of([0.0]).save(tmp_path / f"s.{ending}", alarm=np.zeros(3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels is None; give 0 or 1"),
        ([0, [1], 0], "labels must be 0 or 1 for each step"),
        ([0, 1], "2 labels for 3 steps"),
        ([0, 1, 2], "must be 0"),
        ([0, 0, 0], "all labelled"),
        ([[0, 1], [1, 0]], "other lengths"),
        (["a", "b", "c"], "must be 0"),
        ([0, 1, math.nan], "a label is missing"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        detection(scores_of([0.0, 1.0, 2.0]), labels, data=Sequences([[[0.0], [1.0], [2.0]]]))
