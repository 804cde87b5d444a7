"""`zforcing table speech`: what is trained, found and left out, and what stands beside the papers' numbers."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from conftest import Command, Result
from test_table import ENVIRONMENT, EVALUATION
from zforcing import Diverged, UserError
from zforcing.cli import main
from zforcing.cli.settings import split_settings
from zforcing.cli.train import recipe_config
from zforcing.evaluation.paper import paper_tables, read_paper_table
from zforcing.evaluation.paper_page import to_page
from zforcing.evaluation.paper_rows import columns_of, paper_rows
from zforcing.evaluation.paper_runs import check_comparable
from zforcing.evaluation.rows import read_rows
from zforcing.saving.atomic import parse_json, with_digest
from zforcing.saving.digests import SUMS
from zforcing.training.runs import run as loop

TINY = ["--data.frame_size", 10, "--model.hidden_size", 4, "--model.embedding_size", 3, "--device", "cpu"]
STEPS = "--training.max_steps"
AUDIO = {
    "model": "rnn",
    "data": "audio-folder",
    "kind": "exact",
    "kl_per_sequence": 0.0,
    "raw_nats_per_sequence": -1000.0,
    "normalization_std": 2000.0,
    "nats_per_half_second": -40.0,
    "raw_nats_per_half_second": -4000.0,
    "first_observation": "conditioned",
    "sample_rate": 8000,
}


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def recordings(root: Path, *, files: int = 12, shift: int = 0) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for n in range(files):
        wave = 3000 * np.sin(np.arange(100 + 10 * n + shift) / 5 + n)
        soundfile.write(root / f"{n}.wav", wave.astype(np.int16), 8000)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one row, of two seeds, and their table: to be copied, not changed."""
    torch.set_default_dtype(torch.float32)
    runs = tmp_path_factory.mktemp("trained") / "runs"
    words = ["table", "speech", "--rows", "rnn-gauss", "--seeds", "0,1", "--runs", runs, "--data.root", folder, *TINY]
    assert main([str(word) for word in [*words, STEPS, 2]]) == 0
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def speech(zf: Command, runs: Path, folder: Path, *words: object, steps: int = 2) -> Result:
    return zf("table", "speech", "--runs", runs, "--data.root", folder, *TINY, STEPS, steps, *words)


def states(runs: Path) -> dict[str, tuple[int, int]]:
    """When each file of the runs was written last, and its number on the disk: a file that was replaced has another."""
    files = [f for run in runs.glob("speech-*") for f in run.rglob("*") if f.is_file()]
    return {str(f.relative_to(runs)): (f.stat().st_mtime_ns, f.stat().st_ino) for f in files}


def run_names(result: Result) -> list[str]:
    return [run["run"] for row in result.json["rows"] for run in row["runs"]]


def updates(result: Result) -> list[int]:
    return [run["updates"] for row in result.json["rows"] for run in row["runs"]]


# ---- what is trained


def test_rows_and_seeds_that_arent_there_are_trained_and_evaluated(trained: Path) -> None:
    assert sorted(run.name for run in trained.iterdir() if run.is_dir()) == [
        "speech-small-rnn-gauss-seed0",
        "speech-small-rnn-gauss-seed1",
    ]
    for seed in (0, 1):
        run = trained / f"speech-small-rnn-gauss-seed{seed}"
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert (config["seed"], config["recipe"]) == (seed, "speech-small-rnn-gauss")
        assert (run / "evaluation-test-elbo.json").is_file()


def test_the_second_call_trains_and_evaluates_nothing(runs: Path, folder: Path, zf: Command) -> None:
    before = states(runs)
    result = speech(zf, runs, folder, "--rows", "rnn-gauss", "--seeds", "0,1", "--json")
    assert result.code == 0
    assert states(runs) == before
    assert "evaluating" not in result.err


def test_a_row_more_trains_that_row_alone(runs: Path, folder: Path, zf: Command) -> None:
    before = states(runs)
    result = speech(zf, runs, folder, "--rows", "rnn-gauss, rnn-gmm", "--model.min_std", 0.01, "--json")
    assert result.code == 0, result.err
    assert {name: state for name, state in states(runs).items() if name in before} == before
    assert run_names(result)[2:] == ["speech-small-rnn-gmm-seed0"]


def test_a_seed_named_twice_is_trained_once(tmp_path: Path, folder: Path, zf: Command) -> None:
    result = speech(zf, tmp_path / "r", folder, "--rows", "rnn-gauss,rnn-gauss", "--seeds", "3,3,03", "--json", steps=1)
    assert result.code == 0, result.err
    assert run_names(result) == ["speech-small-rnn-gauss-seed3"]


def test_an_extended_run_goes_on_and_is_evaluated_again(runs: Path, folder: Path, zf: Command) -> None:
    def numbers() -> list[float]:
        files = sorted(runs.glob("*/evaluation-test-elbo.json"))
        return [json.loads(file.read_text())["nats_per_sequence"] for file in files]

    before = numbers()
    result = speech(zf, runs, folder, "--rows", "rnn-gauss", "--seeds", "0,1", "--json", steps=5)
    assert result.code == 0
    assert updates(result) == [5, 5]
    assert result.err.count("evaluating") == 2
    assert all(new != old for new, old in zip(numbers(), before, strict=True))


def test_a_stopped_run_goes_on(runs: Path, folder: Path, zf: Command) -> None:
    unfinish(runs / "speech-small-rnn-gauss-seed1")
    result = speech(zf, runs, folder, "--rows", "rnn-gauss", "--seeds", "0,1", "--json", steps=3)
    assert result.code == 0
    assert "speech-small-rnn-gauss-seed1: going on" in result.err
    assert json.loads((last(runs / "speech-small-rnn-gauss-seed1") / "training.json").read_text())["step"] == 3


