"""Help, and the mistakes in a command's words, before the command and torch are imported."""

from __future__ import annotations

from collections.abc import Sequence

from . import index
from .settings import split_settings
from .words import IMPORT


def check(name: str, words: Sequence[str]) -> None:
    """Print the help that the words ask for and exit, or raise UserError for a mistake in them.

    Nothing happens where there is none, and where the index doesn't know it all: with models of one's own, or with
    settings of a model that words choose.
    """
    listed = index.read_index()
    chosen = {word.partition("=")[0] for word in words}
    if IMPORT in chosen or (name == "bench" and chosen & {"--model", "--model.name"}):
        return
    own = list(words)
    if words and f"{name} {words[0]}" in listed.commands:
        name, own = f"{name} {words[0]}", split_settings(words[1:])[0]
    if name in listed.commands and index.answers():
        listed.parser(name).parse_args(own)
