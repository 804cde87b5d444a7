"""Sampling, its pictures and its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import CASES, SPECS, VRNN_SIZE, ZF_SIZE, Case, observations, random_batch, write_samples
from zforcing import MODELS, ObservationSpec, SequenceBatch, Sequences, UserError, sample
from zforcing.files.pictures import image_grid
from zforcing.models import LinearGaussian, LinearGaussianConfig, SequenceModel
from zforcing.observations import AudioFormat, DataDescription, Example, ImageFormat, Normalization, collate, encode
from zforcing.runtime.threads import cpu_threads
from zforcing.tasks.continuation import continue_from
from zforcing.tasks.past import filtered_to_the_end, resampled


def test_every_registered_model_is_under_the_contracts_tests() -> None:
    of_sequences = {name for name, cls in MODELS.items() if issubclass(cls, SequenceModel)}
    assert {case.model for case in CASES} == of_sequences
    assert set(MODELS) - of_sequences == {
        "made",
        "nade",
        "eonade",
        "darn",
        "dbn",
        "dlgm",
        "draw",
        "matnet",
        "pixelcnn",
        "pixelrnn",
        "pixelvae",
    }  # in tests/test_*image*.py and test_deep_belief.py


def test_samples_have_the_shape_and_the_support_of_the_data(case: Case, spec: ObservationSpec) -> None:
    start = observations(spec, 4) if spec.conditions_on_first else None
    inputs = torch.randn(4, 6, spec.inputs) if spec.inputs else None
    drawn = sample(case.build(spec), 4, steps=6, seed=0, start=start, inputs=inputs)
    assert drawn.x.shape == ((4, 6) if spec.kind == "categorical" else (4, 6, spec.size))
    if spec.kind == "binary":
        assert set(drawn.x.unique().tolist()) <= {0.0, 1.0}
    if spec.kind == "categorical":
        assert drawn.x.dtype == torch.int64
        assert 0 <= drawn.x.min() <= drawn.x.max() < spec.size


def test_samples_follow_the_seed_and_leave_the_callers_generator_alone(case: Case) -> None:
    model = case.build(SPECS["real"])
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    one, same, other = (sample(model, 2, steps=3, seed=seed).x for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_samples_start_from_what_they_are_given() -> None:
    model = Case("zforcing", ZF_SIZE).build(SPECS["conditioned"])
    torch.manual_seed(0)
    start = 5 * observations(SPECS["conditioned"], 2)
    one, other = (sample(model, 2, steps=3, seed=0, start=s).emission.mean[:, 0] for s in (start, 0 * start))
    assert not torch.allclose(one, other)


def test_sample_frequencies_are_the_models_probabilities() -> None:
    """p(x_1 = 1, x_2 = 1) of an RNN, enumerated, against 20000 samples: within 4 standard errors."""
    spec, n = ObservationSpec("binary", 1), 20000
    model: SequenceModel = Case("rnn", {"hidden_size": 4, "embedding_size": 3}).build(spec)
    with torch.no_grad():
        state = model.after_latent(model.after_inputs(model.initial_state(1), None), torch.zeros(1, 0))
        first = model.emission(state).mean.item()
        state = model.after_inputs(model.after_observation(state, torch.ones(1, 1)), None)
        state = model.after_latent(state, torch.zeros(1, 0))
        both = first * model.emission(state).mean.item()
    x = sample(model, n, steps=2, seed=0).x
    for frequency, p in ((x[:, 0].mean().item(), first), (x.prod(1).mean().item(), both)):
        assert abs(frequency - p) < 4 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("numbers", [(0, 3), (3, 0), (2.5, 3), (2, "3")])
def test_nothing_to_sample_is_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"(num_samples|steps) is .*; it must be"):
        sample(Case("rnn").build(SPECS["binary"]), numbers[0], steps=numbers[1], seed=0)


def test_a_model_that_conditions_on_the_first_observation_must_be_given_one(case: Case) -> None:
    model = case.build(SPECS["conditioned"])
    with pytest.raises(UserError, match=r"give start.*x_0"):
        sample(model, 2, steps=3, seed=0)


@pytest.mark.parametrize("shape", [(3, 2), (2,), (2, 3)])
def test_a_start_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    model = Case("zforcing", ZF_SIZE).build(SPECS["conditioned"])
    with pytest.raises(UserError, match=r"start is .*begin with \[2, 2\]"):
        sample(model, 2, steps=3, seed=0, start=torch.zeros(shape))


def test_a_state_that_overflows_is_said() -> None:
    model = Case("rnn", {"hidden_size": 6, "embedding_size": 4}).build(SPECS["real"])
    with torch.no_grad():
        model.emission_net.linear.bias.fill_(1e300)
    with pytest.raises(UserError, match="not finite at step 2"):
        sample(model, 2, steps=3, seed=0)


# ---- going on


def test_continuations_have_the_shape_and_the_support_of_the_data(case: Case, spec: ObservationSpec) -> None:
    model, prefix = case.build(spec), random_batch(spec, (5, 1, 3), missing=spec.missing)
    inputs = torch.randn(3, 4, spec.inputs) if spec.inputs else None
    drawn = continue_from(model, prefix, steps=4, seed=0, num_samples=2, inputs=inputs)
    assert drawn.x.shape == ((6, 4) if spec.kind == "categorical" else (6, 4, spec.size))
    assert drawn.latents.shape == (6, 4, model.latent_size)
    if spec.kind == "binary":
        assert set(drawn.x.unique().tolist()) <= {0.0, 1.0}


def test_continuations_follow_the_seed_and_leave_the_callers_generator_alone(case: Case) -> None:
    model, prefix = case.build(SPECS["real"]), random_batch(SPECS["real"])
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    one, same, other = (continue_from(model, prefix, steps=3, seed=seed).x for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def certain(model: SequenceModel) -> SequenceModel:
    """A real emission whose every draw is its mean, to 1e-9: ln of its variance is the second half of the layer."""
    layer = model.emission_net.linear
    size = model.spec.size
    with torch.no_grad():
        layer.weight[size:] = 0
        layer.bias[size:] = 2 * math.log(1e-9)
    return model


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2}, {"embedding_size": 12, "feature_layers": 2}], ids=str)
def test_a_certain_rnn_goes_on_as_its_contract_says(settings: dict[str, Any], steps: int) -> None:
    """Each prefix stepped by hand through the contract, to its own end, then fed its own means."""
    spec = SPECS["real"]
    model = certain(Case("rnn", {"hidden_size": 6, "embedding_size": 4} | settings).build(spec))
    prefix, none = random_batch(spec, (5, 1, 3)), torch.zeros(1, 0)
    drawn = continue_from(model, prefix, steps=steps, seed=0).x
    with torch.no_grad():
        for row, length in enumerate(prefix.lengths.tolist()):
            state = model.initial_state(1)
            for t in range(length):
                state = model.after_latent(model.after_inputs(state, None), none)
                state = model.after_observation(state, prefix.x[row : row + 1, t])
            for t in range(steps):
                state = model.after_latent(model.after_inputs(state, None), none)
                x = model.emission(state).mean
                torch.testing.assert_close(drawn[row : row + 1, t], x, rtol=0, atol=1e-7)
                state = model.after_observation(state, x)


@pytest.mark.parametrize("past", ["filter", "posterior"])
def test_continuations_of_a_linear_gaussian_process_are_what_its_kalman_filter_predicts(past: Any) -> None:
    """z' = 0.9 z + 0.5 noise, x = z + 0.3 noise, by hand: mean and variance of x at three steps after the
    prefix, within 4 standard errors of 20000 continuations. The posterior is exact; the filter has as many particles.
    """
    a, q, r, n = 0.9, 0.5**2, 0.3**2, 20000
    model = LinearGaussian(ObservationSpec("real", 1), LinearGaussianConfig(1, "smoothing"))
    with torch.no_grad():
        for parameter, value in (
            (model.A, a),
            (model.C, 1.0),
            (model.log_q, math.log(0.5)),
            (model.log_r, math.log(0.3)),
        ):
            parameter.fill_(value)
    prefix = [1.0, 1.5, 0.5, 2.0]
    mean, variance = 0.0, q  # of z_1
    for x in prefix:
        gain = variance / (variance + r)
        mean, variance = mean + gain * (x - mean), (1 - gain) * variance
        mean, variance = a * mean, a * a * variance + q
    batch = SequenceBatch(torch.tensor(prefix)[None, :, None], torch.tensor([4]), torch.zeros(1, 1))
    drawn = continue_from(model.eval(), batch, steps=3, seed=0, num_samples=n, past=past, particles=n).x[:, :, 0]
    for step in range(3):
        expected = variance + r
        assert abs(drawn[:, step].mean().item() - mean) < 4 * (expected / n) ** 0.5
        assert abs(drawn[:, step].var().item() - expected) < 4 * expected * (2 / n) ** 0.5
        mean, variance = a * mean, a * a * variance + q


def test_continuation_j_of_sequence_i_is_row_i_plus_j_times_their_number() -> None:
    spec = ObservationSpec("real", 2)
    model = certain(Case("rnn", {"hidden_size": 6, "embedding_size": 4}).build(spec))
    prefix = random_batch(spec, (5, 1, 3))
    alone = continue_from(model, prefix, steps=3, seed=0).x
    several = continue_from(model, prefix, steps=3, seed=0, num_samples=4).x
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    torch.testing.assert_close(several, alone.repeat(4, 1, 1), rtol=0, atol=1e-6)


def test_each_continuation_has_latents_of_its_own() -> None:
    model = Case("zforcing", ZF_SIZE).build(SPECS["real"])
    drawn = continue_from(model, random_batch(SPECS["real"], (5,)), steps=2, seed=0, num_samples=3)
    assert len({tuple(row.flatten().tolist()) for row in drawn.latents}) == 3


def test_a_continuation_depends_on_no_other_prefix_nor_on_padding() -> None:
    model = certain(Case("rnn", {"hidden_size": 6, "embedding_size": 4}).build(SPECS["real"]))
    rng = np.random.default_rng(0)
    short, long = (Example(rng.normal(size=(steps, 3))) for steps in (2, 6))
    alone = continue_from(model, collate([short], SPECS["real"]), steps=3, seed=0).x
    beside = continue_from(model, collate([short, long], SPECS["real"]), steps=3, seed=0).x[:1]
    torch.testing.assert_close(alone, beside, rtol=0, atol=1e-6)


def test_a_prefix_of_a_batch_has_the_same_past_by_itself() -> None:
    """The particles at the end of each sequence, in a batch of several lengths and alone."""
    model = Case("vrnn", VRNN_SIZE).build(SPECS["with gaps"])
    model.backend = "reference"
    batch = random_batch(SPECS["with gaps"], (5, 2, 3), missing=True)
    state, log_weights = filtered_to_the_end(model, batch, particles=4, seed=0)
    for row, steps in enumerate((5, 2, 3)):
        alone = {name: v[row : row + 1, :steps] for name, v in batch.stepwise.items()}
        one = SequenceBatch(lengths=batch.lengths[row : row + 1], start=batch.start[row : row + 1], **alone)
        expected, weights = filtered_to_the_end(model, one, particles=4, seed=0)
        np.testing.assert_allclose(log_weights[:, [row]], weights, rtol=1e-9)
        for whole, part in zip(state, expected, strict=True):
            torch.testing.assert_close(whole[row::3], part)


def test_samples_are_particles_as_often_as_their_weights_say() -> None:
    """Systematic resampling: S w_k, rounded down or up; and each sample alone is a draw, over 2000 seeds."""
    weights = np.array([[0.5, 0.1], [0.2, 0.9], [0.3, 0.0]])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    rows = resampled(log_weights, 10, seed=0).reshape(10, 2)
    assert (np.bincount(rows[:, 0] // 2, minlength=3) == [5, 2, 3]).all()
    assert (np.bincount(rows[:, 1] // 2, minlength=3) == [1, 9, 0]).all()
    assert (rows % 2 == [0, 1]).all()
    first = np.array([resampled(log_weights, 4, seed=seed)[0] // 2 for seed in range(2000)])
    error = 4 * np.sqrt(weights[:, 0] * (1 - weights[:, 0]) / 2000)
    assert (np.abs(np.bincount(first, minlength=3) / 2000 - weights[:, 0]) < error).all()


def test_a_past_of_another_kind_is_refused() -> None:
    model, past = Case("rnn").build(SPECS["real"]), "smoother"
    with pytest.raises(UserError, match="past is 'smoother'; it must be filter, or posterior"):
        continue_from(model, random_batch(SPECS["real"]), steps=2, past=past)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("numbers", [(0, 3), (3, 0)])
def test_nothing_to_go_on_with_is_refused(numbers: tuple[int, int]) -> None:
    model = Case("rnn").build(SPECS["real"])
    with pytest.raises(UserError, match="1 or more"):
        continue_from(model, random_batch(SPECS["real"]), num_samples=numbers[0], steps=numbers[1], seed=0)


def test_sequences_are_no_prefix() -> None:
    model, data = Case("rnn").build(SPECS["real"]), Sequences([[[1.0, 2.0, 3.0]]])
    with pytest.raises(UserError, match="prefix is a Sequences; it must be a SequenceBatch; forecast goes on from"):
        continue_from(model, data, steps=2)  # type: ignore[arg-type]


# ---- files


@pytest.mark.parametrize(("encoding", "levels"), [("pcm", 65536), ("mulaw", 256)])
def test_integers_are_written_as_samples_of_16_bits(tmp_path: Path, encoding: Any, levels: int) -> None:
    spec = ObservationSpec("quantized", 4, levels=levels)
    drawn = sample(Case("rnn", {"hidden_size": 6, "embedding_size": 4}).build(spec), 2, steps=3, seed=0)
    description = DataDescription("audio-folder", spec, longest=3, format=AudioFormat(8000, encoding))
    with np.load(write_samples(tmp_path, "drawn", drawn, description).files[0]) as arrays:
        assert np.abs(arrays["x"]).max() > 100
        np.testing.assert_allclose(encode(np.rint(arrays["x"]), AudioFormat(8000, encoding), None), drawn.x)


def test_samples_are_written_in_the_datas_units(tmp_path: Path) -> None:
    spec = SPECS["real"]
    drawn = sample(Case("zforcing", ZF_SIZE).build(spec), 3, steps=4, seed=0)
    scaling = Normalization((10.0, 20.0, 30.0), (1.0, 2.0, 3.0))
    description = DataDescription("arrays", spec, longest=4, normalization=scaling)
    file, *_ = write_samples(tmp_path, "drawn", drawn, description).files
    with np.load(file) as arrays:
        expected = drawn.x.numpy() * np.array([1, 2, 3]) + np.array([10, 20, 30])
        np.testing.assert_allclose(arrays["x"], expected)


def test_a_picture_needs_complete_images(tmp_path: Path) -> None:
    spec = ObservationSpec("binary", 1)
    model, description = Case("rnn").build(spec), DataDescription("d", spec, longest=4, format=ImageFormat(2, 2))
    for steps, suffixes in ((4, [".npz", ".png"]), (3, [".npz"])):
        files = write_samples(tmp_path, f"s{steps}", sample(model, 2, steps=steps, seed=0), description).files
        assert [Path(f).suffix for f in files] == suffixes


def test_image_grid_puts_images_in_reading_order() -> None:
    images = np.arange(3)[:, None, None] * np.ones((3, 1, 2)) / 2
    expected = [
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [0.5, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    ]
    np.testing.assert_array_equal(image_grid(images), expected)


def test_small_models_use_one_thread_and_the_setting_is_given_back() -> None:
    torch.set_num_threads(2)
    small, large = torch.nn.Linear(2, 2), torch.nn.Linear(2000, 2000)
    for model, asked, expected in ((small, None, 1), (large, None, 2), (small, 2, 2), (large, 1, 1)):
        with cpu_threads(model, asked):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2