def last(run: Path) -> Path:
    return run / "checkpoints" / "last"


def unfinish(run: Path) -> None:
    """As if it had been stopped."""
    path = last(run) / "training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": ""}))
    (path.parent / SUMS).unlink()


def test_ctrl_c_is_one_line_that_says_how_to_go_on(
    tmp_path: Path, folder: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise loop.Interrupted

    monkeypatch.setattr(loop, "train", stopped)
    result = speech(zf, tmp_path / "r", folder, "--rows", "rnn-gauss")
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == "stopped; the same command goes on"


def test_a_run_that_diverges_is_named_and_the_others_are_trained(
    tmp_path: Path, folder: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = loop.train

    def first_diverges(config: Any, run: Path, **more: Any) -> Any:
        if config.seed == 0:
            raise Diverged("the loss is not finite")
        return train(config, run, **more)

    monkeypatch.setattr(loop, "train", first_diverges)
    result = speech(zf, tmp_path / "r", folder, "--rows", "rnn-gauss", "--seeds", "0,1", "--json", steps=1)
    assert result.code == 1
    assert "zforcing: the loss is not finite" in result.err
    assert run_names(result) == ["speech-small-rnn-gauss-seed1"]


def test_a_run_without_any_finite_validation_is_left_out(runs: Path, zf: Command) -> None:
    shutil.rmtree(runs / "speech-small-rnn-gauss-seed0" / "checkpoints" / "best")
    result = zf("table", "speech", "--runs", runs, "--find", "--json")
    assert run_names(result) == ["speech-small-rnn-gauss-seed1"]
    assert "left out: speech-small-rnn-gauss-seed0" in result.err


# ---- what is found


def test_a_run_is_no_folder_of_runs(runs: Path, zf: Command) -> None:
    for words in ((), ("--find",)):
        mistake = zf("table", "speech", "--runs", runs / "speech-small-rnn-gauss-seed0", *words).mistake
        assert "is a run itself; name the folder that holds the table's runs" in mistake


def test_unfinished_runs_are_named_and_left_out(runs: Path, zf: Command) -> None:
    unfinish(runs / "speech-small-rnn-gauss-seed1")
    for words in ([], ["--json"]):
        result = zf("table", "speech", "--runs", runs, "--find", *words)
        assert result.code == 0
        assert result.err.splitlines()[-1] == "not finished, and left out: speech-small-rnn-gauss-seed1"
    assert run_names(result) == ["speech-small-rnn-gauss-seed0"]


def test_a_run_that_isnt_evaluated_yet_is(runs: Path, zf: Command) -> None:
    (runs / "speech-small-rnn-gauss-seed1" / "evaluation-test-elbo.json").unlink()
    result = zf("table", "speech", "--runs", runs, "--find", "--json", "--device", "cpu")
    assert len(run_names(result)) == 2
    assert result.err.count("evaluating") == 1


def test_an_evaluation_of_other_weights_is_taken_again(runs: Path, zf: Command) -> None:
    path = runs / "speech-small-rnn-gauss-seed1" / "evaluation-test-elbo.json"
    right = json.loads(path.read_text())["nats_per_sequence"]
    path.write_text(with_digest(parse_json(path.read_text()) | {"nats_per_sequence": 1e6, "weights": "0" * 64}))
    found = zf("table", "speech", "--runs", runs, "--find", "--json", "--device", "cpu").json["rows"][0]["runs"]
    assert found[1]["nats_per_sequence"] == right


def test_folders_beside_the_runs_are_left_alone(runs: Path, zf: Command) -> None:
    shutil.copytree(runs / "speech-small-rnn-gauss-seed0", runs / "speech-small-rnn-gauss-seed0-old")
    (runs / "speech-small-rnn-gauss-seed9").write_text("no run\n")
    names = run_names(zf("table", "speech", "--runs", runs, "--find", "--json"))
    assert names == ["speech-small-rnn-gauss-seed0", "speech-small-rnn-gauss-seed1"]


def test_seeds_stand_in_the_order_of_their_numbers(tmp_path: Path, zf: Command) -> None:
    for seed in (10, 9, 0):
        plant(tmp_path, "rnn-gauss", seed)
    names = run_names(zf("table", "speech", "--runs", tmp_path, "--find", "--json"))
    assert names == [f"speech-small-rnn-gauss-seed{seed}" for seed in (0, 9, 10)]


# ---- pages of other machines


def test_runs_of_a_page_stand_beside_those_that_are_there(runs: Path, tmp_path: Path, zf: Command) -> None:
    whole = zf("table", "speech", "--runs", runs, "--find", "--json", "--device", "cpu").json
    page = tmp_path / "elsewhere"
    zf("table", "speech", "--runs", runs, "--find", "--out", page, "--device", "cpu")
    shutil.rmtree(runs / "speech-small-rnn-gauss-seed0")
    words = ["table", "speech", "--find", "--pages", f"{page}.json", "--json", "--device", "cpu"]
    joined = zf(*words, "--runs", runs).json
    assert joined == whole
    assert [len(run["curve"]) >= 2 for run in joined["rows"][0]["runs"]] == [True, True]
    assert run_names(zf(*words, "--runs", runs, "--seeds", "0")) == ["speech-small-rnn-gauss-seed0"]
    assert run_names(zf(*words, "--runs", runs, "--rows", "rnn-gmm")) == []
    alone = zf(*words, "--runs", tmp_path / "nowhere", "--out", page)  # the page in its own place
    assert alone.json == whole


def test_what_a_page_has_is_not_trained_again(runs: Path, folder: Path, tmp_path: Path, zf: Command) -> None:
    zf("table", "speech", "--runs", runs, "--find", "--out", tmp_path / "page", "--device", "cpu")
    shutil.rmtree(runs / "speech-small-rnn-gauss-seed0")
    words = ["--rows", "rnn-gauss", "--seeds", "0,1", "--pages", f"{tmp_path}/page.json", "--json"]
    assert len(run_names(speech(zf, runs, folder, *words, steps=2))) == 2
    assert not (runs / "speech-small-rnn-gauss-seed0").exists()
    said = speech(
        zf, tmp_path / "none", folder, "--rows", "rnn-gauss", "--pages", tmp_path / "pag.json", steps=2
    ).mistake
    assert "pag.json is missing" in said
    assert not (tmp_path / "none").exists()


def test_a_page_has_learning_curves(runs: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "page"
    written = zf("table", "speech", "--runs", runs, "--find", "--curves", "--out", out, "--device", "cpu").out
    assert written.splitlines()[-3:] == [f"{out}.md", f"{out}.json", f"{out}.png"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "(page.png)" in out.with_suffix(".md").read_text()
    words = ["table", "speech", "--runs", tmp_path, "--find", "--curves", "--out", tmp_path / "empty"]
    assert "no curves were drawn" in zf(*words).err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "music"}, "is no page of table speech --size speech-small"),
        ({"rows": [{"runs": [{}]}]}, "is damaged or of an older zforcing (it has no valid run, recipe"),
        ({"rows": None}, "is damaged or of an older zforcing"),
        ({"rows": [{"runs": 2 * ["RUN"], "other_bounds": {}}]}, "seed0, which it or another page has too"),
        ({"rows": [{"runs": ["OF ANOTHER RECIPE"], "other_bounds": {}}]}, "whose recipe is none of this table"),
        ({"rows": [{"runs": ["OF NO NATS"], "other_bounds": {}}]}, "its curve has nats that aren't finite"),
    ],
)
def test_a_page_that_is_none_is_refused(
    change: dict[str, Any], said: str, runs: Path, tmp_path: Path, zf: Command
) -> None:
    run = zf("table", "speech", "--runs", runs, "--find", "--json", "--device", "cpu").json["rows"][0]["runs"][0]
    wild = [one | {"nats_per_sequence": "nan"} for one in run["curve"]]
    planted = {"RUN": run, "OF ANOTHER RECIPE": run | {"recipe": "digits-rnn"}, "OF NO NATS": run | {"curve": wild}}
    for row in change.get("rows") or []:
        row["runs"] = [planted.get(name, name) if isinstance(name, str) else name for name in row["runs"]]
    page = tmp_path / "page.json"
    page.write_text(json.dumps({"table": "speech", "size": "speech-small", "rows": []} | change))
    assert said in zf("table", "speech", "--runs", runs, "--find", "--pages", page, "--device", "cpu").mistake


