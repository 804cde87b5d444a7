"""Relative paths of data belong to a run's place: a project's folder may move, and old runs are read as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from conftest import Command

SMALL = ["--model.hidden_size", 2, "--training.max_steps", 1, "--training.backend", "reference"]
OTHERS = ["--data.valid_path", "data/valid.npz"]


@pytest.fixture
def project(tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """here/: data/, and runs/mine trained on it by relative paths."""
    torch.set_default_dtype(torch.float32)
    draw, folder = np.random.default_rng(0), tmp_path / "here"
    (folder / "data").mkdir(parents=True)
    for name in ("mine", "valid"):
        np.savez(folder / "data" / f"{name}.npz", x=draw.normal(size=(8, 3, 1)))
    monkeypatch.chdir(folder)
    words = ["train", "arrays-rnn", "--data.path", "data/mine.npz", *OTHERS, "--run-dir", "runs/mine", *SMALL]
    assert zf(*words).code == 0
    return folder


def config_of(run: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((run / "config.yaml").read_text())
    return found


def measured(zf: Command, run: object) -> float:
    value: float = zf("evaluate", run, "--no-baselines", "--json").json["nats_per_sequence"]
    return value


def test_a_run_says_where_its_relative_paths_start(project: Path) -> None:
    config = config_of(project / "runs" / "mine")
    assert config["paths_from"] == "../.."
    assert config["data"]["path"] == "data/mine.npz"  # type: ignore[index]  # a section


def test_absolute_paths_and_data_without_files_need_no_start(project: Path, zf: Command) -> None:
    words = ["--data.path", project / "data" / "mine.npz", *SMALL]
    assert zf("train", "arrays-rnn", *words, "--run-dir", "runs/absolute").code == 0
    assert "paths_from" not in config_of(project / "runs" / "absolute")


def test_a_moved_project_works_from_anywhere(project: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = measured(zf, "mine")
    there = project.parent / "there"
    monkeypatch.chdir(project.parent)
    assert measured(zf, "here/runs/mine") == before
    shutil.move(project, there)
    assert measured(zf, "there/runs/mine") == before
    assert measured(zf, there / "runs" / "mine") == before
    monkeypatch.chdir(there)
    assert measured(zf, "mine") == before


def test_a_run_that_was_moved_alone_finds_data_where_the_command_runs(project: Path, zf: Command) -> None:
    before = measured(zf, "mine")
    (project / "deeper" / "still").mkdir(parents=True)
    shutil.move(project / "runs" / "mine", project / "deeper" / "still" / "alone")
    assert measured(zf, "deeper/still/alone") == before


def test_an_old_run_is_read_from_where_the_command_runs(
    project: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "runs" / "mine" / "config.yaml"
    config = config_of(project / "runs" / "mine")
    del config["paths_from"]
    file.write_text(yaml.safe_dump(config))
    before = measured(zf, "mine")
    monkeypatch.chdir(project.parent)
    assert "data.path data/mine.npz: no such file" in zf("evaluate", "here/runs/mine").mistake
    monkeypatch.chdir(project)
    assert measured(zf, "mine") == before


@pytest.mark.parametrize("moves", [False, True])
def test_a_run_goes_on_from_another_folder(
    moves: bool, project: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    folder = "there" if moves else "here"
    if moves:
        shutil.move(project, "there")
    longer = ["--training.max_steps", 2, "--resume", "--run-dir", f"{folder}/runs/mine"]
    result = zf("train", f"{folder}/runs/mine/config.yaml", *longer, "--json")
    assert (result.json["updates"], result.code) == (2, 0)
    config = config_of(Path(folder, "runs", "mine"))
    assert config["paths_from"] == "../../.."
    assert config["data"]["path"] == f"{folder}/data/mine.npz"  # type: ignore[index]  # a section
    monkeypatch.chdir(folder)
    again = [*OTHERS, *SMALL[:2], *SMALL[4:], "--training.max_steps", 2, "--resume", "--run-dir", "runs/mine"]
    same = zf("train", "arrays-rnn", "--data.path", "./data/mine.npz", *again)
    assert same.code == 0, same.err
    other = zf("train", "arrays-rnn", "--data.path", "data/valid.npz", *again)
    assert "was started with other settings: data.path was" in other.mistake


def test_a_recipe_may_say_where_its_data_is(project: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"base": "arrays-rnn", "paths_from": ".", "data": {"path": "data/mine.npz"}}
    (project / "mine.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(project.parent)
    printed = zf("train", "here/mine.yaml", "--print-config", "--json").json
    assert printed["data"]["path"] == "here/data/mine.npz"
    (project / "mine.yaml").write_text(yaml.safe_dump(recipe | {"paths_from": 3}))
    assert "paths_from is 3; it must be a folder" in zf("train", "here/mine.yaml", "--print-config").mistake
