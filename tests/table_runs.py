"""Small runs on a table of machines and on digits, which the tests of several commands share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from zforcing.cli import main

SMALL = ["--model.hidden_size", "6", "--model.latent_size", "2", "--model.embedding_size", "4", "--model.mlp_size", "4"]
STEPS = ["--training.max_steps", "2", "--device", "cpu"]
STEPS_EACH = 12


def write_table(path: Path, machines: int, *, seed: int) -> None:
    """Machines of two readings and a load that is known; `fault` is what nobody knows in advance."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "machine", "speed", "heat", "load", "fault"])
        for machine in range(machines):
            for t in range(STEPS_EACH):
                fault = int(t in (5, 6))
                speed, heat = rng.normal(100, 10), rng.normal(3, 1) + 9 * fault
                writer.writerow([t, f"m{machine}", round(speed, 2), round(heat, 3), t % 3, fault])


def train_runs(folder: Path) -> None:
    """Runs of two updates, `table`, `driven` (with a known input) and `digits`, and train.csv, valid.csv, test.csv."""
    torch.set_default_dtype(torch.float32)
    for name, machines in (("train", 12), ("valid", 3), ("test", 2)):
        write_table(folder / f"{name}.csv", machines, seed=machines)
    data = [f"--data.{split}path={folder}/{name}.csv" for split, name in (("", "train"), ("valid_", "valid"))]
    data += [f"--data.test_path={folder}/test.csv", "--data.columns=[speed, heat]", "--data.sequence=machine"]
    for name, inputs in (("table", []), ("driven", ["--data.inputs=[load]"])):
        words = ["train", "table-zforcing-aux", "--run-dir", f"{folder}/{name}", *data, *inputs, *SMALL, *STEPS]
        assert main(words) == 0
    assert main(["train", "digits-rnn", "--run-dir", f"{folder}/digits", *SMALL[:2], *SMALL[4:6], *STEPS]) == 0
