"""How sequences of each format are shown: a file a format."""

from __future__ import annotations

from .audio import AUDIO
from .base import Gallery
from .image import IMAGE
from .music import MUSIC
from .numbers import NUMBERS
from .text import TEXT

GALLERIES = {gallery.format: gallery for gallery in (AUDIO, IMAGE, MUSIC, NUMBERS, TEXT)}


def gallery_of(name: str) -> Gallery:
    """That of a format, by its name; of a format of one's own that of numbers."""
    return GALLERIES.get(name, NUMBERS)


__all__ = ["GALLERIES", "Gallery", "gallery_of"]
