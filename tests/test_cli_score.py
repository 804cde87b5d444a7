"""`score` and `stream` as a user runs them: on a table of machines, digits and text."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zforcing
from conftest import Command, Result
from table_runs import STEPS_EACH
from zforcing.cli.rows import lines_of, read_rows
from zforcing.errors import UserError
from zforcing.files.reading import Array
from zforcing.observations import DataDescription, ObservationSpec, TableFormat
from zforcing.observations.columns import CategoryColumn, RealColumn
from zforcing.tasks.filtering import Nats, nats_of
from zforcing.tasks.scores import Scores

Pipe = Callable[..., Result]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(table_runs: Path) -> Path:
    """Runs of two updates, on a table without and with inputs and on digits, and the table's files."""
    return table_runs


@pytest.fixture
def pipe(zf: Command, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """`stream` with lines on stdin."""

    def call(run: Path, lines: str, *words: object) -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return zf("stream", run, "--device", "cpu", *words)

    return call


def json_lines(result: Result) -> list[dict[str, object]]:
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


# ---- score


def test_a_split_is_scored_into_a_table_in_the_run(folder: Path, zf: Command) -> None:
    values = zf("score", folder / "table", "--particles", 4, "--device", "cpu", "--json").json
    assert values["file"] == str(folder / "table" / "scores" / "test-causal-seed0.csv")
    frame = pd.read_csv(values["file"])
    assert list(frame) == ["sequence", "step", "nats", "nats_speed", "nats_heat"]
    assert (values["num_sequences"], values["num_steps"], len(frame)) == (2, 24, 24)
    assert (values["kind"], values["relation"], values["unit"]) == ("causal", "estimate", "nats of a density")
    assert values["nats_per_step"] == pytest.approx(frame["nats"].mean())
    assert values["nats_per_sequence"] == pytest.approx(frame.groupby("sequence")["nats"].sum().mean())


def test_a_file_is_scored_as_in_python_with_its_own_names(folder: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "scores.npz"
    words = ["score", folder / "table", folder / "test.csv", "--particles", 4, "--seed", 3, "--out", out]
    first, second, last = zf(*words, "--device", "cpu").out.splitlines()
    assert re.fullmatch(
        r"log p\(x\) ≈ -[0-9.]+ ± [0-9.]+ nats per sequence in the data's own units \(estimate, causal; .*", first
    )
    assert "nats per step; 4 particles, " in second
    assert last == f"each step: {out} (all numbers: --json, --all)"
    assert "effective_particles" in zf(*words, "--device", "cpu", "--all").out
    model = zforcing.load(folder / "table")
    data = zforcing.Sequences.from_frame(pd.read_csv(folder / "test.csv"), by="machine", columns=["speed", "heat"])
    expected = zforcing.score(model, data, particles=4, seed=3)
    with np.load(out) as arrays:
        assert arrays["sequence"].tolist() == ["m0"] * STEPS_EACH + ["m1"] * STEPS_EACH
        np.testing.assert_allclose(arrays["nats"], np.concatenate(expected.nats), rtol=1e-5)


def test_a_threshold_marks_alarms_and_labels_give_detection(folder: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "s.csv"
    words = ["score", folder / "driven", folder / "test.csv", "--particles", 2, "--labels", "fault", "--out", out]
    words += ["--threshold-from", "valid", "--false-alarms", 0.1, "--device", "cpu"]
    values = zf(*words, "--json").json
    frame = pd.read_csv(out)
    assert values["threshold_steps"] == 3 * STEPS_EACH
    assert values["alarms"] == frame["alarm"].sum()
    assert (frame["alarm"] == (frame["nats"] < values["threshold"])).all()
    detection = values["detection"]
    assert (detection["steps"], detection["anomalous"], detection["fitted_to"]) == (24, 4, "valid")
    assert set(detection["of"]) == {"zforcing", "random", "independent Gaussian", "full Gaussian", "VAR(1)", "change"}
    assert detection["of"]["independent Gaussian"]["auroc"] > 0.9
    shown = zf(*words).out
    assert (
        f"alarms: {values['alarms']} of 24 steps, below {values['threshold']:.4f} nats (of 36 usual steps 3 are)"
        in shown
    )
    assert "4 of 24 steps are anomalous" in shown
    assert "baselines fitted to: valid" in shown
    assert "average precision" in shown


def test_labels_may_have_a_file_of_their_own(folder: Path, tmp_path: Path, zf: Command) -> None:
    labels = pd.read_csv(folder / "test.csv")["fault"].to_numpy()
    np.save(tmp_path / "labels.npy", labels.reshape(1, -1))
    pd.DataFrame({"fault": labels}).to_csv(tmp_path / "labels.csv", index=False)
    words = ["score", folder / "table", "--particles", 2, "--kind", "smoothed", "--device", "cpu", "--json"]
    found = [zf(*words, "--labels", tmp_path / f"labels.{s}").json["detection"] for s in ("npy", "csv")]
    assert found[0] == found[1]
    assert found[0]["anomalous"] == 4
    assert zf(*words).json["reads"] == "future"  # of Z-Forcing


def test_baselines_are_fitted_to_the_training_split_or_it_is_said_that_they_cannot_be(
    folder: Path, tmp_path: Path, zf: Command
) -> None:
    words = [folder / "test.csv", "--particles", 2, "--labels", "fault", "--device", "cpu", "--json"]
    words += ["--out", tmp_path / "s.csv"]
    asked, by_default = (
        zf("score", folder / "table", *words, *more).json
        for more in (["--threshold-from", "train", "--false-alarms", 0.1], [])
    )
    assert by_default["detection"] == asked["detection"]
    assert by_default["detection"]["fitted_to"] == "train"
    zforcing.save(tmp_path / "alone", zforcing.load(folder / "table"))
    alone = zf("score", tmp_path / "alone", *words).json["detection"]
    assert alone["fitted_to"] == "the scored data itself"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_of_true_and_false_are_1_and_0_and_other_text_is_refused(
    suffix: str, folder: Path, tmp_path: Path, zf: Command
) -> None:
    frame = pd.read_csv(folder / "test.csv")
    frame["broken"], frame["state"] = frame["fault"] == 1, np.where(frame["fault"] == 1, "broken", "as usual")
    file = tmp_path / f"test.{suffix}"
    frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file, index=False)
    words = ["score", folder / "table", file, "--particles", 2, "--device", "cpu", "--out", tmp_path / "s.csv"]
    one, other = (zf(*words, "--labels", name, "--json").json["detection"] for name in ("fault", "broken"))
    assert one == other
    message = "column 'state' holds text, such as 'as usual', 'broken'; labels must be 0 or 1"
    assert message in zf(*words, "--labels", "state").mistake
    frame[["state"]].to_csv(tmp_path / "labels.csv", index=False)
    assert message in zf(*words, "--labels", tmp_path / "labels.csv").mistake


def test_too_few_effective_particles_are_one_line_on_stderr(
    folder: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["score", folder / "table", "--particles", 16, "--device", "cpu", "--json"]
    usual = zf(*words)
    assert usual.json["effective_particles"] > 5
    assert "particles" not in usual.err

    def of_one(log_w: Array) -> tuple[Nats, Array]:
        nats, weights = nats_of(log_w)
        return nats._replace(effective=np.ones(2)), weights

    monkeypatch.setattr("zforcing.tasks.filtering.nats_of", of_one)
    short = [line for line in zf(*words).err.splitlines() if "particles explain" in line]
    assert len(short) == 1
    assert short[0].startswith("at 24 of 24 steps fewer than 5 of the 16 particles explain")
    monkeypatch.setattr(Scores, "remark", "whatever it says")  # Python's warnings are errors here
    words += ["--threshold-from", "test", "--false-alarms", 0.1]
    assert zf(*words).err.splitlines() == ["whatever it says", "--threshold-from test: whatever it says"]


def test_labels_that_are_not_there_are_named_beside_what_is(folder: Path, tmp_path: Path, zf: Command) -> None:
    words = ["score", folder / "table", folder / "test.csv", "--particles", 1, "--device", "cpu", "--labels"]
    said = zf(*words, "broken").mistake
    assert said.startswith("zforcing: --labels broken: file ")
    assert said.endswith("test.csv: has no column 'broken'; it has time, machine, speed, heat, load, fault")
    np.savez(tmp_path / "y.npz", y=np.zeros(24))
    assert zf(*words, tmp_path / "y.npz").mistake.endswith("y.npz: has no array 'labels'; it has y")
    (tmp_path / "csvs").mkdir()
    (tmp_path / "csvs" / "a.csv").write_bytes((folder / "test.csv").read_bytes())
    words[2] = tmp_path / "csvs"
    assert "a folder or a split has no such column" in zf(*words, "fault").mistake


@pytest.mark.parametrize("command", ["score", "forecast", "impute", "encode"])
def test_where_out_cannot_be_written_nothing_is_computed(command: str, tmp_path: Path, zf: Command) -> None:
    assert "its suffix is '.txt'" in zf(command, tmp_path / "no-run", "--out", "x.txt").mistake
    (tmp_path / "a.csv").touch()
    refused = zf(command, tmp_path / "no-run", "--out", tmp_path / "a.csv" / "x.csv").mistake
    assert f"{tmp_path / 'a.csv'} is a file, not a folder" in refused
    assert "--out is empty" in zf(command, tmp_path / "no-run", "--out", "").mistake


def test_digits_are_scored_exactly_by_a_model_without_latents(folder: Path, zf: Command) -> None:
    values = zf("score", folder / "digits", "--split", "valid", "--device", "cpu", "--json").json
    assert (values["relation"], values["particles"], values["unit"]) == ("exact", 1, "nats of a probability")
    evaluated = zf("evaluate", folder / "digits", "--split", "valid", "--device", "cpu", "--json").json
    assert values["nats_per_sequence"] == pytest.approx(evaluated["nats_per_sequence"], rel=1e-5)


def test_what_the_model_gives_no_probability_is_text_in_json(
    folder: Path, tmp_path: Path, zf: Command, pipe: Pipe
) -> None:
    """JSON has no infinity."""
    (tmp_path / "huge.csv").write_text("machine,speed,heat\nm,1e30,1\nm,1,1\n")
    values = zf("score", folder / "table", tmp_path / "huge.csv", "--particles", 2, "--device", "cpu", "--json").json
    assert values["nats_per_step"] == "-inf"
    steps = json_lines(pipe(folder / "table", (tmp_path / "huge.csv").read_text(), "--particles", 2))
    assert steps[0]["nats"] == "-inf"


def test_gaps_that_a_model_does_not_know_are_to_be_filled(folder: Path, tmp_path: Path, zf: Command) -> None:
    (tmp_path / "gaps.csv").write_text("machine,speed,heat\nm,1,\nm,1,1\n")
    said = zf("score", folder / "table", tmp_path / "gaps.csv", "--device", "cpu").mistake
    assert "fill it first (zforcing impute), or train with data.missing allow" in said


def test_gaps_by_a_mask_are_gaps(tmp_path: Path) -> None:
    seen = np.array([[[True], [False], [True]]])
    np.savez(tmp_path / "gaps.npz", x=np.ones((1, 3, 1)), observed=seen)
    kind = TableFormat(array="x", observed="observed")
    described = DataDescription("d", ObservationSpec("real", 1), longest=3, format=kind)
    with pytest.raises(UserError, match=r"1\.0 at sequence 0, step 1.*fill it first \(zforcing impute\)"):
        kind.read(str(tmp_path / "gaps.npz"), described)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "filtered"], "--kind"),
        (["--false-alarms", 0.1], "--false-alarms needs --threshold-from"),
        (["--threshold-from", "valid"], "can't be told from 36 scored steps, it takes 1000 or more"),
        (["--labels", "fault"], "a split has no such column"),
        (["test.csv", "--split", "valid"], "leave it out, or the file"),
        (["none.csv"], "no such file"),
        (["none"], "file none: no such file, and its suffix is ''"),
        (["tset:0"], "tset:0: sequences of a split are written test:0"),
        (["test:a"], "test:a: sequences of a split are written test:0"),
        (["test.csv", "--labels", "speed"], "--labels speed: labels must be 0 (as usual) or 1"),
        (["--out", "scores.txt"], r"its suffix is '.txt'"),
        (["--labels", "none.npy"], "no such file"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, folder: Path, zf: Command) -> None:
    given = [folder / word if word == "test.csv" else word for word in words]
    assert message in zf("score", folder / "table", *given, "--particles", 1, "--device", "cpu").mistake


# ---- stream


def test_a_stream_of_rows_says_what_score_says(folder: Path, zf: Command, pipe: Pipe) -> None:
    """Two machines, one after the other, with a header as in the file."""
    text = (folder / "test.csv").read_text()
    steps = json_lines(pipe(folder / "table", text, "--particles", 4, "--threshold", -8))
    values = zf("score", folder / "table", "--particles", 4, "--device", "cpu", "--json").json
    frame = pd.read_csv(values["file"])
    assert [s["sequence"] for s in steps] == ["m0"] * STEPS_EACH + ["m1"] * STEPS_EACH
    assert [s["step"] for s in steps] == [*range(STEPS_EACH)] * 2
    np.testing.assert_allclose([s["nats"] for s in steps], frame["nats"], rtol=1e-5)
    assert [s["alarm"] for s in steps] == (frame["nats"] < -8).tolist()
    assert set(steps[0]["features"]) == {"speed", "heat"}
    assert set(steps[0]["forecast"]) == {"mean", "std"}


def test_score_and_stream_take_the_same_proposal(folder: Path, zf: Command, tmp_path: Path, pipe: Pipe) -> None:
    text, by = (folder / "test.csv").read_text(), ["--particles", 4, "--proposal", "mixture"]
    nats = [s["nats"] for s in json_lines(pipe(folder / "table", text, *by))]
    values = zf("score", folder / "table", *by, "--device", "cpu", "--out", tmp_path / "s.csv", "--json").json
    assert values["proposal"] == "mixture"
    np.testing.assert_allclose(nats, pd.read_csv(tmp_path / "s.csv")["nats"], rtol=1e-5)
    assert nats != [s["nats"] for s in json_lines(pipe(folder / "table", text, *by[:2]))]


def test_scores_by_the_mixture_have_a_file_of_their_own(folder: Path, zf: Command) -> None:
    words = ["score", folder / "table", "test:0", "--particles", 4, "--proposal", "mixture", "--device", "cpu"]
    assert zf(*words, "--json").json["file"].endswith("-causal-mixture-seed0.csv")
    smoothed = zf(*words, "--kind", "smoothed", "--json").json
    assert smoothed["file"].endswith("-smoothed-seed0.csv")
    assert smoothed["proposal"] is None


def test_a_stream_that_was_begun_with_another_proposal_is_refused(folder: Path, tmp_path: Path, pipe: Pipe) -> None:
    for begun, other in (("prior", "mixture"), ("mixture", "prior")):
        state = ["--state", tmp_path / begun]
        json_lines(pipe(folder / "digits", "1\n", *state, "--proposal", begun))
        json_lines(pipe(folder / "digits", "1\n", *state))
        message = pipe(folder / "digits", "1\n", *state, "--proposal", other).mistake
        assert f"--proposal is {other}, but {tmp_path / begun} was begun with {begun}" in message


def test_json_and_csv_lines_are_the_same_to_a_stream(folder: Path, pipe: Pipe) -> None:
    rows = [{"machine": "m0", "heat": 3.5, "speed": 100 + t, "load": t} for t in range(3)]
    header = "load,speed,heat,machine\n" + "".join(f"{r['load']},{r['speed']},{r['heat']},m0\n" for r in rows)
    objects = "\n".join(map(json.dumps, rows)) + "\n\n"
    one, other = (json_lines(pipe(folder / "driven", t, "--particles", 2)) for t in (header, objects))
    assert one == other
    assert one[0]["forecast"] is None  # it needs the next step's load


def test_a_stream_of_one_sequence_goes_on_from_its_state(folder: Path, tmp_path: Path, pipe: Pipe) -> None:
    rows = [[float(v > 0)] for v in np.random.default_rng(0).standard_normal(10)]
    lines = [json.dumps(row) for row in rows]
    whole = json_lines(pipe(folder / "digits", "\n".join(lines)))
    state = ["--state", tmp_path / "state"]
    parts = [json_lines(pipe(folder / "digits", "\n".join(part), *state)) for part in (lines[:4], lines[4:])]
    assert [s["step"] for s in parts[1]] == list(range(4, 10))
    np.testing.assert_allclose([s["nats"] for part in parts for s in part], [s["nats"] for s in whole], rtol=1e-5)


def test_quantiles_are_asked_for(folder: Path, pipe: Pipe) -> None:
    (step,) = json_lines(pipe(folder / "digits", "1\n", "--quantiles"))
    forecast = step["forecast"]
    assert isinstance(forecast, dict)
    assert set(forecast["quantiles"]) == {"0.05", "0.5", "0.95"}


@pytest.mark.parametrize(
    ("run", "lines", "message"),
    [
        ("table", "speed,heat\n1,2\n", "line 1: has no column machine"),
        ("table", "machine,speed\nm,1\n", "line 1: has no column heat"),
        ("table", "machine,speed,heat\nm,1\n", "line 2: has 2 cells under 3 columns"),
        ("table", "machine,speed,heat\nm,1,fast\n", "line 2: 'fast' is not a number"),
        ("table", "machine,speed,heat\nm,1,\n", "x_t has a missing number"),
        ("digits", "1\n2\n", "0 or 1"),
        ("digits", "1\n1,1\n", "line 2: has 2 numbers; the model reads 1"),
        ("digits", "{1}\n", "line 1: is no JSON"),
        ("digits", '{"y": 1}\n', "line 1: has no 'x'"),
        ("digits", '["a"]\n', "line 1: 'a' is not a number"),
    ],
)
def test_a_line_that_does_not_fit_is_named(run: str, lines: str, message: str, folder: Path, pipe: Pipe) -> None:
    result = pipe(folder / run, lines)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_row_that_the_model_does_not_read_is_named(folder: Path, pipe: Pipe) -> None:
    result = pipe(folder / "table", "machine,speed,heat\nm0,1,2\nm0,,2\n", "--particles", 1)
    assert result.err.startswith("zforcing: row 2: x_t has a missing number, but the model was trained on data without")


def test_a_state_is_of_one_sequence(folder: Path, tmp_path: Path, pipe: Pipe) -> None:
    assert "--state is of one sequence" in pipe(folder / "table", "", "--state", tmp_path / "s").mistake


def test_a_state_that_cannot_be_written_is_said_before_a_row_is_read(folder: Path, tmp_path: Path, pipe: Pipe) -> None:
    result = pipe(folder / "digits", "1\n", "--state", tmp_path / "none" / "state")
    assert "there is no folder" in result.mistake
    assert not result.out


def test_a_state_has_particles_and_a_seed(folder: Path, tmp_path: Path, pipe: Pipe) -> None:
    zforcing.save(tmp_path / "model", _of_one_sequence())
    words = ["--state", tmp_path / "state"]
    json_lines(pipe(tmp_path / "model", "1\n", *words, "--particles", 4, "--seed", 2))
    for other in (["--particles", 3], ["--seed", 5], ["--seed", 0]):
        assert (
            f"{other[0]} is {other[1]}, but {tmp_path / 'state'} was begun with"
            in pipe(tmp_path / "model", "1\n", *words, *other).err
        )
    for same in ([], ["--particles", 4, "--seed", 2]):
        json_lines(pipe(tmp_path / "model", "1\n", *words, *same))


def _of_one_sequence() -> zforcing.SequenceModel:
    """A model with latents of data whose rows name no sequence."""
    return zforcing.VRNN.for_data(
        zforcing.Sequences([[1.0, 2.0, 4.0]]), hidden_size=3, latent_size=2, feature_size=3, mlp_size=3, mlp_layers=1
    )


def test_rows_without_names_stand_in_the_models_order() -> None:
    described = DataDescription("d", ObservationSpec("real", 2, inputs=1, missing=True), longest=3)
    lines = ["1,,3", "[1, null, 3]", '{"x": [1, null], "inputs": 3}']
    assert len({str(row) for row in read_rows(lines, described)}) == 1
    alone = replace(described, spec=ObservationSpec("real", 2, missing=True))
    assert len({str(row) for row in read_rows(["1,", "[1, null]", '{"x": [1, null]}'], alone)}) == 1
    headed = ["a,b,u", "1,,3"]
    assert next(read_rows(headed, described)) == next(read_rows(lines, described))
    with pytest.raises(UserError, match="has 2 columns of numbers; the model reads 3"):
        next(read_rows(["a,b", "1,2"], described))
    category = DataDescription("d", ObservationSpec("categorical", 9), longest=3, format=TableFormat(names=("key",)))
    assert [row.x for row in read_rows(["key", "4", '{"key": 5}'], category)] == [[4.0], [5.0]]
    assert not math.isnan(next(read_rows(["4"], category)).x[0] or 0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("1" * 10**7 + "1", "line 1: has no end within 10000000 characters"),
        ("[1, 1" + "0" * 400 + "]", "line 1: .*is not a number"),
        ("[" * 100_000, "line 1: is no JSON"),
        ("a,a\n1,2", "line 1: has column a more than once"),
    ],
)
def test_a_hostile_line_is_named(lines: str, said: str) -> None:
    described = DataDescription("d", ObservationSpec("real", 2, missing=True), longest=3)
    with pytest.raises(UserError, match=said):
        list(read_rows(lines_of(io.StringIO(lines)), described))


