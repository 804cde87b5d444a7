"""What `zforcing train` does once its words are read: one run, or one for each of several seeds."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from ..errors import UserError
from ..files.json_text import json_text
from ..files.paths import user_path
from ..settings.text import LONGEST
from ..text_table import Table
from ..training.loop import Diverged
from ..training.parallel import is_main_process
from ..training.progress import Progress
from ..training.runs.config import RunConfig
from ..training.runs.folder import RUNS, check_folder
from ..training.runs.run import Interrupted
from ..training.runs.run import train as run_training
from .options import say

DIVERGED = ["-", "diverged", "", ""]


@dataclass(frozen=True)
class Planned:
    """A run to train. resume: from its last checkpoint."""

    config: RunConfig
    folder: Path
    resume: bool

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        file, folder = shlex.quote(str(self.folder / "config.yaml")), shlex.quote(str(self.folder))
        return f"zforcing train {file} --run-dir {folder} --resume"


def train_run(config: RunConfig, options: Namespace) -> int:
    """Train one run; returns the exit code."""
    planned = Planned(config, run_folder(config, options), options.resume)
    try:
        end = trained(planned, options)
    except Interrupted as stopped:
        say(f"stopped; go on with: {planned.go_on}")
        return stopped.exit_code
    if end is None:
        return 1
    if not is_main_process():
        return 0
    if options.json:
        print(json_text(in_short(planned.folder, end)))
    else:
        quoted = shlex.quote(str(planned.folder))
        print(f"{planned.folder}\nnext: zforcing evaluate {quoted}; zforcing sample {quoted}")
    return 0


def train_seeds(config: RunConfig, options: Namespace, argv: Sequence[str]) -> int:
    """Train a run for each seed, one after the other; returns the exit code.

    With --resume, finished ones stay, a stopped one goes on, and those that weren't begun start.
    """
    planned = plan_seeds(config, options)
    for one in planned:  # all, before the first trains for hours
        check_folder(one.config, one.folder, resume=one.resume, overwrite=options.overwrite)
    ends: dict[Path, Progress | None] = {}
    for one in planned:
        say(f"{one.folder}: seed {one.config.seed}")
        try:
            ends[one.folder] = trained(one, options)
        except Interrupted as stopped:
            left = [word for word in argv if word not in ("--resume", "--overwrite")]
            say(f"stopped; go on with: {shlex.join(['zforcing', 'train', *left, '--resume'])}")
            return stopped.exit_code
    if is_main_process():
        show(ends, as_json=options.json)
    return 1 if None in ends.values() else 0


def plan_seeds(config: RunConfig, options: Namespace) -> list[Planned]:
    """The runs, RUN_DIR-seedN or runs/RECIPE-seedN. Raises UserError for seeds that are none."""
    words = [word.strip() for word in options.seeds.split(",")]
    if not all(word.isdecimal() and len(word) <= LONGEST for word in words):
        raise UserError(f"--seeds is {options.seeds!r}; it must be whole numbers with commas between them: 0,1,2")
    seeds = [int(word) for word in words]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds is {options.seeds!r}; it has one twice")
    if "seed" in vars(options):
        raise UserError("--seed is of one run and --seeds of several: leave one of them out")
    if options.resume and options.overwrite:
        raise UserError("--resume goes on with runs and --overwrite throws them away: leave one of them out")
    stem = run_folder(config, options)
    folders = [(seed, stem.with_name(f"{stem.name}-seed{seed}")) for seed in seeds]
    return [
        Planned(replace(config, seed=seed), folder, options.resume and (folder / "config.yaml").is_file())
        for seed, folder in folders
    ]


def run_folder(config: RunConfig, options: Namespace) -> Path:
    """What --run-dir names, or runs/RECIPE."""
    return user_path(options.run_dir, f"--run-dir {options.run_dir}") if options.run_dir else RUNS / config.recipe


def trained(planned: Planned, options: Namespace) -> Progress | None:
    """Train one run; None where it diverged, which is said. Raises Interrupted."""
    how = {"device": options.device, "resume": planned.resume, "overwrite": options.overwrite}
    try:
        return run_training(planned.config, planned.folder, **how)
    except Diverged as error:
        print(f"zforcing: {error}", file=sys.stderr)
        return None


def in_short(folder: Path, end: Progress) -> dict[str, Any]:
    """How a run ended, for --json."""
    return {
        "run": str(folder),
        "finished": end.finished,
        "best_validation_nats_per_sequence": end.best,
        "kind": kind_of(folder),
        "best_epoch": end.best_epoch,
        "updates": end.step,
        "nonfinite_updates": end.nonfinite,
        "seconds": end.seconds,
    }


def kind_of(run: Path) -> str | None:
    """Whether the numbers of a run's validations are exact, a lower bound or an estimate, by its rows of metrics."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return next((row["kind"] for row in reversed(rows) if "kind" in row), None)


def show(ends: dict[Path, Progress | None], *, as_json: bool) -> None:
    """The runs' ends, and the commands that measure and compare them."""
    if as_json:
        diverged = {"finished": "diverged"}
        runs = [in_short(run, end) if end else {"run": str(run)} | diverged for run, end in ends.items()]
        print(json_text({"runs": runs}))
        return
    Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(
        ends_table(ends).to_terminal(), crop=False
    )
    names = [shlex.quote(str(run)) for run, end in ends.items() if end]
    if names:
        print(f"next: {'; '.join(f'zforcing evaluate {name}' for name in names)}; zforcing table {' '.join(names)}")


def ends_table(ends: dict[Path, Progress | None]) -> Table:
    """A row for each run, and their mean with the standard deviation over seeds."""
    rows = [[str(run), *(DIVERGED if end is None else cells(run, end))] for run, end in ends.items()]
    bests = [end.best for end in ends.values() if end]
    if len(bests) > 1:
        rows.append(["mean ± sd over seeds", "", f"{mean(bests):.4f} ± {stdev(bests):.4f}", "", ""])
    headers = ["run", "kind", "best validation, nats per sequence", "epoch", "seconds"]
    return Table("", headers, rows, text_columns=2)


def cells(run: Path, end: Progress) -> list[str]:
    """A run's end, behind its name."""
    return [kind_of(run) or "-", f"{end.best:.4f}", str(end.best_epoch), f"{end.seconds:.0f}"]
