"""Checks of a run folder before a run starts or resumes there, and the record of the machine."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from ...errors import UserError
from ...files.paths import user_path
from ...saving.atomic import read_json, with_digest
from ...saving.digests import SUMS, check_digests
from ...saving.model import holds_model, may_be_of_the_hub
from .config import RunConfig, parse_config
from .known import NOBODY, SECTIONS, flatten
from .lock import is_empty
from .overwrite import check_disposable
from .paths import found_from, same_paths
from .recipes import read_recipe, recipe_lines, suggest
from .renamed import renamed

RUNS = Path("runs")  # where `train` puts a run that isn't told where to go
BUDGET = (
    "epochs",
    "max_steps",
    "max_minutes",
    "max_cpu_minutes",
    "patience",
    "checkpoint_every",
    "track",
)  # may change when a run resumes
RESUME_OR_OVERWRITE = "--resume goes on with a run and --overwrite throws it away: leave one of them out"


def newest_checkpoint(run: Path, *, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of a run that is as it was written: `last`, one that a crash has left of it, or `best`.

    One that is damaged is said, and passed over. None where there is none.

    Raises:
        UserError: All are damaged.
    """
    names = ("last", "last.old", "best", "best.old")
    damaged: list[str] = []
    for checkpoint in filter(Path.is_dir, (run / "checkpoints" / name for name in names)):
        try:
            check_digests(checkpoint, {file.name for file in checkpoint.iterdir()} - {SUMS})
        except UserError as error:
            damaged.append(str(error))
            continue
        if damaged:
            say(f"warning: {damaged[0]}; going on from {checkpoint}")
        return checkpoint
    if damaged:
        raise UserError(f"no checkpoint of {run} is whole: {damaged[0]}")
    return None


def check_folder(config: RunConfig, folder: Path, *, resume: bool, overwrite: bool = False) -> None:
    """Check, before anything is trained, that a folder is free for a new run, or holds this run to resume.

    Raises:
        UserError: It isn't, or doesn't.
    """
    if resume and overwrite:
        raise UserError(RESUME_OR_OVERWRITE)
    if resume:
        check_same_run(config, folder, newest_checkpoint(folder, say=lambda _: None))
    else:
        check_free(folder, overwrite=overwrite)


def check_free(folder: Path, *, overwrite: bool = False) -> None:
    """Raise UserError where a folder isn't free for a new run (one that was killed at once leaves it so).

    overwrite: the folder may hold a run, and nothing else.
    """
    if overwrite:
        check_disposable(folder)
    elif folder.exists() and not is_empty(folder):
        raise UserError(
            f"{folder} exists already: name another --run-dir, go on with the run there by --resume, "
            "or throw it away by --overwrite"
        )


def check_same_run(config: RunConfig, folder: Path, checkpoint: Path | None) -> None:
    """Raise UserError where a folder doesn't hold this run to resume, from a checkpoint or (None) its beginning."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds no run to resume: it has no config.yaml (leave out --resume)")
    changed = differences(trained_with(folder, checkpoint), config)
    if changed:
        raise UserError(f"--resume: {folder} was started with other settings: {'; '.join(changed)}")


def trained_with(folder: Path, checkpoint: Path | None) -> RunConfig:
    """The settings of a run that a checkpoint was written with, or (None) that its config.yaml has.

    Raises:
        UserError: There are none.
    """
    where = folder / "config.yaml" if checkpoint is None else checkpoint / "training.json"
    before = read_recipe(str(where)) if checkpoint is None else read_json(where).get("settings")
    if not isinstance(before, dict):
        raise UserError(f"{where} is damaged: it has no settings")
    # What runs beside training may change; what is imported is where `config` has found it.
    before = {k: v for k, v in before.items() if k not in ("imports", "callbacks")}
    before["data"] = renamed(before.get("data", {}))
    return parse_config(found_from(folder, before, where=str(where)), where=str(where))


def differences(before: RunConfig, now: RunConfig) -> list[str]:
    """The settings that differ, except those that only say how long to train and how often to write; of a section that
    has another name, its name alone.
    """
    old, new = ({"player.name": NOBODY} | flatten(same_paths(one.to_dict())) for one in (before, now))
    free = {f"training.{name}" for name in BUDGET} | {"about", "recipe", "imports", "callbacks"}
    others = tuple(f"{section}." for section in SECTIONS if old[f"{section}.name"] != new[f"{section}.name"])
    keys = [k for k in old | new if k not in free and old.get(k) != new.get(k)]
    told = [k for k in keys if not k.startswith(others) or k.endswith(".name")]
    return [f"{k} was {old.get(k)}, is {new.get(k)}" for k in told]


def environment(device: torch.device) -> str:
    """The run's environment, as JSON: versions, processor, device, threads."""
    packages = ("zforcing", "torch", "accelerate", "numpy", "safetensors", "scikit-learn")
    return with_digest(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": ["zforcing", *sys.argv[1:]],
            "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
            "platform": platform.platform(),
            "processor": _processor(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "threads": torch.get_num_threads(),
        }
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def find_run(name: str | Path) -> Path:
    """The folder of a run: `name` itself, or runs/NAME where `name` is no run's folder.

    Raises:
        UserError: There is neither. The message says what was looked for, and which runs have similar names.
    """
    own, among_runs = user_path(str(name), str(name)), RUNS / name
    for folder in (own, among_runs):
        if any((folder / part).exists() for part in ("config.yaml", "config.json", "checkpoints")):
            return folder
    if own.exists():
        return own  # whoever reads it says what it lacks
    if own.is_absolute():
        raise UserError(f"no such run folder: {own}")
    known = {folder.name for folder in RUNS.iterdir() if folder.is_dir()} if RUNS.is_dir() else set()
    hint = f"; a model of the Hugging Face Hub is fetched by `{download(own, RUNS / own.name)}`"
    raise UserError(
        f"no such run folder: {own}{suggest(str(name), known)}; neither {own} nor {among_runs} is in {Path.cwd()}"
        f"{hint if may_be_of_the_hub(own) else ''}"
    )


def download(repo: str | Path, folder: str | Path) -> str:
    """The command that fetches a model of the Hugging Face Hub, without settings, which may name code to import."""
    return shlex.join(["hf", "download", str(repo), "--local-dir", str(folder), "--exclude", "config.yaml"])


def read_run_config(run: Path) -> RunConfig:
    """The run's resolved configuration; what it imports is there.

    Raises:
        UserError: It isn't valid, or the folder is a saved model, which somebody else may have handed over: nothing of
            theirs is run.
    """
    path = run / "config.yaml"
    values = read_recipe(str(path))
    if values.get("imports") and holds_model(run):
        raise UserError(
            f"{path} would run Python code ({values['imports']}), which a folder that holds a model needs none of: "
            "remove config.yaml; if the model isn't zforcing's, read its code and give it by --import"
        )
    return parse_config(values, where=str(path), lines=recipe_lines(str(path)))
