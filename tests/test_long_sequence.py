"""One sequence of 50,000 steps: see tools/long_sequence.py, which measures more commands, models and lengths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "long_sequence.py"
MORE = 150  # MB that 49,000 more steps may take; whole sequences took some 500 (evaluate) and 1000 (train)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="only Unix says what a process has held")
def test_truncated_training_and_evaluation_of_a_long_sequence_take_the_memory_of_a_short_one() -> None:
    words = ["--models", "rnn", "--steps", "1000", "50000", "--only", "train, truncated", "evaluate"]
    found = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    rows = [[cell.strip() for cell in line.split("|")] for line in found.stdout.splitlines()[2:]]
    memory = {(label, steps): int(megabytes) for _, _, label, steps, megabytes, *_ in rows}
    grown = {label: memory[label, "50,000"] - memory[label, "1,000"] for label, steps in memory if steps == "1,000"}
    assert set(grown) == {"train, truncated", "evaluate", "evaluate, chunks"}
    assert max(grown.values()) < MORE, grown
