"""Sentences: as they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...files.reading import Array
from ...observations import DataDescription, TextFormat
from ..blocks import Words
from .base import Gallery


def show(x: Array, description: DataDescription) -> Sequence[Any]:
    """The sentence up to its end, or "..." where it has none."""
    kind = description.format
    assert isinstance(kind, TextFormat), "the gallery of sentences"
    ids = x.tolist()
    ended = kind.vocabulary.end in ids
    return [Words(kind.vocabulary.line(ids) + ("" if ended else " ..."))]


TEXT = Gallery("text", show, samples=8)
