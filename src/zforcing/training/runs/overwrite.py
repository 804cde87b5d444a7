"""Throwing a run away, to train another in its place: a folder that a run wrote, and never another one."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from ...errors import UserError
from .lock import LOCK, is_empty
from .recipes import read_recipe

WRITTEN = (  # what training and the commands write into a run's folder
    LOCK,
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "timing.jsonl",
    "checkpoints",
    "evaluation-*.json",
    "forecast-*.json",
    "filled",
    "forecasts",
    "latents",
    "samples",
    "scores",
    "shared",
    "tensorboard",
    "wandb",
    "report.html",
    "*.onnx",
    "*.pt2",
    "*.png",
    "*.partial",
)
SECTIONS_OF_A_RUN = {"data", "model", "training"}


def check_disposable(folder: Path) -> None:
    """Raise UserError where a folder is there, isn't empty, and holds no run or anything besides."""
    if not folder.exists() or is_empty(folder):
        return
    never = f"--overwrite throws away runs alone: {folder}"
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{never} is {'a link' if folder.is_symlink() else 'a file'}; name another --run-dir")
    if not ((folder / "environment.json").is_file() and _says_how_it_was_trained(folder / "config.yaml")):
        raise UserError(f"{never} is no run's folder; name another --run-dir")
    others = sorted(p.name for p in folder.iterdir() if not any(fnmatch(p.name, one) for one in WRITTEN))
    if others:
        raise UserError(
            f"{never} holds {', '.join(others[:3])} too, which no run writes; take it away or name another --run-dir"
        )
    if Path.cwd().resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{never} is the folder that you are in; go elsewhere first")


def throw_away(folder: Path) -> None:
    """Remove a run, but not the folder, which is locked. Raises UserError, see `check_disposable`."""
    check_disposable(folder)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _says_how_it_was_trained(config: Path) -> bool:
    try:
        return config.is_file() and set(read_recipe(str(config))) >= SECTIONS_OF_A_RUN
    except UserError:
        return False
