"""`zforcing recipes` and `zforcing info`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bounds import BOUNDS
from ..data import DATA
from ..models import MODELS
from ..observations import FORMATS, DataDescription
from ..registry import Family
from ..saving.atomic import read_json
from ..saving.model import find_checkpoint
from ..training.callbacks import CALLBACKS
from ..training.runs.folder import read_run_config, run_folder
from ..training.runs.recipes import recipes
from ..training.runs.trained import Trained
from .options import command_parser, import_option, print_values, take_imports


def list_recipes(argv: Sequence[str]) -> int:
    """List the recipes."""
    parser = command_parser("recipes", list_recipes)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(list(argv))
    known = recipes()
    if options.json:
        print(json.dumps(known))
    else:
        width = max(map(len, known))
        print("\n".join(f"{name:{width}s}  {about}" for name, about in known.items()))
    return 0


def info(argv: Sequence[str]) -> int:
    """Say what a run folder holds: zforcing info RUN; without RUN, which models, bounds and data sets there are."""
    words, _ = take_imports(argv)
    parser = command_parser("info", info)
    parser.add_argument("run", type=str, nargs="?", default=None, help="a run folder")
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(words)
    values = registered() if options.run is None else about_run(run_folder(options.run))
    if options.json:
        print(json.dumps(values))
    else:
        print_values(values)
    return 0


def registered() -> dict[str, Any]:
    """The names that recipes and commands may use, those of one's own too, and the version."""
    from .. import __version__

    families: dict[str, Family[Any]] = {
        "models": MODELS,
        "bounds": BOUNDS,
        "data": DATA,
        "formats": FORMATS,
        "callbacks": CALLBACKS,
    }
    return {"zforcing": __version__} | {kind: ", ".join(sorted(family)) for kind, family in families.items()}


def about_run(run: Path) -> dict[str, Any]:
    """What a run folder holds."""
    config = read_run_config(run)
    folder = find_checkpoint(run)
    trained = Trained.load(str(run), which="best")
    progress = read_json(folder / "training.json")
    return {
        "run": str(run),
        "about": config.about,
        "recipe": config.recipe,
        "model": trained.model.label,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "latent_size": trained.model.latent_size,
        "data": brief(trained.description),
        "best_validation_nats_per_sequence": progress.get("best"),
        "best_epoch": progress.get("best_epoch"),
        "seed": config.seed,
        "evaluations": sorted(p.name for p in run.glob("evaluation-*.json")),
        "settings": asdict(trained.model.config),
    }


def brief(description: DataDescription) -> dict[str, Any]:
    """The description, with what is long counted."""
    return description.to_json() | {"format": description.format.brief()}