def test_a_page_of_other_sequences_is_refused(runs: Path, tmp_path: Path, zf: Command) -> None:
    page = tmp_path / "page"
    zf("table", "speech", "--runs", runs, "--find", "--out", page, "--device", "cpu")
    text = page.with_suffix(".json").read_text().replace('"num_steps": ', '"num_steps": 1')
    page.with_suffix(".json").write_text(text.replace("-seed", "-seed1"))
    words = ["table", "speech", "--runs", runs, "--find", "--device", "cpu"]
    assert "can't stand in one table: num_steps" in zf(*words, "--pages", f"{page}.json").mistake


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "rnn-gaus"], "--rows is 'rnn-gaus'; it is one of rnn-gauss, rnn-gmm"),
        (["--rows", ""], "--rows is ''"),
        (["--rows", "all,rnn-gauss"], "--rows is 'all'"),
        (["--seeds", "0,x"], "--seeds is '0,x'; it must be whole numbers"),
        (["--seeds", ""], "--seeds is ''"),
        (["--seeds", "-1"], "seeds"),
        (["--size", "timi"], "--size is 'timi'; it is one of speech-small, timit, blizzard"),
        (["--find", "--data.root", "x"], "--find trains nothing, so that --data.root has no use"),
        (["--find", "--skip-unreadable"], "--find trains nothing, so that --skip-unreadable has no use"),
        (["--out", "."], "--out is '.'; it must end with the name of the files"),
        (["--out", "/"], "--out is '/'"),
        (["--rows", "rnn-gauss", "--data.rot", "x"], "unknown setting data.rot (did you mean --data.root?)"),
        (["--rows", "rnn-gauss"], "data.root is empty; name the folder of the recordings"),
        (["--rows", "rnn-gauss", "--device", "tpu"], "device is 'tpu'"),
        (["speech-small-rnn-gauss-seed0"], "unrecognized arguments: speech-small-rnn-gauss-seed0"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], said: str, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in zf("table", "speech", *words).mistake
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "rnn-gauss,vrnn-gauss", "--model.embedding_size", 3], "unknown setting model.embedding_size"),
        (["--rows", "rnn-gauss", "--seeds", "0,99999999999999999999"], "seed is 99999999999999999999"),
    ],
)
def test_a_mistake_in_the_last_run_is_found_before_the_first_is_trained(
    words: list[object], said: str, tmp_path: Path, folder: Path, zf: Command
) -> None:
    result = zf("table", "speech", "--runs", tmp_path / "r", "--data.root", folder, STEPS, 1, *words)
    assert said in result.mistake
    assert not (tmp_path / "r").exists()


