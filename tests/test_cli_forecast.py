"""`forecast`, `evaluate --forecast` and likelier samples as a user runs them: on readings, digits and text."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zforcing
from conftest import Command
from zforcing.data import Text

QUICK = ["--particles", 4, "--device", "cpu"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(table_runs: Path) -> Path:
    """Runs on a table without and with inputs and on digits; and a model of text that is as it was made."""
    (table_runs / "words").mkdir()
    for split in ("train", "valid", "test"):
        (table_runs / "words" / f"{split}.txt").write_text("a good film\nthe film was bad\n")
    description = Text(str(table_runs / "words")).describe()
    model = zforcing.RNN(description.spec, hidden_size=6, embedding_size=4)
    model.description = description
    zforcing.save(table_runs / "text", model)
    return table_runs


def write_loads(path: Path, machines: list[str] | None, steps: int = 3) -> None:
    """The load of steps to come: 10 i + t of machine i, or of all."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["load"] if machines is None else ["machine", "load"])
        for i, name in enumerate(machines or [""]):
            writer.writerows([*([] if machines is None else [name]), 10 * i + t] for t in range(steps))


def test_a_split_is_forecast_into_a_table_in_the_run(folder: Path, zf: Command) -> None:
    values = zf("forecast", folder / "table", "--steps", 3, "--num-samples", 20, *QUICK, "--json").json
    assert values["file"] == str(folder / "table" / "forecasts" / "test-steps3-seed0.csv")
    frame = pd.read_csv(values["file"])
    assert list(frame)[:5] == ["sequence", "step", "feature", "mean", "std"]
    assert len(frame) == 2 * 3 * 2
    assert set(frame["feature"]) == {"speed", "heat"}
    assert values["kind"] == "estimate by 20 samples from the model; the past by a particle filter with 4 particles"


