"""What a model keeps of the data that it was trained on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from .spec import ObservationSpec
from .vocabulary import Vocabulary

SECONDS_GRID = 4  # steps in what is written as a quarter note, where a step is given in seconds


@dataclass(frozen=True)
class Normalization:
    """x = (raw - mean) / std, per feature, with the mean and the standard deviation of the training split.

    log p(raw) = log p(x) - sum over the scored numbers of ln std.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if not all(_is_number(v) and abs(v) <= sys.float_info.max for v in numbers):
                raise UserError(f"normalization.{name} is {_brief(numbers)}; it must hold finite numbers")
        if len(self.mean) != len(self.std) or not all(v > 0 for v in self.std):
            raise UserError(f"normalization.std is {_brief(self.std)}; it must hold a positive number for each mean")

    @classmethod
    def fit(cls, rows: Array) -> Normalization:
        """From the training split's rows [N, D], NaN where nothing is observed. A constant feature keeps std 1."""
        mean = np.asarray(np.nanmean(rows, axis=0, dtype=np.float64))
        std = np.asarray(np.nanstd(rows, axis=0, dtype=np.float64))
        # By its range: the standard deviation of a constant 0.1 comes out as 1e-15, and its density as e^34.
        constant = (np.nanmin(rows, axis=0) == np.nanmax(rows, axis=0)) | (std == 0)
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist()))

    def apply(self, raw: Array) -> Array:
        """[..., D] in the data's units -> float32 in units of the standard deviation."""
        normalized: Array = ((raw - np.asarray(self.mean)) / np.asarray(self.std)).astype(np.float32)
        return normalized

    def invert(self, x: Array) -> Array:
        """[..., D] in units of the standard deviation -> the data's units."""
        raw: Array = x * np.asarray(self.std) + np.asarray(self.mean)
        return raw


@dataclass(frozen=True)
class AudioFormat:
    """What the numbers of an observation are where it is a frame of audio, one channel.

    sample_rate: samples per second
    encoding:    "float": real numbers, normalized; in the data's own units a sample is a 16-bit integer's value.
                 "pcm": the 65536 levels of a 16-bit integer. "mulaw": 256 levels after mu-law companding (mu = 255)
    """

    sample_rate: int
    encoding: Literal["float", "pcm", "mulaw"] = "float"

    def __post_init__(self) -> None:
        if not _is_size(self.sample_rate):
            raise UserError(f"data.audio.sample_rate is {self.sample_rate!r}; it must be a whole number, 1 or more")
        if self.encoding not in ("float", "pcm", "mulaw"):
            raise UserError(f"data.audio.encoding is {self.encoding!r}; it must be float, pcm or mulaw")


@dataclass(frozen=True)
class MusicFormat:
    """What the numbers of an observation are where it is a step of a piano roll: 1 where a pitch sounds, else 0.

    lowest_pitch:        MIDI number of the first of them (21 is A0, a piano's lowest key); the others follow it
    steps_per_quarter:   steps in a quarter note
    quarters_per_minute: the tempo that a MIDI file is written at
    """

    lowest_pitch: int = 21
    steps_per_quarter: int = 2
    quarters_per_minute: float = 120.0

    def __post_init__(self) -> None:
        if type(self.lowest_pitch) is not int or not 0 <= self.lowest_pitch <= 127:
            raise UserError(f"data.music.lowest_pitch is {self.lowest_pitch!r}; it must be a MIDI number, 0 to 127")
        if not (_is_size(self.steps_per_quarter) and self.steps_per_quarter <= 480):
            raise UserError(
                f"data.music.steps_per_quarter is {self.steps_per_quarter!r}; it must be a whole number, 1 to 480"
            )
        tempo = self.quarters_per_minute
        if not (_is_number(tempo) and 4 <= tempo <= 100_000):  # a MIDI file has 24 bits for microseconds per quarter
            raise UserError(f"data.music.quarters_per_minute is {tempo!r}; it must be a number, 4 to 100000")

    @classmethod
    def of_steps(cls, per_quarter: int, seconds: float | None) -> MusicFormat:
        """Steps of a quarter note's `per_quarter`-th part, or of so many seconds. Where the tempo isn't known it is 120
        quarters a minute: a choice.
        """
        if seconds is None:
            return cls(steps_per_quarter=per_quarter)
        return cls(steps_per_quarter=SECONDS_GRID, quarters_per_minute=60 / (SECONDS_GRID * seconds))

    def fits(self, spec: ObservationSpec) -> bool:
        """Whether observations can be such steps."""
        return spec.kind == "binary" and self.lowest_pitch + spec.size <= 128


