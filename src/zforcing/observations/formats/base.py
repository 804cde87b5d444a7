"""What every kind of observation knows of itself: its units, its files, how long it is, and what its words mean.

A new kind is one file with a `Format` that is registered: descriptions keep it by its name, and every command
reads and writes its files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ...errors import UserError
from ...files.reading import Array
from ..example import Example
from ..normalization import Normalization
from ..spec import ObservationSpec
from .drawn import Drawn, Written, clear, make_folder


class Described(Protocol):
    """What a format is told of the data that it is part of: the rest of its `DataDescription`."""

    @property
    def name(self) -> str:
        """Of the data set."""

    @property
    def spec(self) -> ObservationSpec:
        """What an observation is."""

    @property
    def longest(self) -> int:
        """The most scored steps in a training sequence."""

    @property
    def normalization(self) -> Normalization | None:
        """How real observations were scaled, or None."""


class Format(ABC):
    """What the numbers of an observation stand for. Subclasses are frozen dataclasses of plain values, and name
    themselves (`name`, as config.json has it).

    A model reads and draws x: [T, D] float32, or [T] int64 for categories. Files and people have it in units of their
    own: volts, 16-bit samples, MIDI notes, sentences.
    """

    name: ClassVar[str]
    number: ClassVar[str] = "dim"  # what tables call one number of an observation
    is_text: ClassVar[bool] = False  # whether a word of a command may be a sequence itself: see `parse`
    endings: ClassVar[tuple[str, ...]] = ()  # of the files that `show` writes: "png", say

    # ---- as JSON

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, the name first."""
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return {"name": self.name} | values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`, from the values without the name. Raises TypeError or UserError for others."""
        return cls(**values)

    def brief(self) -> dict[str, Any]:
        """`to_json` for people: what is long is counted."""
        return self.to_json()

    def problems(self, spec: ObservationSpec) -> list[str]:
        """Why observations can't be of this format, in words; empty if they can."""
        return []

    # ---- units

    @property
    def samples_per_second(self) -> int | None:
        """Of audio, whose numbers are samples; None of everything else."""
        return None

    def to_units(self, x: Array, description: Described) -> Array:
        """What a model reads or draws, [..., D] or [...] for categories -> the user's units."""
        scaling = description.normalization
        return x if scaling is None else scaling.invert(x)

    def from_units(self, raw: Array, description: Described) -> Array:
        """The inverse of `to_units`: the user's units -> what a model reads."""
        if description.spec.kind == "categorical":
            return np.asarray(raw).astype(np.int64)
        scaling = description.normalization
        return (np.asarray(raw) if scaling is None else scaling.apply(raw)).astype(np.float32)

    # ---- files

    @abstractmethod
    def read(self, path: str, description: Described) -> list[Example]:
        """The sequences in a file, as the model reads them. They may be beginnings: see `whole`.

        Raises UserError where the file can't be read, or holds something else than the model was trained on.
        """

    def parse(self, source: str) -> tuple[Example, list[str]]:
        """The sequence that a word of a command spells by itself, and what of it the model doesn't know; of text alone
        (`is_text`).
        """
        raise UserError(f"{source!r}: sequences of format {self.name} aren't spelt; name a file")

    def whole(self, example: Example) -> Example:
        """A sequence that was read, with what ends it, if something does."""
        return example

    def unknown_in(self, examples: Sequence[Example]) -> int | None:
        """How many symbols stand for what the model doesn't know; None where nothing does."""
        return None

    def write(self, folder: Path, stem: str, drawn: Drawn, description: Described) -> Written:
        """STEM.npz with `x` in the user's units, `latents` [n, T, Z], and `start` where there is one (NaN, or -1 for
        categories, where it is missing); and the files of `show`. What was under this stem before is removed.

        Raises UserError where the folder can't be made.
        """
        make_folder(folder)
        clear(folder, stem, self.endings)
        path = folder / stem
        start = {} if drawn.start is None else {"start": self.to_units(drawn.start, description)}
        np.savez_compressed(f"{path}.npz", x=self.to_units(drawn.x, description), latents=drawn.latents, **start)  # type: ignore[arg-type]  # its stub takes `start` for allow_pickle
        return Written((f"{path}.npz",)) + self.show(path, drawn, description)

    @abstractmethod
    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """Files to look at, to listen to or to read, called `path` and an ending, or `path`-I of each sequence."""

    # ---- how long

    def default_steps(self, description: Described) -> int:
        """Steps of a sample, unless told otherwise."""
        return description.longest

    def steps_after(self, prefixes: Sequence[Example], description: Described) -> int:
        """Steps of a continuation, unless told otherwise: up to the longest sequence trained on.

        Raises UserError where nothing can follow.
        """
        known = min(len(example.x) for example in prefixes) - description.spec.conditions_on_first
        left = self.default_steps(description) - known
        return left if left >= 1 else self.default_steps(description)

    def steps_between(self, ends: Sequence[Example], description: Described) -> int | None:
        """Steps of a sequence between two others; None: as many as the longer one has."""
        return None

    def steps_in(self, seconds: float, description: Described) -> float:
        """How many steps last so long. Raises UserError where steps have no length."""
        raise UserError("--seconds is for models of audio; use --steps")
