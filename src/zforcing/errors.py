"""The exception for mistakes of the user, and the warning about results."""

from __future__ import annotations

import re

WORD = 1000  # characters: more than a path has, nearly always
SHOWN = 200  # of a longer word
MESSAGE = 40_000  # a hundred recordings may be named, each with its path
LONG_WORD = re.compile(rf"\S{{{WORD},}}")


class UserError(ValueError):
    """An input (setting, file, argument) is wrong. The message is one line: what is wrong, where, and what to do.

    The command line prints the message and exits with code 2. Any other exception is a bug in zforcing and keeps its
    traceback.

    What a message quotes may be a whole file: words of it are cut to `WORD` characters, and the whole to `MESSAGE`.
    """

    def __init__(self, message: str = ""):
        super().__init__(shortened(message))


def shortened(message: str) -> str:
    """The message without the ends of words that are too long, and without its own end if it is."""
    words = LONG_WORD.sub(lambda word: f"{word[0][:SHOWN]}... ({len(word[0])} characters)", message[: 4 * MESSAGE])
    return words if len(words) <= MESSAGE else f"{words[:MESSAGE]}... ({len(message)} characters)"


class ResultWarning(RuntimeWarning):
    """A result is doubtful, or costs much. Who prints its `remark`, or that it will, ignores the warning."""


class LostProcess(Exception):
    """Another of the processes that train together has ended, or can't be reached: none can go on without it."""
