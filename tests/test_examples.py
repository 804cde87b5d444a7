"""The examples run as they are told to, write no file, and their models learn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OF_A_FILE = {"stream_onnx"}  # tests/test_export.py runs it on what `export` has written
EXAMPLES = [
    path for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py")) if path.stem not in OF_A_FILE
]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_writes_no_file(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example), "--minutes", "0.03"]
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert said[0].startswith("Sequences(")
    assert "nats per sequence" in said[-1]
    assert list(tmp_path.iterdir()) == []
