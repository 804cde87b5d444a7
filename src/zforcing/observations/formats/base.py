"""`Format`: the units, the files and the default lengths of a kind of observation.

A new kind is one file with a `Format` that is registered: descriptions keep it by its name, and every command
reads and writes its files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ...errors import UserError
from ...files.reading import Array
from ...files.rows import TimeColumn
from ...files.writing import make_folder, whole_files
from ..example import Example
from ..normalization import Normalization
from ..spec import ObservationSpec
from .drawn import Drawn, Written, clear


class Described(Protocol):
    """The rest of the `DataDescription` that a format belongs to."""

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

    @property
    def input_normalization(self) -> Normalization | None:
        """How known inputs were scaled, or None."""


@dataclass(frozen=True)
class Contents:
    """The N sequences of a file as a model reads them, and what the file says of them."""

    examples: list[Example]
    names: list[Any] | None = None
    """[N], that it gives the sequences"""
    time_column: TimeColumn | None = None
    """the times of their steps"""


class Format(ABC):
    """What the numbers of an observation stand for, and how files of them are read and written.

    Models read and generate x, [T, D] float32 or [T] int64 for categories; files hold it in the user's units: volts,
    16-bit samples, MIDI notes, sentences. A subclass is a frozen dataclass of plain values with a `name`, `read` and
    `show`, registered by `zforcing.register` (docs/extending.md shows one).

    Attributes:
        name: the name in config.json.
        number: what tables call one number of an observation, such as "pixel".
        is_text: whether a word on the command line may be a sequence itself, see `parse`.
        endings: of the files that `show` writes, such as "png".
        reads: suffixes, such as ".csv", of the files that are read of a folder that somebody names; empty: of none.
        hub_task: the task under which the Hugging Face Hub lists models of it, one of its own names.
    """

    name: ClassVar[str]
    number: ClassVar[str] = "dim"
    is_text: ClassVar[bool] = False
    endings: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    hub_task: ClassVar[str] = "other"

    # ---- as JSON

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the name first."""
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return {"name": self.name} | values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`, from the values without the name. Raises TypeError or UserError for others."""
        return cls(**values)

    def brief(self) -> dict[str, Any]:
        """A short `to_json`, in which long values are counted."""
        return self.to_json()

    def problems(self, spec: ObservationSpec) -> list[str]:
        """Messages about why observations can't have this format; empty if they can."""
        return []

    # ---- units

    @property
    def samples_per_second(self) -> int | None:
        """Of audio, whose numbers are samples; None of everything else."""
        return None

    def to_units(self, x: Array, description: Described) -> Array:
        """Convert what a model reads or generates, [..., D] (or [...] for categories), to the user's units."""
        scaling = description.normalization
        return x if scaling is None else scaling.invert(x)

    def from_units(self, raw: Array, description: Described) -> Array:
        """Convert numbers in the user's units to what a model reads: the inverse of `to_units`."""
        if description.spec.kind == "categorical":
            return np.asarray(raw).astype(np.int64)
        scaling = description.normalization
        return (np.asarray(raw) if scaling is None else scaling.apply(raw)).astype(np.float32)

    # ---- files

    @property
    def extra(self) -> str | None:
        """The extra of this package, such as "audio", that its files are read with; None: none is needed."""
        return None

    @abstractmethod
    def read(self, path: str, description: Described) -> list[Example]:
        """Read the sequences of a file, which may be beginnings of sequences (see `whole`).

        Args:
            path: of the file, in the user's units.
            description: of the model's data.

        Returns:
            The sequences as the model reads them.

        Raises:
            UserError: the file can't be read, or holds something else than the model was trained on.
        """

    def contents(self, path: str, description: Described) -> Contents:
        """`read`, and what else the file says of its sequences: override it where that is something."""
        return Contents(self.read(path, description))

    def read_inputs(self, path: str, description: Described) -> tuple[list[Array], list[Any] | None]:
        """Read the known inputs of a file that need not hold observations, as of steps to come.

        Returns:
            [T_i, U] for each sequence, in the file's units, and the names that it gives the sequences, or None.

        Raises:
            UserError: the file can't be read, or has other inputs than the model reads.
        """
        raise UserError(f"--inputs {path}: format {self.name} has no known inputs")

    def column(self, path: str, name: str, description: Described) -> Array:
        """Read another column of a file, [R], a label for each step in the order of `read`: 1 and 0 of true and false.

        Raises:
            UserError: the file has none, or it holds other text.
        """
        raise UserError(f"file {path}: has no columns; name a file with one number for each step")

    def refill(
        self, path: str, out: Path, filled: Sequence[Array], drawn: Sequence[Array], description: Described
    ) -> bool:
        """Write a file again with its gaps filled, and all that was there as it stands.

        Args:
            path: of the file, whose sequences `read` gave.
            out: where to, by its suffix.
            filled: [T_i, D] or [T_i] for each sequence, in the user's units.
            drawn: [T_i, D] bool for each sequence: what is new.
            description: of the model's data.

        Returns:
            Whether it was written; not where the format can't, or not to a file of this suffix.

        Raises:
            UserError: the file can't be written.
        """
        return False

    def parse(self, source: str) -> tuple[Example, list[str]]:
        """Parse a word of the command line as a sequence; only for text (`is_text`).

        Returns:
            The sequence, and the words of it that the model doesn't know.
        """
        raise UserError(f"{source!r}: sequences of format {self.name} can't be given as text; name a file")

    def whole(self, example: Example) -> Example:
        """Complete a sequence that was read, by its end symbol for example."""
        return example

    def unknown_in(self, examples: Sequence[Example]) -> int | None:
        """How many symbols are unknown to the model; None for data without unknown symbols."""
        return None

    def write(self, folder: Path, stem: str, drawn: Drawn, description: Described) -> Written:
        """Write generated sequences: STEM.npz, and the files of `show`. Older files of this stem are removed.

        The .npz has `x` in the user's units, `latents` [n, T, Z], `start` if there is one (NaN, or -1 for categories,
        where it is missing), and `lengths` [n] if the sequences don't all have T steps.

        Args:
            folder: created if it doesn't exist.
            stem: of the files' names.
            drawn: the sequences.
            description: of the model's data.

        Returns:
            The paths, and what to report about them.

        Raises:
            UserError: the folder can't be made, or the files not be written: then those of before are still there.
        """
        make_folder(folder)
        more = {} if drawn.start is None else {"start": self.to_units(drawn.start, description)}
        more |= {} if drawn.lengths is None else {"lengths": drawn.lengths}
        with whole_files(folder) as made:
            path = made / stem
            np.savez_compressed(f"{path}.npz", x=self.to_units(drawn.x, description), latents=drawn.latents, **more)  # type: ignore[arg-type]  # its stub takes `start` for allow_pickle
            written = Written((f"{path}.npz",)) + self.show(path, drawn, description)
            clear(folder, stem, self.endings)
        return replace(written, files=tuple(str(folder / Path(file).name) for file in written.files))

    def continuing(self, path: str) -> Format:
        """Return the format in which what goes on from a file is written: override it where that is another one.

        Args:
            path: what the user named to go on from, which need not be a file.
        """
        return self

    @abstractmethod
    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """Write files to look at, listen to or read, named `path` and an ending, or `path`-I for each sequence."""

    # ---- how long

    def default_steps(self, description: Described) -> int:
        """The default length of a sample, in steps."""
        return description.longest

    def steps_after(self, prefixes: Sequence[Example], description: Described) -> int:
        """The default length of a continuation, in steps: up to the longest training sequence.

        Raises UserError where nothing can follow.
        """
        known = min(len(example.x) for example in prefixes) - description.spec.unscored_steps
        left = self.default_steps(description) - known
        return left if left >= 1 else self.default_steps(description)

    def steps_between(self, ends: Sequence[Example], description: Described) -> int | None:
        """Steps of an interpolation between two sequences; None: those of the longer one."""
        return None

    def steps_in(self, seconds: float, description: Described) -> float:
        """Convert seconds to steps. Raises UserError where steps have no duration."""
        raise UserError("--seconds is for models of audio; use --steps")


def read_file(kind: Format, path: str, description: Described) -> list[Example]:
    """The sequences in a file, see `contents_of`."""
    return contents_of(kind, path, description).examples


def contents_of(kind: Format, path: str, description: Described) -> Contents:
    """What is in a file, as `Format.contents` gives it, whoever wrote it.

    Raises:
        UserError: the file can't be read, in one line also where a format of one's own lets its library say so.
    """
    try:
        return kind.contents(path, description)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"file {path}: can't be read as {kind.name}: {' '.join(str(error).split())}") from error
