"""`encode`, `reconstruct`, `interpolate`, `evaluate --latents` as a user runs them: digits, speech, music, a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from matplotlib.image import imread

import zforcing
from conftest import Command
from runs_of_each_kind import train_runs

CPU = ["--device", "cpu"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates of each kind of data."""
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


# ---- what is read, and where it goes


@pytest.mark.parametrize("source", [["test:0-1"], ["--split", "valid"], ["valid"]])
def test_a_reconstruction_and_an_evaluation_take_what_the_others_take(
    runs: Path, tmp_path: Path, zf: Command, source: list[str]
) -> None:
    found = zf("reconstruct", runs / "run-table", *source, "--out", tmp_path, *CPU, "--json").json
    of = "test-0-1" if source == ["test:0-1"] else "valid"
    assert [Path(file).name for file in found["files"]] == [
        f"reconstruct-{of}-seed0.{end}" for end in ("npz", "csv", "png")
    ]
    evaluated = zf("evaluate", runs / "run-table", *source, "--no-baselines", *CPU, "--json").json
    assert evaluated["num_sequences"] == found["num_sequences"] == (2 if of == "test-0-1" else 3)


MAKERS = {
    "sample": ["--num", 2, "--steps", 2],
    "continue": ["test:0", "--num", 1, "--steps", 1],
    "interpolate": ["test:0", "test:1", "--num", 2],
    "reconstruct": ["test:0"],
}
TABLES = {"encode": [], "forecast": ["--steps", 1, "--num", 4], "score": [], "impute": []}


@pytest.mark.parametrize("verb", MAKERS | TABLES)
def test_out_is_a_file_by_its_suffix_and_else_a_folder(runs: Path, tmp_path: Path, zf: Command, verb: str) -> None:
    few = ["--particles", 2] if verb in ("score", "impute", "forecast", "continue") else []
    words = [verb, runs / "run-table", *(MAKERS | TABLES)[verb], *few, *CPU, "--json", "--out"]
    assert zf(*words, tmp_path / "new" / "deep" / "other.csv").code == 0
    file = tmp_path / "new" / "deep" / "mine.csv"
    (file.parent / "mine-2023.csv").touch()  # a name that copies of a sequence might have
    found = zf(*words, file).json
    assert found.get("file", found.get("files")) in (str(file), [str(file)])
    there = {f.name for f in file.parent.iterdir() if not f.stem.endswith("-gaps")}
    assert there == {"mine.csv", "mine-2023.csv", "other.csv"}
    found = zf(*words, tmp_path / "a" / "b.c").json
    assert Path(found["files"][0] if "files" in found else found["file"]).parent == tmp_path / "a" / "b.c"


def test_recordings_of_a_named_file_have_numbers_where_there_are_several(
    runs: Path, tmp_path: Path, zf: Command
) -> None:
    for num, names in ((2, ["a-000.wav", "a-001.wav"]), (1, ["a.wav"])):
        words = ["sample", runs / "run-speech", "--num", num, "--steps", 2, "--out", tmp_path / "a.wav", *CPU]
        assert [Path(file).name for file in zf(*words, "--json").json["files"]] == names


# ---- encode


@pytest.mark.parametrize(("name", "first"), [("digits", 0), ("speech", 1), ("music", 0), ("table", 0), ("text", 0)])
def test_latents_of_a_split_are_written_into_the_run(runs: Path, zf: Command, name: str, first: int) -> None:
    values = zf("encode", runs / f"run-{name}", "--split", "valid", *CPU, "--json").json
    assert values["file"] == str(runs / f"run-{name}" / "latents" / "valid-seed0.npz")
    assert "sees the future" in values["kind"]
    with np.load(values["file"]) as arrays:
        assert arrays["mean"].shape == arrays["std"].shape == (values["num_steps"], 2)
        assert arrays["samples"].shape == (0, values["num_steps"], 2)
        assert arrays["step"].min() == first
        assert len(set(arrays["sequence"].tolist())) == values["num_sequences"]


def test_latents_of_a_file_are_pythons_with_the_files_names(runs: Path, tmp_path: Path, zf: Command) -> None:
    words = ["encode", runs / "run-table", runs / "test.csv", "--num", 2, "--seed", 3, "--out", tmp_path / "z.csv"]
    printed = zf(*words, *CPU).out
    assert "sees the future" in printed
    frame = pd.read_csv(tmp_path / "z.csv")
    data = zforcing.Sequences.from_frame(pd.read_csv(runs / "test.csv"), by="machine")
    expected = zforcing.encode(zforcing.load(runs / "run-table"), data, num_samples=2, seed=3).to_frame()
    assert frame["sequence"].tolist() == ["m0"] * 6 + ["m1"] * 5 + ["m2"] * 6
    np.testing.assert_allclose(frame.drop(columns="sequence"), expected.drop(columns="sequence"), rtol=1e-4, atol=1e-6)


