"""Sequences from their latents: by closed forms, as an interpolation's ends, in the data's units, and how far off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import zforcing as zf
from conftest import RNN_SIZE, Case, observations
from latent_models import LATENT, data_of, small
from vae import vae
from zforcing import LinearGaussian, ObservationSpec, Sequences, UserError
from zforcing.data import InMemory
from zforcing.distributions import most_likely
from zforcing.observations import BinaryColumn, Example, RealColumn, collate
from zforcing.tasks.reconstruction_error import constant_guess, errors_of
from zforcing.testing import SPECS


def shrinking(c: float = 2.0, r: float = 0.5) -> LinearGaussian:
    """z_t ~ N(0, 1), x_t = c z_t + N(0, r^2), both of size 1, and the exact posterior."""
    model = LinearGaussian(ObservationSpec("real", 1), latent_size=1)
    with torch.no_grad():
        model.A.zero_()
        model.C.fill_(c)
        model.log_r.fill_(np.log(r))
    return model


@pytest.mark.parametrize("past", ["own", "true"])
def test_a_factor_analysis_shrinks_towards_its_mean(past: Any) -> None:
    """E[z | x] = c x / (c^2 + r^2), so that x becomes c^2 x / (c^2 + r^2), whatever the past."""
    x = np.array([[1.0, -2.0, 0.5, 4.0], [3.0, 0.0, 1.0, -1.0]])
    made = zf.reconstruct(shrinking(), Sequences(x, normalize=False), past=past)
    shrunk = 4 / 4.25 * x
    assert np.allclose(np.array(made.x)[:, :, 0], shrunk)
    assert np.isclose(made.error.total, np.sqrt(np.mean((x - shrunk) ** 2)))
    assert np.allclose(made.error.sequences, np.sqrt(np.mean((x - shrunk) ** 2, axis=1)))
    assert np.isclose(made.guess.total, x.std())
    assert made.error_unit == "root mean square error"


def test_what_is_sampled_has_the_posterior_predictives_variance() -> None:
    """x | x' is N(c mu, c^2 V + r^2) with V = r^2 / (c^2 + r^2)."""
    n, c, r = 4000, 2.0, 0.5
    x = np.full((n, 1), 3.0)
    made = np.array(zf.reconstruct(shrinking(c, r), Sequences(x, normalize=False), mode="sample").x).ravel()
    mean, variance = 3 * c**2 / (c**2 + r**2), c**2 * r**2 / (c**2 + r**2) + r**2
    assert abs(made.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(made.var() - variance) < 5 * variance * np.sqrt(2 / n)


@pytest.mark.parametrize("kind", ["real", "binary", "categorical"])
def test_free_running_is_the_end_of_an_interpolation_and_teacher_forced_isnt(kind: str) -> None:
    spec = SPECS[kind]
    model, data = small(spec), data_of(spec)
    with torch.no_grad():  # what was before matters
        for weight in model.emission_net.parameters():
            weight.mul_(8)
    own, true = (zf.reconstruct(model, data, past=past) for past in ("own", "true"))
    ends = zf.interpolate(model, data[0], data[2], num=2)
    assert np.allclose(own.made[0], ends.made[0])
    assert np.allclose(own.made[2], ends.made[1][:4])
    with torch.no_grad():
        run = model.unroll(collate([data[0]], spec), latents=torch.from_numpy(true.latents[0])[None])
    assert np.allclose(true.made[0], most_likely(run.emission)[0].numpy())
    assert any(not np.allclose(a, b) for a, b in zip(own.made, true.made, strict=True))


@pytest.mark.pairs(case=LATENT)
def test_each_model_rebuilds_each_kind(case: Case, spec: ObservationSpec) -> None:
    model, data = case.build(spec), data_of(spec)
    model.backend = "reference"
    for mode, past in (("mean", "own"), ("sample", "true"), ("sample", "own")):
        made = zf.reconstruct(model, data, mode=mode, past=past)
        assert [x.shape for x in made.x] == [data[i].x.shape for i in range(3)]
        assert np.isfinite(made.error.total)
        assert all(np.isfinite(x).all() for x in made.x)
        if spec.conditions_on_first:
            assert all(np.array_equal(x[0], data[i].x[0]) for i, x in enumerate(made.x))


def test_units_names_and_ids_are_the_datas() -> None:
    raw = 1000 + 50 * np.random.default_rng(0).standard_normal((3, 6, 2))
    data = Sequences(raw, names=["speed", "heat"])
    model = small(data.description.spec)
    made = zf.reconstruct(model, data)
    assert np.abs(np.array(made.x) - 1000).max() < 300
    table = made.to_frame()
    assert list(table) == ["sequence", "step", "speed", "heat"]
    assert len(table) == 18
    assert np.allclose(made.guess.features, raw.reshape(-1, 2).std(0), rtol=1e-5)


def test_gaps_are_filled_and_dont_count_as_errors() -> None:
    model = shrinking()
    model.spec = ObservationSpec("real", 1, missing=True)
    data = Sequences([[1.0, np.nan, 3.0]], normalize=False)
    made = zf.reconstruct(model, data)
    assert np.allclose(made.x[0][:, 0], [4 / 4.25, 0, 12 / 4.25])
    assert np.isclose(made.error.total, np.sqrt((0.25**2 + 0.75**2) / 2) / 4.25)


def test_wrong_bits_are_counted() -> None:
    spec = ObservationSpec("binary", 2)
    x = np.array([[1, 0], [1, 1], [0, 1], [1, 1.0]])
    made = zf.reconstruct(small(spec), InMemory([Example(x)]))
    assert made.error_unit == "share of wrong values"
    assert made.error.total == np.mean(made.x[0] != x)
    assert np.allclose(made.guess.features, [1 / 4, 1 / 4])


def test_columns_of_several_kinds_are_off_in_units_of_a_guess() -> None:
    """A column 1, 3, 5: the guess is 3, off by sqrt(8 / 3). One of bits 1, 1, 0: the guess is 1, off by 1 / 3."""
    spec = ObservationSpec("mixed", 2, columns=(RealColumn(), BinaryColumn()))
    truth = [np.array([[1.0, 1], [3, 1]]), np.array([[5.0, 0]])]
    errors = errors_of([np.array([[1.0, 1], [3, 0]]), np.array([[9.0, 0]])], truth, spec)
    assert constant_guess(truth, spec).tolist() == [3, 1]
    assert np.allclose(errors.features, [np.sqrt(16 / 3), 1 / 3])
    assert np.isclose(errors.total, (np.sqrt(16 / 3) / np.sqrt(8 / 3) + 1) / 2)
    assert np.allclose(errors.sequences, [(0 + (1 / 2) / (1 / 3)) / 2, (4 / np.sqrt(8 / 3) + 0) / 2])
    same = errors_of([np.broadcast_to([3.0, 1.0], t.shape) for t in truth], truth, spec)
    assert np.isclose(same.total, 1)


def test_a_missing_first_observation_stays_missing() -> None:
    spec = SPECS["conditioned with gaps"]
    x = observations(spec, 4).numpy()
    observed = np.ones_like(x, dtype=bool)
    observed[0, 0] = observed[2, 1] = False
    made = zf.reconstruct(small(spec), InMemory([Example(x, observed)]))
    assert np.isnan(made.x[0]).sum() == 1
    assert np.isnan(made.x[0][0, 0])
    assert np.isnan(made.drawn.start[0, 0])


def test_draws_follow_the_seed_and_leave_the_callers_generator_alone() -> None:
    model, data = small(), data_of(SPECS["real"])
    state = torch.get_rng_state()
    first, same, other = (zf.reconstruct(model, data, mode="sample", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first.x[0], same.x[0])
    assert not np.array_equal(first.x[0], other.x[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d: zf.reconstruct(Case("rnn", RNN_SIZE).build(SPECS["real"]), d), "model rnn has no latents"),
        (lambda d: zf.reconstruct(vae(), d), "reconstruct needs a model of sequences; binary_vae"),
        (lambda d: zf.reconstruct(small(), d, past="none"), "past is 'none'; it must be own or true"),
        (lambda d: zf.reconstruct(small(), d, mode="best"), "mode is 'best'; it must be mean or sample"),
        (lambda d: zf.reconstruct(small(), np.zeros((2, 3))), "data is a ndarray; it must be Sequences"),
    ],
)
def test_what_cant_be_is_one_line(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        call(data_of(SPECS["real"]))
    assert "\n" not in str(error.value)
