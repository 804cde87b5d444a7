"""`zforcing train`: a recipe's values, then what the command line says."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import SUPPRESS, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.json_text import json_text
from ..settings import NotNegative, Setting, settings_in
from ..training.runs.config import (
    SECTIONS,
    RunConfig,
    build_config,
    flatten,
    import_all,
    mappings,
    parse_config,
    refuse_unknown,
    section_names,
    settings_of,
    weight_names,
)
from ..training.runs.recipes import read_recipe, recipe_lines
from ..training.schedules import Schedule
from .options import import_option, option_value, take_imports
from .parser import Parser, add_settings

SHORT = {"training.threads": "--threads", "training.backend": "--backend"}  # what `train` also understands
SKIP = "--skip-unreadable"
SETTINGS_APART = ("about", "seed")  # those of no section
SOME_RECIPE = "digits-zforcing-aux"  # to have settings to show


def train(argv: Sequence[str]) -> int:
    """Train a model: zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume].

    --threads and --backend are short for --training.threads and --training.backend, --skip-unreadable for
    --data.skip_unreadable true.
    """
    options, config = parse_train(argv)
    if options.print_config:
        print(json_text(config.to_dict()) if options.json else config.to_yaml().rstrip())
        return 0
    from ..training.loop import Diverged
    from ..training.parallel import is_main_process
    from ..training.runs.run import Interrupted
    from ..training.runs.run import train as run_training

    run = Path(options.run_dir or f"runs/{config.recipe}")
    try:
        end = run_training(config, run, device=options.device, resume=options.resume)
    except Interrupted:
        file = shlex.quote(str(run / "config.yaml"))
        print(f"stopped; go on with: zforcing train {file} --run-dir {shlex.quote(str(run))} --resume", file=sys.stderr)
        return 130
    except Diverged as error:
        print(f"zforcing: {error}", file=sys.stderr)
        return 1
    if not is_main_process():
        return 0
    result = {
        "run": str(run),
        "finished": end.finished,
        "best_validation_nats_per_sequence": end.best,
        "best_epoch": end.best_epoch,
        "updates": end.step,
        "nonfinite_updates": end.nonfinite,
        "seconds": end.seconds,
    }
    if options.json:
        print(json_text(result))
    else:
        quoted = shlex.quote(str(run))
        print(f"{run}\nnext: zforcing evaluate {quoted}; zforcing sample {quoted}")
    return 0


def parse_train(argv: Sequence[str]) -> tuple[Namespace, RunConfig]:
    """Options of the command, and the configuration: the recipe's values, then what the command line says."""
    words, imports = take_imports(argv)
    if not words or words[0].startswith("-"):
        if not {"-h", "--help"} & set(words):
            raise UserError("train: name a recipe first (`zforcing recipes` lists them) or a YAML file")
        words = [SOME_RECIPE, "--help"]
    usage = "zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume]"
    parser = SettingsParser("zforcing train", description=train.__doc__, usage=usage)
    parser.add_argument("recipe", type=str, help="a recipe's name, or a YAML file such as a run's config.yaml")
    parser.add_argument("--run-dir", type=str, default=None, help="where to write; runs/RECIPE by default")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --run-dir")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--print-config", "--print_config", action="store_true", help="show the configuration, stop")
    return read_settings(parser, words, imports=imports)


def recipe_config(recipe: str, words: Sequence[str]) -> RunConfig:
    """A recipe's configuration, with the settings that words such as `--training.epochs 3` say."""
    left, imports = take_imports(words)
    parser = SettingsParser("zforcing train", description=train.__doc__)
    parser.add_argument("recipe", type=str)
    return read_settings(parser, [recipe, *left], imports=imports)[1]


def split_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's options, and the settings of recipes: dotted ones, and what `train` has short names for."""
    own: list[str] = []
    settings: list[str] = []
    into = own
    for word in argv:
        if word.startswith("--"):
            name = word.split("=")[0]
            into = settings if "." in name or name in (*SHORT.values(), SKIP, "--import") else own
        into.append(word)
    return own, settings