@dataclass(frozen=True)
class DataDescription:
    """What a model must keep of the data that it was trained on; written beside its weights.

    name:          the data set's name
    spec:          what an observation is
    normalization: how real observations were scaled, or None
    image_shape:   (height, width) when a sequence is an image read pixel by pixel or row by row, or None
    longest:       the most scored steps in a training sequence: how long samples are unless told otherwise
    audio:         what the numbers are when an observation is a frame of audio, or None
    music:         what the numbers are when an observation is a step of a piano roll, or None
    vocabulary:    what the categories stand for when an observation is a symbol of text, or None
    """

    name: str
    spec: ObservationSpec
    longest: int
    normalization: Normalization | None = None
    image_shape: tuple[int, int] | None = None
    audio: AudioFormat | None = None
    music: MusicFormat | None = None
    vocabulary: Vocabulary | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataDescription:
        """The inverse of `to_json`. Raises UserError for values that no data has."""
        try:
            scaling, shape = values["normalization"], values["image_shape"]
            audio, music = values.get("audio"), values.get("music")  # there was neither in the first files
            vocabulary = values.get("vocabulary")  # nor this
            description = cls(
                name=values["name"],
                spec=ObservationSpec(**values["spec"]),
                longest=values["longest"],
                normalization=None if scaling is None else Normalization(tuple(scaling["mean"]), tuple(scaling["std"])),
                image_shape=None if shape is None else tuple(shape),
                audio=None if audio is None else AudioFormat(**audio),
                music=None if music is None else MusicFormat(**music),
                vocabulary=None if vocabulary is None else Vocabulary.from_json(vocabulary),
            )
        except KeyError as error:
            raise UserError(f"the data's description has no {error}") from None
        except TypeError as error:
            raise UserError(f"the data's description doesn't fit: {error}") from None
        problems = []
        if not isinstance(values["name"], str):
            problems.append(f"data.name is {values['name']!r}; it must be text")
        if not _is_size(description.longest):
            problems.append(f"data.longest is {description.longest!r}; it must be a whole number, 1 or more")
        if shape is not None and not (len(shape) == 2 and all(map(_is_size, shape))):
            problems.append(f"data.image_shape is {shape!r}; it must be a height and a width, whole numbers, or null")
        given = description.normalization
        if given is not None and (description.spec.kind != "real" or len(given.mean) != description.spec.size):
            problems.append(
                f"data.normalization has {len(given.mean)} means for {description.spec.kind} observations of size "
                f"{description.spec.size}; it must have one for each of their numbers if they are real, or be null"
            )
        if description.music is not None and not description.music.fits(description.spec):
            problems.append(
                f"data.music is {description.music} for {description.spec.kind} observations of size "
                f"{description.spec.size}; they must be binary, with MIDI numbers up to 127"
            )
        known, spec = description.vocabulary, description.spec
        if known is not None and (spec.kind != "categorical" or len(known) != spec.size):
            problems.append(
                f"data.vocabulary has {len(known)} symbols for {spec.kind} observations of size {spec.size}; it must "
                f"have one for each category, or be null"
            )
        if problems:
            raise UserError("; ".join(problems))
        return description


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _brief(numbers: Sequence[object]) -> str:
    return f"[{', '.join(map(repr, numbers[:8]))}{', ...' if len(numbers) > 8 else ''}]"
