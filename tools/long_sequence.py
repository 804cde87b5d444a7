"""Train and use models on one long sequence, and measure the memory and the time of each command.

    python tools/long_sequence.py [--models rnn zforcing-aux] [--steps 10000 100000] [--only train score] [--limit 900]

Writes a series of N steps of three columns to train on, a short one to validate on and one of N steps to measure, and
runs each command in a process of its own with one thread. Prints a row for each: the most memory (resident) that it
held, in MB, its wall and CPU seconds, and how it ended: 0, its exit code, or `killed` at the limit. Linux and macOS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHUNK = "500"  # steps
SHORT = 200  # steps to validate on
GAP = 20  # steps between missing numbers
HEADER = "| model | command | steps | MB | wall s | CPU s | ended |\n|---|---|---|---|---|---|---|"
# label: the command's words; RUN, FOLDER and N stand for a run, the data and the number of steps
COMMANDS = {
    "train, truncated": ("train", "table-MODEL", "--training.truncated_bptt_steps", CHUNK),
    "train, whole": ("train", "table-MODEL"),
    "evaluate": ("evaluate", "RUN"),
    "evaluate, chunks": ("evaluate", "RUN", "--chunk-steps", CHUNK),
    "evaluate, iwae 8": ("evaluate", "RUN", "--bound", "iwae", "--particles", "8"),
    "score": ("score", "RUN", "FOLDER/test.csv", "--out", "FOLDER/scores.csv"),
    "score, 8 particles": ("score", "RUN", "FOLDER/test.csv", "--particles", "8", "--out", "FOLDER/scores.csv"),
    "score, smoothed": ("score", "RUN", "FOLDER/test.csv", "--kind", "smoothed", "--out", "FOLDER/scores.csv"),
    "forecast": ("forecast", "RUN", "FOLDER/test.csv", "--steps", "10", "--out", "FOLDER/forecast.csv"),
    "sample": ("sample", "RUN", "--num", "1", "--steps", "N", "--out", "FOLDER/samples"),
    "stream": ("stream", "RUN"),
    "encode": ("encode", "RUN", "FOLDER/test.csv", "--out", "FOLDER/z.npz"),
    "impute": ("impute", "RUN", "FOLDER/gaps.csv", "--out", "FOLDER/filled.csv"),
}
WITH_LATENTS = ("score, 8 particles", "encode", "impute", "evaluate, iwae 8")
RUN_OF_ALL = "train, truncated"
SETTINGS = "--data.path FOLDER/train.csv --data.valid_path FOLDER/valid.csv --data.test_path FOLDER/test.csv"
TRAINING = "--data.sequence series --training.batch_size 1 --training.epochs 1 --run-dir"


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    memory: float
    """the most that it held at once, in MB"""
    wall: float
    """seconds"""
    cpu: float
    """seconds, of the user and the system"""
    ended: str
    """its exit code, or `killed`"""
    said: str
    """the end of what it said on stderr"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all that is asked for, and print it; 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["rnn", "zforcing-aux"], help="of the recipes table-MODEL")
    parser.add_argument("--steps", nargs="+", type=int, default=[10_000, 100_000], help="N")
    parser.add_argument("--only", nargs="+", default=None, help="beginnings of the commands' labels")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for each command")
    options = parser.parse_args(argv)
    print(HEADER, flush=True)
    failed = False
    for model in options.models:
        for steps in options.steps:
            with tempfile.TemporaryDirectory() as folder:
                write_series(Path(folder), steps)
                for label, measured in measure(Path(folder), model, steps, options.only, limit=options.limit):
                    failed |= measured.ended != "0"
                    print(row(model, label, steps, measured), flush=True)
    return int(failed)


def write_series(folder: Path, steps: int) -> None:
    """train.csv, test.csv and gaps.csv of so many steps, and a short valid.csv; a walk, a wave and noise."""
    for number, (name, length) in enumerate((("train", steps), ("valid", SHORT), ("test", steps), ("gaps", steps))):
        rng, t = np.random.default_rng(number), np.arange(length)
        wave = np.sin(t / 8) + rng.normal(0, 0.2, length)
        columns = np.stack([wave, np.cos(t / 30) * wave, rng.normal(0, 1, length)], axis=1)
        lines = [f"{name},{a:.4f},{b:.4f},{c:.4f}" for a, b, c in columns]
        if name == "gaps":
            lines[::GAP] = [line.rpartition(",")[0] + "," for line in lines[::GAP]]
        (folder / f"{name}.csv").write_text("\n".join(["series,a,b,c", *lines]) + "\n")


def measure(
    folder: Path, model: str, steps: int, only: Sequence[str] | None, *, limit: float
) -> Iterator[tuple[str, Measured]]:
    """What each command takes, in order; the run that is used is trained by the first."""
    for label, words in COMMANDS.items():
        asked = only is None or label.startswith(tuple(only))
        if (not asked and label != RUN_OF_ALL) or (model == "rnn" and label in WITH_LATENTS):
            continue
        if words[0] == "train":
            run = "RUN" if label == RUN_OF_ALL else "FOLDER/other"
            words = (*words, *SETTINGS.split(), *TRAINING.split(), run)
        stdin = folder / "test.csv" if words[0] == "stream" else None
        measured = measured_command([filled(word, folder, model, steps) for word in words], stdin=stdin, limit=limit)
        if measured.ended != "0":
            print(f"{label}: {measured.said}", file=sys.stderr)
        if asked:
            yield label, measured


def filled(word: str, folder: Path, model: str, steps: int) -> str:
    """A word of a command."""
    word = str(steps) if word == "N" else word.replace("MODEL", model)
    return word.replace("RUN", str(folder / "run")).replace("FOLDER", str(folder))


def measured_command(words: Sequence[str], *, stdin: Path | None = None, limit: float) -> Measured:
    """Run a command of `zforcing` in a process of its own, with one thread.

    Args:
        words: Of the command line.
        stdin: What it reads.
        limit: Seconds after which it is killed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    begun = time.monotonic()
    with (stdin or Path(os.devnull)).open() as given, tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "zforcing", *words]
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, env=environment)
        late = threading.Timer(limit, process.kill)
        late.start()
        _, status, used = os.wait4(process.pid, 0)  # unlike getrusage, of this child alone
        process.returncode = os.waitstatus_to_exitcode(status)  # it is gone: nothing is to be sent to its number
        late.cancel()
        said.seek(0)
        tail = said.read()[-500:].strip()
    unit = 1 if sys.platform == "darwin" else 1024
    ended = "killed" if process.returncode < 0 else str(process.returncode)
    seconds = used.ru_utime + used.ru_stime
    return Measured(used.ru_maxrss * unit / 1e6, time.monotonic() - begun, seconds, ended, tail)


def row(model: str, label: str, steps: int, measured: Measured) -> str:
    """A line of the table."""
    numbers = f"{measured.memory:.0f} | {measured.wall:.1f} | {measured.cpu:.1f}"
    return f"| {model} | {label} | {steps:,} | {numbers} | {measured.ended} |"


if __name__ == "__main__":
    sys.exit(main())
