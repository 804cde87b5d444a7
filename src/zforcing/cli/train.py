"""`zforcing train`: a recipe's values, then what the command line says."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files.json_text import json_text
from ..training.runs.known import fitting, flatten, plain_sections, whole
from ..training.runs.recipes import read_recipe, recipe_lines
from . import index
from .settings import ALL, SETTINGS_APART, SettingsParser, with_constants, with_named_sections
from .words import import_option, take_imports

if TYPE_CHECKING:
    from ..training.runs.config import RunConfig

SOME_RECIPE = "digits-zforcing-aux"  # to have settings to show


def train(argv: Sequence[str]) -> int:
    """Train a model: zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume].

    Every setting of the recipe is an option. --threads and --backend are short for --training.threads and
    --training.backend, --skip-unreadable for --data.skip_unreadable true.
    """
    words, imports = take_imports(argv)
    words = with_recipe(words)
    if not imports:
        check_words(words)
    options, config = read_settings(train_parser(), words, imports=imports)
    if options.print_config:
        print(json_text(config.to_dict()) if options.json else config.to_yaml().rstrip())
        return 0
    from .train_runs import train_run, train_seeds

    return train_run(config, options) if options.seeds is None else train_seeds(config, options, argv)


def with_recipe(words: list[str]) -> list[str]:
    """The words, with some recipe where only help is asked for."""
    if words and not words[0].startswith("-"):
        return words
    asked = [word for word in words if word in ("-h", "--help", ALL)]
    if not asked:
        raise UserError("train: name a recipe first (`zforcing recipes` lists them) or a YAML file")
    return [SOME_RECIPE, *asked]


def train_parser() -> SettingsParser:
    """The command's own options."""
    usage = "zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume]"
    parser = SettingsParser("zforcing train", description=train.__doc__, usage=usage)
    parser.add_argument("recipe", type=str, help="a recipe's name, or a YAML file such as a run's config.yaml")
    where = "where to write; runs/RECIPE by default"
    parser.add_argument("--run-dir", type=str, default=None, metavar="DIR", help=where)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --run-dir")
    parser.add_argument("--overwrite", action="store_true", help="throw away the run in --run-dir first")
    seeds = "a run for each of these seeds: RUN_DIR-seed0, RUN_DIR-seed1, ..."
    parser.add_argument("--seeds", type=str | None, default=None, metavar="0,1,...", help=seeds)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--print-config", "--print_config", action="store_true", help="show the configuration, stop")
    parser.add_argument(ALL, action="help", help="this, with all settings")
    return parser


def recipe_config(recipe: str, words: Sequence[str]) -> RunConfig:
    """A recipe's configuration, with the settings that words such as `--training.epochs 3` say."""
    left, imports = take_imports(words)
    parser = SettingsParser("zforcing train", description=train.__doc__)
    parser.add_argument("recipe", type=str)
    return read_settings(parser, [recipe, *left], imports=imports)[1]


def check_words(words: Sequence[str]) -> None:
    """Print the help that the words ask for and exit, or raise UserError for a mistake in them, without torch.

    Nothing happens where the recipe or an installed package has models of its own: `read_settings` looks at all.
    """
    recipe, *rest = words
    values, listed = read_recipe(recipe), index.read_index()
    if values.get("imports") or not index.answers():
        return
    values = with_named_sections(values, rest, known_of=listed.known, say=lambda _: None)
    known = listed.known(values)
    sections = {key: value for key, value in plain_sections(values).items() if key not in ("imports", "callbacks")}
    given = fitting(sections, known, where=recipe, lines=recipe_lines(recipe))
    parser = train_parser()
    parser.add_settings_of(known, whole(given, known), everything=ALL in words)
    parser.parse_args(words)


def read_settings(
    parser: SettingsParser, words: Sequence[str], *, imports: Sequence[str]
) -> tuple[Namespace, RunConfig]:
    """What words say: of the command's own options, which the parser has, and of the settings of the recipe that the
    first word names.
    """
    from ..training.runs.config import build_config, import_all, known_settings, parse_config

    recipe, *rest = words
    values = read_recipe(recipe)
    values["imports"] = [*import_all(values.get("imports"), where=recipe), *imports]
    values = with_named_sections(values, rest, known_of=known_settings, say=lambda line: print(line, file=sys.stderr))
    config = parse_config(values, where=recipe, lines=recipe_lines(recipe))  # its own mistakes, before the options'
    known = known_settings(values)
    parser.add_settings_of(known, settings_by_name(config, known.mappings), everything=ALL in words)
    options = parser.parse_args(words)
    chosen = {name: value for name, value in vars(options).items() if "." in name or name in SETTINGS_APART}
    return options, build_config(
        settings_by_name(config, known.mappings) | with_constants(chosen, known),
        known,
        imports=config.imports,
        callbacks=config.callbacks,
    )


def settings_by_name(config: RunConfig, mappings: set[str]) -> dict[str, Any]:
    """A configuration's settings by dotted name. mappings: those that are mappings themselves."""
    flat = flatten(config.to_dict(), whole=mappings)
    return {key: value for key, value in flat.items() if key not in ("imports", "callbacks")}
