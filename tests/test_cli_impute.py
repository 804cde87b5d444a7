"""`impute` as a user runs it: on a table of machines with gaps, of a model of complete data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zforcing
from conftest import Command
from zforcing import Sequences

FEW = ["--particles", 20, "--moves", 2, "--device", "cpu"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def machines(*, gaps: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"machine": np.repeat(["m0", "m1"], 8), "speed": rng.normal(100, 10, 16), "heat": rng.normal(3, 1, 16)}
    )
    if gaps:
        frame.loc[[2, 3, 12], "speed"] = np.nan
        frame.loc[3, "heat"] = np.nan
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_default_dtype(torch.float32)
    data = Sequences.from_frame(machines(gaps=False), by="machine")
    torch.manual_seed(0)
    model = zforcing.VRNN.for_data(data, hidden_size=4, latent_size=2, feature_size=4, mlp_size=4, mlp_layers=1)
    folder = tmp_path_factory.mktemp("runs") / "mine"
    zforcing.save(folder, model)
    machines(gaps=True).to_csv(folder.parent / "gaps.csv", index=False)
    return folder


def test_a_file_with_gaps_becomes_one_without_and_one_of_intervals(run: Path, tmp_path: Path, zf: Command) -> None:
    out = tmp_path / "filled.csv"
    values = zf("impute", run, run.parent / "gaps.csv", "--out", out, *FEW, "--json").json
    assert (values["num_missing"], values["num_sequences"]) == (4, 2)
    assert values["kind"] == "estimate by particle smoothing with 20 particles, lag 10"
    frame, given = pd.read_csv(out), machines(gaps=True)
    assert frame.notna().all(axis=None)
    pd.testing.assert_frame_equal(frame.where(given.notna()), given, check_exact=True)
    gaps = pd.read_csv(values["gaps_file"])
    assert gaps[["sequence", "step", "name"]].to_numpy().tolist() == [
        ["m0", 2, "speed"],
        ["m0", 3, "speed"],
        ["m0", 3, "heat"],
        ["m1", 4, "speed"],
    ]
    assert (gaps["lower"] < gaps["upper"]).all()


def test_what_will_take_much_memory_is_said_in_one_line(
    run: Path, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zforcing.tasks.impute.HELD", 1)
    said = zf("impute", run, run.parent / "gaps.csv", "--out", tmp_path / "filled.csv", *FEW).err
    assert (
        said.count("the draws of the longest sequence take 0.0 GB, all steps at once: fewer particles, 0 moves or ")
        == 1
    )


def test_without_a_name_the_files_are_in_the_run_and_the_rest_is_printed(run: Path, zf: Command) -> None:
    printed = zf("impute", run, run.parent / "gaps.csv", *FEW, "--seed", 3, "--lag", "all")
    assert printed.code == 0
    assert "particle smoothing with 20 particles\n" in printed.out
    assert {f.suffix for f in (run / "filled").iterdir()} == {".csv"}
    assert len(list((run / "filled").iterdir())) == 2


def test_a_file_that_is_to_be_filled_in_place_stays_whole_if_that_fails(
    run: Path, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes((run.parent / "gaps.csv").read_bytes())

    def full(part: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert "can't be written (No space left on device)" in zf("impute", run, file, *FEW, "--out", file).err
    assert file.read_bytes() == (run.parent / "gaps.csv").read_bytes()
    assert [f.name for f in tmp_path.iterdir()] == ["mine.csv"]
    assert zf("impute", run, file, *FEW, "--out", file).code == 0
    assert not pd.read_csv(file)["speed"].isna().any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.csv"], "no such file"),
        (["--out", "filled.txt"], r"its suffix is '.txt'"),
        (["--level", 2], "--level"),
        (["--lag", 0], "--lag is '0'; it must be a whole number, 1 or more, or all"),
        (["--split", "valid"], "leave it out, or the file"),
    ],
)
def test_a_mistake_is_one_line(words: list[object], message: str, run: Path, zf: Command) -> None:
    file = [] if words == ["none.csv"] else [run.parent / "gaps.csv"]
    assert message in zf("impute", run, *file, *words, *FEW).mistake
