"""Markdown from the plain text that the code says of itself."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Running text that looks like itself; what stands in backticks is code."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if i % 2 else re.sub(r"([\\*_\[\]<>$|~#{}])", r"\\\1", part) for i, part in enumerate(parts))


def described(name: str, about: list[str], *, contents: bool = False) -> str:
    """The entry of an option or a setting, to which others link; empty parts of what it says are left out."""
    said = " ".join(filter(None, about)).strip()
    hidden = "" if contents else ":no-contents-entry:\n"
    return f"```{{option}} {name}\n{hidden}\n{said}\n```\n"