def test_a_file_is_forecast_as_in_python_with_its_own_names(folder: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "ahead.npz"
    words = ["forecast", folder / "table", folder / "test.csv", "--steps", 3, "--num-samples", 20, "--seed", 3]
    printed = zf(*words, "--out", out, *QUICK).out
    assert "estimate by 20 samples" in printed
    assert str(out) in printed
    model = zforcing.load(folder / "table")
    data = zforcing.Sequences.from_frame(pd.read_csv(folder / "test.csv"), by="machine", columns=["speed", "heat"])
    expected = zforcing.forecast(model, data, steps=3, num_samples=20, particles=4, seed=3)
    with np.load(out) as arrays:
        assert arrays["sequence"].tolist() == ["m0", "m1"]
        assert arrays["names"].tolist() == ["speed", "heat"]
        np.testing.assert_allclose(arrays["samples"], np.stack(expected.samples), rtol=1e-4)


def test_inputs_of_steps_to_come_go_by_name_or_are_for_all(folder: Path, tmp_path: Path, zf: Command) -> None:
    files = {name: tmp_path / f"{name}.csv" for name in ("in_order", "turned", "all")}
    write_loads(files["in_order"], ["m0", "m1"])
    rows = files["in_order"].read_text().splitlines()
    files["turned"].write_text("\n".join([rows[0], *rows[4:], *rows[1:4]]) + "\n")
    write_loads(files["all"], None)
    np.savez(tmp_path / "array.npz", inputs=np.array([[0.0, 1, 2], [10, 11, 12]])[:, :, None])
    np.save(tmp_path / "array.npy", np.array([[0.0, 1, 2], [10, 11, 12]]))

    def samples(inputs: Path, *source: Path) -> Any:
        words = ["forecast", folder / "driven", *source, "--steps", 2, "--num-samples", 5, "--inputs", inputs]
        result = zf(*words, "--out", tmp_path / "out.npz", *QUICK, "--json")
        assert result.json["steps"] == 2
        assert "has 3 steps; the first 2 are taken for those to come" in result.err
        with np.load(tmp_path / "out.npz") as arrays:
            return arrays["samples"]

    expected = samples(files["in_order"])
    for file in (tmp_path / "array.npz", tmp_path / "array.npy"):
        np.testing.assert_array_equal(samples(file), expected)
    np.testing.assert_array_equal(samples(files["turned"], folder / "test.csv"), expected)
    np.testing.assert_array_equal(samples(files["all"])[0], expected[0])
    assert not np.array_equal(samples(files["all"])[1], expected[1])


def test_digits_are_forecast(folder: Path, tmp_path: Path, zf: Command) -> None:
    words = ["--steps", 2, "--num-samples", 4, "--batch-size", 64, *QUICK, "--json"]
    values = zf("forecast", folder / "digits", *words, "--out", tmp_path / "digits.csv").json
    assert values["past"] == "exact"
    assert pd.read_csv(tmp_path / "digits.csv")["mean"].between(0, 1).all()


def test_likelier_draws_are_named_in_files_and_output(folder: Path, tmp_path: Path, zf: Command) -> None:
    note = "temperature 0.5, top_p 0.9: no longer the model's distribution"
    likelier = ["--temperature", 0.5, "--top-p", 0.9, "--device", "cpu", "--out", tmp_path]
    words = ["sample", folder / "table", "--num", 2, "--steps", 3, *likelier]
    assert note in zf(*words).err
    values = zf(*words, "--json").json
    assert (values["note"], values["temperature"], values["top_p"]) == (note, 0.5, 0.9)
    assert str(tmp_path / "sample-temperature0.5-top-p0.9-seed0.npz") in values["files"]
    words = ["continue", folder / "table", "test:0", "--num", 2, "--steps", 3, *likelier, "--json"]
    values = zf(*words).json
    assert (values["note"], values["past"]) == (note, "filter")
    assert "temperature0.5-top-p0.9" in values["files"][0]
    assert "note" not in zf("sample", folder / "table", "--num", 1, "--steps", 1, "--out", tmp_path, "--json").json
    out = ["--out", tmp_path / "ahead.csv"]
    kind = zf("forecast", folder / "table", "--temperature", 0.5, "--steps", 1, *QUICK, *out, "--json").json["kind"]
    assert kind.endswith("temperature 0.5, top_p 1: no longer the model's distribution")


def test_the_past_of_a_continuation_may_be_the_posteriors(folder: Path, tmp_path: Path, zf: Command) -> None:
    words = ["continue", folder / "table", "test:0-1", "--num", 2, "--steps", 3, "--out", tmp_path, "--device", "cpu"]
    for past in ("filter", "posterior"):
        assert zf(*words, "--past", past, "--json").json["past"] == past


def test_forecasts_of_held_out_ends_are_measured(folder: Path, zf: Command) -> None:
    words = ["evaluate", folder / "table", "--forecast", 4, "--num-samples", 10, *QUICK]
    values = zf(*words, "--json").json
    assert (values["sequences"], values["too_short"], values["numbers"]) == (2, 0, 2 * 4 * 2)
    assert {row["name"] for row in values["rows"]} == {"zforcing", "last value", "climatology"}
    assert values["file"] == str(folder / "table" / "forecast-test-steps4-seed0.json")
    assert json.loads(Path(values["file"]).read_text())["rows"] == values["rows"]
    shown = zf(*words).out
    for word in ("95%", "1-4", "CRPS", "last value", "heat", "estimate by 10 samples"):
        assert word in shown
    model = zforcing.load(folder / "table")
    test, train = (
        zforcing.Sequences.from_frame(pd.read_csv(folder / f"{name}.csv"), by="machine", columns=["speed", "heat"])
        for name in ("test", "train")
    )
    table = zforcing.evaluate_forecast(model, test, steps=4, train=train, num_samples=10, particles=4)
    assert values["rows"][0]["crps"] == pytest.approx(table.rows[0].crps, rel=1e-4)


def test_forecasts_are_measured_with_inputs_on_files_and_without_training_data(
    folder: Path, tmp_path: Path, zf: Command
) -> None:
    words = ["--forecast", 2, "--num-samples", 4, *QUICK, "--json"]
    values = zf("evaluate", folder / "driven", folder / "test.csv", *words).json
    assert len(values["rows"]) == 3 * 3  # of 2 steps the first is the middle one too
    zforcing.save(tmp_path / "model", zforcing.load(folder / "table"))
    result = zf("evaluate", tmp_path / "model", folder / "test.csv", *words)
    assert "no baselines" in result.err
    assert {row["name"] for row in result.json["rows"]} == {"zforcing"}
    digits = zf("evaluate", folder / "digits", *words).json
    assert digits["rows"][0]["coverage"] is None


def test_samples_have_one_number_by_two_names(folder: Path, tmp_path: Path, zf: Command) -> None:
    for words in (["sample"], ["continue", "test:0"], ["encode"], ["forecast", "--steps", 1, "--particles", 2]):
        command, *more = words
        out = ["--out", tmp_path / ("out" if command in ("sample", "continue") else "out.csv")]
        for name in ("--num", "--num-samples"):
            values = zf(command, folder / "table", *more, name, 3, *out, "--device", "cpu", "--json").json
            assert values.get("num", values.get("num_samples")) == 3


def test_a_run_whose_training_data_was_moved_has_no_baselines_and_says_so(
    folder: Path, tmp_path: Path, zf: Command
) -> None:
    shutil.copytree(folder / "table", tmp_path / "moved")
    config = tmp_path / "moved" / "config.yaml"
    config.write_text(config.read_text().replace("train.csv", "elsewhere.csv"))
    words = ["evaluate", tmp_path / "moved", folder / "test.csv", "--json", "--device", "cpu"]
    for result in (zf(*words), zf(*words, "--forecast", 2, "--num-samples", 4, "--particles", 4)):
        assert result.code == 0, result.err
        assert "no baselines: the training data can't be read" in result.err
    assert {row["name"] for row in result.json["rows"]} == {"zforcing"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["forecast", "table", "--steps", 0], "--steps"),
        (["forecast", "table", "--steps", 10**9], "it must be between 1 and 100000000"),
        (["forecast", "table", "--temperature", 0], "--temperature"),
        (["forecast", "table", "--top-p", 1.2], "--top-p"),
        (["forecast", "table", "--past", "none"], "--past"),
        (["forecast", "table", "none.csv"], "no such file"),
        (["forecast", "table", "test.csv", "--split", "valid"], "leave it out, or the file"),
        (["forecast", "table", "--out", "a.txt"], r"its suffix is '.txt'"),
        (["forecast", "table", "--inputs", "test.csv"], "the model reads no known inputs; leave it out"),
        (["forecast", "text"], "use zforcing continue RUN and a beginning"),
        (["forecast", "driven"], "name a file with those of the steps to come in --inputs"),
        (["forecast", "driven", "--inputs", "none.csv"], "no such file"),
        (["forecast", "driven", "--inputs", "words/train.txt"], "its suffix is '.txt'"),
        (["forecast", "driven", "--inputs", "short.csv"], "has 3 steps to come, and --steps is 24: lower it"),
        (["forecast", "driven", "test.csv", "--inputs", "others.csv"], "has no sequence 'm0', which is to be forecast"),
        (["forecast", "driven", "--inputs", "no-load.csv"], "has no column load, which the model reads"),
        (["forecast", "driven", "--inputs", "empty-load.csv"], "inputs are known at every step"),
        (["forecast", "driven", "--inputs", "three.npy"], "has 3 sequences for 2; give one for each, or for all"),
        (["forecast", "driven", "--inputs", "wide.npy"], "has 5 inputs; the model reads 1"),
        (["evaluate", "table", "--num-samples", 5], "--num-samples goes with --forecast"),
        (["evaluate", "table", "--forecast", 12], "no sequence has more than 12 steps"),
        (["evaluate", "table", "--forecast", 2, "--bound", "iwae"], "--bound is for bounds, and --forecast"),
        (["evaluate", "table", "--forecast", 2, "--latents"], "--latents is for bounds"),
        (["evaluate", "table", "--forecast", 2, "--chunk-steps", 3], "--chunk-steps is for bounds"),
        (["evaluate", "text", "words/test.txt", "--forecast", 2], "categories have no intervals to score"),
        (["sample", "digits", "--temperature", -1], "--temperature"),
        (["continue", "digits", "test:0", "--given", 3, "--top-p", 0], "--top-p"),
    ],
)
def test_a_mistake_is_one_line(words: list[Any], message: str, folder: Path, zf: Command) -> None:
    write_loads(folder / "short.csv", ["m0", "m1"])
    write_loads(folder / "others.csv", ["x", "y"], steps=24)
    (folder / "no-load.csv").write_text("machine,weight\nm0,1\n")
    (folder / "empty-load.csv").write_text("machine,load\nm0,1\nm0,\nm1,1\n")
    np.save(folder / "three.npy", np.zeros((3, 24)))
    np.save(folder / "wide.npy", np.zeros((2, 24, 5)))
    paths = [folder / word if (folder / str(word)).exists() or word == "none.csv" else word for word in words]
    assert message in zf(*paths).mistake