def read_settings(
    parser: SettingsParser, words: Sequence[str], *, imports: Sequence[str]
) -> tuple[Namespace, RunConfig]:
    """What words say: of the command's own options, which the parser has, and of the settings of the recipe that the
    first word names.
    """
    recipe, *rest = words
    values = read_recipe(recipe)
    values["imports"] = [*import_all(values.get("imports"), where=recipe), *imports]
    values = with_named_sections(values, rest)
    config = parse_config(values, where=recipe, lines=recipe_lines(recipe))  # its own mistakes, before the options'
    parser.add_settings_of(config, section_names(values))
    options = parser.parse_args(words)
    chosen = {name: value for name, value in vars(options).items() if "." in name or name in SETTINGS_APART}
    return options, build_config(
        settings_by_name(config) | with_constants(chosen),
        parser.names,
        imports=config.imports,
        callbacks=config.callbacks,
    )


class SettingsParser(Parser):
    """A parser with the settings of a data set, a model and a bound too."""

    names: Mapping[str, str]

    def add_settings_of(self, config: RunConfig, names: Mapping[str, str]) -> None:
        """Options for all settings; help says what they are in `config`."""
        self.names, known = names, settings_of(names)
        if "data.skip_unreadable" in known:
            flag = {"action": "store_const", "const": True, "default": SUPPRESS, "dest": "data.skip_unreadable"}
            self.add_argument(SKIP, help="short for --data.skip_unreadable true", **flag)
        constants = [
            Setting(f"weights.{name}", NotNegative, MISSING, "the same at every step") for name in weight_names(names)
        ]
        settings = [setting for setting in known.values() if setting.name != "recipe"]
        add_settings(self, [*settings, *constants], settings_by_name(config), short=SHORT)

    def refuse_unknown(self, name: str) -> None:
        """Raise UserError, which says of an unknown setting which data set, model and bound don't have it."""
        key = "data.skip_unreadable" if name == SKIP else name.removeprefix("--")
        refuse_unknown({key: ""}, self.names, where="train")


def settings_by_name(config: RunConfig) -> dict[str, Any]:
    """A configuration's settings by dotted name."""
    whole = mappings({"data": config.data.name, "model": config.model_name, "bound": config.bound.name})
    flat = flatten(config.to_dict(), whole=whole)
    return {key: value for key, value in flat.items() if key not in ("imports", "callbacks")}


def with_constants(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`--weights.kl 0.5` spelled out: the schedule that is 0.5 at every step. Raises UserError for parts beside it."""
    constants = {key: value for key, value in settings.items() if re.fullmatch(r"weights\.[^.]+", key)}
    out = {key: value for key, value in settings.items() if key not in constants}
    for key, value in constants.items():
        beside = next((other for other in out if other.startswith(f"{key}.")), None)
        if beside is not None:
            raise UserError(
                f"--{key} is the same at every step, and --{beside} says how it changes: leave one of them out"
            )
        out |= {setting.name: setting.default for setting in settings_in(Schedule, key)} | {f"{key}.start": value}
    return out


def with_named_sections(values: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The recipe's values where --data.name, --model.name or --bound.name choose another part than the recipe.

    Of the old part's settings those stay that the new one has too; the others are named on stderr.
    """
    for section in SECTIONS:
        name = option_value([f"--{section}.name"], words)
        old = values.get(section) or {}
        if name is None or not isinstance(old, dict) or name == old.get("name"):
            continue
        values = values | {section: {"name": name}}
        known = settings_of(section_names(values))
        shared = {k: v for k, v in old.items() if k != "name" and f"{section}.{k}" in known}
        dropped = sorted(set(old) - set(shared) - {"name"})
        if dropped:
            print(f"{section} {name} has no {', '.join(dropped)}: the recipe's values are left out", file=sys.stderr)
        values = values | {section: {"name": name} | shared}
        if section == "model":
            values = _with_its_weights(values, name)
    return values


def _with_its_weights(values: dict[str, Any], model: str) -> dict[str, Any]:
    """Without the weights of extra terms that another model has; they are named on stderr."""
    weights = values.get("weights")
    if not isinstance(weights, dict):
        return values
    dropped = sorted(set(weights) - set(weight_names({"model": model})))
    if dropped:
        print(f"model {model} has no {', '.join(dropped)}: the recipe's weights are left out", file=sys.stderr)
    return values | {"weights": {name: weight for name, weight in weights.items() if name not in dropped}}
