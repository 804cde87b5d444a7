"""`zforcing info`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bounds import BOUNDS, FIVO
from ..data import DATA
from ..data.read_line import read_line
from ..data.splits import SPLITS
from ..data.suspicious import same_content, suspicions
from ..errors import UserError
from ..evaluation.doubts import edited_settings
from ..evaluation.saved import is_of_other_weights
from ..files.json_text import json_text
from ..models import MODELS, of_sequences
from ..models.explain import explain
from ..observations import FORMATS
from ..registry import Family
from ..saving.atomic import read_json
from ..saving.model import find_checkpoint
from ..training.callbacks import CALLBACKS
from ..training.runs.trained import Trained
from .options import RUN_HELP, command_parser, print_values
from .words import import_option, take_imports


def info(argv: Sequence[str]) -> int:
    """Say what a run folder holds: zforcing info RUN; without RUN, which models, bounds and data sets there are.

    With --data it reads the run's data, and says what it is and what looks wrong with it.

    With --plan it shows how the run's model runs over all steps in training: which equations are loops over time, and
    what is computed for all steps at once. A model that runs step by step instead says which line of it is the reason.
    """
    words, _ = take_imports(argv)
    parser = command_parser("info", info)
    parser.add_argument("run", type=str, nargs="?", default=None, help=RUN_HELP)
    import_option(parser)
    parser.add_argument("--plan", action="store_true", help="how its model runs over all steps")
    parser.add_argument("--data", action="store_true", help="what its data is, and what looks wrong with it")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(words)
    values = asked_for(options)
    if options.json:
        print(json_text(values))
    elif options.plan:
        print(values["plan"])
    elif options.data:
        print("\n".join([*values["read"], *(f"warning: {message}" for message in values["warnings"])]))
    else:
        print_values(values)
    return 0


def asked_for(options: Namespace) -> dict[str, Any]:
    """What the command says, by name."""
    asked = [name for name in ("plan", "data") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError("--plan and --data are two questions: leave one of them out")
    if asked and options.run is None:
        raise UserError(f"--{asked[0]} needs a run: zforcing info RUN --{asked[0]}")
    if options.run is None:
        return registered()
    if options.data:
        return data_of(options.run)
    return {"plan": plan_of(options.run)} if options.plan else about_run(options.run)


def data_of(run: str) -> dict[str, Any]:
    """What a run's data is now, and what looks wrong with it."""
    found = Trained.load(run, which="best")
    splits = {name: found.data.load(name, found.description) for name in SPLITS}
    read = [read_line(name, data) for name, data in splits.items()]
    remarks = [f"{name} split: {data.remark}" for name, data in splits.items() if data.remark]
    warnings = found.data.suspicions() + suspicions(splits["train"], splits["valid"])
    same = same_content(splits["train"], splits["test"], "the test split")
    return {"read": read + remarks, "warnings": warnings + ([] if same is None else [same])}


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
    edited = edited_settings(found, training.parent)
    doubt = {} if edited is None else {"warning": edited}
    return doubt | {
        "run": str(found.folder),
        "about": config and config.about,
        "recipe": config and config.recipe,
        "model": found.model.label,
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "latent_size": found.model.latent_size,
        "data": found.description.brief(),
        "best_validation_nats_per_sequence": progress.get("best"),
        "best_epoch": progress.get("best_epoch"),
        "seed": config and config.seed,
        "evaluations": [p.name + marked(p) for p in sorted(found.folder.glob("evaluation-*.json"))],
        "settings": asdict(found.model.config),
    }


def marked(evaluation: Path) -> str:
    """What there is to know of an evaluation beside its name."""
    return " (of weights that the run doesn't have any more)" if is_of_other_weights(evaluation) else ""
