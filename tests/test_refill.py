"""A file with gaps becomes the same file without: what stood there stands there still, character by character."""

from __future__ import annotations

import csv
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import zforcing
from conftest import RNN_SIZE, Command
from test_cli_impute import FEW
from zforcing import Sequences
from zforcing.files.reading import Array
from zforcing.files.refill import Fillings, refill, write_array
from zforcing.files.rows import Layout

KINDS = {"tool": "category", "on": "binary", "faults": "count", "energy": "positive"}
TABLE = """note,time,energy, tool ,machine,speed,on,faults
first,3,1.50,drill,m1,35.46691896154252,1,7
"a, b",1,,saw,m0,100,0,
,2,2.25,,m0,,,3
last,1,3e0,drill,m1,,1,0
,2,0.5, saw,m1,101.0,,2
"""


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def machines() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "machine": np.repeat(["a", "b", "c"], 4),
            "time": [1, 2, 3, 4] * 3,
            "speed": rng.normal(100, 10, 12),
            "energy": rng.gamma(2.0, size=12),
            "faults": rng.poisson(2.0, 12),
            "on": [0, 1] * 6,
            "tool": ["drill", "saw", "mill"] * 4,
        }
    )


def saved(folder: Path, data: Sequences, **of_format: Any) -> Path:
    torch.manual_seed(0)
    model = zforcing.RNN.for_data(data, **RNN_SIZE)
    known = data.description
    model.description = replace(known, format=replace(known.format, **of_format))
    zforcing.save(folder, model)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_default_dtype(torch.float32)
    data = Sequences.from_frame(machines(), by="machine", order="time", kinds=KINDS)
    return saved(tmp_path_factory.mktemp("runs") / "mixed", data, order="time")


def test_a_table_keeps_every_cell_that_it_had_and_is_read_again(run: Path, tmp_path: Path, zf: Command) -> None:
    file, out = tmp_path / "gaps.csv", tmp_path / "filled.csv"
    file.write_text(TABLE, encoding="utf-8")
    assert zf("impute", run, file, "--out", out, *FEW).code == 0
    before, after = (list(csv.reader(f.read_text(encoding="utf-8").splitlines())) for f in (file, out))
    assert before[0] == after[0]
    note = before[0].index("note")
    for old, new in zip(before[1:], after[1:], strict=True):
        for place, (cell, now) in enumerate(zip(old, new, strict=True)):
            assert now == cell if cell or place == note else now
    table = pd.read_csv(out, skipinitialspace=True)
    assert set(table["tool "]) <= {"drill", "saw", "mill"}
    assert set(table["on"]) <= {0, 1}
    assert all(str(n).isdecimal() for n in table["faults"])
    assert zf("score", run, out, "--out", tmp_path / "scores.csv", "--device", "cpu").code == 0
    before_itself = out.read_text(encoding="utf-8")
    assert zf("impute", run, file, "--out", file, *FEW).code == 0  # in its own place
    assert file.read_text(encoding="utf-8") == before_itself


def test_parquet_keeps_its_columns_types_and_rows(run: Path, tmp_path: Path, zf: Command) -> None:
    pytest.importorskip("pyarrow")
    given = machines().sample(frac=1, random_state=0).assign(note="n")
    given["faults"] = given["faults"].astype("Int64")
    given.loc[[2, 5], ["speed", "tool", "faults"]] = None
    given.to_parquet(tmp_path / "gaps.parquet")
    out = tmp_path / "filled.parquet"
    assert zf("impute", run, tmp_path / "gaps.parquet", "--out", out, *FEW, "--json").json["num_missing"] == 6
    filled = pd.read_parquet(out)
    assert filled.notna().all(axis=None)
    known = given.notna()
    pd.testing.assert_frame_equal(filled.where(known), given.where(known), check_dtype=False)
    assert filled.dtypes["faults"] == given.dtypes["faults"]
    assert zf("score", run, out, "--out", tmp_path / "scores.csv", "--device", "cpu").code == 0


def arrays() -> dict[str, dict[str, Array]]:
    x = np.random.default_rng(0).normal(5, 2, (2, 4, 2))
    x[0, 1, 0] = x[1, 2] = np.nan
    padded = np.where(np.arange(4)[None, :, None] < np.array([2, 4])[:, None, None], x, 0)
    whole = np.arange(16).reshape(2, 4, 2)
    return {
        "NaN": {"x": x, "note": np.arange(3)},
        "float32": {"x": x.astype(np.float32)},
        "padded": {"x": padded, "lengths": np.array([2, 4])},
        "masked": {"x": whole, "observed": whole % 5 > 0},
    }


