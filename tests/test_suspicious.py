"""What `train`, `fit` and `info` say of the data that they read, and of what looks wrong with it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zforcing as zf
from conftest import Command
from zforcing.data import Arrays, InMemory, Table
from zforcing.data.read_line import read_line
from zforcing.data.suspicious import (
    constant_columns,
    flat_rows,
    index_columns,
    same_content,
    same_file,
    suspicions,
    two_valued_columns,
)
from zforcing.errors import UserError
from zforcing.observations import AudioFormat, DataDescription, Example, Normalization, ObservationSpec

DRAW = np.random.default_rng(0)
NOISE = [DRAW.normal(size=(steps, 1)) for steps in (6, 4, 5)]
NAMES = ("a", "b")


def beside(column: Any) -> list[Any]:
    """Three sequences of noise `a`, with what `column` makes of the steps as `b`."""
    return [np.concatenate([x, np.reshape(column(np.arange(len(x))), (-1, 1)).astype(float)], axis=1) for x in NOISE]


# ---- columns


def test_a_constant_column_is_named() -> None:
    found = constant_columns(beside(lambda t: 0 * t + 7), NAMES)
    assert found is not None
    assert found.startswith("column 'b' is the same at every training step: ")
    gaps = beside(lambda t: np.where(t == 1, np.nan, 7.0))
    assert constant_columns(gaps, NAMES) == found
    assert constant_columns(beside(lambda t: t // 5), NAMES) is None


def test_an_index_column_is_named() -> None:
    for start in (0, 1, 1000):
        found = index_columns(beside(lambda t, start=start: t + start), NAMES)
        assert found is not None
        assert found.startswith("column 'b' counts up by 1 inside of every sequence")
    assert index_columns(beside(lambda t: 2 * t), NAMES) is None
    assert index_columns([np.array([[1.0], [2.0]])], ("a",)) is None  # two numbers say nothing


def test_a_column_of_two_values_is_named() -> None:
    found = two_valued_columns(beside(lambda t: t % 2 * 1e-7 + 1), NAMES)
    assert found is not None
    assert found.startswith("column 'b' holds only two values (1, 1.0000001)")
    assert two_valued_columns(beside(lambda t: t % 3), NAMES) is None


def test_several_columns_are_named_together() -> None:
    x = [np.concatenate([s, s], axis=1) for s in beside(lambda t: 0 * t)]
    found = constant_columns(x, ("a", "b", "c", "d"))
    assert found is not None
    assert found.startswith("columns 'b', 'd' are" if "are" in found else "columns 'b', 'd' each the same")


def test_the_columns_of_ones_own_real_data_are_looked_at() -> None:
    data = zf.Sequences(beside(lambda t: t), names=NAMES)
    assert [message.split(" ")[1] for message in suspicions(data, None)] == ["'b'"]
    assert suspicions(zf.Sequences(NOISE), None) == []
    binary = zf.Sequences([[0, 1, 1]] * 5, kind="binary")
    assert suspicions(binary, None) == []


# ---- splits and files


def test_the_same_sequences_in_two_splits_are_found() -> None:
    data = zf.Sequences(NOISE)
    for valid, words in ((data, "are the same sequences"), (data[1:], "all 2 sequences of the validation split are")):
        found = same_content(data, valid)
        assert found is not None
        assert words in found
    assert same_content(data[:1], data[1:]) is None
    assert same_content(data, zf.Sequences([NOISE[0] + 1, NOISE[1]])) is None


def test_one_file_for_two_splits_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert same_file("a.csv", "b.csv", name="valid") is None
    found = same_file("a.csv", str(tmp_path / "a.csv"), name="test")
    assert found is not None
    assert found.startswith("data.test_path is the file that is trained on")
    data = Table("a.csv", valid_path="./a.csv", test_path="b.csv")
    assert [message.split(" ")[0] for message in data.suspicions()] == ["data.valid_path"]


def test_flat_rows_that_another_array_cuts_are_found(tmp_path: Path) -> None:
    rows, lens = np.concatenate([NOISE[0]] * 2), np.array([5, 3, 4])
    file = tmp_path / "mine.npz"
    np.savez(file, x=rows.repeat(2, axis=1), lens=lens, other=np.array([1.5]), ids=np.array(["a"]))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("notes.txt", "no array")
    (found,) = Arrays(str(file)).suspicions()
    assert "x [12, 2] is read as 12 sequences of 2 steps of one number, but lens [3] sums to 12: " in found
    assert "set data.lengths lens" in found
    assert Arrays(str(file), lengths="lens").suspicions() == []
    for arrays in ({"lengths": lens}, {"lens": lens + 1}, {"lens": np.ones(12, int)}, {"lens": lens.astype(float)}):
        np.savez(file, x=rows, **arrays)
        assert flat_rows(file, "mine.npz", array="x", lengths="lengths") is None, arrays


# ---- what was read


def test_a_split_is_told_on_one_line() -> None:
    x = [5 + 2 * s for s in beside(lambda t: t % 3)]
    x[0][0, 0] = np.nan
    data = zf.Sequences(x, names=NAMES, inputs=NOISE, input_names=["heat"])
    std = data.description.normalization
    assert std is not None
    assert read_line("train", data) == (
        "train: 3 sequences of 4..6 steps (15 in all); 2 real columns (a, b), 1 known input (heat), 3.33% missing; "
        f"normalized (standard deviation {min(std.std):.3g}..{max(std.std):.3g} in your units)"
    )


def test_other_kinds_have_their_words() -> None:
    symbols = zf.Sequences([[0, 2, 1]], kind="categorical")
    assert read_line("valid", symbols) == "valid: 1 sequence of 3 steps (3 in all); 3 categories, nothing missing"
    plain = read_line("train", zf.Sequences(NOISE, normalize=False))
    assert plain.endswith("; 1 real dim a step, nothing missing; in your units, not normalized")
    recordings = InMemory([Example(np.zeros((2, 4), np.float32))])
    spec, scaling = ObservationSpec("real", 4), Normalization((0.0,) * 4, (9.0,) * 4)
    recordings.description = DataDescription("speech", spec, 2, scaling, AudioFormat(8000))
    assert read_line("train", recordings) == (
        "train: 1 sequence of 2 steps (2 in all); 4 real dims a step, nothing missing; 8000 samples per second; "
        "normalized (standard deviation 9 in your units)"
    )
    recordings.description = None
    assert read_line("train", recordings) == "train: 1 sequence of 2 steps (2 in all)"


# ---- the commands

SMALL = ["--model.hidden_size", 2, "--training.max_steps", 1, "--training.backend", "reference"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def test_train_and_info_say_what_they_read_and_what_looks_wrong(tmp_path: Path, zf: Command) -> None:
    """The number of the row as a column, the training file as that of validation."""
    rows = [f"{row},{row // 6},{value:.5f},{row % 2}" for row, value in enumerate(DRAW.normal(size=36))]
    file = tmp_path / "rows.csv"
    file.write_text("row,trip,a,on\n" + "\n".join(rows) + "\n")
    words = ["--data.path", file, "--data.sequence", "trip", "--data.valid_path", file, *SMALL]
    result = zf("train", "table-rnn", *words, "--run-dir", tmp_path / "run")
    assert result.code == 0
    lines = result.err.splitlines()
    read = "train: 5 sequences of 6 steps (30 in all); 3 real columns (row, a, on), nothing missing; normalized"
    assert read in result.err
    assert sum(line.startswith("valid: 6 sequences of 6 steps (36 in all)") for line in lines) == 1
    told = [line for line in lines if line.startswith("warning: ")]
    for fragment in (
        "data.valid_path is the file that is trained on",
        "column 'row' counts up by 1",
        "column 'on' holds only two values (0, 1)",
    ):
        assert sum(fragment in line for line in told) == 1, fragment
    said = zf("info", tmp_path / "run", "--data", "--json").json
    assert [line.split(":")[0] for line in said["read"]] == ["train", "valid", "test"]
    assert {f"warning: {message}" for message in said["warnings"]} == set(told)
    assert "warning: column 'on'" in zf("info", tmp_path / "run", "--data").out
    assert "--data needs a run" in zf("info", "--data").mistake


def test_fit_says_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    data = zf.Sequences(beside(lambda t: 0 * t), names=NAMES)
    zf.fit(zf.RNN.for_data(data, hidden_size=2), data, data, max_steps=1, backend="reference")
    said = capfd.readouterr().err
    assert "train: 3 sequences of 4..6 steps" in said
    assert "warning: column 'b' is the same at every training step" in said
    assert "warning: the training split and the validation split are the same sequences" in said


def test_a_column_that_hardly_varies_is_named(tmp_path: Path, zf: Command) -> None:
    """1.0000001 and 1: the standard deviation is what rounding leaves."""
    rows = [f"{row // 6},{v:.5f},{1 + (row % 6 == 0) * 1e-7:.7f}" for row, v in enumerate(DRAW.normal(size=36))]
    file = tmp_path / "near_constant.csv"
    file.write_text("trip,a,b\n" + "\n".join(rows) + "\n")
    words = ["--data.path", file, "--data.sequence", "trip", *SMALL]
    said = zf("train", "table-rnn", *words, "--run-dir", tmp_path / "run").err
    assert "column 'b' hardly varies in the training split" in said
    assert "warning: column 'b' holds only two values (1, 1.0000001)" in said


def test_a_file_of_somebody_without_a_home_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.test_path ~nobody-is-called-so/a.csv: has no home folder"):
        same_file(str(tmp_path / "a.csv"), "~nobody-is-called-so/a.csv", name="test")
