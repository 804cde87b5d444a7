"""`zforcing train` with several seeds, and in the place of a run that is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import zforcing
from conftest import Command, metrics_of
from zforcing.cli import main, train_runs
from zforcing.training.loop import Diverged
from zforcing.training.runs.run import Interrupted

TINY = ["--model.hidden_size", "2", "--model.embedding_size", "2", "--training.max_steps", "1", "--device", "cpu"]
TINY += ["--training.backend", "reference", "--data.steps", "3"]
TINY += ["--data.train", "8", "--data.valid", "4", "--data.test", "4"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs x-seed0 and x-seed3."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", "markov-rnn", "--run-dir", str(folder / "x"), "--seeds", "0,3", *TINY]) == 0
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def seeds(*words: object, folder: Path) -> list[object]:
    return ["train", "markov-rnn", "--run-dir", folder / "x", *words, *TINY]


def test_each_seed_is_the_run_that_it_is_alone(trained: Path, tmp_path: Path, zf: Command) -> None:
    assert sorted(path.name for path in trained.iterdir()) == ["x-seed0", "x-seed3"]
    assert zf(*seeds("--seed", 3, folder=tmp_path)).code == 0
    assert metrics_of(trained / "x-seed3") == metrics_of(tmp_path / "x")


def test_finished_seeds_stay_and_others_are_trained(runs: Path, zf: Command) -> None:
    result = zf(*seeds("--seeds", "0, 3,4", "--resume", "--json", folder=runs))
    assert [Path(one["run"]).name for one in result.json["runs"]] == ["x-seed0", "x-seed3", "x-seed4"]
    assert result.err.count("finished already") == 2


def test_seeds_end_with_a_table_and_what_is_next(runs: Path, zf: Command) -> None:
    out = zf(*seeds("--seeds", "0,3", "--resume", folder=runs)).out
    assert "mean ± sd over seeds" in out
    assert out.count("exact") == 2
    assert f"zforcing table {runs / 'x-seed0'} {runs / 'x-seed3'}" in out


def test_no_seed_is_trained_where_one_of_them_cannot_be(runs: Path, zf: Command) -> None:
    assert "x-seed3 exists already" in zf(*seeds("--seeds", "5,3", folder=runs)).mistake
    assert not (runs / "x-seed5").exists()


def test_seeds_that_were_stopped_go_on_by_the_command_that_is_told(
    tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(train_runs, "run_training", stop)
    result = zf(*seeds("--seeds", "0,1", folder=tmp_path))
    assert result.code == 130
    assert f"zforcing train markov-rnn --run-dir {tmp_path / 'x'} --seeds 0,1" in result.err
    assert result.err.endswith("--resume\n")


def test_a_seed_that_diverges_is_told_and_the_others_are_trained(
    tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = train_runs.run_training

    def one_diverges(config: Any, folder: Path, **how: Any) -> Any:
        if config.seed == 0:
            raise Diverged("too many")
        return real(config, folder, **how)

    monkeypatch.setattr(train_runs, "run_training", one_diverges)
    result = zf(*seeds("--seeds", "0,1", "--json", folder=tmp_path))
    assert result.code == 1
    assert [one["finished"] for one in result.json["runs"]] == ["diverged", "max_steps 1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0-2"], "--seeds is '0-2'; it must be whole numbers with commas"),
        (["--seeds", "1" * 5000], "it must be whole numbers with commas"),
        (["--seeds", "1,1"], "it has one twice"),
        (["--seeds", "0,1", "--seed", "2"], "--seed is of one run and --seeds of several"),
        (["--seeds", "0,1", "--resume", "--overwrite"], "leave one of them out"),
        (["--resume", "--overwrite"], "leave one of them out"),
        (["--seeds", str(2**63)], "seed is 9223372036854775808; it must be"),
    ],
)
def test_wrong_seeds_are_named(words: list[str], said: str, tmp_path: Path, zf: Command) -> None:
    assert said in zf(*seeds(*words, folder=tmp_path)).mistake


# ---- --overwrite


def overwrite(run: Path, *words: object) -> list[object]:
    return ["train", "markov-rnn", "--run-dir", run, "--overwrite", *TINY, *words]


def test_a_run_is_overwritten_by_one_that_is_as_if_nothing_had_been(runs: Path, zf: Command) -> None:
    run = runs / "x-seed0"
    (run / "evaluation-test-elbo.json").write_text("{}")
    assert zf(*overwrite(run, "--seed", 3)).code == 0
    assert not (run / "evaluation-test-elbo.json").exists()
    assert metrics_of(run) == metrics_of(runs / "x-seed3")
    assert zforcing.load(run).label


def test_overwrite_trains_where_nothing_is(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "empty").mkdir()
    assert zf(*overwrite(tmp_path / "empty")).code == 0


def test_a_run_stays_where_its_successor_cannot_start(runs: Path, zf: Command) -> None:
    words = ["train", "arrays-rnn", "--data.path", runs / "none.npz", "--run-dir", runs / "x-seed0", "--overwrite"]
    assert "none.npz" in zf(*words).mistake
    assert zforcing.load(runs / "x-seed0").label


def folder_of_notes(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


def folder_with_another_config(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": 1, "trainer": 2}))
    (folder / "environment.json").write_text("{}")


def run_with_notes(folder: Path) -> None:
    shutil.copytree(folder.parent / "x-seed0", folder)
    (folder / "notes.txt").write_text("mine")


def link_to_a_run(folder: Path) -> None:
    folder.symlink_to(folder.parent / "x-seed0")


def file_of_notes(folder: Path) -> None:
    folder.write_text("mine")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (folder_of_notes, "is no run's folder"),
        (folder_with_another_config, "is no run's folder"),
        (run_with_notes, "holds notes.txt too, which no run writes"),
        (link_to_a_run, "is a link"),
        (file_of_notes, "is a file"),
    ],
)
def test_nothing_but_a_run_is_thrown_away(make: Any, said: str, runs: Path, zf: Command) -> None:
    make(runs / "kept")
    before = sorted(runs.rglob("*"))
    assert said in zf(*overwrite(runs / "kept")).mistake
    assert sorted(runs.rglob("*")) == before


def test_the_folder_that_one_is_in_is_not_thrown_away(runs: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs / "x-seed0" / "checkpoints")
    assert "the folder that you are in" in zf(*overwrite(Path(".."))).mistake
