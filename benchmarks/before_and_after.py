"""How the time of what models do has changed since a commit, on a CPU.

    git worktree add ../before COMMIT
    python benchmarks/before_and_after.py ../before [--threads N] [--models NAME ...] [--sizes NAME ...] [--starts N]

At each size of `zforcing bench`, the other checkout and this one take turns, each in a process of its own that lives
all the while:

- floor: torch's own recurrent networks of the same sizes as the model's, forward and backward
- update: forward, backward, optimizer, by the ELBO
- FIVO-16: an update by a particle filter with 16 particles; and the same by the model's own steps (`walked`)
- sample: 64 sequences of as many steps

Medians of the CPU time of these processes, summed over their threads, so that what else the machine does matters less.
Where its memory lies makes a process some percent faster or slower all its life: `--starts` processes of each are
started, and ratios are medians over their pairs; from eight starts on with their 95 percent interval (bootstrap). The
tables are Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from zforcing.benchmark.sizes import SIZES
from zforcing.text_table import Table

HERE = Path(__file__).resolve().parents[1]
WARM_UP, RESAMPLED = 2, 2000
WORKER = """
import sys, time, torch
from zforcing import FIVO
import zforcing.benchmark.measure
from zforcing.benchmark.sizes import SIZES
from zforcing.models import MODELS
from zforcing.runtime.memory import keep_freed_memory
from zforcing.tasks.sample import sample

model, size, threads, task = sys.argv[1], SIZES[sys.argv[2]], int(sys.argv[3]), sys.argv[4]
keep_freed_memory()  # as commands do
torch.set_num_threads(threads)
measure = sys.modules['zforcing.benchmark.measure']
config = MODELS[model].Config
bench = measure.Bench(size, config(**size.known_settings(config)), measure.Protocol(model=model, threads=threads))
if task.startswith("FIVO"):
    measure.ELBO = lambda: FIVO(16)
if task == "sample":
    sampled = bench.model().eval()
    run = lambda: sample(sampled, 64, steps=size.steps, seed=0)
else:
    run = bench.floor() if task == "floor" else bench.update("reference" if "walked" in task else "fast")
for _ in sys.stdin:
    begun = time.process_time()
    run()
    print(time.process_time() - begun, flush=True)
"""
Task = tuple[Path, str]  # of which checkout, what


@contextmanager
def worker(checkout: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a task of a checkout once for each line that it gets, and answers with the CPU seconds."""
    command = [sys.executable, "-c", WORKER, *arguments]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def seconds_of(process: subprocess.Popen[str]) -> float:
    """Run its task once."""
    assert process.stdin is not None, "a pipe was asked for"
    assert process.stdout is not None, "a pipe was asked for"
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


@dataclass(frozen=True)
class Protocol:
    """How often to measure: processes of each task, and runs of each process that count."""

    threads: int
    starts: int
    rounds: int


def medians(tasks: Mapping[str, Task], model: str, size: str, protocol: Protocol) -> list[list[float]]:
    """Of each task the median CPU milliseconds of each of its processes; the tasks take turns."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(protocol.starts):
        with ExitStack() as stack:
            started = {
                name: stack.enter_context(worker(checkout, model, size, str(protocol.threads), task))
                for name, (checkout, task) in tasks.items()
            }
            rounds = [
                {name: 1e3 * seconds_of(process) for name, process in started.items()}
                for _ in range(WARM_UP + protocol.rounds)
            ]
        for name in tasks:
            found[name].append(statistics.median(seconds[name] for seconds in rounds[WARM_UP:]))
    return list(found.values())


def milliseconds(*measured: Sequence[float]) -> list[str]:
    """Medians over processes, as text."""
    return [f"{statistics.median(ms):.0f}" for ms in measured]


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """The median of the ratios of pairs of processes and, of many, its 95 percent interval, as text."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    said = f"{statistics.median(ratios):.2f}"
    if len(ratios) < 8:
        return said
    draw = random.Random(0)
    resampled = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLED))
    return f"{said} ({resampled[RESAMPLED // 40]:.2f} to {resampled[-RESAMPLED // 40]:.2f})"


def updates(before: Path, models: Sequence[str], sizes: Sequence[str], protocol: Protocol) -> Table:
    """Of updates by the ELBO, and the floor."""
    rows = []
    for model in models:
        for size in sizes:
            tasks = {"floor": (HERE, "floor"), "before": (before, "update"), "now": (HERE, "update")}
            floor, old, new = medians(tasks, model, size, protocol)
            ratios = (ratio(old, floor), ratio(new, floor), ratio(new, old))
            rows.append([model, size, *milliseconds(floor, old, new), *ratios])
    headers = ["model", "size", "floor, ms", "before, ms", "now, ms", "before / floor", "now / floor", "now / before"]
    return Table(f"An update, {protocol.threads} threads", headers, rows, text_columns=2)


def filters(before: Path, models: Sequence[str], sizes: Sequence[str], protocol: Protocol) -> Table:
    """Of updates by a particle filter, and the same walked."""
    rows = []
    for model in models:
        for size in sizes:
            tasks = {"walked": (HERE, "FIVO walked"), "before": (before, "FIVO"), "now": (HERE, "FIVO")}
            walked, old, new = medians(tasks, model, size, protocol)
            ratios = (ratio(walked, old), ratio(walked, new))
            rows.append([model, size, *milliseconds(walked, old, new), *ratios])
    headers = ["model", "size", "walked, ms", "before, ms", "now, ms", "walked / before", "walked / now"]
    return Table(f"An update by FIVO with 16 particles, {protocol.threads} threads", headers, rows, text_columns=2)


def samples(before: Path, models: Sequence[str], sizes: Sequence[str], protocol: Protocol) -> Table:
    """Of drawing sequences."""
    rows = []
    for model in models:
        for size in sizes:
            tasks = {"before": (before, "sample"), "now": (HERE, "sample")}
            old, new = medians(tasks, model, size, protocol)
            rows.append([model, size, *milliseconds(old, new), ratio(new, old)])
    headers = ["model", "size", "before, ms", "now, ms", "now / before"]
    return Table(f"64 sequences, {protocol.threads} threads", headers, rows, text_columns=2)


KINDS = {"updates": updates, "filters": filters, "samples": samples}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["updates"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["zforcing", "vrnn", "srnn", "rnn"])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    protocol = Protocol(options.threads, options.starts, options.rounds)
    for kind in options.kinds:
        table = KINDS[kind](options.before.resolve(), options.models, options.sizes, protocol)
        print(f"{table.title}:\n\n{table.to_markdown()}\n", flush=True)


if __name__ == "__main__":
    main()
