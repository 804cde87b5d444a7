"""Sequences that a model drew, on their way to files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ...files.reading import Array
from ..example import Example

ENDINGS = ("npz", "png", "wav", "mid", "txt", "csv")


@dataclass(frozen=True, eq=False)
class Drawn:
    """n sequences that a model drew, as it reads them.

    x:       [n, T, D], or [n, T] for categories
    latents: [n, T, Z]
    start:   the first observations [n, D] or [n] before x, NaN, or -1 for categories, where one is missing
    before:  what each of the n continues, [T_i, D] or [T_i]
    sources: the B whole sequences that the n = num B were cut from, copy after copy; images show them
    lengths: [n] int64, where sequences end before T, the steps of each; behind them x means nothing
    """

    x: Array
    latents: Array
    start: Array | None = None
    before: Sequence[Example] | None = None
    sources: Sequence[Example] | None = None
    lengths: Array | None = None

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
        """Of tensors on any device."""
        first = None if start is None else start.cpu().numpy()
        return cls(x.cpu().numpy(), latents.cpu().numpy(), first, before, sources)

    @property
    def prefixes(self) -> list[Array] | None:
        """What comes before each sequence, [T_i, D] or [T_i]: its start, or what it continues; None: nothing."""
        if self.start is not None:
            return list(self.start[:, None])
        return None if self.before is None else [example.x for example in self.before]

    @property
    def each(self) -> list[Array]:
        """Each sequence as long as it is, [T_i, D] or [T_i]."""
        return list(self.x) if self.lengths is None else [x[:n] for x, n in zip(self.x, self.lengths, strict=True)]

    @property
    def whole(self) -> list[Array]:
        """Each sequence with its prefix."""
        return join(self.prefixes, self.each)


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


def join(prefixes: Sequence[Array] | None, x: Sequence[Array]) -> list[Array]:
    """[n] arrays: each sequence after its prefix."""
    return list(x) if prefixes is None else [np.concatenate(parts) for parts in zip(prefixes, x, strict=True)]


def clear(folder: Path, stem: str, endings: Iterable[str]) -> None:
    """Remove the files that an earlier call wrote under this name."""
    any_of = "|".join(map(re.escape, dict.fromkeys([*ENDINGS, *endings])))
    pattern = re.compile(re.escape(stem) + rf"(-\d{{3,}})?\.({any_of})")
    for file in folder.iterdir():
        if pattern.fullmatch(file.name):
            file.unlink()
