"""What a page is made of: frozen records, each of which `page.html` knows how to write."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..files.reading import Array
from ..text_table import Table


@dataclass(frozen=True)
class Line:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "line"

    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True)
class Words:
    """Text as it stands, line by line."""

    kind: ClassVar[str] = "words"

    text: str


@dataclass(frozen=True)
class Grid:
    """A table, with what is to be known of it below."""

    kind: ClassVar[str] = "grid"

    table: Table
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """Lines that take the page's colours: `svg` is markup, made by `charts`, which has escaped what it names."""

    kind: ClassVar[str] = "drawing"

    svg: str
    label: str


@dataclass(frozen=True)
class Picture:
    """A PNG, and the size at which it is shown, in CSS pixels."""

    kind: ClassVar[str] = "picture"

    png: bytes
    width: int
    height: int
    label: str

    @property
    def uri(self) -> str:
        """The picture itself."""
        return _uri("image/png", self.png)


@dataclass(frozen=True)
class Sound:
    """A WAV file."""

    kind: ClassVar[str] = "sound"

    wav: bytes
    label: str

    @property
    def uri(self) -> str:
        """The sound itself."""
        return _uri("audio/wav", self.wav)


@dataclass(frozen=True)
class Item:
    """What is shown of one sequence."""

    caption: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Items:
    """Several of them, beside or below each other as there is room."""

    kind: ClassVar[str] = "items"

    items: Sequence[Item]
    narrow: bool = False


@dataclass(frozen=True)
class Details:
    """What is folded up until somebody asks for it."""

    kind: ClassVar[str] = "details"

    summary: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Part:
    """What a section says of one run, or, without a heading, of all of them."""

    heading: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Section:
    """A heading, what its numbers are, and a part for each run."""

    title: str
    about: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def picture(values: Array, *, scale: int, label: str) -> Picture:
    """A grey picture of [height, width] numbers from 0 (black) to 1 (white), each `scale` pixels wide."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, values, cmap="gray", vmin=0, vmax=1, format="png")
    height, width = values.shape
    return Picture(file.getvalue(), width * scale, height * scale, label)


def sound(samples: NDArray[np.int16], rate: int, *, label: str) -> Sound:
    """One channel of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return Sound(file.getvalue(), label)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
