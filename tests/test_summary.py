"""What `zforcing evaluate RUN [FILE_OR_FOLDER]` prints, which runs it finds, and which files of a folder it reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import zforcing as zf
from conftest import Command
from test_table import EVALUATION
from zforcing.evaluation.evaluation import Evaluation
from zforcing.evaluation.summary import summary, warnings

SMALL = ["--model.hidden_size", 3, "--training.max_steps", 1, "--training.backend", "reference"]


def evaluation(**changes: Any) -> Evaluation:
    return Evaluation.from_json(EVALUATION | changes)


BASELINES = [
    {"name": "independent Gaussian", "nats_per_sequence": -12.0, "raw_nats_per_sequence": -15.0},
    {"name": "VAR(1)", "nats_per_sequence": -9.0, "raw_nats_per_sequence": -12.0},
]


def test_the_first_line_is_the_number_its_error_kind_and_unit() -> None:
    assert summary(evaluation(), number="pixel") == [
        "log p(x) ≥ -10.00 ± 0.26 nats per sequence (lower bound, elbo; zforcing on 3 sequences of digits, test split)",
        "-2.5 nats per step; 3.607 bits per pixel",
        "KL: 1.5 nats per sequence, which the latents carry",
    ]


def test_a_mixture_of_orders_says_how_many_and_has_no_latents_that_could_collapse() -> None:
    """EoNADE: the KL is 0 by construction, of its bound too."""
    mixture = evaluation(kind="exact", bound="orders", particles=32, model="eonade-5", kl_per_sequence=0.0)
    assert summary(mixture)[0].endswith("(exact, orders 32; eonade-5 on 3 sequences of digits, test split)")
    bound = evaluation(model="eonade-5", kl_per_sequence=0.0)
    assert not any("KL" in line for line in summary(bound))
    assert warnings(bound) == []
    assert "posterior collapse" in warnings(evaluation(kl_per_sequence=1e-6))[0]


def test_what_applies_is_told() -> None:
    lines = summary(
        evaluation(
            kind="exact",
            split="mine.csv",
            standard_error=None,
            raw_nats_per_sequence=-13.0,
            true_nats_per_sequence=-9.5,
            baselines=BASELINES,
            num_skipped=2,
            remark="3 files",
        )
    )
    assert lines == [
        "log p(x) = -10.00 nats per sequence (exact; zforcing on 3 sequences of mine.csv)",
        "-2.5 nats per step; 3.607 bits per dim",
        "in the data's own units: -13.00 nats per sequence",
        "the process that made the data: -9.50 nats per sequence, exact",
        "baselines: independent Gaussian -12.00, VAR(1) -9.00 nats per sequence, exact",
        "left out: 2 files that can't be used",
        "the data: 3 files",
    ]


def test_particles_noise_symbols_and_audio_have_their_words() -> None:
    noise = {"bound": "iwae", "particles": 25, "repeats": 3, "noise_error": 0.0123}
    lines = summary(evaluation(**noise, perplexity=12.2, num_unknown=1, nats_per_half_second=5.0))
    assert "(lower bound, iwae 25, its noise ± 0.012 over 3 repeats; " in lines[0]
    assert lines[1] == "-2.5 nats per step, 5.00 per half second; 3.607 bits per dim; perplexity 12.2"
    assert "unknown to the vocabulary: 1 of 12 symbols" in lines


def test_a_model_below_a_baseline_is_warned_of() -> None:
    (warning,) = warnings(evaluation(baselines=BASELINES))
    assert warning.startswith(
        "VAR(1), a simple baseline, explains this data better: -9.00 nats per sequence, exact; the model ≥ -10.00."
    )
    assert "--bound iwae" in warning
    assert "--bound iwae" not in warnings(evaluation(baselines=BASELINES, kind="exact"))[0]
    assert warnings(evaluation(baselines=BASELINES[:1])) == []


# ---- the command


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/mine of a table, and runs/recordings; not to be changed."""
    from zforcing.cli import main

    torch.set_default_dtype(torch.float32)
    folder, draw = tmp_path_factory.mktemp("project"), np.random.default_rng(0)
    np.savez(folder / "mine.npz", x=draw.normal(3, 2, size=(30, 5, 2)))
    (folder / "recordings").mkdir()
    for name in "abcdef":
        soundfile.write(folder / "recordings" / f"{name}.wav", draw.normal(scale=0.1, size=200), 8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small = [str(word) for word in SMALL]
        assert main(["train", "arrays-rnn", "--data.path", "mine.npz", "--run-dir", "runs/mine", *small]) == 0
        words = ["--data.root", "recordings", "--data.frame_size", "20", "--run-dir", "runs/speech", *small]
        assert main(["train", "speech-small-rnn-gauss", *words]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(project)


def test_evaluate_prints_a_few_lines_and_everything_when_asked(zf: Command) -> None:
    found = zf("evaluate", "mine")
    lines = found.out.splitlines()
    assert lines[0].startswith("log p(x) = ")
    assert lines[-2].startswith("baselines: independent Gaussian -")
    assert lines[-1] == "all numbers: runs/mine/evaluation-test-elbo.json (or --all, --json)"
    assert "explains this data better" in found.err  # it was trained for one update
    everything = zf("evaluate", "mine", "--all").out
    assert "nats_per_step_of_sequences  " in everything
    assert "VAR(1) -" in everything
    names = [score["name"] for score in zf("evaluate", "mine", "--json").json["baselines"]]
    assert names == ["independent Gaussian", "full Gaussian", "VAR(1)"]
    alone = zf("evaluate", "mine", "--no-baselines")
    assert "baselines" not in alone.out + alone.err
    assert zf("evaluate", "mine", "--no-baselines", "--json").json["baselines"] == []


def test_a_table_has_rows_of_baselines_when_asked(zf: Command) -> None:
    zf("evaluate", "mine")
    plain, full = zf("table", "mine").out, zf("table", "mine", "--baselines").out
    assert "VAR(1)" not in plain
    assert "independent Gaussian" in full
    assert "VAR(1)" in full
    assert "VAR(1)" in zf("table", "mine", "--baselines", "--markdown").out


def test_runs_are_found_by_name(zf: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert zf("info", "mine", "--json").json["run"] == "runs/mine"
    assert zf("sample", "mine", "--num", 1, "--steps", 2, "--out", tmp_path, "--json").code == 0
    said = zf("evaluate", "mien").mistake
    assert "no such run folder: mien (did you mean mine?); neither mien nor runs/mien is in " in said
    monkeypatch.chdir(tmp_path)
    assert "no such run folder: mine; neither mine nor runs/mine is in " in zf("info", "mine").mistake


def test_a_folder_that_is_no_run_hides_none(zf: Command, project: Path) -> None:
    (project / "speech").mkdir()  # of data, say
    assert zf("info", "speech", "--json").json["run"] == "runs/speech"
    (project / "speech").rmdir()


def test_the_files_of_a_folder_are_measured(zf: Command, project: Path, tmp_path: Path) -> None:
    shutil.copy(project / "mine.npz", tmp_path / "b.npz")
    (tmp_path / "deeper").mkdir()
    shutil.copy(project / "mine.npz", tmp_path / "deeper" / "a.npz")
    (tmp_path / "notes.txt").write_text("no data")
    one, both = (zf("evaluate", "mine", place, "--json").json for place in (project / "mine.npz", tmp_path))
    assert (one["num_sequences"], both["num_sequences"]) == (30, 60)
    assert both["nats_per_sequence"] == pytest.approx(one["nats_per_sequence"])
    assert (both["split"], both["remark"]) == (tmp_path.name, "2 files")


def test_recordings_that_are_broken_are_counted_when_asked(zf: Command, project: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copy(project / "recordings" / f"{name}.wav", tmp_path)
    (tmp_path / "c.wav").write_text("no audio")
    assert "c.wav" in zf("evaluate", "speech", tmp_path).mistake
    found = zf("evaluate", "speech", tmp_path, "--skip-unreadable", "--json").json
    assert (found["num_sequences"], found["num_skipped"], found["remark"]) == (2, 1, "2 files")


def test_a_folder_without_files_of_the_kind_is_refused(zf: Command, project: Path, tmp_path: Path) -> None:
    assert "has no file that ends in .csv, .parquet, .npz, .npy" in zf("evaluate", "mine", tmp_path).mistake
    for suffix in ("npz", "csv"):
        shutil.copy(project / "mine.npz", tmp_path / f"a.{suffix}")
    assert "a.csv, a.npz may be the same sequences in two forms" in zf("evaluate", "mine", tmp_path).mistake


def test_a_file_that_has_grown_is_doubted(zf: Command, project: Path) -> None:
    """Other sequences are in the splits then: those of the test split may have been trained on."""
    draw = np.random.default_rng(1)
    x = np.load(project / "mine.npz")["x"]
    np.savez(project / "growing.npz", x=x)
    words = ["--data.path", "growing.npz", "--run-dir", "runs/growing", *SMALL]
    assert zf("train", "arrays-rnn", *words).code == 0
    assert zf("evaluate", "growing", "--json").json["remark"] == ""
    np.savez(project / "growing.npz", x=np.concatenate([x, draw.normal(size=(6, 5, 2))]))
    said = zf("evaluate", "growing", "--json").json["remark"]
    assert "growing.npz isn't what the run was trained on, so that sequences of the test split may have been" in said
    assert zf("evaluate", "growing", "--split", "train", "--json").json["remark"] == ""


def test_data_that_was_trained_on_is_told(zf: Command, project: Path) -> None:
    x = np.load(project / "mine.npz")["x"]
    words = ["--data.path", "seen.npz", "--data.valid_path", "mine.npz", "--data.test_path", "seen.npz"]
    np.savez(project / "seen.npz", x=x[:20])
    assert zf("train", "arrays-rnn", *words, "--run-dir", "runs/seen", *SMALL).code == 0
    assert "the training split and the test split are the same sequences" in zf("evaluate", "seen").out
    np.savez(project / "few.npz", x=x[:3])
    assert "all 3 sequences of few.npz are in the training split" in zf("evaluate", "seen", "few.npz").out


def test_a_saved_models_file_is_measured_without_baselines(zf: Command, tmp_path: Path) -> None:
    saved = zf_module_save(tmp_path)
    assert zf("evaluate", saved, "mine.npz", "--json").json["baselines"] == []


def zf_module_save(folder: Path) -> Path:
    zf.save(folder / "saved", zf.load("runs/mine"))
    return folder / "saved"
