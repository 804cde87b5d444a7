"""Markdown from the plain text that the code says of itself."""

from __future__ import annotations

import re

OPTION = re.compile(r"(?<![\w-])(--[a-z][\w.-]*\w)")
MARKUP = re.compile(r"([\\*_\[\]<>$|~#{}])")


def plain(text: str) -> str:
    """Running text that looks like itself; what stands in backticks, and options, are code."""
    parts = OPTION.sub(r"`\1`", " ".join(text.split())).replace("``", "`").split("`")
    return "`".join(part if i % 2 else MARKUP.sub(r"\\\1", part) for i, part in enumerate(parts))


def sentence(text: str) -> str:
    """It, with a capital at its beginning and a stop at its end."""
    whole = plain(text)
    return f"{whole[:1].upper()}{whole[1:]}{'' if whole.endswith('.') else '.'}" if whole else ""


def described(name: str, about: list[str]) -> str:
    """The entry of an option or a setting, to which others link; empty parts of what it says are left out."""
    said = " ".join(filter(None, about))
    return f"```{{option}} {name}\n:no-contents-entry:\n\n{said}\n```\n"
