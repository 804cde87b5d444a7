"""Tables whose rows have a time: sorted, their gaps reported, cut or filled; splits by time; windows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import Command
from zforcing import Sequences, UserError
from zforcing.data import Arrays, Table
from zforcing.observations import read_file

SMALL = ["--model.hidden_size", 2, "--training.max_steps", 1, "--training.backend", "reference"]
NAN = np.nan


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def write(folder: Path, *rows: str, header: str = "trip,time,v") -> str:
    file = folder / "mine.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return str(file)


def whole(path: str, **settings: Any) -> Sequences:
    """All rows of a table, whatever their split."""
    data = Table(path, sequence="trip", order="time", normalize=False, **settings)
    rows = data.read_file(path, setting="data.path")
    return Sequences(np.split(rows.values, np.cumsum(rows.lengths)[:-1]), normalize=False)


def lists(data: Sequences) -> list[Any]:
    return [x[:, 0].tolist() for x in data.to_arrays()]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- sorting


@pytest.mark.parametrize(
    "times",
    [
        ("0", "1", "2", "3"),
        ("-1.5", "0.25", "1e3", "1e4"),
        ("2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"),
        ("2024-01-01 09:00", "2024-01-01 10:00", "2024-01-01T11:00:00", "2024-01-01T12:00:00.5"),
        ("2024-01-01T09:00Z", "2024-01-01T11:00+01:00", "2024-01-01T11:00Z", "2024-01-01T12:00Z"),
        ("1700000000000000001", "1700000000000000002", "1700000000000000003", "1700000000000000004"),
    ],
)
def test_rows_of_a_sequence_are_sorted_by_time(tmp_path: Path, times: tuple[str, ...]) -> None:
    a, b, c, d = times
    path = write(tmp_path, f"x,{c},3", f"y,{d},8", f"x,{a},1", f"x,{b},2", f"y,{a},7")
    assert lists(whole(path)) == [[1, 2, 3], [7, 8]]


def test_parquet_has_times_of_every_type(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    numbers = [2, 0, 1]
    moments = [np.datetime64("2024-01-01T00:00:00") + np.timedelta64(n, "h") for n in numbers]
    zoned = pa.array(moments).cast(pa.timestamp("us", tz="Europe/Berlin"))
    text = [f"2024-01-0{n + 1}" for n in numbers]
    for times in (numbers, [float(n) for n in numbers], moments, zoned, text, pa.array(moments).cast(pa.date64())):
        table = pa.table({"trip": ["x"] * 3, "time": times, "v": [3.0, 1.0, 2.0]})
        if not isinstance(times, list) and str(times.type).startswith("date64"):
            continue  # three moments of one day
        parquet.write_table(table, tmp_path / "mine.parquet")
        assert lists(whole(str(tmp_path / "mine.parquet"))) == [[1, 2, 3]], times


def test_inputs_and_gaps_in_values_move_with_their_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "x,2,,20", "x,1,1,10", header="trip,time,v,heat")
    rows = Table(path, sequence="trip", order="time", inputs=["heat"], missing="allow").read_file(path, setting="")
    np.testing.assert_equal(rows.values, [[1], [NAN]])
    np.testing.assert_equal(rows.inputs, [[10], [20]])
    assert rows.columns == ("v",)
    assert rows.lines is not None
    assert rows.lines.tolist() == [3, 2]


def test_the_time_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path, "x,1,5", "y,1,6", "z,1,7")
    assert Table(path, sequence="trip", order="time").describe().spec.size == 1
    assert "neither data.sequence nor data.order" in refused(
        lambda: Table(path, sequence="trip", order="time", columns=["time", "v"]).describe()
    )
    assert "has no column 'when'" in refused(lambda: Table(path, sequence="trip", order="when").describe())


# ---- gaps


HOURS = [f"x,2024-01-01T{hour:02d}:00,{hour}" for hour in (0, 1, 2, 6, 7)]


def test_gaps_are_told_and_kept(tmp_path: Path) -> None:
    path = write(tmp_path, *HOURS)
    rows = Table(path, sequence="trip", order="time").read_file(path, setting="")
    assert rows.lengths.tolist() == [5]
    assert rows.remark == (
        "1 of 4 steps come more than 1.5 median intervals (1 h) after the one before; the longest, 4 h, before time "
        "2024-01-01 06:00:00 of sequence 'x'"
    )


def test_sequences_are_split_at_gaps(tmp_path: Path) -> None:
    path = write(tmp_path, *HOURS)
    assert lists(whole(path, gaps="split")) == [[0, 1, 2], [6, 7]]
    assert lists(whole(path, gaps="split", max_gap=4.5)) == [[0, 1, 2, 6, 7]]


def test_gaps_are_filled_with_missing_steps(tmp_path: Path) -> None:
    path = write(tmp_path, *HOURS, *(row.replace("x", "y") for row in HOURS), *(row.replace("x", "z") for row in HOURS))
    data = Table(path, sequence="trip", order="time", gaps="fill", normalize=False)
    description = data.describe()
    assert description.spec.missing
    train = data.load("train", description)
    np.testing.assert_equal(train.raw(0)[:, 0], [0, 1, 2, NAN, NAN, NAN, 6, 7])
    assert "filled with missing steps" in train.remark
    assert data.load("test", description).remark == ""  # it is said once
    regular = write(tmp_path, *(f"{trip},{t},{t}" for trip in "xyz" for t in range(4)))
    assert Table(regular, sequence="trip", order="time", gaps="fill").describe().spec.missing  # of other files


REFUSED: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "two rows of a time": ({}, ["x,1,5", "x,1,6"], ["two rows at time 1", "in data.sequence"]),
    "no time": ({}, ["x,,5", "x,1,6"], ["line 2, column 'time' holds ''", "a moment like 2024-03-01"]),
    "another date": ({}, ["x,03/01/2024,5"], ["holds '03/01/2024'"]),
    "an infinite time": ({}, ["x,1,4", "x,inf,5"], ["line 3, column 'time' is inf"]),
    "irregular steps": ({"gaps": "fill"}, ["x,0,1", "x,1,1", "x,1.2,1", "x,2.2,1"], ["0.2 after", "data.gaps split"]),
    "gaps without a time": ({"gaps": "split", "order": None}, ["x,1,5"], ["name its column in data.order"]),
    "a gap below the median": ({"max_gap": 1.0}, ["x,1,5"], ["data.max_gap is 1.0"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_order_is_refused(tmp_path: Path, case: str) -> None:
    settings, rows, fragments = REFUSED[case]
    path = write(tmp_path, *rows)
    said = refused(lambda: Table(path, **({"sequence": "trip", "order": "time"} | settings)).describe())
    assert all(fragment in said for fragment in fragments), said


def test_a_models_files_are_sorted_and_cut_as_its_data_was(tmp_path: Path) -> None:
    path = write(tmp_path, *reversed(HOURS), *(row.replace("x", "y") for row in HOURS))
    description = Table(path, sequence="trip", order="time", gaps="split", normalize=False).describe()
    assert [e.x[:, 0].tolist() for e in read_file(description.format, path, description)] == [[0, 1, 2], [6, 7]] * 2
    other = write(tmp_path, "x,1", header="trip,v")
    assert "has no column 'time', the time of each row" in refused(
        lambda: read_file(description.format, other, description)
    )


# ---- splits by time, and windows


def test_a_split_by_time_is_that_of_sequences_in_memory(tmp_path: Path) -> None:
    x = [np.arange(float(steps))[:, None] for steps in (20, 7)]
    np.savez(tmp_path / "mine.npz", x=np.concatenate(x), lengths=[20, 7])
    data = Arrays(str(tmp_path / "mine.npz"), split="time", valid_fraction=0.2, test_fraction=0.1)
    description = data.describe()
    splits = Sequences(x).split(0.7, 0.2, 0.1, how="time")
    for split, expected in zip(("train", "valid", "test"), splits, strict=True):
        found = data.load(split, description)  # type: ignore[arg-type]  # names of splits
        for mine, theirs in zip(found.to_arrays(), expected.to_arrays(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert description.normalization == splits[0].description.normalization


def test_one_sequence_is_split_by_time_beside_a_file_for_the_test(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(10.0)[None])
    np.save(tmp_path / "test.npy", np.arange(4.0)[None])
    data = Arrays(str(tmp_path / "mine.npy"), split="time", test_path=str(tmp_path / "test.npy"), valid_fraction=0.2)
    description = data.describe()
    train, valid, test = (data.load(split, description) for split in ("train", "valid", "test"))
    assert (train.lengths.tolist(), valid.lengths.tolist(), test.lengths.tolist()) == ([8], [2], [4])
    assert "data.split time" in refused(lambda: Arrays(str(tmp_path / "mine.npy")).describe())


def test_a_split_by_time_needs_steps_and_something_to_split(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(2.0)[None])
    mine = str(tmp_path / "mine.npy")
    said = refused(lambda: Arrays(mine, split="time").describe())
    assert (
        "sequence 0 has 2 steps, too few to give train, valid and test 1 each; leave it out, or set data.split" in said
    )
    assert "both other splits have files" in refused(lambda: Arrays(mine, split="time", valid_path="a", test_path="b"))


def test_long_sequences_are_cut_into_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(100.0)[None])
    settings: dict[str, Any] = {"split": "time", "normalize": False, "window": 20}
    data = Arrays(str(tmp_path / "mine.npy"), **settings, stride=15, evaluation_window=4)
    description = data.describe()
    assert description.longest == 20
    train, valid = data.load("train", description), data.load("valid", description)
    assert [x[0, 0] for x in train.to_arrays()] == [0, 15, 30, 45, 60]
    assert train.lengths.tolist() == [20] * 5
    assert valid.lengths.tolist() == [4, 4, 2]
    assert (train.description, valid.description) == (description, description)
    conditioned = Arrays(str(tmp_path / "mine.npy"), **settings, first_observation="conditioned")
    windows = conditioned.load("train", conditioned.describe()).to_arrays()
    assert [(x[0, 0], len(x)) for x in windows] == [(0, 21), (20, 21), (40, 21), (60, 20)]
    assert "set data.window too" in refused(lambda: Arrays(str(tmp_path / "mine.npy"), stride=3))


def test_the_command_line_reaches_all_of_it(tmp_path: Path, zf: Command) -> None:
    rows = [f"x,{t + 3 * (t >= 40)},{np.sin(t):.4f}" for t in range(80)]
    path = write(tmp_path, *reversed(rows))
    words = ["--data.path", path, "--data.sequence", "trip", "--data.order", "time", "--data.gaps", "split"]
    words += ["--data.split", "time", "--data.window", 16, "--data.stride", 8, *SMALL]
    result = zf("train", "table-rnn", *words, "--run-dir", tmp_path / "run")
    assert result.code == 0, result.err
    assert "train: 6 sequences of 16 steps" in result.err  # two parts of 40 steps, 32 of each to train on
    assert "1 of 79 steps come more than 1.5 median intervals (1) after the one before" in result.err
    assert "sequences are split there" in result.err
    assert zf("evaluate", tmp_path / "run", "--json").json["num_sequences"] == 2
    assert zf("evaluate", tmp_path / "run", path, "--json").json["num_sequences"] == 2


def test_the_state_is_carried_through_one_long_series(tmp_path: Path, zf: Command) -> None:
    np.save(tmp_path / "mine.npy", np.sin(np.arange(120.0))[None, :, None])
    words = ["--data.path", tmp_path / "mine.npy", "--data.split", "time", "--data.window", 24, *SMALL]
    words += ["--training.truncated_bptt_steps", 8, "--training.batch_size", 4]
    result = zf("train", "arrays-rnn", *words, "--run-dir", tmp_path / "run")
    assert result.code == 0, result.err
    assert "train: 4 sequences of 24 steps (96 in all)" in result.err  # four rows side by side, three chunks each


def test_the_pages_commands_run(tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    values = enumerate(draw.normal(size=(36, 2)))
    rows = [f"2024-01-{row % 12 + 1:02d},m{row // 12},{a:.2f},{b:.2f}" for row, (a, b) in values]
    (tmp_path / "machines.csv").write_text("\n".join(["time,machine,temperature,load", *rows]) + "\n")
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text("utf-8").partition("## A table in time")[2]
    commands = re.findall(r"^    zforcing (.*)$", re.sub(r"\\\n\s*", "", page), flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "evaluate", "info"]
    for command in commands:
        words = shlex.split(command)
        assert zf(*words, *(SMALL if words[0] == "train" else [])).code == 0, command


def test_times_are_read_to_the_nanosecond(tmp_path: Path) -> None:
    path = write(tmp_path, *(f"x,2024-01-01T00:00:00.000000{i}00,{i}" for i in (2, 1, 3)))
    assert lists(whole(path)) == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2024-01-01T00:00:00.0000000001", "times are read to the nanosecond"),
        ("1500-01-01T00:00:00.000000001", "with nanoseconds, times are in the years 1678 to 2261"),
        ("1_5", "line 2, column 'time' holds '1_5'"),
    ],
)
def test_a_time_that_would_be_another_is_refused(tmp_path: Path, time: str, said: str) -> None:
    path = write(tmp_path, f"x,{time},1")
    assert said in refused(lambda: whole(path))


def test_a_time_of_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.parquet")
    pq.write_table(pa.table({"trip": [1, 1], "time": ["2024-01-01", "x"], "v": [1.0, 2.0]}), path)
    assert "row 1 (counted from 0), column 'time' holds 'x'" in refused(lambda: whole(path))
