"""How many rows a second the script of an exported model scores, beside `zforcing stream`, on one core.

    python benchmarks/onnx_rate.py [--hidden 64] [--particles 32] [--rows 3000]

Both read rows of 8 numbers and write a line of JSON for each: the score, and the mean and standard deviation of a step,
the script's of the row itself, made before it was read, the command's of the next one. Timed from the first line to the
last, without the start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zforcing as zf

NUMBERS = 8
SETTINGS: dict[str, dict[str, Any]] = {  # those of stream_rate.py
    "rnn": {"embedding_size": 64},
    "zforcing": {"embedding_size": 64, "latent_size": 16, "mlp_size": 64},
    "vrnn": {"feature_size": 64, "latent_size": 16, "mlp_size": 64, "mlp_layers": 1},
    "srnn": {"embedding_size": 64, "latent_size": 16, "mlp_size": 64},
}
SCRIPT = Path(__file__).parents[1] / "examples" / "stream_onnx.py"


def rows_a_second(command: list[str], file: Path) -> float:
    """Of a command that answers each line of a file but the first."""
    threads = {"OMP_NUM_THREADS": "1"}
    with file.open() as opened:
        process = subprocess.Popen(command, stdin=opened, stdout=subprocess.PIPE, env=os.environ | threads)
        assert process.stdout is not None
        process.stdout.readline()
        start, rows = time.perf_counter(), sum(1 for _ in process.stdout)
        seconds = time.perf_counter() - start
    assert process.wait() == 0, command
    return rows / seconds


def main(hidden: int, particles: int, rows: int) -> None:
    """A line for each model."""
    x = np.random.default_rng(0).standard_normal((rows, NUMBERS))
    names = [f"x{d}" for d in range(NUMBERS)]
    data = zf.Sequences([x], names=names)
    print(f"{hidden} hidden units, {particles} particles, {NUMBERS} numbers a row, {rows} rows, one thread")
    with tempfile.TemporaryDirectory() as folder:
        file, onnx, saved = Path(folder) / "rows.csv", Path(folder) / "model.onnx", Path(folder) / "model"
        np.savetxt(file, x, delimiter=",", header=",".join(names), comments="")
        for name, settings in SETTINGS.items():
            torch.manual_seed(0)
            model = zf.MODELS[name].for_data(data, hidden_size=hidden, **settings)
            zf.save(saved, model)
            zf.export(model, onnx, particles=particles)
            script = rows_a_second([sys.executable, str(SCRIPT), str(onnx)], file)
            words = ["stream", str(saved), "--particles", str(particles), "--threads", "1", "--device", "cpu"]
            command = rows_a_second([sys.executable, "-m", "zforcing", *words], file)
            print(f"{name:9s} {script:5.0f} by the script, {command:5.0f} by `zforcing stream`")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--hidden", type=int, default=64, help="units of the recurrent networks")
    options.add_argument("--particles", type=int, default=32, help="K")
    options.add_argument("--rows", type=int, default=3000, help="to be scored")
    given = options.parse_args()
    main(given.hidden, given.particles, given.rows)
