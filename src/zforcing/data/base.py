"""What every data set is: a description that goes with the model, and splits of sequences."""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..sequences import ObservationSpec, SequenceBatch, missing_mark
from .vocabulary import Vocabulary

Split = Literal["train", "valid", "test"]
Array = NDArray[Any]


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


@dataclass(frozen=True)
class Example:
    """One sequence: x [T, D] float32 (normalized), or [T] int64; observed like x, bool, or None when all of it is."""

    x: Array
    observed: Array | None = None


class SequenceDataset(ABC):
    """One split. `lengths` [N] (steps, the first one included) is known without reading a sequence; `skipped` says how
    many sources were left out because they couldn't be read, where that was asked for; `unknown`, of text, how many
    symbols the vocabulary doesn't have; `remark` is what else its reader should know, such as what was left out.
    """

    lengths: NDArray[np.int64]
    skipped: int = 0
    unknown: int | None = None
    remark: str = ""

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, index: int) -> Example:
        """The sequence with this number."""

    def piece(self, index: int, start: int, stop: int) -> Example:
        """Steps start..stop-1 of a sequence, 0 <= start < stop <= its length; override it where less need be read."""
        whole = self[index]
        return Example(whole.x[start:stop], None if whole.observed is None else whole.observed[start:stop])

    def at_epoch(self, epoch: int) -> SequenceDataset:
        """The sequences of this epoch of training, from 0: itself, unless they are drawn anew each time.

        As many and as long as in epoch 0, and a pure function of the epoch, so that a run can resume anywhere.
        """
        return self

    def fingerprint(self) -> str:
        """12 hexadecimal digits, the same for the same numbers in the same order and units; reads every sequence.

        The units are those of the examples: data normalized in another way has another fingerprint.
        """
        digest = hashlib.sha256(np.asarray(self.lengths, dtype=np.int64).tobytes())
        for index in range(len(self)):
            example = self[index]
            x, observed = np.asarray(example.x), example.observed
            digest.update(f"{x.dtype} {x.shape}".encode())
            if observed is not None and not observed.all():
                digest.update(observed.tobytes())
                x = np.where(observed, x, np.zeros((), x.dtype))  # what a gap holds is nobody's business
            digest.update(x.tobytes())
        return digest.hexdigest()[:12]


class InMemory(SequenceDataset):
    """Sequences that fit in memory."""

    def __init__(self, examples: Sequence[Example]):
        self.examples = list(examples)
        self.lengths = np.array([len(e.x) for e in self.examples], dtype=np.int64)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class DataModule(ABC):
    """A data set: a frozen dataclass whose fields are its settings. Adding one is one file and one registry line."""

    @abstractmethod
    def describe(self) -> DataDescription:
        """What the model keeps; computed from the training split alone."""

    @abstractmethod
    def load(self, split: Split, description: DataDescription) -> SequenceDataset:
        """One split, scaled as `description` (the trained model's, when there is one) says.

        Raises UserError when the split is empty or doesn't fit the description.
        """

    def read_prefix(self, path: str, description: DataDescription) -> list[Example]:
        """The sequences in a file, as the trained model reads them, to go on from. Raises UserError where it can't."""
        raise UserError(f"data {description.name} reads no files to go on from")

    def true_log_likelihood(self, example: Example) -> float | None:
        """log p(x) of a sequence under the process that made it, nats, for synthetic data; None where nobody knows."""
        return None


def collate(examples: Sequence[Example], spec: ObservationSpec) -> SequenceBatch:
    """Pad B sequences on the right with zeros; move the first observation into `start` where it is conditioned on."""
    first = 1 if spec.conditions_on_first else 0
    lengths = torch.tensor([len(e.x) - first for e in examples], dtype=torch.int64)
    if int(lengths.min()) < 1:
        raise UserError(f"a sequence of {first} steps has nothing to score: every sequence needs {first + 1} or more")
    steps = int(lengths.max())

    def pad(values: Sequence[Array]) -> torch.Tensor:
        out = torch.zeros(len(values), steps, *values[0].shape[1:], dtype=torch.from_numpy(values[0][:0]).dtype)
        for row, value in zip(out, values, strict=True):
            row[: len(value) - first] = torch.from_numpy(value[first:])
        return out

    x = pad([e.x for e in examples])
    missing = any(e.observed is not None for e in examples)
    seen = [np.ones(e.x.shape, dtype=bool) if e.observed is None else e.observed for e in examples] if missing else None
    if first:
        start = torch.stack([torch.as_tensor(e.x[0]) for e in examples])
        if seen is not None:
            known = torch.stack([torch.as_tensor(s[0]) for s in seen])
            start = torch.where(known, start, torch.full_like(start, missing_mark(start)))
    else:
        start = spec.blank(len(examples), device=x.device, dtype=x.dtype)
    return SequenceBatch(x, lengths, start, None if seen is None else pad(seen))
