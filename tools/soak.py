"""Train and use a model for hours in one process, and see whether memory, threads, open files or the disk grow.

    python tools/soak.py digits-zforcing-aux [--dotted.setting value ...] [--minutes 120] [--each 4] [--out soak.csv]
    python tools/soak.py --report soak.csv

A round trains for some minutes into one run folder (again from its beginning), evaluates, scores, samples, encodes,
draws curves, makes a report and streams the samples. Twice a minute a row is written of what the process holds. The
report fits a line to the medians of the rounds, without the first, or without rounds to the medians of each five
minutes; it ends with 1 where something grows faster than is allowed and by more than two standard errors. Reads /proc:
Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zforcing.cli import main as zforcing

FIELDS = ("seconds", "round", "memory_mb", "threads", "open_files", "disk_mb")
ALLOWED = {"memory_mb": 20.0, "threads": 0.5, "open_files": 0.5, "disk_mb": 5.0}  # an hour
EVERY = 30.0  # seconds between rows
WITHOUT_ROUNDS = 300.0  # seconds that one median is of
VERBS = (
    ("evaluate", "RUN", "--bound", "elbo"),
    ("score", "RUN", "valid:0-3", "--particles", "8", "--out", "FOLDER/scores.csv"),
    ("sample", "RUN", "--num", "4", "--steps", "50", "--out", "FOLDER/samples.npz"),
    ("encode", "RUN", "valid:0-3", "--out", "FOLDER/z.npz"),
    ("plot", "RUN", "--out", "FOLDER/curves.png"),
    ("report", "RUN", "--out", "FOLDER/report.html"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Soak, and report; or only report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", help="of `zforcing train`; its settings follow")
    parser.add_argument("--minutes", type=float, default=120.0, help="of it all")
    parser.add_argument("--each", type=float, default=4.0, help="minutes of training in a round")
    parser.add_argument("--out", type=Path, default=Path("soak.csv"), help="the rows")
    parser.add_argument("--report", type=Path, default=None, help="rows of before, of which to report alone")
    options, settings = parser.parse_known_args(argv)
    if options.report is not None:
        return report(options.report)
    if options.recipe is None:
        parser.error("name a recipe, or rows with --report")
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), options.out) as watch:
        until = time.monotonic() + 60 * options.minutes
        while time.monotonic() < until:
            play(Path(folder), options.recipe, [*settings, "--training.max_minutes", str(options.each)])
            watch.round += 1
    return report(options.out)


def play(folder: Path, recipe: str, settings: Sequence[str]) -> None:
    """One round. Raises RuntimeError where a command fails."""
    run = folder / "run"
    call("train", recipe, "--run-dir", str(run), "--overwrite", *settings)
    for verb in VERBS:
        call(*(word.replace("RUN", str(run)).replace("FOLDER", str(folder)) for word in verb))
    call("stream", str(run), read=rows_of(folder / "samples.npz"))


def rows_of(path: Path) -> str:
    """The first sequence of a file of samples, a JSON list for each step."""
    with np.load(path) as file:
        return "".join(f"{json.dumps(np.atleast_1d(step).tolist())}\n" for step in file["x"][0])


def call(*words: str, read: str = "") -> None:
    """A command, in this process, without what it prints; `read` is what comes in."""
    said, before = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(read)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = zforcing(list(words))
    finally:
        sys.stdin = before
    if code:
        raise RuntimeError(f"zforcing {' '.join(words)} ended with {code}:\n{said.getvalue()[-2000:]}")


class Watch(threading.Thread):
    """Writes a row of what the process holds, until it is told to stop."""

    def __init__(self, folder: Path, out: Path):
        super().__init__(daemon=True)
        self.folder, self.out = folder, out
        self.round, self.over = 0, threading.Event()

    def run(self) -> None:
        begun = time.monotonic()
        with self.out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FIELDS)
            while not self.over.wait(EVERY):
                writer.writerow([round(time.monotonic() - begun, 1), self.round, *held(self.folder)])
                file.flush()


@contextlib.contextmanager
def watched(folder: Path, out: Path) -> Iterator[Watch]:
    """Within the block rows are written."""
    watch = Watch(folder, out)
    watch.start()
    try:
        yield watch
    finally:
        watch.over.set()
        watch.join()


def held(folder: Path) -> tuple[float, int, int, float]:
    """Memory in MB (resident), threads, open files, and MB in a folder."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    sizes = []
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # files come and go
            sizes.append(file.stat().st_size if file.is_file() else 0)
    handles = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # its own
    return round(int(status["VmRSS"].split()[0]) / 1024, 1), int(status["Threads"]), handles, round(sum(sizes) / 1e6, 3)


def report(path: Path) -> int:
    """Print how fast each grows; 1 where something does."""
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    rounds = groups(rows)
    if len(rounds) < 4:
        print(f"{path}: {len(rows)} rows in {len(rounds)} groups; 4 are the least to fit a line to", file=sys.stderr)
        return 2
    print(
        f"{rows[-1]['seconds'] / 3600:.2f} hours, {int(rows[-1]['round']) + 1} rounds; a line by {len(rounds)} medians"
    )
    hours = np.array([np.median([row["seconds"] for row in group]) for group in rounds]) / 3600
    grown = [
        judge(name, hours, np.array([np.median([r[name] for r in group]) for group in rounds])) for name in ALLOWED
    ]
    return int(any(grown))


def groups(rows: Sequence[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Rows of each round, or where those are few of each five minutes, without the first and the last."""
    found: dict[int, list[dict[str, float]]] = defaultdict(list)
    few = rows[-1]["round"] < 6 if rows else True
    for row in rows:
        found[int(row["seconds"] // WITHOUT_ROUNDS if few else row["round"])].append(row)
    return [found[number] for number in sorted(found)[1:-1]]


def judge(name: str, hours: np.ndarray, values: np.ndarray) -> bool:
    """Print one slope, by least squares; whether it is too high."""
    centred = hours - hours.mean()
    slope = float(centred @ values / (centred @ centred))
    left = values - values.mean() - slope * centred
    error = float(np.sqrt(left @ left / (len(values) - 2) / (centred @ centred)))
    grown = slope > ALLOWED[name] and slope > 2 * error
    said = f"{name:12s} {values[0]:9.1f} -> {values[-1]:9.1f}   {slope:+8.2f} ± {error:.2f} an hour"
    print(f"{said}   allowed {ALLOWED[name]:g}{'   GROWS' if grown else ''}")
    return grown


if __name__ == "__main__":
    sys.exit(main())
