"""What is read off a command's words before its options are known. Nothing here imports torch."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ..registry import import_source
from ..training.runs.recipes import absolute_path

IMPORT = "--import"


def import_option(parser: ArgumentParser) -> None:
    """The option for the user's own models, bounds and data sets."""
    parser.add_argument(
        IMPORT,
        dest="imports",
        action="append",
        default=[],
        help="a Python file, or a module's name, that registers a model, a bound or a data set of your own "
        "(zforcing.register); may be given several times",
    )


def take_imports(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without `--import X`, and all X, imported: what they register, the other words may name."""
    rest, sources = [], []
    left = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{IMPORT}=") else [word])]
    while left:
        word = left.pop(0)
        if word == IMPORT and left:
            sources.append(absolute_path(left.pop(0), Path.cwd()))
            import_source(sources[-1])
        else:
            rest.append(word)
    return rest, sources


def option_value(names: Sequence[str], words: Sequence[str]) -> str | None:
    """The value of `--option value` or `--option=value`, by any of the option's names."""
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else following
    return None
