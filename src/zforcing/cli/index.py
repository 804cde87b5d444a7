"""The options of all commands and the settings of all recipes, from a file: help and typos need no torch.

`index.json` is written from the code by `make index`, and a test says when it is old. It knows what comes with the
package; where anything else is registered, the commands' own code answers.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import entry_points
from typing import Any

from ..errors import UserError
from ..registry import unknown
from ..settings import setting_from_json, setting_to_json
from ..training.runs.known import SECTIONS, Known, section_names
from .commands import COMMANDS
from .parser import OUTLINE, Parser, parser_of

FILE = "index.json"
TRAIN = "train"  # whose options depend on the recipe; its own code reads them without torch


@dataclass(frozen=True)
class Index:
    """commands: how each parser is made, by the command's first words; parts: the settings of `run`, `training`,
    `data NAME`, `model NAME`, `bound NAME`, `player NAME`, and `weights MODEL`.
    """

    commands: Mapping[str, Any]
    parts: Mapping[str, list[Any]]

    def parser(self, command: str) -> Parser:
        """A command's parser."""
        return parser_of(self.commands[command])

    def known(self, values: Mapping[str, Any]) -> Known:
        """The settings of a run with the data set, the model, the bound and the player that these values name.

        Raises UserError for a missing or an unknown name.
        """
        known = {section: self.names(section) for section in SECTIONS}
        names = section_names(values, known)
        for section, name in names.items():
            if name not in known[section]:
                raise UserError(unknown(name, known[section], setting=f"{section}.name"))
        parts = ["run", *(f"{section} {name}" for section, name in names.items()), "training"]
        settings = [one for part in [*parts, f"weights {names['model']}"] for one in self.parts[part]]
        return Known(names, {setting.name: setting for setting in map(setting_from_json, settings)})

    def names(self, section: str) -> list[str]:
        """The data sets, models, bounds or players."""
        return [part.removeprefix(f"{section} ") for part in self.parts if part.startswith(f"{section} ")]


def answers() -> bool:
    """Whether the index may answer: what imports torch has not run yet, and no installed package registers anything."""
    return "torch" not in sys.modules and not entry_points(group="zforcing")


@cache
def read_index() -> Index:
    """The index that comes with the package."""
    values = json.loads((resources.files(__package__) / FILE).read_text("utf-8"))
    return Index(values["commands"], values["parts"])


def made_index() -> Index:
    """The index, from the code."""
    from ..evaluation.paper import paper_tables

    of_tables = [f"table {name}" for name in paper_tables()]
    commands = [*(name for name in COMMANDS if name != TRAIN), *of_tables]
    return Index({command: outline_of(command) for command in commands}, made_parts())


def outline_of(command: str) -> Any:
    """How the command makes its parser."""
    name, *rest = command.split()
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        COMMANDS[name].load()([*rest, OUTLINE])
    return json.loads(text.getvalue())


def made_parts() -> dict[str, list[Any]]:
    """All settings, as JSON."""
    from ..settings import settings_in
    from ..training.runs import config
    from ..training.settings import TrainingConfig

    parts = {"run": list(config.RUN_SETTINGS), "training": list(settings_in(TrainingConfig, "training"))}
    for section in config.SECTIONS:
        parts |= {f"{section} {name}": config.section_settings(section, name) for name in config.names_of(section)}
    parts |= {f"weights {model}": config.weight_settings(model) for model in config.SECTIONS["model"]}
    return {part: [setting_to_json(setting) for setting in settings] for part, settings in parts.items()}


def index_text(index: Index) -> str:
    """The file's text, an option a line."""
    commands = {name: [*made.items()] for name, made in index.commands.items()}
    lines = ['{"commands": {']
    lines += _joined([_command(name, dict(made)) for name, made in commands.items()])
    lines += ['}, "parts": {']
    lines += _joined([f"{json.dumps(part)}: [\n{_lines(settings)}]" for part, settings in sorted(index.parts.items())])
    return "\n".join([*lines, "}}", ""])


def _command(name: str, made: dict[str, Any]) -> str:
    arguments = made.pop("arguments")
    rest = json.dumps(made, ensure_ascii=False)
    return f'{json.dumps(name)}: {rest[:-1]}, "arguments": [\n{_lines(arguments)}]}}'


def _lines(values: list[Any]) -> str:
    return ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)


def _joined(parts: list[str]) -> list[str]:
    return [f"{part}," for part in parts[:-1]] + parts[-1:]
