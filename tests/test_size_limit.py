"""What a file of kilobytes unpacks to is known before it is read, and refused where it is too much."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from zforcing import UserError
from zforcing.data import DATA
from zforcing.files.amat import read_amat
from zforcing.files.archives import read_npz
from zforcing.files.idx import read_idx
from zforcing.files.parquet import read_parquet
from zforcing.files.rows import Layout
from zforcing.files.size_limit import VARIABLE, most_bytes
from zforcing.training.runs.log import JsonLines

MOST = 1e-4  # gigabytes: 100 KB
TOO_MUCH = rf"a\.\w+: unpacks to .* GB, more than 0\.0001; if the file is sound, set {VARIABLE} in the environment"


@pytest.fixture(autouse=True)
def little_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(MOST))


def test_archives_are_refused_by_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1, 50_000, 1)))
    with pytest.raises(UserError, match=TOO_MUCH):
        read_npz(tmp_path / "a.npz", Layout(), "a.npz")
    monkeypatch.setenv(VARIABLE, "1")
    assert len(read_npz(tmp_path / "a.npz", Layout(), "a.npz").values) == 50_000


def test_what_takes_as_much_on_disk_is_read(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1, 50_000, 1))
    np.savez(tmp_path / "a.npz", x=x)
    assert len(read_npz(tmp_path / "a.npz", Layout(), "a.npz").values) == 50_000


def test_an_array_without_an_archive_before_it_is_no_archive(tmp_path: Path) -> None:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("x.npy", b"")
    (tmp_path / "a.npz").write_bytes(made.getvalue())
    with pytest.raises(UserError, match=r"a\.npz: is not an \.npz archive"):
        read_npz(tmp_path / "a.npz", Layout(), "a.npz")


def test_parquet_is_refused_by_its_rows(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": np.zeros(50_000), "name": ["a"] * 50_000}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=TOO_MUCH):
        read_parquet(tmp_path / "a.parquet", Layout(), "a.parquet")


def test_text_that_is_repeated_is_in_memory_once(tmp_path: Path) -> None:
    name = "n" * 10_000
    table = pa.table({"x": np.arange(3000) % 7.0, "name": [name] * 3000, "kind": [name, name[1:], None] * 1000})
    parquet.write_table(table, tmp_path / "a.parquet")
    before = pa.total_allocated_bytes()
    rows = read_parquet(tmp_path / "a.parquet", Layout(sequence="name", text=True), "a.parquet")
    assert pa.total_allocated_bytes() - before < 10**6  # 60 MB where each row has its own
    assert (rows.names, rows.labels) == ([name], (None, (name[1:], name)))
    assert rows.values[:3, 1].tolist()[:2] == [1.0, 0.0]


def test_gzip_is_refused_while_it_unpacks(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\0\0\x08\3" + bytes(10**6)))
    with pytest.raises(UserError, match=TOO_MUCH):
        read_idx(tmp_path / "a.gz", "a.gz")
    with pytest.raises(UserError, match=TOO_MUCH):
        read_amat(tmp_path / "a.gz", 4, "a.gz")


@pytest.mark.parametrize("said", ["much", "nan", "-1", "0", "inf"])
def test_what_is_allowed_is_a_size(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(UserError, match=f"{VARIABLE} is '{said}' in the environment; it must be a number of gigabytes"):
        most_bytes()


PIPED = {
    ("table", "path"): ".csv",
    ("arrays", "path"): ".npz",
    ("polyphonic", "path"): ".pickle",
    ("text", "root"): ".txt",
    ("srnn-music", "path"): ".npz",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
@pytest.mark.parametrize(("name", "setting"), PIPED)
def test_pipes_are_refused_at_once(name: str, setting: str, tmp_path: Path) -> None:
    pipe = tmp_path / f"pipe{PIPED[name, setting]}"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="is a pipe, a device or a socket"):
        DATA[name](**{setting: str(pipe)}).describe()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
def test_a_pipe_in_place_of_a_run_s_rows_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    rows = JsonLines(tmp_path / "metrics.jsonl")
    for read in (lambda: rows.truncate(1, 1), lambda: rows.digest(1)):
        with pytest.raises(UserError, match=r"metrics\.jsonl: is a pipe, a device or a socket"):
            read()
