"""Paths as people write them: in their home folder, at addresses, and pipes in place of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import zforcing
from conftest import Command
from zforcing import UserError
from zforcing.data.arrays.arrays import Arrays
from zforcing.data.arrays.table import Table
from zforcing.data.images.mnist import Mnist
from zforcing.data.music.polyphonic_music import PolyphonicMusic
from zforcing.data.text.reviews import Reviews
from zforcing.data.text.text import Text
from zforcing.evaluation.saved import read_evaluation, read_mapping
from zforcing.files.paths import user_path
from zforcing.registry import import_source
from zforcing.saving.atomic import parse_json, read_json
from zforcing.training.runs.recipes import read_recipe

SMALL = ("digits-rnn", "--training.max_steps", "1", "--training.batch_size", "2", "--model.hidden_size", "2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another one that commands run in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_a_home_folder_is_meant_by_its_sign(home: Path, zf: Command) -> None:
    (home / "mine.yaml").write_text("base: digits-rnn\ntraining: {max_steps: 1}\nmodel: {hidden_size: 2}\n")
    (home / "second.yaml").write_text("base: ~/mine.yaml\n")
    result = zf("train", "~/second.yaml", "--run-dir=~/r")
    assert result.code == 0, result.err
    assert zf("sample", "~/r", "--out=~/made", "--num", "1").code == 0
    model = zforcing.load("~/r")
    zforcing.save("~/saved", model)
    assert {path.name for path in home.iterdir()} >= {"r", "made", "saved"}
    assert list(Path().iterdir()) == []


ADDRESSES: dict[str, Callable[[str], object]] = {
    "load": zforcing.load,
    "recipe": read_recipe,
    "data": lambda path: Table(path).describe(),
    "path": lambda path: user_path(path, path),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_is_no_folder_of_this_machine(name: str) -> None:
    with pytest.raises(UserError, match=r"s3://bucket/r\.csv: is an address; only files and folders of this machine"):
        ADDRESSES[name]("s3://bucket/r.csv")


def test_no_run_is_made_for_an_address(home: Path, zf: Command) -> None:
    result = zf("train", *SMALL, "--run-dir", "s3://bucket/r")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--run-dir s3://bucket/r: is an address" in result.err
    assert list(Path().iterdir()) == []


def read_pixels(data: Mnist) -> None:
    data.load("train", data.describe())


PIPES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "recipe": ("a.yaml", lambda path: read_recipe(str(path))),
    "module": ("a.py", lambda path: import_source(str(path))),
    "csv": ("a.csv", lambda path: Table(str(path)).describe()),
    "parquet": ("a.parquet", lambda path: Table(str(path)).describe()),
    "npz": ("a.npz", lambda path: Arrays(str(path)).describe()),
    "npy": ("a.npy", lambda path: Arrays(str(path)).describe()),
    "pickle": ("a.pkl", lambda path: PolyphonicMusic(str(path)).describe()),
    "mat": ("a.mat", lambda path: PolyphonicMusic(str(path)).describe()),
    "text": ("a.txt", lambda path: Text(str(path)).describe()),
    "texts": ("train.txt", lambda path: Text(str(path.parent)).describe()),
    "reviews": ("train/a.txt", lambda path: Reviews(str(path.parent.parent)).describe()),
    "pixels": ("binarized_mnist_train.amat", lambda path: read_pixels(Mnist(str(path.parent)))),
    "checkpoint": ("training.json", read_json),
    "table": ("config.yaml", lambda path: read_mapping(path, parse_json, remedy="")),
    "evaluation": ("evaluation-test-elbo.json", lambda path: read_evaluation(path, remedy="")),
    "run": ("config.json", lambda path: zforcing.load(path.parent)),
}


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    file, read = PIPES[name]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / file)
    with pytest.raises(UserError):
        read(tmp_path / file)
