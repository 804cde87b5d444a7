"""Models of images on the command line: train, evaluate, sample and complete, as a user does."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from conftest import Command
from zforcing import DBN, DLGM, MODELS, NADE, save
from zforcing.data.declared import FixedDescription
from zforcing.data.images.mnist import Mnist
from zforcing.models.images import AutoregressiveModel


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def squares(n: int, seed: int) -> np.ndarray:
    """Images of a white square somewhere."""
    rng, x = np.random.default_rng(seed), np.zeros((n, 28, 28), dtype=np.uint8)
    for image, (i, j) in zip(x, rng.integers(2, 16, (n, 2)), strict=True):
        image[i : i + 9, j : j + 9] = 1
    return x.reshape(n, 784)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("images") / "squares.npz"
    np.savez(file, train=squares(40, 0), valid=squares(10, 1), test=squares(10, 2))
    return file


@pytest.mark.parametrize(
    "name",
    [
        "made",
        "nade",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("pixelcnn", "pixelrnn", "pixelvae", "draw", "matnet")),
    ],
)
def test_the_commands_a_user_runs(name: str, root: Path, tmp_path: Path, zf: Command) -> None:
    run = tmp_path / name
    data = ["--data.root", root, "--data.check_known", "false"]
    size = ["--model.channels", 2] if name in ("pixelcnn", "pixelvae") else ["--model.hidden_size", 4]
    size += ["--model.glimpses", 2] if name == "draw" else []
    size += ["--training.max_steps", 3, "--training.batch_size", 20]
    zf("train", f"mnist-small-{name}", *data, *size, "--run-dir", run)
    found = zf("evaluate", run, "--json").json
    kind = "exact" if MODELS[name].draw is AutoregressiveModel.draw else "lower bound"
    assert (found["kind"], found["num_sequences"], found["num_steps"], found["num_dims"]) == (kind, 10, 10, 7840)
    assert found["baselines"][0]["nats_per_sequence"] == pytest.approx(found["nats_per_sequence"], rel=0.2)
    assert zf("info", run, "--json").json["model"] == name
    drawn = zf("sample", run, "--num", 3, "--json").json
    assert [Path(file).suffix for file in drawn["files"]] == [".npz", ".png"]
    done = zf("continue", run, "test:0,4", "--given", 0.5, "--num", 2, "--json").json
    assert done["prefix_steps"] == [392, 392]
    with np.load(done["files"][0]) as archive:
        assert archive["x"].shape == (4, 392, 1)
        assert set(np.unique(archive["x"])) <= {0, 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "an observation is whole: say by --given how much of it is kept"),
        (["--given", 784], "--given is 784.0; it must keep 1 to 783 of 784 numbers"),
        (["--given", 0.5, "--steps", 3], "model nade has no time steps: leave out --steps"),
        (["--given", 0.5, "--temperature", 0.5], "model nade has no time steps: leave out --temperature"),
    ],
)
def test_a_completion_that_cannot_be_is_refused(words: list[object], said: str, tmp_path: Path, zf: Command) -> None:
    description = Mnist(check_known=False, order="image").describe()
    save(tmp_path, NADE.for_data(FixedDescription(description), hidden_size=2))
    np.savez(tmp_path / "x.npz", x=squares(1, 3))
    found = zf("continue", tmp_path, tmp_path / "x.npz", *words)
    assert (found.code, said in found.err) == (2, True), found.err


def test_a_file_of_beginnings_is_completed(tmp_path: Path, zf: Command) -> None:
    description = Mnist(check_known=False, order="image").describe()
    save(tmp_path, NADE.for_data(FixedDescription(description), hidden_size=2))
    np.save(tmp_path / "x.npy", squares(3, 3)[:, :300])
    done = zf("continue", tmp_path, tmp_path / "x.npy", "--num", 2, "--json").json
    with np.load(done["files"][0]) as archive:
        assert archive["x"].shape == (6, 484, 1)
    assert Path(done["files"][1]).suffix == ".png"
    assert "keep 1 to 300 of 784" in zf("continue", tmp_path, tmp_path / "x.npy", "--given", 0.5).err


@pytest.mark.parametrize(("suffix", "shape"), [("npz", (3, 784)), ("npy", (3, 28, 28)), ("npy", (3, 1, 784))])
def test_a_hole_in_an_image_is_filled_where_it_stands(
    suffix: str, shape: tuple[int, ...], tmp_path: Path, zf: Command
) -> None:
    description = Mnist(check_known=False, order="image").describe()
    save(tmp_path / "vae", DLGM.for_data(FixedDescription(description), hidden_size=2, latent_size=2, leapfrog_steps=0))
    x, seen = squares(3, 3), np.ones((3, 784), dtype=bool)
    seen[1, 100:300:3] = False
    if suffix == "npz":
        np.savez(tmp_path / "x.npz", x=x, observed=seen)
    else:
        np.save(tmp_path / "x.npy", np.where(seen, x, np.nan).reshape(shape))
    done = zf("impute", tmp_path / "vae", tmp_path / f"x.{suffix}", "--particles", 4, "--json").json
    assert done["num_missing"] == (~seen).sum()
    with np.load(done["file"]) as archive:
        filled = archive["x"]
        assert filled.shape == (shape if suffix == "npy" else x.shape)
        assert suffix == "npy" or archive["observed"].all()
    filled = filled.reshape(3, 784)
    assert set(np.unique(filled)) == {0, 1}
    assert np.array_equal(filled[seen], x[seen])


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_beginnings_are_whole_images_once_filled(suffix: str, tmp_path: Path, zf: Command) -> None:
    description = Mnist(check_known=False, order="image").describe()
    save(tmp_path / "nade", NADE.for_data(FixedDescription(description), hidden_size=2))
    np.save(tmp_path / "x.npy", squares(3, 3)[:, :300])
    zf("impute", tmp_path / "nade", tmp_path / "x.npy", "--particles", 2, "--out", tmp_path / f"whole.{suffix}")
    found = np.load(tmp_path / f"whole.{suffix}")
    found = found["x"] if suffix == "npz" else found
    assert found.shape == (3, 784)
    assert np.array_equal(found[:, :300], squares(3, 3)[:, :300])


def test_models_of_any_kind_stand_beside_a_dbn_by_its_own_bound(root: Path, tmp_path: Path, zf: Command) -> None:
    data = ["--data.root", root, "--data.check_known", "false", "--training.max_steps", 2]
    annealing = ["--bound.temperatures", 20, "--bound.validation_temperatures", 20, "--bound.particles", 2]
    small = ["--model.hidden_size", 2, "--model.top_size", 2, "--model.first_layer_batches", 1]
    zf("train", "mnist-small-dbn", *data, *small, *annealing, "--run-dir", tmp_path / "dbn")
    for name in ("nade", "vae"):
        zf("train", f"mnist-small-{name}", *data, "--model.hidden_size", 2, "--run-dir", tmp_path / name)
    kinds = [v[0]["kind"] for v in zf("compare", tmp_path / "dbn", tmp_path / "nade", "--json").json["evaluations"]]
    assert kinds == ["estimate", "exact"]
    asked = ["compare", tmp_path / "dbn", tmp_path / "nade", "--bound"]
    assert "bound ais is of models that know p(x) up to a constant, such as dbn; not nade" in zf(*asked, "ais").mistake
    assert "model dbn knows p(x) up to a constant: take bound ais" in zf(*asked, "elbo").mistake
    assert (
        "different bounds: ais 2, 100 chains, 20 temperatures and elbo 1"
        in zf("compare", tmp_path / "dbn", tmp_path / "vae").mistake
    )
    said = zf("train", "mnist-small-dbn", *data, "--bound.name", "elbo", "--run-dir", tmp_path / "no").mistake
    assert "take bound ais" in said
    assert not (tmp_path / "no").exists()


class Unread:
    """A stream in, from which nothing is to be read."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("a row was read")


def test_a_stream_of_a_model_without_time_is_refused_before_a_row(
    tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = Mnist(check_known=False, order="image").describe()
    save(tmp_path, DBN.for_data(FixedDescription(description), hidden_size=2, top_size=2))
    monkeypatch.setattr("sys.stdin", Unread())
    refused = zf("stream", tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.strip() == "zforcing: a stream needs a model of sequences; dbn has no time steps"


def test_sequences_are_refused_before_anything_is_written(root: Path, tmp_path: Path, zf: Command) -> None:
    data = ["--data.root", root, "--data.check_known", "false", "--data.order", "rows"]
    said = zf("train", "mnist-small-made", *data, "--model.hidden_size", 2, "--run-dir", tmp_path / "run").err
    assert "model made has no time steps, and the training sequences have up to 28" in said
    assert not (tmp_path / "run").exists()