def test_a_run_of_other_settings_isnt_gone_on_with(runs: Path, folder: Path, zf: Command) -> None:
    before = states(runs)
    said = speech(zf, runs, folder, "--rows", "rnn-gmm,rnn-gauss", "--training.learning_rate", 0.5).mistake
    assert "seed0 was started with other settings: training.learning_rate was 0.003, is 0.5" in said
    assert "--find" in said
    assert "--resume" not in said
    assert states(runs) == before


def test_a_folder_that_holds_no_run_is_left_alone(tmp_path: Path, folder: Path, zf: Command) -> None:
    there = tmp_path / "r" / "speech-small-rnn-gauss-seed0"
    there.mkdir(parents=True)
    (there / "notes.txt").touch()
    said = speech(zf, tmp_path / "r", folder, "--rows", "rnn-gauss").mistake
    assert "speech-small-rnn-gauss-seed0 exists already and holds no run" in said


def test_runs_on_different_recordings_are_refused_with_the_reason(runs: Path, tmp_path: Path, zf: Command) -> None:
    other = recordings(tmp_path / "other", files=12, shift=40)
    before = states(runs)
    result = speech(zf, runs, other, "--rows", "rnn-gmm", "--json")
    assert re.search(r"runs of one table can't differ in data\.root \S+other and \S+", result.mistake)
    assert states(runs) == before  # nothing was trained for nothing


def test_seeds_of_other_settings_are_refused(runs: Path, folder: Path, zf: Command) -> None:
    said = speech(zf, runs, folder, "--rows", "rnn-gauss", "--seeds", "2", "--training.learning_rate", 0.1).mistake
    assert "can't differ in training.learning_rate 0.1 and 0.003 (speech-small-rnn-gauss)" in said


def test_a_bad_evaluation_names_its_run(runs: Path, zf: Command) -> None:
    run = runs / "speech-small-rnn-gauss-seed1"
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["root"] = str(runs / "gone")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "evaluation-test-elbo.json").unlink()
    said = zf("table", "speech", "--runs", runs, "--find", "--device", "cpu").mistake
    assert f"{run}: data.root {runs / 'gone'}: no such file or directory" in said


# ---- words


def test_words_with_dots_are_settings_and_the_others_the_commands() -> None:
    own, settings = split_settings(
        [
            "--rows",
            "a,b",
            "--data.root",
            "x",
            "--json",
            "--skip-unreadable",
            "--threads=2",
            "--weights.kl",
            "-1",
            "--find",
        ]
    )
    assert own == ["--rows", "a,b", "--json", "--find"]
    assert settings == ["--data.root", "x", "--skip-unreadable", "--threads=2", "--weights.kl", "-1"]


def test_help_says_what_there_is(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["table", "speech", "--help"])
    assert caught.value.code == 0
    text = " ".join(capfd.readouterr().out.split())
    assert "zforcing table speech" in text
    assert "rnn-gauss, rnn-gmm" in text


# ---- what is written


def plant(
    folder: Path,
    row: str,
    seed: int,
    *,
    size: str = "speech-small",
    max_minutes: float | None = 10.0,
    cpu_seconds: float = 0.0,
    data: dict[str, Any] | None = None,
    bounds: tuple[tuple[str, dict[str, Any]], ...] = (("elbo", {}),),
    **changes: Any,
) -> Path:
    """A run, as far as a table reads it. data: its settings and what its evaluations say of it; none: of audio."""
    run = folder / f"{size}-{row}-seed{seed}"
    for which in ("last", "best"):
        (run / "checkpoints" / which).mkdir(parents=True)
        (run / "checkpoints" / which / "model.safetensors").touch()
    progress = {"epoch": 1, "batch": 0, "step": 120 + seed, "learning_rate": 1e-3, "best": -1.0, "best_epoch": 1}
    progress |= {"previous": -1.0, "validations_without_best": 0, "nonfinite": 0, "nonfinite_in_a_row": 0, "rows": 2}
    progress |= {"seconds": 60.0, "cpu_seconds": cpu_seconds, "finished": "epochs 1", "since_row": {}}
    (last(run) / "training.json").write_text(json.dumps(progress))
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    settings = {
        "recipe": f"{size}-{row}",
        "seed": seed,
        "data": {"name": "audio-folder", "root": "x"} if data is None else data,
    }
    settings |= {"model": {"name": "rnn"}, "training": {"max_minutes": max_minutes}}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    audio = AUDIO if data is None else {"data": data["name"]}
    for bound, said in bounds:
        (run / f"evaluation-test-{bound}.json").write_text(json.dumps(EVALUATION | audio | changes | said))
    return run


