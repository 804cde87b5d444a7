"""A parser of options: argparse, with one line for a mistake, and values read as settings are (`zforcing.settings`)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

from ..errors import UserError
from ..files.json_text import json_text
from ..settings import Setting, in_words, read, type_from_json, type_to_json
from ..training.runs.recipes import alike

OUTLINE = "--outline"
OPTION = re.compile(r"-(-|[^\W\d])\S*")  # no number, and no text that begins with a dash


@dataclass(frozen=True)
class Argument:
    """How an option was added to a parser. group: the title that help lists it under, "" for argparse's own."""

    names: tuple[str, ...]
    group: str
    options: Mapping[str, Any]


class Parser(argparse.ArgumentParser):
    """argparse, but: `type` is a type as settings have (`int | None`, `Annotated[...]`), an option is not shortened and
    not given twice, a value may begin with a minus, and a mistake is a UserError.

    With OUTLINE as the only word it prints its options as JSON.
    """

    def __init__(self, prog: str, *, description: str | None = None, usage: str | None = None):
        self.arguments: list[Argument] = []
        self._groups: dict[str, Any] = {}
        super().__init__(
            prog, usage, description, exit_on_error=False, allow_abbrev=False, formatter_class=argparse.HelpFormatter
        )

    def add_argument(self, *names: str, group: str = "", **options: Any) -> argparse.Action:
        """As argparse's, under a title; help says the type and the default of an option that has a value."""
        if options.get("action") != "help":
            self.arguments.append(Argument(names, group, options))
        if not group:
            return add_option(super().add_argument, *names, **options)
        if group not in self._groups:
            self._groups[group] = self.add_argument_group(group)
        return add_option(self._groups[group].add_argument, *names, **options)

    def parse_args(self, words: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]  # no other namespace
        """The options' values.

        Raises:
            UserError: one line that names the option.
        """
        if list(words or ()) == [OUTLINE]:
            print(json_text(outline(self)))
            raise SystemExit(0)
        given = self.in_order(list(words or ()))
        self._refuse_repeated(given)
        try:
            options, left = self.parse_known_args(given)
        except argparse.ArgumentError as error:
            option = (error.argument_name or "").split("/")[0]
            raise UserError(f"{option} {error.message}") from None
        if left:
            self.error(f"unrecognized arguments: {' '.join(left).removeprefix('-- ')}")
        return options

    def error(self, message: str) -> Any:
        """Raise what argparse would print."""
        raise UserError(f"{self.prog.removeprefix('zforcing ')}: {message}")

    def options(self) -> dict[str, argparse.Action]:
        """Each option, --seed and the like, by all its names."""
        return {name: action for action in self._actions for name in action.option_strings}

    def in_order(self, words: Sequence[str]) -> list[str]:
        """Options, each with its value behind `=` (which may begin with a minus), then "--" and all other words.

        argparse would take `evaluate RUN --json FILE` for a word too many, since FILE may be left out.

        Raises UserError for options that there are none.
        """
        known, left = self.options(), list(words)
        options: list[str] = []
        others: list[str] = []
        while left:
            word = left.pop(0)
            name, equals, _ = word.partition("=")
            if word == "--":
                others += left
                break
            if word.startswith("--") and name not in known:
                self.refuse_unknown(name)
            takes_one = name in known and known[name].nargs is None
            if takes_one and not equals and left and not left[0].startswith("--"):
                word = f"{word}={left.pop(0)}"
            (options if name in known or OPTION.fullmatch(word) else others).append(word)
        return [*options, "--", *others] if others else options

    def refuse_unknown(self, name: str) -> None:
        """Raise UserError that says which option is like it."""
        meant = alike(name.removeprefix("--"), [one.removeprefix("--") for one in self.options() if one[:2] == "--"])
        hint = f" (did you mean --{' or --'.join(meant)}?)" if meant else f"; `{self.prog} --help` lists them"
        raise UserError(f"{self.prog.removeprefix('zforcing ')}: unknown option {name}{hint}")

    def _refuse_repeated(self, words: Sequence[str]) -> None:
        known, seen = self.options(), set()
        for word in words[: words.index("--")] if "--" in words else words:
            action = known.get(word.partition("=")[0])
            if action is None or isinstance(action, argparse._AppendAction):
                continue
            if action.dest in seen:
                raise UserError(f"{word.partition('=')[0]} is given twice; leave one of them out")
            seen.add(action.dest)


def add_option(add: Callable[..., argparse.Action], *names: str, **options: Any) -> argparse.Action:
    """Add an option by argparse's own `add`, with its type's reader and words."""
    about = str(options.pop("help", "")).replace("%", "%%")
    kind = options.pop("type", None)
    if kind is None:
        return add(*names, help=about, **options)
    default = options.get("default", MISSING)
    if names[0].startswith("-") and default not in (MISSING, argparse.SUPPRESS, None, ""):
        about += f" (default: {shown(default)})".replace("%", "%%")
    metavar = {} if "metavar" in options or not names[0].startswith("-") else {"metavar": metavar_of(kind)}
    return add(*names, help=about, type=reader(kind), **metavar, **options)


def add_settings(
    parser: Parser,
    settings: Iterable[Setting],
    defaults: Mapping[str, Any],
    *,
    short: Mapping[str, str],
    group: str | None = None,
) -> None:
    """An option for each setting; what isn't given is not in the parsed options.

    Args:
        parser: gets the options.
        settings: what to add.
        defaults: what help says of a setting that isn't given.
        short: another name of an option, by the setting.
        group: the title that help lists them under; their sections' by default.
    """
    for setting in settings:
        names = [f"--{setting.name}", *([short[setting.name]] if setting.name in short else [])]
        value = defaults.get(setting.name, setting.default)
        about = setting.about + ("" if value is MISSING or value == "" else f" (default: {shown(value)})")
        options = {"dest": setting.name, "default": argparse.SUPPRESS, "type": setting.hint, "help": about}
        parser.add_argument(*names, group=group or setting.name.rpartition(".")[0] or "run", **options)


def outline(parser: Parser) -> dict[str, Any]:
    """How a parser was made, as JSON."""
    arguments = [[list(one.names), one.group, _type_as(type_to_json, one.options)] for one in parser.arguments]
    return {"prog": parser.prog, "about": parser.description, "usage": parser.usage, "arguments": arguments}


def parser_of(given: Mapping[str, Any]) -> Parser:
    """The parser that was made so."""
    parser = Parser(given["prog"], description=given["about"], usage=given["usage"])
    for names, group, options in given["arguments"]:
        read_options = _type_as(type_from_json, options)
        if options.get("default") == argparse.SUPPRESS:  # argparse knows it by identity, which JSON doesn't keep
            read_options["default"] = argparse.SUPPRESS
        parser.add_argument(*names, group=group, **read_options)
    return parser


def _type_as(convert: Callable[[Any], Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: convert(value) if key == "type" else value for key, value in options.items()}


def reader(kind: Any) -> Callable[[str], Any]:
    """What argparse calls with a word."""

    def value_of(text: str) -> Any:
        try:
            return read(text, kind)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value_of


def metavar_of(kind: Any) -> str:
    """What stands for the value in help."""
    return (
        in_words(kind)
        .replace("a finite number", "NUMBER")
        .replace("a whole number", "N")
        .replace("true or false", "true|false")
        .replace("a list of texts such as [a, b]", "[a, b]")
        .replace("text", "TEXT")
        .replace(" or ", "|")
    )


def shown(value: Any) -> str:
    """A default as it would be written."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