@pytest.mark.parametrize("case", list(arrays()))
def test_an_archive_keeps_its_arrays_and_their_names(case: str, tmp_path: Path, zf: Command) -> None:
    given = arrays()[case]
    run = saved(tmp_path / "run", Sequences(np.random.default_rng(1).normal(5, 2, (3, 4, 2))))
    np.savez(tmp_path / "gaps.npz", **given)  # type: ignore[arg-type]
    out = tmp_path / "filled.npz"
    found = zf("impute", run, tmp_path / "gaps.npz", "--out", out, *FEW, "--json").json
    with np.load(out) as archive:
        filled: dict[str, Any] = {name: archive[name] for name in archive.files}
    assert set(filled) == set(given)
    known = given.get("observed", ~np.isnan(given["x"]))
    assert found["num_missing"] == (~known).sum()
    np.testing.assert_array_equal(filled["x"][known], given["x"][known])
    assert np.isfinite(filled["x"]).all()
    assert case == "masked" or filled["x"].dtype == given["x"].dtype
    assert all(filled["observed"].all() for _ in given.keys() & {"observed"})
    assert zf("score", run, out, "--out", tmp_path / "scores.csv", "--device", "cpu").code == 0


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_an_array_becomes_one_by_the_suffix_of_out(ending: str, tmp_path: Path, zf: Command) -> None:
    x = arrays()["NaN"]["x"]
    run = saved(tmp_path / "run", Sequences(np.nan_to_num(x, nan=5)))
    np.save(tmp_path / "gaps.npy", x)
    found = zf("impute", run, tmp_path / "gaps.npy", "--out", tmp_path / f"filled.{ending}", *FEW, "--json").json
    assert found["gaps_file"].endswith("filled-gaps.npz")
    filled = np.load(found["file"])
    filled = filled if ending == "npy" else filled["x"]
    np.testing.assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
    assert np.isfinite(filled).all()


def test_of_a_table_an_npz_has_the_steps_and_a_parquet_is_refused(run: Path, tmp_path: Path, zf: Command) -> None:
    (tmp_path / "gaps.csv").write_text(TABLE, encoding="utf-8")
    assert zf("impute", run, tmp_path / "gaps.csv", "--out", tmp_path / "filled.npz", *FEW).code == 0
    with np.load(tmp_path / "filled.npz") as archive:
        assert {"sequence", "step", "time", "speed"} <= {*archive.files}
    refused = zf("impute", run, tmp_path / "gaps.csv", "--out", tmp_path / "filled.parquet", *FEW)
    assert "its suffix is '.parquet'" in refused.mistake


def test_steps_that_time_lacks_are_in_the_second_file_alone(tmp_path: Path, zf: Command) -> None:
    frame = machines()[["machine", "time", "speed"]]
    run = saved(
        tmp_path / "run", Sequences.from_frame(frame, by="machine", columns=["speed"]), order="time", gaps="fill"
    )
    frame.loc[7, "speed"] = None
    frame.drop(index=[2]).to_csv(tmp_path / "gaps.csv", index=False)
    found = zf("impute", run, tmp_path / "gaps.csv", "--out", tmp_path / "filled.csv", *FEW, "--json").json
    assert len(pd.read_csv(found["gaps_file"])) == 2
    filled = pd.read_csv(found["file"])
    assert filled["time"].tolist() == frame["time"].drop(index=[2]).tolist()
    assert filled["speed"].notna().all()


def test_parquet_keeps_bools_and_decimals(tmp_path: Path) -> None:
    given = pa.table({"on": [True, None, False], "paid": pa.array([Decimal("1.50"), None, None], pa.decimal128(8, 2))})
    pq.write_table(given, tmp_path / "gaps.parquet")
    values = np.array([1.0, 2.125, 3.0])
    fillings = Fillings(np.array([1, 1, 2]), np.array([0, 1, 1]), ("on", "paid"), values, ["1"] * 3, [False] * 2)
    refill(tmp_path / "gaps.parquet", tmp_path / "filled.parquet", fillings, Layout())
    filled = pq.read_table(tmp_path / "filled.parquet")
    assert filled.schema.types == given.schema.types
    assert filled["on"].to_pylist() == [True, True, False]
    assert filled["paid"].to_pylist() == [Decimal("1.50"), Decimal("2.12"), Decimal("3.00")]


@pytest.mark.parametrize("name", ["OUT.NPY", "OUT.NPZ"])
def test_a_suffix_of_capitals_is_one(name: str, tmp_path: Path) -> None:
    write_array(tmp_path / name, np.arange(3))
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("truths", [("False", "True"), ("FALSE", "TRUE")])
def test_what_is_filled_in_is_spelled_as_its_column(truths: tuple[str, str], tmp_path: Path) -> None:
    no, yes = truths
    (tmp_path / "gaps.csv").write_text(f"on,v\n{yes},1\n,2\n{no},3\n")
    frame = pd.DataFrame({"on": [1, 0, 1], "v": [1.5, 2.0, 3.0]})
    known = Sequences.from_frame(frame, kinds={"on": "binary", "v": "real"}, missing=True).description
    x, drawn = np.array([[1, 1], [0, 2], [0, 3.0]]), np.array([[0, 0], [1, 0], [0, 0]], dtype=bool)
    assert known.format.refill(str(tmp_path / "gaps.csv"), tmp_path / "filled.csv", [x], [drawn], known)
    assert (tmp_path / "filled.csv").read_text() == f"on,v\n{yes},1\n{no},2\n{no},3\n"
