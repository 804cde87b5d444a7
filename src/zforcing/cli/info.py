"""`zforcing recipes` and `zforcing info`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..bounds import BOUNDS, FIVO
from ..data import DATA
from ..errors import UserError
from ..models import MODELS, of_sequences
from ..models.explain import explain
from ..observations import FORMATS, DataDescription
from ..registry import Family
from ..saving.atomic import read_json
from ..saving.model import find_checkpoint
from ..training.callbacks import CALLBACKS
from ..training.runs.recipes import recipes
from ..training.runs.trained import Trained
from .options import RUN_HELP, command_parser, import_option, print_values, take_imports


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
    """Say what a run folder holds: zforcing info RUN; without RUN, which models, bounds and data sets there are.

    With --plan it shows how the run's model runs over all steps in training: which equations are loops over time, and
    what is computed for all steps at once. A model that runs step by step instead says which line of it is the reason.
    """
    words, _ = take_imports(argv)
    parser = command_parser("info", info)
    parser.add_argument("run", type=str, nargs="?", default=None, help=RUN_HELP)
    import_option(parser)
    parser.add_argument("--plan", action="store_true", help="how its model runs over all steps")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(words)
    if options.plan and options.run is None:
        raise UserError("--plan needs a run: zforcing info RUN --plan")
    if options.run is None:
        values = registered()
    else:
        values = {"plan": plan_of(options.run)} if options.plan else about_run(options.run)
    if options.json:
        print(json.dumps(values))
    elif options.plan:
        print(values["plan"])
    else:
        print_values(values)
    return 0


def plan_of(run: str) -> str:
    """How a run's model runs in training."""
    found = Trained.load(run, which="best")
    model = of_sequences(found.model, needed_by="a plan")
    model.train()
    return explain(model, filtered=found.config is not None and isinstance(found.config.bound, FIVO))


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


def about_run(run: str) -> dict[str, Any]:
    """What a run folder holds, or one that `zforcing.save` wrote, which says nothing of its training."""
    found = Trained.load(run, which="best")
    config, training = found.config, find_checkpoint(found.folder) / "training.json"
    progress = read_json(training) if training.is_file() else {}
    return {
        "run": str(found.folder),
        "about": config and config.about,
        "recipe": config and config.recipe,
        "model": found.model.label,
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "latent_size": found.model.latent_size,
        "data": brief(found.description),
        "best_validation_nats_per_sequence": progress.get("best"),
        "best_epoch": progress.get("best_epoch"),
        "seed": config and config.seed,
        "evaluations": sorted(p.name for p in found.folder.glob("evaluation-*.json")),
        "settings": asdict(found.model.config),
    }


def brief(description: DataDescription) -> dict[str, Any]:
    """The description, with what is long counted."""
    return description.to_json() | {"format": description.format.brief()}
