"""Sequences that a model drew, on their way to files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ...errors import UserError
from ...files.reading import Array
from ..example import Example

ENDINGS = ("npz", "png", "wav", "mid", "txt", "csv")


@dataclass(frozen=True, eq=False)
class Drawn:
    """n sequences that a model drew, as it reads them.

    x:       [n, T, D], or [n, T] for categories
    latents: [n, T, Z]
    start:   the first observations [n, D] or [n] that x goes on from, NaN, or -1 for categories, where one is missing
    before:  what each of the n goes on from, [T_i, D] or [T_i]: shown, heard, written first
    sources: the B whole sequences that the n = num B were cut from, copy after copy: of images they stand above
    """

    x: Array
    latents: Array
    start: Array | None = None
    before: Sequence[Example] | None = None
    sources: Sequence[Example] | None = None

    @classmethod
    def of(
        cls,
        x: Tensor,
        latents: Tensor,
        *,
        start: Tensor | None = None,
        before: Sequence[Example] | None = None,
        sources: Sequence[Example] | None = None,
    ) -> Drawn:
        """From tensors, wherever they are."""
        first = None if start is None else start.cpu().numpy()
        return cls(x.cpu().numpy(), latents.cpu().numpy(), first, before, sources)

    @property
    def given(self) -> list[Array] | None:
        """What is known before each sequence, [T_i, D] or [T_i]: its start, or what it goes on from."""
        if self.start is not None:
            return list(self.start[:, None])
        return None if self.before is None else [example.x for example in self.before]

    @property
    def whole(self) -> list[Array]:
        """What was given and what was drawn, of each sequence."""
        return join(self.given, self.x)


@dataclass(frozen=True)
class Written:
    """The paths written, how many samples of audio were clipped to fit 16 bits, why a file isn't there, if so, and
    sentences, `...` behind one without an end.
    """

    files: tuple[str, ...] = ()
    clipped: int = 0
    lacking: str | None = None
    text: tuple[str, ...] = ()

    def __add__(self, other: Written) -> Written:
        return Written(
            self.files + other.files,
            self.clipped + other.clipped,
            self.lacking or other.lacking,
            self.text + other.text,
        )


def join(given: Sequence[Array] | None, x: Array) -> list[Array]:
    """[n] arrays: each sequence behind what was given of it."""
    return list(x) if given is None else [np.concatenate(parts) for parts in zip(given, x, strict=True)]


def make_folder(folder: Path) -> None:
    """The folder, if there isn't one yet. Raises UserError where there can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{folder}: not a directory, or inside of a file; name another one to write samples to"
        ) from None


def clear(folder: Path, stem: str, endings: Iterable[str]) -> None:
    """Remove what another call wrote under this name: it may have been more, or of other kinds."""
    any_of = "|".join(map(re.escape, dict.fromkeys([*ENDINGS, *endings])))
    ours = re.compile(re.escape(stem) + rf"(-\d{{3,}})?\.({any_of})")
    for file in folder.iterdir():
        if ours.fullmatch(file.name):
            file.unlink()
