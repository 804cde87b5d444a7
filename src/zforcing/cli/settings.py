"""The settings of a recipe as options of `zforcing train`. Nothing here imports torch."""

from __future__ import annotations

import re
from argparse import SUPPRESS, HelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, replace
from functools import partial
from typing import Any

from ..errors import UserError
from ..settings import NotNegative, Setting
from ..training.runs.known import SECTIONS, Known, refuse_unknown
from ..training.runs.recipes import alike
from .parser import Parser, add_settings
from .words import IMPORT, option_value

SHORT = {"training.threads": "--threads", "training.backend": "--backend"}  # what `train` also understands
SKIP = "--skip-unreadable"
SETTINGS_APART = ("about", "seed")  # those of no section
ALL = "--help-all"
FIRST = (  # the settings that one needs first, of which a recipe has about ten
    "data.path",
    "data.root",
    "data.kind",
    "data.sequence",
    "data.tokens",
    "model.hidden_size",
    "model.latent_size",
    "training.epochs",
    "training.max_minutes",
    "training.batch_size",
    "training.learning_rate",
    "seed",
)


BRIEF = ("--run-dir", "--resume", "--overwrite", "--seeds", "--device", "--json", "--print-config")
NARROW = 38  # columns of an option's name


class SettingsParser(Parser):
    """A parser with the settings of a data set, a model, a bound and a player too."""

    known: Known
    brief: Parser | None = None

    def add_settings_of(self, known: Known, values: Mapping[str, Any], *, everything: bool) -> None:
        """Options for all settings; help says what they are in `values`, and lists those of FIRST unless everything."""
        self.known = known
        if "data.skip_unreadable" in known.settings:
            about = "short for --data.skip_unreadable true"
            flag: dict[str, Any] = {"action": "store_const", "const": True, "default": SUPPRESS}
            self.add_argument(SKIP, help=about, dest="data.skip_unreadable", **flag)
        constants = [
            Setting(f"weights.{name}", NotNegative, MISSING, "the same at every step") for name in known.weights
        ]
        settings = {one.name: one for one in [*known.settings.values(), *constants] if one.name != "recipe"}
        add_settings(self, settings.values(), values, short=SHORT)
        if not everything:
            first = [settings[name] for name in FIRST if name in settings]
            self.brief = in_brief(self, first, values, of=len(settings))

    def format_help(self) -> str:
        """The help, in brief where not everything was asked for."""
        return super().format_help() if self.brief is None else self.brief.format_help()

    def refuse_unknown(self, name: str) -> None:
        """Raise UserError, which says of an unknown setting which data set, model, bound and player don't have it."""
        own = [option.removeprefix("--") for option in self.options() if "." not in option and option[:2] == "--"]
        ends = any(key.endswith(f".{name.removeprefix('--').replace('-', '_')}") for key in self.known.settings)
        if "." not in name and name != SKIP and not ends and alike(name.removeprefix("--"), own):
            super().refuse_unknown(name)
        key = "data.skip_unreadable" if name == SKIP else name.removeprefix("--")
        refuse_unknown({key: ""}, self.known, where="train", prefix="--")


def in_brief(whole: Parser, first: Sequence[Setting], values: Mapping[str, Any], *, of: int) -> Parser:
    """A parser whose help fits a screen: the command's own options, and a few of its settings."""
    brief = Parser(whole.prog, description=f"Train a model. {values['recipe']}: {values['about']}", usage=whole.usage)
    brief.formatter_class = partial(HelpFormatter, max_help_position=NARROW)
    own = [one for one in whole.arguments if not one.group and one.names[0] in BRIEF]
    for one in own:
        brief.add_argument(*one.names[:1], **one.options)
    brief.add_argument(ALL, action="help", help=f"all {of} settings")
    for setting in first:
        short = replace(setting, about=re.split(r"; |: |\. | \(", setting.about)[0])
        add_settings(brief, [short], values, short={}, group="settings that one needs first")
    return brief


def split_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's options, and the settings of recipes: dotted ones, and what `train` has short names for."""
    own: list[str] = []
    settings: list[str] = []
    into = own
    for word in argv:
        if word.startswith("--"):
            name = word.split("=")[0]
            into = settings if "." in name or name in (*SHORT.values(), SKIP, IMPORT) else own
        into.append(word)
    return own, settings


def with_named_sections(
    values: dict[str, Any],
    words: Sequence[str],
    *,
    known_of: Callable[[Mapping[str, Any]], Known],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The recipe's values where --data.name, --model.name, --bound.name or --player.name choose another part than it.

    Of the old part's settings those stay that the new one has too; `say` is called with the others' names.
    """
    for section in SECTIONS:
        name = option_value([f"--{section}.name"], words)
        old = values.get(section) or {}
        if name is None or not isinstance(old, dict) or name == old.get("name"):
            continue
        values = values | {section: {"name": name}}
        known = known_of(values)
        shared = {k: v for k, v in old.items() if k != "name" and f"{section}.{k}" in known.settings}
        dropped = sorted(set(old) - set(shared) - {"name"})
        if dropped:
            say(f"{section} {name} has no {', '.join(dropped)}: the recipe's values are left out")
        values = values | {section: {"name": name} | shared}
        if section == "model":
            values = _with_its_weights(values, known, say)
    return values


def _with_its_weights(values: dict[str, Any], known: Known, say: Callable[[str], None]) -> dict[str, Any]:
    """Without the weights of extra terms that another model has; `say` is called with their names."""
    weights = values.get("weights")
    if not isinstance(weights, dict):
        return values
    dropped = sorted(set(weights) - set(known.weights))
    if dropped:
        model = known.names["model"]
        say(f"model {model} has no {', '.join(dropped)}: the recipe's weights are left out")
    return values | {"weights": {name: weight for name, weight in weights.items() if name not in dropped}}


def with_constants(settings: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """`--weights.kl 0.5` spelled out: the schedule that is 0.5 at every step. Raises UserError for parts beside it."""
    constants = {key: value for key, value in settings.items() if re.fullmatch(r"weights\.[^.]+", key)}
    out = {key: value for key, value in settings.items() if key not in constants}
    for key, value in constants.items():
        beside = next((other for other in out if other.startswith(f"{key}.")), None)
        if beside is not None:
            raise UserError(
                f"--{key} is the same at every step, and --{beside} says how it changes: leave one of them out"
            )
        defaults = {name: one.default for name, one in known.settings.items() if name.startswith(f"{key}.")}
        out |= defaults | {f"{key}.start": value}
    return out
