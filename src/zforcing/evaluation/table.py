"""Tables of several runs, from the files that `zforcing evaluate` wrote into their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..errors import UserError

PROTOCOL = ("data", "split", "first_observation", "num_sequences", "num_steps", "num_dims")
NOTE = "log p(x) of the data in nats: higher is better; ± is the standard error over sequences."


@dataclass(frozen=True)
class Row:
    """A run: its recipe, what `evaluate` found, how long it trained (seconds), what `train` noted of the machine."""

    run: str
    recipe: str
    evaluation: dict[str, Any]
    seconds: float
    environment: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return (
            {"run": self.run, "recipe": self.recipe, "seconds": self.seconds}
            | self.evaluation
            | {"environment": self.environment}
        )

    def cells(self) -> list[str]:
        """The row as text. Every number says what kind it is."""
        e = self.evaluation
        error = "" if e["standard_error"] is None else f" ± {e['standard_error']:.2f}"
        particles = "" if e["particles"] == 1 else f" {e['particles']}"
        kind = {
            "exact": "exact",
            "lower bound": f"≥ {e['bound']}{particles}",
            "estimate": f"≈ {e['bound']}{particles}",
        }[e["kind"]]
        kl = "-" if e["kind"] == "exact" else f"{e['kl_per_sequence']:.2f}"
        nats, bits = f"{e['nats_per_sequence']:.2f}{error}", f"{e['bits_per_dim']:.4f}"
        return [self.run, e["model"], kind, nats, bits, kl, f"{self.seconds:.0f}"]


def read_rows(runs: Sequence[Path], *, split: str, bound: str) -> list[Row]:
    """One row a run. Raises UserError when one isn't evaluated yet, or they were measured on different things."""
    rows = [_read_row(run, split=split, bound=bound) for run in runs]
    first = rows[0].evaluation
    for row in rows[1:]:
        other = [k for k in PROTOCOL if row.evaluation[k] != first[k]]
        if other:
            said = ", ".join(f"{k} {first[k]} and {row.evaluation[k]}" for k in other)
            raise UserError(f"{rows[0].run} and {row.run} can't stand in one table: {said}")
    return rows


def _read_row(run: Path, *, split: str, bound: str) -> Row:
    path = run / f"evaluation-{split}-{bound}.json"
    if not run.is_dir():
        raise UserError(f"no such run folder: {run}")
    if not path.is_file():
        raise UserError(f"{path} is missing: run `zforcing evaluate {run} --split {split} --bound ...` first")
    try:
        evaluation = json.loads(path.read_text("utf-8"))
        seconds = json.loads((run / "checkpoints" / "last" / "training.json").read_text("utf-8"))["seconds"]
        environment = json.loads((run / "environment.json").read_text("utf-8"))
        recipe = yaml.safe_load((run / "config.yaml").read_text("utf-8"))["recipe"]
        row = Row(run.name, recipe, evaluation, seconds, environment)
        row.cells()  # a file that was edited fails here, with its name
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        files = f"{path.name}, training.json, environment.json or config.yaml"
        raise UserError(f"{run}: {files} is damaged: {' '.join(repr(error).split())}") from None
    return row


def headers(dim: str) -> list[str]:
    """Of `Row.cells`; dim: what a scored number is called."""
    return ["run", "model", "kind", "log p(x), nats per sequence", f"bits per {dim}", "KL, nats", "seconds"]


def _title(rows: Sequence[Row]) -> str:
    first = rows[0].evaluation
    return f"{first['data']}, {first['split']} split: {first['num_sequences']} sequences, {first['num_steps']} steps"


def to_table(rows: Sequence[Row], *, dim: str = "dim") -> Table:
    """For a person at a terminal."""
    table = Table(title=_title(rows), box=SIMPLE_HEAD)
    cells = [row.cells() for row in rows]
    for i, header in enumerate(headers(dim)):
        widest = max(len(row[i]) for row in cells)
        table.add_column(header, justify="left" if i < 3 else "right", min_width=widest)
    for row in cells:
        table.add_row(*row)
    return table


def to_markdown(rows: Sequence[Row], *, dim: str, command: str) -> str:
    """A page: the table, the command that made it, and each run's own command, machine and versions."""
    lines = [f"# {_title(rows)}", "", f"Made by `{command}`.", NOTE, ""]
    lines += ["| " + " | ".join(headers(dim)) + " |", "|---|---|---|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    lines += _over_seeds(rows)
    lines += ["", "| run | trained by | on | started | versions |", "|---|---|---|---|---|"]
    for row in rows:
        e = row.environment
        machine = f"{e['processor']}, {e['device']}, threads {e['threads']}"
        versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items())
        lines.append(f"| {row.run} | `{' '.join(e['command'])}` | {machine} | {e['started']} | {versions} |")
    return "\n".join(lines)


def _over_seeds(rows: Sequence[Row]) -> list[str]:
    """Mean and standard deviation over the runs of each recipe that has several."""
    recipes = {row.recipe: [r for r in rows if r.recipe == row.recipe] for row in rows}
    lines = ["", "| recipe | runs | log p(x), mean over runs ± their standard deviation | KL, nats | seconds |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for recipe, its in recipes.items():
        if len(its) > 1:
            nats = [r.evaluation["nats_per_sequence"] for r in its]
            kl = np.mean([r.evaluation["kl_per_sequence"] for r in its])
            seconds = np.mean([r.seconds for r in its])
            spread = f"{np.mean(nats):.2f} ± {np.std(nats, ddof=1):.2f}"
            lines.append(f"| {recipe} | {len(its)} | {spread} | {kl:.2f} | {seconds:.0f} |")
    return lines if len(lines) > 3 else []
