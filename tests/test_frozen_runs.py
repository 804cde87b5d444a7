"""Run folders of zforcing 0.1.0, frozen: every later version loads them, and they give the numbers that they gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Command
from zforcing.saving.model import load
from zforcing.training.runs.trained import Trained

RUNS = Path(__file__).parent / "data" / "frozen"
NUMBERS: dict[str, Any] = json.loads((RUNS / "numbers.json").read_text("utf-8"))
TOLERANCE = 1e-4  # float32 on another processor; the numbers are sums of some 10 to 100 steps


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the frozen runs and their data, as the folder that relative paths start at."""
    copy = tmp_path / "frozen"
    shutil.copytree(RUNS, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def noise_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise as the numbers were made with: from torch's generator, for all rows of a batch at once. Now each sequence
    has its own, which would be another draw of the same numbers.
    """
    monkeypatch.setattr("zforcing.observations.SequenceBatch.seeded", lambda batch, seeds: batch)
    monkeypatch.setattr("zforcing.tasks.sample.blocks", lambda n: [(0, n)])
    monkeypatch.setattr("zforcing.tasks.sample.seed_for", lambda seed, *purpose: seed)


@pytest.mark.parametrize("run", NUMBERS)
def test_a_frozen_run_loads_and_has_the_weights_and_the_data_of_its_files(run: str) -> None:
    model = load(RUNS / run)
    written = json.loads((RUNS / run / "checkpoints" / "best" / "config.json").read_text("utf-8"))
    assert model.name == written["model"]["name"]
    assert model.description is not None
    assert model.description.longest == written["data"]["longest"]
    assert model.spec.size == written["data"]["spec"]["size"]


@pytest.mark.usefixtures("noise_of_then")
@pytest.mark.parametrize(
    ("run", "file"), [(run, file.name) for run in NUMBERS for file in sorted((RUNS / run).glob("evaluation-*.json"))]
)
def test_a_frozen_run_is_evaluated_to_its_numbers(frozen: Path, zf: Command, run: str, file: str) -> None:
    before = json.loads((frozen / run / file).read_text("utf-8"))
    words = ["--bound", before["bound"], "--split", before["split"], "--seed", before["seed"], "--threads", 1]
    if before["bound"] in ("iwae", "fivo"):
        words += ["--particles", before["particles"]]
    now = zf("evaluate", run, "--device", "cpu", "--json", *words).json
    for name in ("kind", "num_sequences", "num_steps", "num_dims", "num_unknown", "sample_rate", "data_fingerprint"):
        assert now[name] == before[name], name
    numbers = ["nats_per_sequence", "kl_per_sequence", "bits_per_dim", "raw_nats_per_sequence", "perplexity"]
    if before["bound"] == "fivo":  # it was the KL by sample, which may be negative; now it is the one in closed form
        numbers.remove("kl_per_sequence")
        assert now["kl_per_sequence"] >= 0
    for name in numbers:
        assert now[name] == (None if before[name] is None else pytest.approx(before[name], TOLERANCE, 1e-5)), name


@pytest.mark.usefixtures("noise_of_then")
@pytest.mark.parametrize("run", NUMBERS)
def test_a_frozen_run_draws_its_samples(frozen: Path, zf: Command, run: str) -> None:
    zf("sample", run, "--num", 3, "--steps", 4, "--seed", 0, "--out", frozen / "out", "--device", "cpu", "--json").json  # noqa: B018  # refuses a failure
    (file,) = (frozen / "out").glob("*.npz")
    drawn = np.load(file)["x"].reshape(-1)[:40]
    np.testing.assert_allclose(drawn, NUMBERS[run]["sample"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("run", sorted(NUMBERS))
def test_info_says_what_a_frozen_run_holds_without_the_state_of_its_training(run: str, zf: Command) -> None:
    said = zf("info", RUNS / run, "--json").json
    assert said["parameters"] > 0
    assert said["about"]
    assert (said["seed"], said["best_epoch"]) == (0, None)


def test_training_goes_on_from_a_frozen_checkpoint(frozen: Path, zf: Command) -> None:
    run = frozen / "zforcing-trips"
    rows = (run / "metrics.jsonl").read_text("utf-8")
    words = ["train", run / "config.yaml", "--run-dir", run, "--resume", "--training.epochs", 3, "--device", "cpu"]
    assert zf(*words, "--json").json["finished"] == "epochs 3"
    assert (run / "metrics.jsonl").read_text("utf-8").startswith(rows)


def test_a_frozen_run_of_a_table_reads_its_own_file(frozen: Path, zf: Command) -> None:
    """Its config.json doesn't name the columns, as its settings do."""
    assert zf("score", "zforcing-trips", "data/trips.csv", "--particles", 2, "--json").json["num_sequences"] > 0
    trained = Trained.load("zforcing-trips", which="best")
    assert trained.model.description == trained.description