def cells(page: str, label: str) -> list[str]:
    """A row of the page's table."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_and_standard_deviations_over_seeds_by_hand(tmp_path: Path, zf: Command) -> None:
    for seed, nats in enumerate((10.0, 13.0, 16.0)):  # mean 13, standard deviation 3
        plant(tmp_path, "rnn-gauss", seed, nats_per_sequence=nats, raw_nats_per_sequence=nats - 100)
    bound = {"kind": "lower bound", "model": "vrnn"}
    for seed, (nats, kl) in enumerate(((1.0, 2.0), (2.0, 5.0))):  # mean 1.5, standard deviation 1 / sqrt 2
        plant(tmp_path, "vrnn-gauss", seed, nats_per_sequence=nats, kl_per_sequence=kl, **bound)
    plant(tmp_path, "srnn", 4, nats_per_sequence=7.25, kl_per_sequence=2.25, raw_nats_per_sequence=None, **bound)
    assert zf("table", "speech", "--runs", tmp_path, "--find").code == 0
    page = (tmp_path / "table-speech-small.md").read_text()
    assert cells(page, "RNN-Gauss")[1:8] == ["exact", "13.0 ± 3.0", "-87.0 ± 3.0", "-", "0.0", "3", "120-122"]
    assert cells(page, "VRNN-Gauss")[1:8] == ["≥ elbo", "1.5 ± 0.7", "-1000.0 ± 0.0", "3.5", "0.0", "2", "120-121"]
    assert cells(page, "SRNN (smooth + res_q)")[1:8] == ["≥ elbo", "7.2", "-", "2.2", "0.0", "1", "124"]
    assert cells(page, "RNN-GMM")[1:8] == ["-"] * 7
    assert "Each run was given 10 minutes of training, at most." in page


def test_different_limits_of_time_are_said(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0)
    plant(tmp_path, "rnn-gmm", 0, max_minutes=None)
    plant(tmp_path, "srnn", 0, max_minutes=2.5)
    assert zf("table", "speech", "--runs", tmp_path, "--find").code == 0
    page = (tmp_path / "table-speech-small.md").read_text()
    assert "The runs' limits of time differ: none, 2.5 minutes, 10 minutes." in page


def test_the_protocol_of_our_column_is_said(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0, num_skipped=2)
    assert zf("table", "speech", "--runs", tmp_path, "--find").code == 0
    assert (
        "Ours (speech-small): data audio-folder, 3 sequences of the test split, 2 more left out as unreadable, 12 "
        "steps, 12 numbers, 8000 samples per second, normalized by a standard deviation of 2000.0; the first step is "
        "read and not scored. Fingerprint 0123456789ab."
    ) in (tmp_path / "table-speech-small.md").read_text()


@pytest.mark.parametrize("name", ["first_observation", "sample_rate", "normalization_std", "data_fingerprint"])
def test_another_protocol_is_refused(name: str, tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0)
    other = {
        "first_observation": "scored",
        "sample_rate": 16000,
        "normalization_std": 7.5,
        "data_fingerprint": "f" * 12,
    }
    plant(tmp_path, "rnn-gmm", 0, **{name: other[name]})
    said = zf("table", "speech", "--runs", tmp_path, "--find").mistake
    assert "speech-small-rnn-gauss-seed0 and speech-small-rnn-gmm-seed0 can't stand in one table" in said
    assert str(other[name]) in said


def test_json_is_one_object_with_protocol_kind_and_published(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0)
    values = zf("table", "speech", "--runs", tmp_path, "--find", "--json").json
    assert values == json.loads((tmp_path / "table-speech-small.json").read_text())
    assert (values["table"], values["size"]) == ("speech", "speech-small")
    assert values["protocol"] == {
        "data": "audio-folder",
        "split": "test",
        "first_observation": "conditioned",
        "sample_rate": 8000,
        "normalization_std": 2000.0,
        "num_sequences": 3,
        "num_skipped": 0,
        "num_unknown": None,
        "num_steps": 12,
        "num_dims": 12,
        "data_fingerprint": "0123456789ab",
    }
    row = values["rows"][0]
    assert (row["row"], row["label"], row["recipe"]) == ("rnn-gauss", "RNN-Gauss", "speech-small-rnn-gauss")
    (run,) = row["runs"]
    assert (run["kind"], run["nats_per_sequence"], run["updates"]) == ("exact", -10.0, 120)
    assert row["published"]["timit"]["value"] == -1900
    assert row["published"]["timit"]["kind"] == "exact"
    assert row["published"]["timit"]["protocol"] == "all frames scored"
    assert "1506.02216" in row["published"]["blizzard"]["source"]
    assert values["rows"][-1]["published"] == {"timit": None, "blizzard": None}


def test_without_any_run_it_is_a_table_of_published_numbers(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "none").mkdir()
    result = zf("table", "speech", "--runs", tmp_path / "none", "--find", "--json")
    assert "speech-small-rnn-gauss-seed0 for one: the table has only published numbers" in result.err
    values = result.json
    assert values["protocol"] == {}
    assert all(row["runs"] == [] for row in values["rows"])
    page = (tmp_path / "none" / "table-speech-small.md").read_text()
    assert "Ours (speech-small): No run was found.\n" in page
    assert cells(page, "Z-Forcing + aux")[1:8] == ["-"] * 7
    assert "## Runs" not in page
    assert "- RNN-Gauss, RNN-GMM, VRNN-I-Gauss, VRNN-Gauss, VRNN-GMM: Chung et al., NIPS 2015" in page
    assert "\n- timit-...: TIMIT as it comes" in page  # one protocol for all rows
    said = zf("table", "speech", "--runs", tmp_path / "none", "--find").mistake
    assert "table-speech-small.md would be replaced by a page without runs" in said


def test_protocols_name_their_rows_where_these_differ(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "none").mkdir()
    zf("table", "mnist", "--runs", tmp_path / "none", "--find")
    page = (tmp_path / "none" / "table-mnist-small.md").read_text()
    assert "\n- mnist-small, rnn, vrnn, srnn, professor, zforcing, zforcing-aux: Larochelle's" in page
    assert "\n- mnist-small, made, nade," in page
    assert "784 steps" not in page.partition("- mnist-small, made, nade,")[2].partition("\n")[0]
    assert "\n- Z-Forcing, Z-Forcing + aux: Goyal et al., NIPS 2017" in page


def test_found_runs_are_those_of_the_rows_and_seeds_asked_for(runs: Path, zf: Command) -> None:
    find = ["table", "speech", "--runs", runs, "--find", "--json"]
    assert len(run_names(zf(*find))) == 2
    assert run_names(zf(*find, "--seeds", 1)) == ["speech-small-rnn-gauss-seed1"]
    assert "rnn-gmm-seed0 for one" in zf(*find, "--rows", "rnn-gmm").mistake


def test_data_of_another_name_is_refused_before_training(folder: Path, tmp_path: Path, zf: Command) -> None:
    said = zf("table", "mnist", "--rows", "rnn", "--runs", tmp_path, "--data.name", "digits", *TINY[2:]).mistake
    assert "recipe mnist-small-rnn is of data.name mnist, and numbers on digits can't stand in its row" in said
    said = zf("table", "imdb", "--rows", "rnn", "--runs", tmp_path, "--data.tokens", "bytes", *TINY[2:]).mistake
    assert "recipe imdb-small-rnn is of data.tokens words, and numbers on bytes can't stand in its row" in said
    assert not list(tmp_path.iterdir())


def test_other_images_stand_beside_no_published_number(tmp_path: Path, zf: Command) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (2, 784))
    np.savez(tmp_path / "mine.npz", train=bits, valid=bits, test=bits)
    words = ["--data.root", tmp_path / "mine.npz", "--data.check_known", "false", "--data.order", "rows"]
    result = zf("table", "mnist", "--rows", "rnn", "--runs", tmp_path / "runs", *words, *TINY[2:], STEPS, 1)
    assert "(data mnist-unchecked, not mnist; num_dims 1568, not 7840000)" in result.err
    assert "80.60" not in result.out
    assert "80.60" not in (tmp_path / "runs" / "table-mnist-small.md").read_text().split("## Notes")[0]


@pytest.mark.parametrize("steps", [280_000, 7_840_000])
def test_rows_and_pixels_of_the_known_images_are_the_same_data(steps: int, tmp_path: Path, zf: Command) -> None:
    known = {"num_dims": 7_840_000, "num_steps": steps}
    plant(tmp_path, "rnn", 0, size="mnist-small", data={"name": "mnist"}, **known)
    result = zf("table", "mnist", "--runs", tmp_path, "--find")
    assert result.err == ""
    assert "DRAW" in result.out


def test_runs_of_whole_images_stand_beside_runs_of_pixels(tmp_path: Path, zf: Command) -> None:
    known = {"num_dims": 7_840_000, "num_steps": 7_840_000}
    plant(tmp_path, "rnn", 0, size="mnist-small", data={"name": "mnist"}, **known)
    image = known | {"num_steps": 10_000, "data_fingerprint": "0" * 12}
    plant(tmp_path, "made", 0, size="mnist-small", data={"name": "mnist"}, **image)
    by_ais = (("ais100", {"bound": "ais", "particles": 100, "kind": "estimate"}),)  # which no other bound measures
    dbn = plant(tmp_path, "dbn", 0, size="mnist-small", data={"name": "mnist"}, bounds=by_ais, **image)
    config = yaml.safe_load((dbn / "config.yaml").read_text())
    config |= {"model": {"name": "dbn"}, "bound": {"name": "ais"}}
    (dbn / "config.yaml").write_text(yaml.safe_dump(config))
    result = zf("table", "mnist", "--runs", tmp_path, "--find")
    assert result.err == ""
    page = (tmp_path / "table-mnist-small.md").read_text()
    assert cells(page, "RNN")[2] == cells(page, "MADE")[2] != "-"
    assert cells(page, "DBN 2hl")[1:3] == ["≈ ais 100", cells(page, "MADE")[2]]


@pytest.mark.parametrize("other", [{"num_dims": 7_839_999}, {"data_fingerprint": "0" * 12}])
def test_other_numbers_of_the_same_name_are_refused(other: dict[str, Any], tmp_path: Path, zf: Command) -> None:
    known = {"num_dims": 7_840_000, "num_steps": 10_000}
    plant(tmp_path, "rnn", 0, size="mnist-small", data={"name": "mnist"}, **known)
    plant(tmp_path, "made", 0, size="mnist-small", data={"name": "mnist"}, **known | other)
    assert "can't stand in one table" in zf("table", "mnist", "--runs", tmp_path, "--find").mistake


@pytest.mark.parametrize("known", [True, False])
def test_only_checked_images_may_be_read_in_other_steps(known: bool) -> None:
    words = ["--data.check_known", str(known).lower()]
    configs = [recipe_config(f"mnist-small-{row}", words) for row in ("rnn", "made")]
    if known:
        check_comparable(configs)
        return
    with pytest.raises(UserError, match=r"can't differ in data\.order pixels and image"):
        check_comparable(configs)


def test_a_run_on_other_sequences_stands_beside_no_published_number(tmp_path: Path, zf: Command) -> None:
    pieces = [[(60, 64), (62,), (64,)] for _ in range(4)]
    (tmp_path / "music.pickle").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), pieces), 2))
    words = [
        "--rows",
        "rnn",
        "--runs",
        tmp_path / "runs",
        "--data.path",
        tmp_path / "music.pickle",
        *TINY[2:],
        STEPS,
        1,
    ]
    result = zf("table", "music", "--size", "jsb", *words)
    told = "data is other than jsb's (num_steps 12, not 4725)"
    assert told in result.err
    page = (tmp_path / "runs" / "table-jsb.md").read_text()
    assert told in page
    assert "-4.74" not in page.split("## Notes")[0]


def test_a_run_trained_on_a_changed_set_stands_beside_no_published_number(tmp_path: Path, zf: Command) -> None:
    known = {"num_steps": 9396, "num_dims": 9396 * 88}
    for row, remark in (("rnn", ""), ("srnn", "the train split isn't that of the chorales")):
        plant(tmp_path, row, 0, size="jsb-resampled", data=MUSIC, bounds=FIVO, remark=remark, **known)
        words = ("table", "music", "--runs", tmp_path, "--find", "--out", tmp_path / "page")
        result = zf(*words)
        assert result.code == 0, result.err
        assert ("data is other than jsb-resampled's" in result.err) == bool(remark)
        assert ("-4.74" in (tmp_path / "page.md").read_text()) == (not remark)
    assert "(the train split isn't that of the chorales)" in result.err


def test_sets_of_other_steps_have_no_published_numbers_beside_them() -> None:
    table = read_paper_table("music")
    assert [table.published_sizes(size) for size in ("jsb", "chorales", "jsb-resampled")] == [[], [], ["jsb-resampled"]]
    assert [column.size for column in columns_of(table, "muse")] == []


def test_a_folder_of_runs_that_is_not_there_is_refused(tmp_path: Path, zf: Command) -> None:
    assert "no such file or directory" in zf("table", "speech", "--runs", tmp_path / "nowhere", "--find").mistake
    assert not (tmp_path / "nowhere").exists()


def test_blizzard_is_given_per_half_second(tmp_path: Path, zf: Command) -> None:
    """The last piece of a recording is shorter than half a second: the mean over pieces would be another number."""
    plant(tmp_path, "srnn", 0, size="blizzard", nats_per_half_second=12.5, raw_nats_per_half_second=2.5)
    result = zf("table", "speech", "--size", "blizzard", "--runs", tmp_path, "--find")
    assert result.code == 0
    page = (tmp_path / "table-blizzard.md").read_text()
    assert cells(page, "model")[2] == "nats per half second"
    assert cells(page, "SRNN (smooth + res_q)")[2:4] == ["12.5", "2.5"]


def test_the_terminal_shows_every_published_number(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "none").mkdir()
    out = zf("table", "speech", "--runs", tmp_path / "none", "--find").out
    for number in (-1900, 28982, 60550, 70469, 3539, 9107, 11991, 14435, 14226, 15430, 15024):
        assert str(number) in out


def test_published_numbers_of_different_protocols_have_columns_of_their_own() -> None:
    table = read_paper_table("speech")
    page = to_page(table, "speech-small", paper_rows(table, "speech-small", {}), command="c")
    headers = cells(page, "model")[11:]
    assert headers == [
        "TIMIT, all frames scored",
        "TIMIT, first frame not scored",
        "Blizzard, as VRNN's paper",
        "Blizzard, as SRNN's paper",
        "Blizzard, as Z-Forcing's paper",
    ]
    assert headers == [column.heading for column in columns_of(table, "speech-small")]
    assert cells(page, "RNN-Gauss")[11:] == ["-1900", "-", "3539", "-", "-"]
    assert cells(page, "VRNN-GMM")[11:] == ["≥ 28982", "-", "≥ 9107", "-", "-"]
    assert cells(page, "SRNN (filt)")[11:] == ["-", "≥ 50524", "-", "≥ 10846", "-"]
    assert cells(page, "Z-Forcing + kla, aux")[11:] == ["-", "≥ 70469", "-", "-", "≥ 15024"]
    assert cells(page, "RNN, AR frame")[11:] == ["-"] * 5


def test_the_page_names_the_command_and_the_runs(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0)
    zf("table", "speech", "--runs", tmp_path, "--find", "--out", tmp_path / "a b.md")
    page = (tmp_path / "a b.md").read_text()
    assert f"Made by `zforcing table speech --runs {tmp_path} --find --out '{tmp_path}/a b.md'`." in page
    assert "| speech-small-rnn-gauss-seed0 | `zforcing train 'my recipe.yaml'` |" in page
    assert (tmp_path / "a b.json").is_file()
    assert "importance sampling" in page  # of the notes


def test_where_the_page_of_a_run_went_is_not_told(tmp_path: Path, zf: Command) -> None:
    run = plant(tmp_path, "rnn-gauss", 0)
    command = ["zforcing", "table", "speech", "--out", "/elsewhere/a", "--rows", "rnn-gauss", "--out=/elsewhere/b"]
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT | {"command": command}))
    values = zf("table", "speech", "--runs", tmp_path, "--find", "--json").json
    assert values["rows"][0]["runs"][0]["environment"]["command"] == [
        "zforcing",
        "table",
        "speech",
        "--rows",
        "rnn-gauss",
    ]
    assert "elsewhere" not in (tmp_path / "table-speech-small.md").read_text()


def test_the_terminals_table_has_every_row_and_whole_words(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "rnn-gauss", 0)
    text = zf("table", "speech", "--runs", tmp_path, "--find").out
    assert all(label in text for label in read_paper_table("speech").rows.values())
    assert "…" not in text


def test_runs_of_one_row_that_differ_have_no_mean(tmp_path: Path) -> None:
    runs = [plant(tmp_path, "rnn-gauss", 0), plant(tmp_path, "rnn-gauss", 1, max_minutes=5.0)]
    with pytest.raises(UserError, match=r"seed0 and .*seed1 are no seeds of one another, their training.max_minutes"):
        paper_rows(read_paper_table("speech"), "speech-small", {"elbo": read_rows(runs, split="test", bound="elbo")})


def test_there_are_the_tables_of_the_papers_experiments() -> None:
    assert paper_tables() == ["imdb", "mnist", "music", "speech"]


MUSIC = {"name": "srnn-music", "path": "jsb.npz"}
FIVO = (("elbo", {}), ("fivo16", {"bound": "fivo", "particles": 16, "nats_per_step_of_sequences": -4.5}))


def test_music_is_given_per_step_by_two_bounds_beside_the_number_of_its_own_files(tmp_path: Path, zf: Command) -> None:
    for seed, nats in enumerate((-5.0, -4.0)):
        number = {"nats_per_step_of_sequences": nats, "num_steps": 9396, "kl_per_sequence": 313.2}
        plant(
            tmp_path,
            "srnn",
            seed,
            size="jsb-resampled",
            data=MUSIC,
            bounds=FIVO,
            parameters=2_346_000,
            cpu_seconds=60.0 * (2 + seed),
            **number,
        )
    exact = {"kind": "exact", "kl_per_sequence": 0.0, "nats_per_step_of_sequences": -7.0, "num_steps": 9396}
    plant(tmp_path, "rnn", 0, size="jsb-resampled", data=MUSIC, **exact)  # needs no second bound
    assert zf("table", "music", "--runs", tmp_path, "--find").code == 0
    page = (tmp_path / "table-jsb-resampled.md").read_text()
    assert cells(page, "model") == [
        *("model", "kind", "nats per step, mean of sequences", "KL", "seeds", "updates", "epochs"),
        *("parameters", "CPU minutes", "nats per step, mean of sequences, fivo16", "JSB chorales, SRNN's files"),
    ]  # no column that holds nothing: music has no other units, and no floor
    kl = f"{313.2 * 3 / 9396:.3f}"  # nats per sequence of 3 sequences, over all steps
    srnn = ["≥ elbo", "-4.500 ± 0.707", kl, "2", "120-121", "1", "2.35 M", "2", "≥ -4.500 ± 0.000", "≥ -4.74"]
    assert cells(page, "SRNN (smooth + res_q)")[1:] == srnn
    assert cells(page, "RNN")[1:] == ["exact", "-7.000", "-", "1", "120", "1", "-", "-", "-", "-"]
    assert "nats per step" in page
    assert "standard deviation of an emission" not in page


def test_runs_of_0_1_stand_in_the_rows_of_their_recipes(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "srnn", 0, size="jsb-resampled", data={"name": "music", "layout": "srnn", "path": "x"}, bounds=FIVO)
    assert zf("table", "music", "--runs", tmp_path, "--find").code == 0
    assert cells((tmp_path / "table-jsb-resampled.md").read_text(), "SRNN (smooth + res_q)")[2] == "-2.400"


def test_another_size_has_the_numbers_of_its_own_data(tmp_path: Path, zf: Command) -> None:
    plant(tmp_path, "vrnn", 0, size="jsb", data=MUSIC, bounds=FIVO)
    assert zf("table", "music", "--size", "jsb", "--runs", tmp_path, "--find").code == 0
    page = (tmp_path / "table-jsb.md").read_text()
    assert cells(page, "VRNN")[2] == "-2.500"  # total nats / total steps
    assert zf("table", "music", "--size", "muse-resampled", "--runs", tmp_path, "--find").code == 0
    muse = (tmp_path / "table-muse-resampled.md").read_text()
    assert "≥ -6.28" in muse
    assert "-4.74" not in muse


def test_perplexity_is_lower_better_and_a_bound_from_above(tmp_path: Path, zf: Command) -> None:
    by_iwae = (("elbo", {}), ("iwae25", {"bound": "iwae", "particles": 25, "perplexity": 90.0}))
    plant(
        tmp_path,
        "zforcing",
        0,
        size="imdb-small",
        data={"name": "text", "tokens": "words"},
        bounds=by_iwae,
        perplexity=99.5,
    )
    assert zf("table", "imdb", "--runs", tmp_path, "--find").code == 0
    page = (tmp_path / "table-imdb-small.md").read_text()
    assert cells(page, "Z-Forcing")[1:3] == ["≤ elbo", "99.50"]
    assert "≤ 90.00" in cells(page, "Z-Forcing")
    assert cells(page, "Variational Bi-LSTM")[-1] == "≤ 51.60"
    assert "Lower is better" in page
    assert "misprint" in page


def test_the_table_of_mnist_has_all_published_numbers_before_any_run(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "none").mkdir()
    out = zf("table", "mnist", "--runs", tmp_path / "none", "--find").out
    page = (tmp_path / "none" / "table-mnist-small.md").read_text()
    for label, number in (
        ("NADE", "-88.33"),
        ("DRAW", "≥ -80.97"),
        ("Z-Forcing + aux", "≥ -80.09"),
        ("MatNet", "≈ -78.50"),
        ("PixelRNN (1 layer)", "-80.75"),
        ("PixelRNN (7 layers)", "-79.20"),
    ):
        assert number in cells(page, label)
        assert number in out
    assert "DBN 2hl" in page
    assert cells(page, "DBN 2hl")[-1] == "≈ -84.55"  # the literature disagrees on its binarization: a column of its own
    assert cells(page, "DBN 2hl")[-2] == "-"


def test_an_evaluation_of_an_older_version_is_taken_again(runs: Path, zf: Command) -> None:
    path = runs / "speech-small-rnn-gauss-seed1" / "evaluation-test-elbo.json"
    values = json.loads(path.read_text())
    del values["num_unknown"], values["sha256"]
    path.write_text(json.dumps(values))
    assert zf("table", "speech", "--runs", runs, "--find", "--device", "cpu").code == 0
    assert "num_unknown" in json.loads(path.read_text())
