"""What files of format version 1 say of a format: a field for each kind of observation, of which one is filled."""

from __future__ import annotations

from typing import Any

from ...files.midi import TEMPO
from ..vocabulary import Vocabulary
from .audio import AudioFormat
from .base import Format
from .image import ImageFormat
from .music import MusicFormat
from .table import TableFormat
from .text import TextFormat

LATER = frozenset(("names", "sequence", "array", "lengths", "observed", "seconds_per_step", "drums", "channel"))
"""What a format keeps since version 2."""


def format_of_version_1(values: dict[str, Any]) -> Format:
    """The format that a version-1 description has. Raises KeyError, TypeError or UserError for what none has.

    What it didn't keep (`LATER`) is as it most likely was: a MIDI file's steps were of seconds where the tempo isn't
    the one of files that don't say theirs.
    """
    shape, audio = values["image_shape"], values.get("audio")
    music, vocabulary = values.get("music"), values.get("vocabulary")  # the first files had neither of the three
    if shape is not None:
        return ImageFormat(*shape)
    if audio is not None:
        return AudioFormat(**audio)
    if vocabulary is not None:
        return TextFormat(Vocabulary.from_json(vocabulary))
    if music is None:
        return TableFormat()
    converted = MusicFormat(**music)
    if converted.quarters_per_minute == TEMPO:
        return converted
    seconds = 60 / (converted.steps_per_quarter * converted.quarters_per_minute)
    return MusicFormat(**music, seconds_per_step=seconds)
