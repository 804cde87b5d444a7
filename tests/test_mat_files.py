"""MATLAB files: whatever is in them, Python goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from zforcing import UserError
from zforcing.files import mat
from zforcing.files.mat import read_mat


def test_variables_and_cells_come_back(tmp_path: Path) -> None:
    cells = np.empty(2, dtype=object)
    cells[:] = [np.zeros((3, 88)), np.ones((2, 88))]
    savemat(tmp_path / "a.mat", {"cells": cells, "x": np.arange(6.0).reshape(1, 2, 3)})
    found = read_mat(tmp_path / "a.mat", "a.mat")
    np.testing.assert_array_equal(found["x"], np.arange(6.0).reshape(1, 2, 3))
    assert [one.shape for one in found["cells"]] == [(3, 88), (2, 88)]


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it stops the reader by signal 11"),
        ("raise MemoryError", "MemoryError: it unpacks to too much; ZFORCING_MAX_GIGABYTES in the .* allows more"),
    ],
)
def test_a_file_that_stops_its_reader_is_refused(
    child: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.py").write_text(child)
    monkeypatch.setattr(mat, "CHILD", tmp_path / "child.py")
    with pytest.raises(UserError, match=rf"a\.mat: cannot be read \({said}\); if it is damaged, save or download it"):
        read_mat(tmp_path / "a.mat", "a.mat")


def test_a_reader_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child.py").write_text(f"import os, time; os.getppid() == {os.getpid()} and time.sleep(30)")
    monkeypatch.setattr(mat, "CHILD", tmp_path / "child.py")
    monkeypatch.setattr(mat, "SECONDS", 0.2)
    with pytest.raises(UserError, match=r"a\.mat: cannot be read in 0\.2 seconds"):
        read_mat(tmp_path / "a.mat", "a.mat")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory isn't bounded so")
def test_a_file_is_read_where_the_system_allows_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "a.mat", {"x": np.ones((2, 3))})
    bounded = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))\n"
    (tmp_path / "child.py").write_text(bounded + mat.CHILD.read_text("utf-8").replace("from __future__", "#"))
    monkeypatch.setattr(mat, "CHILD", tmp_path / "child.py")
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "a.mat")["x"], np.ones((2, 3)))
