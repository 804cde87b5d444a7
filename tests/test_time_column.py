"""The column that data was ordered by, in the tables of results: each row of the user's gets its own numbers back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import zforcing
from conftest import Command
from table_runs import SMALL, STEPS
from zforcing import Sequences
from zforcing.cli import main
from zforcing.data import SequenceDataset, Table
from zforcing.data.own_files import read_own
from zforcing.files.time_text import text_of_times
from zforcing.models import SequenceModel
from zforcing.tasks.columns import by_step, write_npz

HOURS = [0, 1, 2, 3, 7, 8, 9]  # with a gap
DAY = pd.Timestamp("2024-03-01")
KINDS: dict[str, Callable[[int], Any]] = {
    "integers": lambda hour: 1_700_000_000_000_000_001 + hour,  # no float holds these
    "floats": lambda hour: hour / 4,
    "moments": lambda hour: DAY + pd.Timedelta(hours=hour),
    "nanoseconds": lambda hour: DAY + pd.Timedelta(hours=hour, nanoseconds=1),
    "moments with a zone": lambda hour: (DAY + pd.Timedelta(hours=hour)).tz_localize("Europe/Berlin"),
    "durations": lambda hour: pd.Timedelta(minutes=hour),
}


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def machines(when: Callable[[int], Any] = int, name: str = "time") -> pd.DataFrame:
    """Rows of two machines in no order; v says which one a row is: 100 m + hour."""
    rows = [("b" if m else "a", when(hour), 100.0 * m + hour) for m in (1, 0) for hour in HOURS]
    frame = pd.DataFrame(rows, columns=["machine", name, "v"])
    return frame.sample(frac=1, random_state=0, ignore_index=True)


def ordered(frame: Any, name: str = "time", **options: Any) -> Sequences:
    return Sequences.from_frame(frame, by="machine", order=name, columns=["v"], **options)


def small(data: Sequences) -> SequenceModel:
    torch.manual_seed(0)
    model = zforcing.VRNN.for_data(data, hidden_size=3, latent_size=2, feature_size=3, mlp_size=3, mlp_layers=1)
    model.backend = "reference"
    return model


def truth(table: dict[str, Any], name: str = "time") -> list[float]:
    """What v must be in each row of a table, by its sequence and its hour."""
    pairs = zip(table["sequence"].tolist(), table[name].tolist(), strict=True)
    return [100.0 * (machine == "b") + hour for machine, hour in pairs]


def values(data: SequenceDataset) -> list[float]:
    assert isinstance(data, Sequences)
    return [float(v) for x in data.to_arrays() for v in x[:, 0]]


# ---- tables


@pytest.mark.parametrize("kind", KINDS)
def test_scores_join_the_rows_that_they_are_of(kind: str) -> None:
    frame = machines(KINDS[kind])
    model = small(ordered(frame))
    in_order = frame.sort_values(["machine", "time"], ignore_index=True)
    plain = zforcing.score(model, Sequences.from_frame(in_order, by="machine", columns=["v"]), particles=2)
    assert plain.time_column is None
    assert list(plain.columns()) == ["sequence", "step", "nats", "nats_v"]

    table = zforcing.score(model, ordered(frame), particles=2).to_frame()
    assert list(table) == ["sequence", "step", "time", "nats", "nats_v"]
    joined = frame.merge(table, left_on=["machine", "time"], right_on=["sequence", "time"], how="left")
    assert joined["v"].tolist() == frame["v"].tolist()
    known = in_order.assign(known=np.concatenate(plain.nats))
    expected = frame.merge(known, on=["machine", "time"], how="left")["known"]
    np.testing.assert_allclose(joined["nats"], expected, rtol=1e-6)


def test_polars_gets_its_own_dates_back() -> None:
    start = pl.date(2024, 3, 1)
    frame = pl.from_pandas(machines()).with_columns(time=start + pl.duration(days=pl.col("time")))
    assert frame.schema["time"] == pl.Date
    columns = zforcing.score(small(ordered(frame)), ordered(frame), particles=1).columns()
    joined = frame.join(pl.DataFrame(columns), left_on=["machine", "time"], right_on=["sequence", "time"])
    assert len(joined) == len(frame)


def test_every_table_of_steps_has_the_time() -> None:
    frame = machines()
    frame.loc[frame["v"].isin([2, 103]), "v"] = np.nan
    data = ordered(frame)
    model = small(data)
    with pytest.warns(RuntimeWarning, match="take more moves or particles"):
        filled = zforcing.impute(model, data, particles=4, moves=0)
    whole = filled.columns()
    off = np.abs(whole["v"] - truth(whole)) > 1e-3
    assert set(zip(whole["sequence"][off].tolist(), whole["time"][off].tolist(), strict=True)) == {("a", 2), ("b", 3)}
    gaps = filled.gaps()
    assert sorted(zip(gaps["sequence"].tolist(), gaps["time"].tolist(), strict=True)) == [("a", 2), ("b", 3)]
    for table in (zforcing.encode(model, data).columns(), zforcing.reconstruct(model, data).columns()):
        assert list(table)[:3] == ["sequence", "step", "time"]
        assert table["time"].tolist() == HOURS * 2
    assert "time" not in zforcing.forecast(model, data, steps=1, num_samples=2, particles=2).columns()


def test_a_first_observation_that_is_only_read_keeps_its_row() -> None:
    data = ordered(machines(), first_observation="conditioned")
    model = small(data)
    table = zforcing.score(model, data, particles=2).to_frame()
    assert table["time"].tolist() == HOURS * 2
    assert table["nats"].isna().tolist() == [True, *[False] * 6] * 2
    assert zforcing.encode(model, data).columns()["time"].tolist() == HOURS[1:] * 2  # it has no latent


def first_in_time(data: Sequences) -> Sequences:
    return data.split(0.5, 0.25, 0.25, how="time")[0]


CUTS: dict[str, Callable[[Sequences], Sequences]] = {
    "windows": lambda data: data.windows(2),
    "windows that overlap": lambda data: data.windows(3, stride=1),
    "by time": lambda data: data.split(0.5, 0.25, 0.25, how="time")[1],
    "one of them": lambda data: data[[1]],
    "windows of a split": lambda data: first_in_time(data).windows(2),
    "read by a model": lambda data: data.described_as(first_in_time(data).description),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("gaps", ["keep", "split"])
def test_times_are_cut_with_the_steps(cut: str, gaps: Any) -> None:
    data = CUTS[cut](ordered(machines(), gaps=gaps, normalize=False))
    column = data.time_column
    assert column is not None
    assert column.name == "time"
    assert [len(times) for times in column.values] == data.lengths.tolist()
    sequence = np.repeat(data.ids, data.lengths)
    assert truth({"sequence": sequence, "time": np.concatenate(column.values)}) == values(data)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_are_filled_in_have_their_time_on_the_grid(kind: str) -> None:
    when = KINDS[kind]
    column = ordered(machines(when), gaps="fill").time_column
    assert column is not None
    for times in column.values:
        assert pd.Series(times).tolist() == [when(hour) for hour in range(10)]


def test_summer_time_shifts_no_step_that_is_filled_in() -> None:
    hours = [pl.datetime(2024, 3, 30, 22, time_zone="UTC") + pl.duration(hours=h) for h in range(6)]
    grid = pl.select(pl.concat_list(hours).explode().dt.convert_time_zone("Europe/Berlin").alias("time"))
    frame = grid[[0, 1, 2, 5]].with_columns(v=pl.lit(1.5))
    column = Sequences.from_frame(frame, order="time", gaps="fill").time_column
    assert column is not None
    assert column.values[0].tolist() == grid["time"].to_list()


@pytest.mark.parametrize(("name", "called"), [("step", "order_step"), ("nats", "order_nats")])
def test_a_column_of_the_table_keeps_its_name(name: str, called: str) -> None:
    frame = machines(lambda hour: hour + 5, name)
    data = ordered(frame, name)
    table = zforcing.score(small(data), data, particles=1).columns()
    assert list(table) == ["sequence", "step", called, "nats", "nats_v"]
    assert table["step"].tolist() == [*range(len(HOURS))] * 2
    assert table[called].tolist() == [hour + 5 for hour in HOURS] * 2


# ---- files

READ: dict[str, Callable[[Any], Any]] = {"durations": pd.to_timedelta}
READ |= dict.fromkeys(("moments", "nanoseconds", "moments with a zone"), pd.to_datetime)


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_times_without_a_pickle(kind: str, tmp_path: Path) -> None:
    data = ordered(machines(KINDS[kind]))
    scores = zforcing.score(small(data), data, particles=1)
    expected = [KINDS[kind](hour) for hour in HOURS] * 2
    read = READ.get(kind, list)
    frame = pd.read_csv(scores.save(tmp_path / "scores.csv"))
    assert pd.Series(read(frame["time"])).tolist() == expected
    with np.load(scores.save(tmp_path / "scores.npz"), allow_pickle=False) as arrays:
        assert pd.Series(read(arrays["time"])).tolist() == expected


def test_text_of_a_file_stays_and_what_is_filled_in_is_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("time,v\n2024-03-01T13:00+01:00,4\n2024-03-01 08:00,0\n 2024-03-01 09:00 ,1\n2024-03-01 10:00Z,2\n")
    rows = Table(str(path), order="time", gaps="fill").read_file(str(path), setting="")
    assert rows.order == "time"
    assert rows.times is not None
    filled = "2024-03-01 11:00:00"  # in UTC
    expected = ["2024-03-01 08:00", "2024-03-01 09:00", "2024-03-01 10:00Z", filled, "2024-03-01T13:00+01:00"]
    assert rows.times.tolist() == expected


def test_parquet_keeps_the_type_of_times(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.parquet")
    for when in KINDS.values():
        frame = pd.DataFrame({"time": [when(hour) for hour in (2, 0, 1)], "v": [3.0, 1.0, 2.0]})
        frame.to_parquet(path)
        rows = Table(path, order="time").read_file(path, setting="")
        assert rows.values[:, 0].tolist() == [1, 2, 3]
        assert pd.Series(rows.times).tolist() == [when(hour) for hour in (0, 1, 2)]


def test_times_have_as_many_digits_as_one_of_them_needs() -> None:
    moments = np.array(["2024-03-01T12:30", "2024-03-02"], dtype="datetime64[ns]")
    assert text_of_times(moments) == ["2024-03-01 12:30:00", "2024-03-02 00:00:00"]
    assert text_of_times(moments + np.timedelta64(5, "ms")) == ["2024-03-01 12:30:00.005", "2024-03-02 00:00:00.005"]
    assert text_of_times(moments.astype("datetime64[D]")) == ["2024-03-01", "2024-03-02"]
    assert text_of_times(np.array([90_000, 1000], dtype="timedelta64[ms]")) == ["90 seconds", "1 seconds"]


# ---- commands

TEXT = "2024-03-01 {:02d}:30"  # as in the file, not as NumPy writes it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose data is ordered by moments, as text; table.csv and gaps.csv beside it."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("ordered")
    frame = machines(TEXT.format)
    frame.to_csv(folder / "table.csv", index=False)
    frame.assign(v=frame["v"].where(~frame["v"].isin([2, 103]))).to_csv(folder / "gaps.csv", index=False)
    data = [f"--data.{split}path={folder}/table.csv" for split in ("", "valid_", "test_")]
    data += ["--data.sequence=machine", "--data.order=time", "--data.gaps=split"]
    words = ["train", "table-zforcing-aux", "--run-dir", f"{folder}/run", *data, *SMALL, *STEPS]
    assert main([*words, "--training.backend", "reference"]) == 0
    return folder / "run"


def joined(out: Path, file: Path) -> pd.DataFrame:
    """The rows of a file with those of a table that a command wrote of it."""
    found, own = pd.read_csv(out), pd.read_csv(file)
    assert list(found)[:3] == ["sequence", "step", "time"]
    table = own.merge(found, left_on=["machine", "time"], right_on=["sequence", "time"], suffixes=("", "_found"))
    assert len(table) == len(own) == len(found)
    return table


@pytest.mark.parametrize("gaps", ["keep", "split", "fill"])
def test_a_model_of_a_frame_reads_files_by_the_same_time_and_gaps(gaps: Any, tmp_path: Path) -> None:
    frame = machines(KINDS["moments"])
    data = ordered(frame, gaps=gaps)
    zforcing.save(tmp_path / "model", small(data))
    frame.to_csv(tmp_path / "table.csv", index=False)
    description = zforcing.load(tmp_path / "model").description
    assert description is not None
    found = read_own(str(tmp_path / "table.csv"), description)
    assert found.lengths.tolist() == data.lengths.tolist()
    for mine, theirs in zip(found, data, strict=True):
        np.testing.assert_array_equal(mine.x, theirs.x)
    assert found.time_column is not None


@pytest.mark.parametrize("source", ["table.csv", "test"])
def test_score_writes_the_text_of_the_file(source: str, run: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "scores.csv"
    file = run.parent / "table.csv"
    named = [file] if source == "table.csv" else []
    assert zf("score", run, *named, "--particles", 2, "--device", "cpu", "--out", out).code == 0
    table = joined(out, file).sort_values("v")
    model, frame = zforcing.load(run), machines(lambda hour: hour)
    expected = zforcing.score(model, ordered(frame, gaps="split"), particles=2).to_frame()
    expected["v"] = truth(expected)
    np.testing.assert_allclose(table["nats"], expected.sort_values("v")["nats"], rtol=1e-5)


def test_impute_and_encode_write_it_too(run: Path, tmp_path: Path, zf: Command) -> None:
    gaps, out = run.parent / "gaps.csv", tmp_path / "filled.csv"
    few = ["--particles", 4, "--moves", 0, "--device", "cpu"]
    second = zf("impute", run, gaps, *few, "--out", out, "--json").json["gaps_file"]
    filled, given = pd.read_csv(out), pd.read_csv(gaps)
    pd.testing.assert_frame_equal(filled.where(given.notna()), given, check_exact=True)
    lacking = pd.read_csv(second)[["sequence", "time"]].to_numpy().tolist()
    assert sorted(lacking) == [["a", TEXT.format(2)], ["b", TEXT.format(3)]]
    assert zf("encode", run, run.parent / "table.csv", "--device", "cpu", "--out", tmp_path / "z.npz").code == 0
    with np.load(tmp_path / "z.npz", allow_pickle=False) as arrays:
        assert sorted(arrays["time"]) == sorted(given["time"])


def test_some_of_a_split_and_a_folder_have_their_times(run: Path, tmp_path: Path, zf: Command) -> None:
    words = ["--particles", 1, "--device", "cpu", "--out", tmp_path / "scores.csv"]
    assert zf("score", run, "test:1,0", *words).code == 0
    first = pd.read_csv(tmp_path / "scores.csv")["time"].tolist()
    assert first == [TEXT.format(hour) for hour in (7, 8, 9, 0, 1, 2, 3)]
    days = tmp_path / "days"
    days.mkdir()
    frame = machines()
    frame[frame["machine"] == "a"].to_csv(days / "1.csv", index=False)
    machines(TEXT.format).to_csv(days / "2.csv", index=False)
    assert zf("score", run, days, *words).code == 0
    times = pd.read_csv(tmp_path / "scores.csv")["time"].tolist()
    assert times == [*map(str, HOURS), *[TEXT.format(hour) for hour in HOURS] * 2]


def test_features_called_as_the_tables_own_columns_stand_beside_them(tmp_path: Path) -> None:
    own = {name: np.arange(3.0) for name in ("step", "sequence", "data_step", "file")}
    table = by_step(["a"], [np.arange(3)], own, times=None)
    assert list(table) == ["sequence", "step", "data_data_step", "data_sequence", "data_step", "file"]
    assert table["sequence"].tolist() == ["a"] * 3
    write_npz(tmp_path / "TABLE.NPZ", table)
    with np.load(tmp_path / "TABLE.NPZ") as kept:
        assert {name: kept[name].tolist() for name in kept} == {name: table[name].tolist() for name in table}
