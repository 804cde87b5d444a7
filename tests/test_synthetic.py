"""Synthetic data: its likelihood is exact, its splits and sequences follow the seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zforcing import UserError
from zforcing.data import DataModule, LinearGaussianData, MarkovData, SwitchingData
from zforcing.models import LinearGaussian, LinearGaussianConfig
from zforcing.observations import collate

SMALL: dict[str, Any] = {"train": 5, "valid": 3, "test": 4, "steps": 6}
MODULES: list[type[DataModule]] = [LinearGaussianData, MarkovData, SwitchingData]


def sequences(data: DataModule, split: Any) -> list[np.ndarray]:
    return [example.x for example in data.load(split, data.describe()).examples]  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", MODULES)
def test_splits_have_their_sizes_and_differ(module: type[LinearGaussianData]) -> None:
    data = module(**SMALL)
    sizes = {split: len(sequences(data, split)) for split in ("train", "valid", "test")}
    assert sizes == {"train": 5, "valid": 3, "test": 4}
    assert not np.array_equal(sequences(data, "valid")[0], sequences(data, "test")[0])


@pytest.mark.parametrize("module", MODULES)
def test_sequences_follow_their_seeds(module: type[LinearGaussianData]) -> None:
    one, same, other, process = (
        sequences(module(**SMALL, **seeds), "train")[0] for seeds in ({}, {}, {"seed": 1}, {"system_seed": 2})
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, process)


@pytest.mark.parametrize("module", MODULES)
def test_lengths_lie_between_shortest_and_steps(module: type[LinearGaussianData]) -> None:
    data = module(**(SMALL | {"train": 200}), shortest=2)
    assert {len(x) for x in sequences(data, "train")} == {2, 3, 4, 5, 6}
    assert data.describe().longest == 6


@pytest.mark.parametrize("module", MODULES)
def test_missing_values_have_their_share_and_are_in_the_spec(module: type[LinearGaussianData]) -> None:
    data = module(**(SMALL | {"train": 500}), missing=0.25)
    examples = data.load("train", data.describe()).examples
    share = 1 - np.mean([e.observed.mean() for e in examples if e.observed is not None])
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 3000)
    assert data.describe().spec.missing
    assert not module(**SMALL).describe().spec.missing


def test_markov_frequencies_are_the_chains() -> None:
    """p(x_1 = v) over 4000 sequences of one step, within 4 standard errors."""
    data = MarkovData(steps=1, train=4000)
    counts = np.bincount(np.concatenate(sequences(data, "train")), minlength=4) / 4000
    p = data.chain.initial @ data.chain.emission
    assert (np.abs(counts - p) < 4 * np.sqrt(p * (1 - p) / 4000)).all()


def test_switching_moments_are_the_systems() -> None:
    """E x_1 and Var x_1 of the mixture over regimes, 4000 sequences of one step, within 4 standard errors."""
    data = SwitchingData(steps=1, train=4000, regimes=3, noise=0.5)
    x, system = np.concatenate(sequences(data, "train")), data.system
    mean = system.initial @ system.mean
    variance = system.initial @ (system.mean - mean) ** 2 + system.noise**2
    assert (np.abs(x.mean(0) - mean) < 4 * np.sqrt(variance / 4000)).all()
    fourth = ((x - mean) ** 4).mean(0)
    assert (np.abs(x.var(0) - variance) < 4 * np.sqrt((fourth - variance**2) / 4000)).all()
    assert np.allclose(np.linalg.norm(system.mean, axis=1), 1)


def test_linear_gaussian_moments_are_the_systems() -> None:
    """Var x_1 = C Q C' + R over 4000 sequences of one step, within 4 standard errors of a variance."""
    data = LinearGaussianData(steps=1, train=4000)
    x = np.concatenate(sequences(data, "train"))
    expected = np.diag(data.system.C @ np.diag(data.system.q**2) @ data.system.C.T) + data.system.r**2
    assert (np.abs(x.var(0) / expected - 1) < 4 * math.sqrt(2 / 4000)).all()


def test_a_linear_gaussian_model_of_the_same_system_has_the_true_likelihood_of_driven_sequences() -> None:
    data = LinearGaussianData(**SMALL, shortest=3, missing=0.3, inputs=2)
    description, config = data.describe(), LinearGaussianConfig(2, system_seed=1)
    examples = data.load("test", description).examples
    batch = collate(examples, description.spec).to("cpu", torch.float64)
    found = LinearGaussian(description.spec, config).double().log_likelihood(batch).tolist()
    assert found == pytest.approx([data.true_log_likelihood(example) for example in examples], rel=1e-10)
    alone = [data.true_log_likelihood(replace(example, inputs=np.zeros_like(example.inputs))) for example in examples]
    assert found != pytest.approx(alone, abs=0.1)


@pytest.mark.parametrize("module", MODULES)
def test_true_likelihood_leaves_out_what_is_missing(module: type[LinearGaussianData]) -> None:
    data = module(**SMALL, missing=0.5)
    example = data.load("train", data.describe())[0]
    changed = example.x.copy()
    assert example.observed is not None
    changed[~example.observed] = 3
    other = type(example)(changed, example.observed)
    assert data.true_log_likelihood(example) == data.true_log_likelihood(other)
    assert data.true_log_likelihood(example) != data.true_log_likelihood(type(example)(example.x))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, r"data\.steps is 0"),
        ({"test": 0}, r"data\.test is 0"),
        ({"shortest": 7}, r"data\.shortest is 7"),
        ({"missing": 1.0}, r"data\.missing is 1"),
        ({"seed": -1}, r"data\.seed is -1"),
        ({"system_seed": -1}, r"data\.system_seed is -1"),
    ],
)
@pytest.mark.parametrize("module", MODULES)
def test_settings_that_mean_nothing_are_refused(module: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        module(**(SMALL | settings))


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        (LinearGaussianData, "latent_size"),
        (LinearGaussianData, "size"),
        (MarkovData, "states"),
        (MarkovData, "symbols"),
        (SwitchingData, "regimes"),
        (SwitchingData, "size"),
        (SwitchingData, "noise"),
    ],
)
def test_sizes_below_one_are_refused(module: Any, setting: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{setting} is 0"):
        module(**{setting: 0})