def test_latents_of_a_sentence_and_of_some_digits(runs: Path, tmp_path: Path, zf: Command) -> None:
    out = ["--out", tmp_path / "z.npz", *CPU, "--json"]
    assert zf("encode", runs / "run-text", "a good film", *out).json["num_steps"] == 4  # with its end
    assert zf("encode", runs / "run-digits", "test:0-2", *out).json["num_sequences"] == 3


# ---- reconstruct


@pytest.mark.parametrize(
    ("name", "endings"),
    [
        ("digits", {"npz", "png"}),
        ("speech", {"npz", "wav"}),
        ("music", {"npz", "png", "mid", "wav"}),
        ("table", {"npz", "csv", "png"}),
    ],
)
def test_reconstructions_are_written_as_samples_are(
    runs: Path, tmp_path: Path, zf: Command, name: str, endings: set[str]
) -> None:
    values = zf("reconstruct", runs / f"run-{name}", "--out", tmp_path, *CPU, "--json").json
    assert {Path(file).suffix[1:] for file in values["files"]} == endings | {"npz"}
    assert (values["mode"], values["past"]) == ("mean", "own")
    assert values["error"] >= 0
    assert values["error_of_constant_guess"] > 0
    assert len(values["error_by_sequence"]) == values["num_sequences"] <= 8
    assert all(Path(file).stem.startswith("reconstruct-test-0-") for file in values["files"])


def test_pieces_of_other_lengths_keep_them(runs: Path, tmp_path: Path, zf: Command) -> None:
    symusic = pytest.importorskip("symusic")
    values = zf("reconstruct", runs / "run-music", "--mode", "sample", "--out", tmp_path, *CPU, "--json").json
    arrays, _, *heard = map(Path, values["files"])
    midi = [file for file in heard if file.suffix == ".mid"]
    with np.load(arrays) as saved:
        assert saved["x"].shape == (4, 9, 88)
        assert saved["lengths"].tolist() == [9, 6, 7, 8]
    assert len(midi) == 4
    assert symusic.Score(midi[1]).end() <= 6 * symusic.Score(midi[1]).ticks_per_quarter / 2


def test_a_picture_shows_the_digits_above_what_was_made_of_them(runs: Path, tmp_path: Path, zf: Command) -> None:
    values = zf(
        "reconstruct", runs / "run-digits", "test:0-2", "--past", "true", "--out", tmp_path, *CPU, "--json"
    ).json
    arrays, picture = map(Path, values["files"])
    assert picture.name == "reconstruct-test-0-2-true-past-seed0.png"
    height, width = imread(picture).shape[:2]
    assert width / height == pytest.approx(28 / 19)  # three columns of 8 pixels and two rows, with lines between
    assert np.load(arrays)["x"].shape == (3, 64, 1)


