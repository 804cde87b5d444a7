"""Trainings are killed, and what they wrote is damaged: see tools/break_runs.py, which does more of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "break_runs.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each command runs in a fork")
def test_killed_runs_end_as_others_and_damages_are_noticed() -> None:
    words = ["--kills", "8", "--writes", "16", "--damages", "0", "--seed", "5"]
    found = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
