"""Sampling, its pictures and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import CASES, SPECS, ZF_SIZE, Case, observations
from zforcing import MODELS, ObservationSpec, UserError, sample
from zforcing.data import DataDescription, Normalization
from zforcing.models import SequenceModel
from zforcing.pictures import image_grid
from zforcing.samples import write_samples
from zforcing.threads import cpu_threads


def test_every_registered_model_is_under_the_contracts_tests() -> None:
    assert {case.model for case in CASES} == set(MODELS)


def test_samples_have_the_shape_and_the_support_of_the_data(case: Case, spec: ObservationSpec) -> None:
    start = observations(spec, 4) if spec.conditions_on_first else None
    drawn = sample(case.build(spec), 4, steps=6, seed=0, start=start)
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
        state = model.after_latent(model.initial_state(1), torch.zeros(1, 0))
        first = model.emission(state).mean.item()
        state = model.after_latent(model.after_observation(state, torch.ones(1, 1)), torch.zeros(1, 0))
        both = first * model.emission(state).mean.item()
    x = sample(model, n, steps=2, seed=0).x
    for frequency, p in ((x[:, 0].mean().item(), first), (x.prod(1).mean().item(), both)):
        assert abs(frequency - p) < 4 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("numbers", [(0, 3), (3, 0)])
def test_nothing_to_sample_is_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="1 or more"):
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


def test_samples_are_written_in_the_datas_units(tmp_path: Path) -> None:
    spec = SPECS["real"]
    drawn = sample(Case("zforcing", ZF_SIZE).build(spec), 3, steps=4, seed=0)
    scaling = Normalization((10.0, 20.0, 30.0), (1.0, 2.0, 3.0))
    description = DataDescription("arrays", spec, longest=4, normalization=scaling)
    (file,) = write_samples(tmp_path, "drawn", drawn, description).files
    with np.load(file) as arrays:
        expected = drawn.x.numpy() * np.array([1, 2, 3]) + np.array([10, 20, 30])
        np.testing.assert_allclose(arrays["x"], expected)


def test_a_picture_needs_complete_images(tmp_path: Path) -> None:
    spec = ObservationSpec("binary", 1)
    model, description = Case("rnn").build(spec), DataDescription("d", spec, longest=4, image_shape=(2, 2))
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
