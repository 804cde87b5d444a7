"""Text and settings without the paths of the machine that they were written on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from ..data import DATA, DataModule

# /a/b/c, ~/a/b, file:///a/b, C:\a\b and \\a\b from their beginning on; no https://a/b and no km/h
PLACE = re.compile(r"(?<![\w:/.~\\-])(?:file://|~|[A-Za-z]:|\\)?[\\/](?:[^\s\\/'\",;:()]+[\\/])+([^\s\\/'\",;:()]*)")


def without_places(text: str) -> str:
    """The text with the names of files and folders in the place of their absolute paths."""
    short = text.replace(str(Path.home()), "~") if Path.home() != Path("/") else text
    return PLACE.sub(lambda found: found.group(1) or "...", short)


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run's plain settings with the names, and no paths, of the files of its data and of what it imports."""
    data = values["data"]
    known = DATA.get(data["name"], DataModule)
    named = {key: name_of(data[key]) for key in known.paths if isinstance(data.get(key), str)}
    imports = {"imports": [name_of(one) for one in values["imports"]]} if values.get("imports") else {}
    cleaned: dict[str, Any] = _cleaned(dict(values) | {"data": dict(data) | named} | imports)
    return cleaned


def name_of(path: str) -> str:
    """The last part of a path of this machine or of Windows."""
    return PureWindowsPath(path).name or path


def _cleaned(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _cleaned(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_cleaned(value) for value in values]
    return without_places(values) if isinstance(values, str) else values
