"""Tables of several runs, from the files that `zforcing evaluate` wrote into their folders."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from ..errors import UserError
from ..saving.atomic import current
from ..training.runs.config import flatten, parse_config
from .likelihood import Evaluation

PROTOCOL = (
    *("data", "split", "first_observation", "sample_rate", "normalization_std"),
    *("num_sequences", "num_skipped", "num_steps", "num_dims", "num_unknown", "data_fingerprint"),
)
KINDS = {"exact": "exact", "lower bound": "≥", "estimate": "≈"}
TYPES = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, NoneType),
    "float": (int, float),
    "float | None": (int, float, NoneType),
}
ENVIRONMENT = {
    "processor": (str,),
    "device": (str,),
    "threads": (int,),
    "started": (str,),
    "command": (list,),
    "versions": (dict,),
}
NO_DIFFERENCE = {"seed", "about", "recipe"} | {  # runs that differ in these alone are means of one another
    f"training.{name}" for name in ("threads", "backend", "evaluation_batch_size", "log_every", "checkpoint_every")
}


@dataclass(frozen=True)
class Row:
    """A run: its recipe, what `evaluate` found, how long it trained (seconds, updates), what `train` noted of the
    machine, and its settings but for the seed, dotted: runs that have all of them in common differ by their seeds.
    """

    run: str
    recipe: str
    evaluation: dict[str, Any]
    seconds: float
    updates: int
    environment: dict[str, Any]
    settings: dict[str, Any]

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
        kind = KINDS[e["kind"]] + ("" if e["kind"] == "exact" else f" {e['bound']}{particles}")
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
            told = [k for k in other if k != "data_fingerprint"] or other
            said = ", ".join(f"{k} {first[k]} and {row.evaluation[k]}" for k in told)
            if told == ["data_fingerprint"]:
                said = (
                    f"they were measured on different sequences or in different units ({said}); give them the same "
                    f"data settings, or make two tables"
                )
            raise UserError(f"{rows[0].run} and {row.run} can't stand in one table: {said}")
    return rows


def _read_row(run: Path, *, split: str, bound: str) -> Row:
    if not run.is_dir():
        raise UserError(f"no such run folder: {run}")
    path = run / f"evaluation-{split}-{bound}.json"
    again = f"run `{_evaluate_command(run, split=split, bound=bound)}`"
    evaluation = _read(path, _json, {f.name: TYPES[str(f.type)] for f in fields(Evaluation)}, mend=again)
    if evaluation["kind"] not in KINDS:
        raise UserError(f"{path}: kind is {evaluation['kind']!r}, not {', '.join(KINDS)}; {again}")
    checkpoint, kept = current(run / "checkpoints" / "last"), "put back a copy, or train the run again"
    trained = _read(checkpoint / "training.json", _json, {"seconds": (int, float), "step": (int,)}, mend=kept)
    environment = _read(run / "environment.json", _json, ENVIRONMENT, mend=kept)
    environment["command"] = _without_out(environment["command"])
    config = _read(run / "config.yaml", yaml.safe_load, {"recipe": (str,)}, mend=kept)
    settings = {name: value for name, value in flatten(_complete(config)).items() if name not in NO_DIFFERENCE}
    name, recipe = run.absolute().name, config["recipe"]
    return Row(name, recipe, evaluation, trained["seconds"], trained["step"], environment, settings)


def _without_out(command: Sequence[object]) -> list[str]:
    """A command that made a run but for where a page of it went: it says nothing of the run."""
    kept, words = [], iter(map(str, command))
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of settings that there were not when the run was made."""
    try:
        return parse_config(config).to_dict()
    except UserError:
        return config


def _read(
    path: Path, parse: Callable[[str], Any], wanted: Mapping[str, tuple[type, ...]], *, mend: str
) -> dict[str, Any]:
    """A mapping with at least the entries `wanted`, of these types. `mend`: what to do about a file without."""
    try:
        values = parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {mend}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} can't be read ({' '.join(str(error).split())}): {mend}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged, it holds no names and values: {mend}")
    wrong = [name for name, types in wanted.items() if name not in values or not isinstance(values[name], types)]
    if wrong:
        raise UserError(f"{path} has no valid {', '.join(wrong)}, it is damaged or of an older zforcing: {mend}")
    return values


def _json(text: str) -> Any:
    """As `json.loads`, without the NaN and Infinity that JSON doesn't have."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    return json.loads(text, parse_constant=refuse)


def _evaluate_command(run: Path, *, split: str, bound: str) -> str:
    """What writes evaluation-SPLIT-BOUND.json; a bound's name in files ends with its particles."""
    name, particles = re.fullmatch(r"(.*?)(\d*)", bound, re.DOTALL).groups()  # type: ignore[union-attr]  # always fits
    words = ["zforcing", "evaluate", str(run), "--split", split, "--bound", name]
    return shlex.join([*words, *(["--particles", particles] if particles else [])])
