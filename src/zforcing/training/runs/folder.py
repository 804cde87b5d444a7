"""Checks of a run folder before a run starts or resumes there, and the record of the machine."""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from ...data.renamed import renamed
from ...errors import UserError
from ...saving.atomic import current, read_json
from .config import RunConfig, flatten, parse_config
from .paths import found_from, same_paths
from .recipes import read_recipe, recipe_lines, suggest

RUNS = Path("runs")  # where `train` puts a run that isn't told where to go
BUDGET = (
    "epochs",
    "max_steps",
    "max_minutes",
    "patience",
    "checkpoint_every",
    "track",
)  # may change when a run resumes


def check_folder(config: RunConfig, folder: Path, *, resume: bool) -> bool:
    """Whether there is a checkpoint to resume from (a run that was stopped before its first one starts again).

    Raises UserError when the folder isn't free for a new run, or doesn't hold this run to resume.
    """
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists already: name another --run-dir, or resume it with --resume")
        return False
    path, checkpoint = folder / "config.yaml", current(folder / "checkpoints" / "last")
    if not path.is_file():
        raise UserError(f"{folder} holds no run to resume: it has no config.yaml (leave out --resume)")
    has_checkpoint = checkpoint.is_dir()
    before = read_json(checkpoint / "training.json").get("settings") if has_checkpoint else read_recipe(str(path))
    if not isinstance(before, dict):
        raise UserError(f"{checkpoint / 'training.json'} is damaged: it has no settings")
    # What runs beside training may change; what is imported is where `config` has found it.
    before = {k: v for k, v in before.items() if k not in ("imports", "callbacks")}
    before["data"] = renamed(before.get("data", {}))
    before = found_from(folder, before, where=str(checkpoint if has_checkpoint else path))
    changed = differences(parse_config(before, where=str(checkpoint if has_checkpoint else path)), config)
    if changed:
        raise UserError(f"--resume: {folder} was started with other settings: {'; '.join(changed)}")
    return has_checkpoint


def differences(before: RunConfig, now: RunConfig) -> list[str]:
    """The settings that differ, except those that only say how long to train and how often to write."""
    old, new = flatten(same_paths(before.to_dict())), flatten(same_paths(now.to_dict()))
    free = {f"training.{name}" for name in BUDGET} | {"about", "recipe", "imports", "callbacks"}
    keys = [k for k in old | new if k not in free and old.get(k) != new.get(k)]
    return [f"{k} was {old.get(k)}, is {new.get(k)}" for k in keys]


def environment(device: torch.device) -> str:
    """The run's environment, as JSON: versions, processor, device, threads."""
    packages = ("zforcing", "torch", "accelerate", "numpy", "safetensors", "scikit-learn")
    return json.dumps(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": ["zforcing", *sys.argv[1:]],
            "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
            "platform": platform.platform(),
            "processor": _processor(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "threads": torch.get_num_threads(),
        },
        indent=1,
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
    own, among_runs = Path(name), RUNS / name
    for folder in (own, among_runs):
        if any((folder / part).exists() for part in ("config.yaml", "config.json", "checkpoints")):
            return folder
    if own.exists():
        return own  # whoever reads it says what it lacks
    if among_runs == own:  # an absolute path
        raise UserError(f"no such run folder: {own}")
    known = {folder.name for folder in RUNS.iterdir() if folder.is_dir()} if RUNS.is_dir() else set()
    raise UserError(
        f"no such run folder: {own}{suggest(str(name), known)}; neither {own} nor {among_runs} is in {Path.cwd()}"
    )


def read_run_config(run: Path) -> RunConfig:
    """The run's resolved configuration."""
    path = run / "config.yaml"
    return parse_config(read_recipe(str(path)), where=str(path), lines=recipe_lines(str(path)))
