"""Data-parallel training: two processes give the run of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

OPTIONS = ["digits-rnn", "--model.dropout", "0", "--model.hidden_size", "16", "--device", "cpu", "--json"]
OPTIONS += ["--training.max_steps", "42"]
BATCH = ["--training.batch_size", "33"]  # an epoch of 40, the last batch of 10
PARTS = ["--training.batch_size", "11", "--training.accumulate", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [BATCH, PARTS], ids=["whole", "accumulated"])
def test_two_processes_give_the_run_of_one(tmp_path: Path, batch: list[str]) -> None:
    one = [sys.executable, "-m", "zforcing", "train", *OPTIONS, *BATCH, "--run-dir", str(tmp_path / "one")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    two = [*launch, "-m", "zforcing", "train", *OPTIONS, *batch, "--run-dir", str(tmp_path / "two")]
    for command in (one, two):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["updates"] == 42  # one object, from one of the processes
    first, second = (load_file(tmp_path / n / "checkpoints" / "last" / "model.safetensors") for n in ("one", "two"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-4)
    rows = [[json.loads(s) for s in (tmp_path / n / "metrics.jsonl").read_text().splitlines()] for n in ("one", "two")]
    for a, b in zip(*rows, strict=True):
        assert abs(a["nats_per_sequence"] - b["nats_per_sequence"]) < 1e-3
