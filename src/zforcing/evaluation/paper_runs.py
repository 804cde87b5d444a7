"""The runs of a paper's table: found in a folder, trained where they are missing, evaluated where they need it.

Each is in FOLDER/RECIPE-seedN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..saving.atomic import current
from ..training.runs.config import RunConfig
from ..training.runs.folder import check_folder, read_run_config
from ..training.runs.known import flatten
from ..training.runs.lock import Held, is_empty
from .paper import NOTHING_KNOWN, KnownData, PaperTable
from .paper_rows import check_data
from .rows import NO_DIFFERENCE, RunRow, read_rows
from .runs import Counter, evaluate_run, silent
from .saved import (
    evaluation_file,
    is_of_other_weights,
    measured_otherwise,
    read_bound,
    read_evaluation,
    save_evaluation,
    weights_of,
)

CUTTING = ("data.chunk_frames", "data.chunk_steps")  # of training sequences: may differ between rows
BATCH_SIZE = 128  # sequences times particles that are evaluated at once


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be trained."""

    folder: Path
    config: RunConfig

    @property
    def begun(self) -> bool:
        """Whether its folder holds its beginning, or all of it, by now: another process may have trained it."""
        return (self.folder / "config.yaml").is_file()


def plan_runs(
    table: PaperTable,
    size: str,
    *,
    rows: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    configure: Callable[[str], RunConfig],
) -> list[PlannedRun]:
    """One run for each seed and row. Nothing is written: what is wrong with the last one is found before the first one
    is trained.

    Args:
        table: A paper's table.
        size: One of `table.sizes`.
        rows: Of `table.rows`.
        seeds: Of the runs.
        folder: Where the table's runs are, and go.
        configure: Recipe -> its settings, with those that are asked for instead of its own.

    Raises:
        UserError: A setting is wrong, a folder isn't free for its run, or the runs, with those of the table that are
            there, can't be compared.
    """
    pairs = dict.fromkeys((table.recipe(size, row), seed) for seed in seeds for row in rows)
    planned = [_planned(recipe, replace(configure(recipe), seed=seed), folder) for recipe, seed in pairs]
    folders = {run.folder for run in planned}
    others = [run for run in runs_of_table(table, size, folder) if run not in folders]
    there = [read_run_config(run) for run in others if (run / "config.yaml").is_file()]
    check_comparable([*(run.config for run in planned), *there])
    return planned


def _planned(recipe: str, config: RunConfig, folder: Path) -> PlannedRun:
    run = folder / f"{recipe}-seed{config.seed}"
    check_data(recipe, flatten(config.to_dict()))
    begun = (run / "config.yaml").is_file()
    if not begun and run.exists() and not is_empty(run):
        raise UserError(f"{run} exists already and holds no run: take it away, or name other --runs")
    try:
        check_folder(config, run, resume=begun)
    except UserError as error:
        reason = str(error).removeprefix("--resume: ")
        raise UserError(
            f"{reason}: give the same settings, name other --runs, or read what is there by --find"
        ) from None
    return PlannedRun(run, config)


def check_comparable(configs: Sequence[RunConfig]) -> None:
    """Refuse data in which runs differ (they couldn't stand in one column), and settings in which the seeds of a recipe
    do (they would have no mean).
    """
    flat = [(config.recipe, flatten(config.to_dict())) for config in configs]
    firsts: dict[str, dict[str, Any]] = {}
    for recipe, settings in flat:
        same_recipe, any_recipe = firsts.setdefault(recipe, settings), flat[0][1]
        of_seeds = [name for name in _differing(same_recipe, settings) if name not in NO_DIFFERENCE]
        data = [name for name in _differing(any_recipe, settings) if name.startswith("data.")]
        pairs = [(name, same_recipe) for name in of_seeds]
        pairs += [(name, any_recipe) for name in data if name not in (*may_differ(settings), *of_seeds)]
        if pairs:
            different = "; ".join(f"{name} {first.get(name)} and {settings.get(name)}" for name, first in pairs)
            raise UserError(f"runs of one table can't differ in {different} ({recipe}): name other --runs")


def may_differ(settings: dict[str, Any]) -> tuple[str, ...]:
    """The settings of data in which rows may: of checked images also whether they are read whole or by pixels."""
    return (*CUTTING, "data.order") if settings.get("data.check_known") else CUTTING


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return [name for name in first | second if first.get(name) != second.get(name)]


def train_runs(planned: Sequence[PlannedRun], *, device: str, say: Callable[[str], None]) -> list[Path]:
    """Train each, from where it is; returns those that diverged. say: takes a line on what is going on.

    Several processes may do this at once: a run that another one trains is passed over, and looked at again at the end.

    Raises:
        training.runs.run.Interrupted: After Ctrl-C, the state saved; the same call goes on.
    """
    diverged, held = _train_free(planned, device=device, say=say)
    more, held = _train_free(held, device=device, say=say)  # now finished, or left by a process that was killed
    if held:
        say(f"other processes still train {', '.join(run.folder.name for run in held)}; the last one ends with all")
    return diverged + more


