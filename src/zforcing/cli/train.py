"""`zforcing train`: a recipe's values, then what the command line says."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ..errors import UserError
from ..training.runs.config import (
    SECTIONS,
    WEIGHTS,
    RunConfig,
    add_settings,
    flatten,
    from_namespace,
    import_all,
    known_settings,
    parse_config,
    refuse_unknown,
    section_names,
)
from ..training.runs.recipes import read_recipe
from .options import command_parser, describe_sections, import_option, option_value, replaced, take_imports

FLAGS = {"--skip-unreadable": ("--data.skip_unreadable", "true")}
SHORT = {"--threads": "--training.threads", "--backend": "--training.backend"}  # what `train` also understands


def train(argv: Sequence[str]) -> int:
    """Train a model: zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume].

    --threads and --backend are short for --training.threads and --training.backend, --skip-unreadable for
    --data.skip_unreadable true.
    """
    options, config = parse_train(argv)
    if options.print_config:
        print(json.dumps(config.to_dict()) if options.json else config.to_yaml().rstrip())
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
        print(json.dumps(result))
    else:
        quoted = shlex.quote(str(run))
        print(f"{run}\nnext: zforcing evaluate {quoted}; zforcing sample {quoted}")
    return 0


def parse_train(argv: Sequence[str]) -> tuple[Namespace, RunConfig]:
    """Options of the command, and the configuration: the recipe's values, then what the command line says."""
    words = ["--print-config" if word == "--print_config" else word for word in argv]  # jsonargparse has one of its own
    words, imports = take_imports(words)
    if not words or words[0].startswith("-"):
        if {"-h", "--help"} & set(words):
            words = ["digits-zforcing-aux", "--help"]  # some recipe, to have settings to show
        else:
            raise UserError("train: name a recipe first (`zforcing recipes` lists them) or a YAML file")
    words = settings_words(words)
    usage = "zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume]"
    parser = command_parser("train", train, usage=usage)
    parser.add_argument("recipe", type=str, help="a recipe's name, or a YAML file such as a run's config.yaml")
    parser.add_argument("--run-dir", type=str | None, default=None, help="where to write; runs/RECIPE by default")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --run-dir")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--print-config", action="store_true", help="(or --print_config) show the configuration, stop")
    own = ("recipe", "run_dir", "resume", "device", "imports", "json", "print_config")
    return read_settings(parser, words, own=own, imports=imports)


def recipe_config(recipe: str, words: Sequence[str]) -> RunConfig:
    """A recipe's configuration, and over it what `--dotted.setting value` words say."""
    parser = command_parser("train", train)
    parser.add_argument("recipe", type=str)
    return read_settings(parser, [recipe, *settings_words(words)], own=("recipe",), imports=())[1]


def split_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's options, and the settings of recipes: dotted ones, and what `train` has short names for."""
    own: list[str] = []
    settings: list[str] = []
    into = own
    for word in argv:
        if word.startswith("--"):
            name = word.split("=")[0]
            into = settings if "." in name or name in (*FLAGS, *SHORT) else own
        into.append(word)
    return own, settings


def settings_words(words: Sequence[str]) -> list[str]:
    """Words with the short names of settings spelled out."""
    return with_constants([replaced(part, SHORT) for word in words for part in FLAGS.get(word, (word,))])


def read_settings(
    parser: ArgumentParser, words: Sequence[str], *, own: Sequence[str], imports: Sequence[str]
) -> tuple[Namespace, RunConfig]:
    """What words say: of the command's own options, which the parser has, and of the settings of the recipe that the
    first word names. imports: beside those of the recipe.
    """
    values = read_recipe(words[0])
    values["imports"] = [*import_all(values.get("imports"), where=words[0]), *imports]
    values = with_named_sections(values, words[1:])
    names = section_names(values)
    add_settings(parser, names)
    describe_sections(parser)
    options = {name.replace("_", "-") for name in own} - {"recipe", "imports"} | {"import", "help"}
    given = {w[2:].split("=")[0]: None for w in words[1:] if w.startswith("--") and w != "--"}
    refuse_unknown({k: "" for k in given if k not in options}, names, where="train")
    config = parse_config(values, where=words[0])  # the recipe's own mistakes, before those of the command line
    parser.set_defaults({k: v for k, v in flatten(config.to_dict()).items() if k not in ("recipe", "imports")})
    parsed = parser.parse_args(list(words))
    read = Namespace({name: parsed.pop(name) for name in own})
    parsed["recipe"] = config.recipe
    return read, from_namespace(parser, parsed, imports=config.imports)


def with_named_sections(values: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The recipe's values where --data.name, --model.name or --bound.name choose another part than the recipe.

    Of the old part's settings those stay that the new one has too; the others are named on stderr.
    """
    for section in SECTIONS:
        name = option_value(f"--{section}.name", words)
        given = values.get(section) or {}
        if name is None or not isinstance(given, dict) or name == given.get("name"):
            continue
        values = values | {section: {"name": name}}
        names = section_names(values)
        kept = {k: v for k, v in given.items() if k != "name" and f"{section}.{k}" in known_settings(names)}
        dropped = sorted(set(given) - set(kept) - {"name"})
        if dropped:
            print(f"{section} {name} has no {', '.join(dropped)}: the recipe's values are left out", file=sys.stderr)
        values = values | {section: {"name": name} | kept}
    return values


def with_constants(words: Sequence[str]) -> list[str]:
    """`--weights.kl 0.5` spelled out: the schedule that is 0.5 at every step."""
    out: list[str] = []
    pending = [part for word in words for part in (word.split("=", 1) if word.startswith("--weights.") else [word])]
    while pending:
        word = pending.pop(0)
        if word in {f"--weights.{name}" for name in WEIGHTS} and pending and is_number(pending[0]):
            constant = {"start": pending.pop(0), "end": "null", "per_step": "0", "period": "null"}
            out += [part for key, value in constant.items() for part in (f"{word}.{key}", value)]
        else:
            out.append(word)
    return out


def is_number(text: str) -> bool:
    """Whether float() takes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True
