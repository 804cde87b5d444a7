"""Latents of sequences as arrays and tables: those of the Kalman smoother, and of every model, at the data's steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zforcing as zf
from conftest import RNN_SIZE, Case
from latent_models import LATENT, data_of, small
from vae import vae
from zforcing import LinearGaussian, ObservationSpec, Sequences, UserError
from zforcing.observations import collate
from zforcing.tasks.posterior import what_posterior_reads
from zforcing.testing import SPECS


def kalman(lengths: tuple[int, ...] = (6, 4)) -> tuple[LinearGaussian, Sequences]:
    model = LinearGaussian(ObservationSpec("real", 3), latent_size=2, system_seed=1, proposal="smoothing").eval()
    model.backend = "reference"
    rng = np.random.default_rng(0)
    return model, Sequences([2 * rng.standard_normal((n, 3)) for n in lengths], normalize=False)


def test_the_means_of_an_exact_posterior_are_the_kalman_smoothers() -> None:
    model, data = kalman()
    encoded = zf.encode(model, data)
    with torch.no_grad():
        smoothed, _ = model.smooth(collate([data[0], data[1]], model.spec))
    for i, mean in enumerate(encoded.means):
        assert np.allclose(mean, smoothed[i, : len(mean)], atol=1e-5)
    assert encoded.reads == "future"
    assert "sees the future" in repr(encoded)


def test_samples_of_an_exact_posterior_have_the_kalman_smoothers_moments() -> None:
    model, data = kalman((5,))
    S = 4000
    (z,) = zf.encode(model, data, num_samples=S).samples
    with torch.no_grad():
        mean, covariance = model.smooth(collate([data[0]], model.spec))
    variance = covariance[0].diagonal(dim1=-2, dim2=-1).numpy()
    assert z.shape == (S, 5, 2)
    assert (np.abs(z.mean(0) - mean[0].numpy()) < 5 * np.sqrt(variance / S)).all()
    assert (np.abs(z.var(0) - variance) < 5 * variance * np.sqrt(2 / S)).all()  # Var[s^2] = 2 v^2 / S


def test_the_kl_of_a_step_is_that_of_gaussians() -> None:
    """Z = D = 1, A = 0: q(z | x) = N(V x / r^2, V), 1 / V = 1 / q^2 + 1 / r^2."""
    model = LinearGaussian(ObservationSpec("real", 1), latent_size=1)
    with torch.no_grad():
        model.A.zero_()
        model.C.fill_(1.0)
        model.log_q.fill_(np.log(2.0))
    x = np.array([0.5, -3.0, 1.0])
    encoded = zf.encode(model, Sequences([x], normalize=False))
    V = 1 / (1 / 4 + 1)
    assert np.allclose(encoded.means[0][:, 0], V * x)
    assert np.allclose(encoded.stds[0], np.sqrt(V))
    assert np.allclose(encoded.kl[0], 0.5 * (V / 4 + (V * x) ** 2 / 4 - 1 - np.log(V / 4)))


@pytest.mark.parametrize(
    ("case", "reads"),
    [
        (Case("zforcing", {"hidden_size": 5, "embedding_size": 3, "latent_size": 2, "mlp_size": 4}), "future"),
        (Case("vrnn", {"hidden_size": 5, "feature_size": 8, "latent_size": 2, "mlp_size": 8}), "present"),
        (Case("srnn", {"hidden_size": 5, "embedding_size": 3, "latent_size": 2, "mlp_size": 4}), "future"),
        (
            Case("srnn", {"hidden_size": 5, "embedding_size": 3, "mlp_size": 9, "posterior": "filtering"}),
            "present",
        ),
        *(
            (Case("linear_gaussian", {"proposal": name}), reads)
            for name, reads in (
                ("smoothing", "future"),
                ("filtering", "present"),
                ("learned", "present"),
                ("prior", "past"),
            )
        ),
    ],
    ids=str,
)
def test_what_a_posterior_reads_is_tried(case: Case, reads: str) -> None:
    model, state = case.build(SPECS["real"]), torch.get_rng_state()
    assert what_posterior_reads(model) == reads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.pairs(case=LATENT)
def test_each_model_gives_a_latent_to_each_scored_step(case: Case, spec: ObservationSpec) -> None:
    model = case.build(spec)
    model.backend = "reference"
    encoded = zf.encode(model, data_of(spec), num_samples=2)
    assert [len(m) for m in encoded.means] == [n - spec.unscored_steps for n in (5, 3, 4)]
    assert encoded.first_step == spec.unscored_steps
    for mean, std, kl, samples in zip(encoded.means, encoded.stds, encoded.kl, encoded.samples, strict=True):
        assert mean.shape == std.shape == samples.shape[1:] == (len(kl), model.latent_size)
        assert np.isfinite(mean).all()
        assert (std > 0).all()
        assert (kl >= 0).all()


def test_latents_of_a_sequence_dont_depend_on_the_others_nor_on_batches() -> None:
    model, data = small(), data_of(SPECS["real"])
    whole, alone = (zf.encode(model, data, num_samples=3, seed=1, max_rows=rows) for rows in (None, 1))
    for a, b in zip(whole.samples, alone.samples, strict=True):
        assert np.allclose(a, b)
    other = zf.encode(model, data, num_samples=3, seed=2)
    assert not np.allclose(other.samples[0], whole.samples[0])
    assert np.allclose(other.means[0], whole.means[0])
    assert not np.allclose(whole.samples[0][:, :3] - whole.means[0][:3], whole.samples[1] - whole.means[1])


def test_latents_are_a_table_with_the_datas_ids_and_steps(tmp_path: Path) -> None:
    frame = pd.DataFrame({"machine": ["b"] * 4 + ["a"] * 3, "speed": range(7), "heat": range(7, 14)})
    data = Sequences.from_frame(frame, by="machine", first_observation="conditioned")
    model = Case("vrnn", {"hidden_size": 4, "feature_size": 4, "mlp_size": 4, "latent_size": 2}).build(
        data.description.spec
    )
    encoded = zf.encode(model, data, num_samples=2)
    table = encoded.to_frame()
    assert table["sequence"].tolist() == ["b"] * 3 + ["a"] * 2
    assert table["step"].tolist() == [1, 2, 3, 1, 2]
    assert list(table)[2:] == ["kl", *(f"{n}_z{d}" for n in ("mean", "std", "sample0", "sample1") for d in (0, 1))]
    assert np.allclose(table[["mean_z0", "mean_z1"]], np.concatenate(encoded.means))
    written = pd.read_csv(encoded.save(tmp_path / "z.csv"))
    pd.testing.assert_frame_equal(written, table.astype(written.dtypes), check_exact=False)
    with np.load(encoded.save(tmp_path / "z.npz")) as arrays:
        assert arrays["samples"].shape == (2, 5, 2)
        assert np.array_equal(arrays["mean"], np.concatenate(encoded.means))


def test_a_collapsed_posterior_is_said_to_be_so() -> None:
    model = Case("linear_gaussian", {"proposal": "prior"}).build(SPECS["real"])
    encoded = zf.encode(model, data_of(SPECS["real"]))
    assert encoded.collapsed
    assert "the latents carry nothing" in repr(encoded)
    assert "doesn't see x_t" in encoded.kind


def _nan_model() -> Any:
    model = small()
    with torch.no_grad():
        next(model.posterior_net.parameters()).fill_(np.nan)
    return model


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda d: zf.encode(Case("rnn", RNN_SIZE).build(SPECS["real"]), d),
            "model rnn has no latents: use a run",
        ),
        (lambda d: zf.encode(vae(), d), "encode needs a model of sequences; binary_vae has no time steps"),
        (lambda d: zf.encode(small(), d, num_samples=-1), "num_samples is -1"),
        (lambda d: zf.encode(small(), [1.0]), "data is a list; it must be Sequences"),
        (lambda d: zf.encode(small(), d).save("z.txt"), "written to .csv or .npz"),
        (lambda d: zf.encode(small(), d).save("no/where/z.csv"), "there is no folder"),
        (lambda d: zf.encode(_nan_model(), d), "latents of sequence 0 are not finite at step 0"),
    ],
)
def test_what_cant_be_is_one_line(call: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as error:
        call(data_of(SPECS["real"]))
    assert "\n" not in str(error.value)
