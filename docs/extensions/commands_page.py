"""The page of the commands: what each is for, its usage, and its options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markdown import described, plain, sentence

from zforcing.cli.commands import COMMANDS
from zforcing.cli.index import TRAIN, read_index
from zforcing.cli.parser import metavar_of, outline, shown
from zforcing.cli.train import train_parser
from zforcing.settings import type_from_json

USAGE = re.compile(r"(.*?): ((?:[^:]* )?zforcing [^;]*)\.", re.DOTALL)
INTRODUCTION = """# Commands

`zforcing COMMAND --help` says the same in a terminal. A mistake in what was asked for (an option, a file, a setting) is
one line on stderr and exit code 2; any other error is one of zforcing's own, with its traceback. Numbers go to stdout,
with `--json` as one JSON object; progress and warnings go to stderr. RUN is a run folder, the name of one in `runs/`,
or a folder that `zforcing.save` wrote.
"""


def commands_page() -> str:
    """The page, as Markdown."""
    outlines = {TRAIN: outline(train_parser()), **read_index().commands}
    rows = [f"| [`{name}`](#{name}) | {plain(about_of(command.about))} |" for name, command in COMMANDS.items()]
    overview = ["| Command | What it does |", "| --- | --- |", *rows, ""]
    parts = [part for name in COMMANDS for part in command_part(name, outlines)]
    return "\n".join([INTRODUCTION, *overview, *parts])


def about_of(text: str) -> str:
    """The first line of what a command says of itself, without its usage."""
    found = USAGE.match(text)
    return f"{found[1]}." if found else text


def command_part(name: str, outlines: Mapping[str, Any]) -> Iterator[str]:
    """What stands of a command, and of the tables of papers below `table`."""
    yield from with_options(name, outlines[name], heading="##")
    if name == TRAIN:
        yield "Every setting of the recipe is an option too, by its dotted name: [Settings](settings.md) lists them.\n"
    if COMMANDS[name].less != COMMANDS["recipes"].less:
        yield f"If the memory isn't enough: {plain(COMMANDS[name].less)}.\n"
    for below in outlines:
        if below.startswith(f"{name} "):
            yield from with_options(below, outlines[below], heading="###")


def with_options(name: str, command: Mapping[str, Any], *, heading: str) -> Iterator[str]:
    """The heading, the text, and an entry for each option."""
    first, *rest = command["about"].split("\n\n")
    usage = USAGE.fullmatch(first.strip())
    yield f"{heading} {name}\n\n{plain(about_of(first))}\n"
    if usage:
        yield f"```text\n{' '.join(usage[2].split())}\n```\n"
    yield from (f"{plain(part)}\n" for part in rest if part.strip())
    yield f"```{{program}} zforcing {name}\n```\n"
    yield from (option(*one) for one in command["arguments"] if not one[1])
    if any(one[1] for one in command["arguments"]):
        yield "The [settings of the model](settings.md#model) are options too.\n"


def option(names: list[str], group: str, options: Mapping[str, Any]) -> str:
    """An entry. Words without a name in front stand in capitals, as in the usage."""
    kind = type_from_json(options["type"]) if "type" in options else None
    if not names[0].startswith("-"):
        word = options.get("metavar") or names[0].upper()
        more = {"*": f"[{word} ...]", "+": f"{word} [{word} ...]", "?": f"[{word}]"}
        return described(more.get(options.get("nargs"), word), [sentence(options.get("help", ""))])
    value = options.get("metavar") or (metavar_of(kind) if kind is not None else "")
    listed = ", ".join(f"{one} {value}".strip() for one in names)
    return described(listed, [sentence(options.get("help", "")), default_of(options)])


def default_of(options: Mapping[str, Any]) -> str:
    """Its default, where it has a value that isn't nothing."""
    default = options.get("default")
    return "" if default in (None, "", [], False, "==SUPPRESS==") else f"Default: `{shown(default)}`."
