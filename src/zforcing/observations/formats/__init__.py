"""The kinds of observation, by the name that config.json has: what their numbers stand for, and their files."""

from __future__ import annotations

from typing import Any

from ...registry import Family
from .audio import LEVELS, AudioFormat, decode, encode, mulaw_decode, mulaw_encode, shorter_than
from .base import Contents, Described, Format, contents_of, read_file
from .drawn import Drawn, Written
from .image import ImageFormat, check_binary, in_steps
from .labels import with_labels_of
from .music import MusicFormat
from .rows import (
    as_read,
    check_inputs,
    check_kind,
    check_values,
    example_of,
    mark_gaps,
    refuse_in_column,
    refuse_large,
    scaled,
    with_gaps,
)
from .table import TableFormat
from .text import TextFormat, refuse_end_symbol
from .version_1 import format_of_version_1

FORMATS: Family[Format] = Family(
    "format", Format, classes=(TableFormat, ImageFormat, AudioFormat, MusicFormat, TextFormat)
)


def format_from_json(values: dict[str, Any]) -> Format:
    """The inverse of `Format.to_json`. Raises KeyError, TypeError or UserError for what no format has."""
    cls = FORMATS.find(values["name"], setting="data.format.name")
    return cls.from_json({key: value for key, value in values.items() if key != "name"})


__all__ = [
    "FORMATS",
    "LEVELS",
    "AudioFormat",
    "Contents",
    "Described",
    "Drawn",
    "Format",
    "ImageFormat",
    "MusicFormat",
    "TableFormat",
    "TextFormat",
    "Written",
    "as_read",
    "check_binary",
    "check_inputs",
    "check_kind",
    "check_values",
    "contents_of",
    "decode",
    "encode",
    "example_of",
    "format_from_json",
    "format_of_version_1",
    "in_steps",
    "mark_gaps",
    "mulaw_decode",
    "mulaw_encode",
    "read_file",
    "refuse_end_symbol",
    "refuse_in_column",
    "refuse_large",
    "scaled",
    "shorter_than",
    "with_gaps",
    "with_labels_of",
]