def _train_free(
    planned: Sequence[PlannedRun], *, device: str, say: Callable[[str], None]
) -> tuple[list[Path], list[PlannedRun]]:
    """Train those that no other process trains; returns those that diverged, and the others."""
    from ..training.loop import Diverged
    from ..training.runs.run import train

    diverged, held = [], []
    for run in planned:
        say(f"{run.folder}: {'going on' if run.begun else 'training'}")
        try:
            train(run.config, run.folder, device=device, resume=run.begun)
        except Held:
            say(f"{run.folder}: another process trains it")
            held.append(run)
        except Diverged as error:
            say(f"zforcing: {error}")
            diverged.append(run.folder)
    return diverged, held


def runs_of_table(table: PaperTable, size: str, folder: Path) -> list[Path]:
    """The run folders of all recipes of a table's size."""
    return [run for row in table.rows for run in runs_of_recipe(table.recipe(size, row), folder)]


def runs_of_recipe(recipe: str, folder: Path) -> list[Path]:
    """The run folders of a recipe, by their seeds."""
    named = re.compile(re.escape(recipe) + r"-seed(\d+)", re.ASCII)
    matches = [(named.fullmatch(run.name), run) for run in (folder.iterdir() if folder.is_dir() else ())]
    return [run for _, run in sorted((int(match[1]), run) for match, run in matches if match and run.is_dir())]


def seed_of(run: str) -> int:
    """The seed in a run's name; -1 where it has none."""
    digits = run.rpartition("-seed")[2]
    return int(digits) if digits.isdecimal() else -1


def select_runs(runs: Sequence[Path], *, recipes: Sequence[str], seeds: Sequence[int]) -> list[Path]:
    """The runs of these recipes and seeds; no seeds: of any."""
    of_recipes, of_seeds = tuple(f"{r}-seed" for r in recipes), tuple(f"-seed{seed}" for seed in seeds)
    return [run for run in runs if run.name.startswith(of_recipes) and (not seeds or run.name.endswith(of_seeds))]


def is_finished(run: Path) -> bool:
    """Whether training has come to its end, with a model to evaluate."""
    from ..training.runs.checkpoint import read_progress

    last, best = (current(run / "checkpoints" / which) for which in ("last", "best"))
    return last.is_dir() and best.is_dir() and bool(read_progress(last).finished)


def evaluate_runs(
    runs: Sequence[Path],
    *,
    bounds: Sequence[str],
    device: str,
    say: Callable[[str], None],
    counting: Counter = silent,
    known: KnownData = NOTHING_KNOWN,
    recipes: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[RunRow]]:
    """What each bound (elbo, iwae25) says of finished runs on the test split, evaluated where they need it.

    Where the first bound is the exact likelihood of a run, the others aren't taken of it; nor of a run that was trained
    by `ais`, which is its first bound. recipes: of whose runs alone a bound is taken; all where it isn't named.
    """
    others, of_recipes = measured_otherwise(runs), recipes or {}
    rows: dict[str, list[RunRow]] = {}
    left = list(runs)
    for bound in bounds:
        runs = [run for run in left if bound not in of_recipes or read_run_config(run).recipe in of_recipes[bound]]
        for run in runs:
            measured_by = others.get(run, bound)
            if not is_evaluated(run, measured_by):
                say(f"{run}: evaluating {measured_by}")
                _evaluate(run, measured_by, device=device, counting=counting)
        rows[bound] = read_rows(runs, split="test", bound=bound, others=others, known=known) if runs else []
        done = [run for run, row in zip(runs, rows[bound], strict=True) if row.evaluation.kind == "exact"]
        left = [run for run in left if run not in done and run not in others]
    return rows


def is_evaluated(run: Path, bound: str) -> bool:
    """Whether the evaluation on the test split is there, of the weights, and has all that is reported today."""
    path = evaluation_file(run, split="test", bound=bound)
    if not path.is_file() or is_of_other_weights(path):
        return False
    try:
        read_evaluation(path, remedy="it is made again")
    except UserError:  # damaged, or of an older version
        return False
    return True


def _evaluate(run: Path, bound: str, *, device: str, counting: Counter) -> None:
    try:
        weights = weights_of(run)
        chosen = read_bound(bound, trained_by=read_run_config(run).bound)
        evaluation = evaluate_run(run, bound=chosen, batch_size=BATCH_SIZE, device=device, counting=counting)
    except UserError as error:
        raise UserError(f"{run}: {error}") from None
    path = evaluation_file(run, split="test", bound=bound)
    save_evaluation(evaluation, path, checkpoint="best", weights=weights)