def test_a_table_is_rebuilt_in_its_units_with_the_error_said(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("reconstruct", runs / "run-table", runs / "test.csv", "--out", tmp_path, *CPU)
    assert "root mean square error" in result.err
    assert "sees the future" in result.err
    (file,) = tmp_path.glob("*.csv")
    frame = pd.read_csv(file)
    assert list(frame) == ["machine", "speed", "heat"]
    assert frame.groupby("machine").size().tolist() == [6, 5, 6]
    assert 60 < frame["speed"].mean() < 140
    data = zforcing.Sequences.from_frame(pd.read_csv(runs / "test.csv"), by="machine")
    made = zforcing.reconstruct(zforcing.load(runs / "run-table"), data)
    np.testing.assert_allclose(frame["speed"], np.concatenate(made.x)[:, 0], rtol=1e-4)


def test_a_recording_begins_with_the_frame_that_is_only_read(runs: Path, tmp_path: Path, zf: Command) -> None:
    source = runs / "speech" / "03.wav"
    values = zf("reconstruct", runs / "run-speech", source, "--out", tmp_path, *CPU, "--json").json
    made, _ = soundfile.read(values["files"][1], dtype="int16")
    original, _ = soundfile.read(source, dtype="int16")
    assert len(made) == len(original) // 20 * 20
    assert np.abs(made[:20].astype(int) - original[:20]).max() <= 1


def test_a_sentence_is_rebuilt_and_printed(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("reconstruct", runs / "run-text", "a good film", "--out", tmp_path, *CPU)
    assert len(result.out.splitlines()) == 3  # the sentence, and two files
    assert "share of wrong values" in result.err


# ---- interpolate and evaluate


def collapsed_run(runs: Path) -> Path:
    """The digits' model with a posterior that is its prior."""
    folder = runs / "collapsed"
    if not folder.is_dir():
        model = zforcing.load(runs / "run-digits")
        with torch.no_grad():  # both constant
            for net in (model.prior_net, model.posterior_net):
                for weight in net.parameters():
                    weight.zero_()
        zforcing.save(folder, model)
    return folder


def test_latents_that_carry_nothing_are_one_line_and_in_the_json(runs: Path, tmp_path: Path, zf: Command) -> None:
    run = collapsed_run(runs)
    x = np.random.default_rng(0).integers(0, 2, (1, 64))
    ends = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for end in ends:
        np.save(end, x)
    result = zf("interpolate", run, *ends, "--out", tmp_path / "made", *CPU, "--json")
    assert result.json["kl_per_step"] == 0
    assert "carry nothing of the two sequences (0 nats per step)" in result.json["warning"]
    assert [line for line in result.err.splitlines() if "warning" in line] == [f"warning: {result.json['warning']}"]
    assert zf("encode", run, ends[0], "--out", tmp_path / "z.npz", *CPU, "--json").json["collapsed"] is True
    made = zf("reconstruct", run, ends[0], "--out", tmp_path / "made", *CPU, "--json")
    assert made.json["collapsed"] is True
    assert "warning: the latents carry nothing" in made.err
    evaluated = zf("evaluate", run, ends[0], "--latents", *CPU, "--json").json["latents"]
    assert (evaluated["active_units"], evaluated["kl_per_sequence"]) == (0, 0)
    assert abs(evaluated["gain"]) < 1e-4  # float32
    assert "posterior collapse" in evaluated["advice"][0]


def test_latents_that_carry_something_are_without_a_warning(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("interpolate", runs / "run-digits", "test:0", "test:5", "--out", tmp_path, *CPU, "--json")
    assert result.json["warning"] is None
    assert result.json["kl_per_step"] > 0.01


@pytest.mark.parametrize("name", ["digits", "speech", "music", "table", "text"])
def test_evaluate_says_what_the_latents_carry_and_keeps_it(runs: Path, zf: Command, name: str) -> None:
    run = runs / f"run-{name}"
    result = zf("evaluate", run, "--latents", *CPU, "--json").json
    latents = result["latents"]
    assert latents["latent_size"] == 2
    assert latents["num_steps"] == result["num_steps"]
    assert latents["kl_per_sequence"] == pytest.approx(result["kl_per_sequence"], rel=0.5)
    assert json.loads((run / "evaluation-test-elbo.json").read_text())["latents"] == latents
    assert zf("table", run).code == 0  # which reads the same file


def test_evaluate_prints_what_the_latents_carry(runs: Path, zf: Command) -> None:
    lines = zf("evaluate", runs / "run-table", "--latents", *CPU).out.splitlines()
    assert any("of 2 units active" in line for line in lines)
    assert any("with z from the posterior" in line for line in lines)
    assert not any("of 2 units active" in line for line in zf("evaluate", runs / "run-table", *CPU).out.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "run-rnn"], "model rnn has no latents: use a run of a model with latents"),
        (["reconstruct", "run-rnn"], "model rnn has no latents"),
        (["evaluate", "run-rnn", "--latents"], "model rnn has no latents"),
        (["encode", "run-table", "nowhere.csv"], "nowhere.csv: no such file"),
        (["encode", "run-table", "--out", "z.txt"], "latents are written to .csv or .npz"),
        (["encode", "run-table", "--out", "/dev/null/z.csv"], "--out /dev/null/z.csv: /dev/null is a file"),
        (["reconstruct", "run-table", "--out", "a.wav"], "format table are written to .npz or .csv or .png"),
        (["reconstruct", "run-table", "test:0", "--split", "test"], "--split is for the run's own data"),
        (["encode", "run-table", "test:0", "--split", "test"], "--split is for the run's own data"),
        (["encode", "run-table", "--num", "-1"], "--num is -1"),
        (["reconstruct", "run-table", "test:9"], "the test split has sequences 0 to 2"),
        (["reconstruct", "run-table", "--past", "none"], "--past is none"),
        (["reconstruct", "run-digits", "run-digits/config.yaml"], "its suffix is '.yaml'"),
    ],
)
def test_a_mistake_is_one_line(runs: Path, zf: Command, words: list[str], said: str) -> None:
    given = [runs / word if word.startswith("run-") else word for word in words]
    assert said in zf(*given, *CPU).mistake
