"""Translate data settings of zforcing 0.1 to today's names, so that old runs can still be read.

What looks at files is imported where an old name asks for it: recipes are read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OF_MIDI = ("valid_fraction", "test_fraction", "split_seed", "drums", "skip_unreadable")
OF_ARCHIVES = ("array", "lengths", "observed")
OF_SRNN = ("streams", "continue_streams")
OF_SENTENCES = {"root", "tokens", "max_vocabulary", "tokenize", "lowercase", "min_words", "max_words", "split_seed"}
SENTENCES = {"min_words": (1, 5), "max_words": (None, 16), "tokenize": (False, True), "lowercase": (False, True)}


def renamed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section `data` with today's names, without the settings that its data set ignored.

    In 0.1 one data set (speech, music, text) had a `layout`, or (arrays) a suffix, by which its settings meant
    something or nothing. A setting that had a meaning and no longer exists (TIMIT's `speaker`) stays, and is refused
    as unknown.

    A run's config.yaml has all settings: one of text without `unicode` was trained on each spelling as it stood.
    """
    name = str(data.get("name"))
    if name in ("text", "reviews") and "unicode" not in data and set(data) >= OF_SENTENCES:
        return renamed(dict(data) | {"unicode": "keep"})
    if name == "arrays":
        return _arrays(data)
    convert = {"speech": _speech, "music": _music, "text": _text}.get(name)
    if convert is None or (name == "text" and "layout" not in data):
        return dict(data)
    settings = {key: value for key, value in data.items() if key not in ("name", "layout")}
    return convert(str(data.get("layout", "auto")), settings)


def _arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    from ...files.sequences import TABLES

    if Path(str(data.get("path", ""))).suffix.lower() in TABLES:
        return {"name": "table"} | _without(data, "name", *OF_ARCHIVES)
    return _without(data, "columns") if data.get("columns", ...) is None else dict(data)


def _speech(layout: str, settings: dict[str, Any]) -> dict[str, Any]:
    from ...data.audio.layouts import is_timit
    from ...data.folders import split_folders

    root = Path(str(settings.get("root", ""))).expanduser()
    if settings.get("speaker") is None:
        settings = _without(settings, "speaker")
    if layout == "timit" or (layout == "auto" and root.is_dir() and is_timit(split_folders(root))):
        return {"name": "timit"} | _without(settings, "test_fraction")
    if layout == "blizzard":
        return {"name": "blizzard"} | _without(settings, "include_sa")
    return {"name": "audio-folder", "random_split": layout == "files"} | _without(settings, "include_sa")


def _music(layout: str, settings: dict[str, Any]) -> dict[str, Any]:
    path = Path(str(settings.get("path", ""))).expanduser()
    if layout == "auto":
        layout = "midi" if path.is_dir() else "srnn" if path.suffix.lower() == ".npz" else "pickle"
    settings = {key: value for key, value in settings.items() if value is not None}  # null stood for the default
    if layout == "midi":
        return {"name": "midi-folder"} | _without(settings, *OF_SRNN)
    if layout == "srnn":
        return {"name": "srnn-music"} | _without(settings, *OF_MIDI, "first_observation")
    return {"name": "polyphonic"} | _without(settings, *OF_MIDI, *OF_SRNN)


def _text(layout: str, settings: dict[str, Any]) -> dict[str, Any]:
    from ...data.text.documents import is_folder_of_documents

    root = Path(str(settings.get("root", ""))).expanduser()
    reviews = layout == "reviews" or (layout == "auto" and root.is_dir() and is_folder_of_documents(root))
    # Null stood for a default of the layout, and means any number of words today.
    defaults = {key: both[reviews] for key, both in SENTENCES.items() if settings.get(key, ...) is None}
    if reviews:
        return {"name": "reviews"} | settings | defaults
    return {"name": "text"} | _without(settings | defaults, "split_by")


def _without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in names}