def test_a_row_without_the_name_of_its_sequence_is_refused() -> None:
    described = DataDescription(
        "d", ObservationSpec("real", 1), longest=3, format=TableFormat(names=("a",), sequence="trip")
    )
    for row in ('{"a": 1, "trip": null}', '{"a": 1, "trip": ""}', "trip,a\n,1"):
        with pytest.raises(UserError, match="'trip' is empty; it names the row's sequence"):
            list(read_rows(row.splitlines(), described))


def test_a_header_is_told_by_the_names_of_the_models_columns() -> None:
    columns = (RealColumn(), CategoryColumn(2, ("on", "off")))
    spec = ObservationSpec("mixed", 2, columns=columns)
    described = DataDescription("d", spec, longest=3, format=TableFormat(names=("heat", "state")))

    def rows(*lines: str) -> list[list[float | None]]:
        return [row.x for row in read_rows(lines, described)]

    assert rows("2,on", "3,off") == rows("heat,state", "2,on", "3,off") == rows("state,heat", "on,2", "off,3")
    assert rows("2,on", "3,off") == [[2, 0], [3, 1]]
    numbered = replace(described, format=TableFormat(names=("0", "1")))
    assert [row.x for row in read_rows(["1,0", "on,5"], numbered)] == [[5, 0]]
    for first, said in (("2,broken", "'broken' is no category"), ("t,u", "no column heat, state"), ("heat,u", "state")):
        with pytest.raises(UserError, match=f"line 1: .*{said}"):
            rows(first)


def test_the_files_of_a_folder_name_their_sequences(folder: Path, tmp_path: Path, zf: Command) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", x=np.ones((1, 3, 1)))
    values = zf("score", folder / "digits", tmp_path, "--out", tmp_path / "s.csv", "--device", "cpu", "--json").json
    frame = pd.read_csv(values["file"])
    assert frame["sequence"].tolist() == ["a.npz"] * 3 + ["b.npz"] * 3
