"""Recordings: how audio becomes frames of numbers that a model reads, and frames become audio again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.audio import READ, SCALE, Channel, read_header, read_resampled, write_wav
from ...files.paths import user_path
from ...files.reading import Array, Unreadable
from ...settings import unfit
from ..checks import is_size
from ..example import Example
from ..normalization import Normalization
from ..spec import ObservationSpec
from .base import Described, Format
from .drawn import Drawn, Written

LEAST, MOST = -32768, 32767  # of a 16-bit integer
LEVELS = {"float": None, "pcm": 65536, "mulaw": 256}
MU = 255.0
AT_ONCE = 1 << 20  # samples that are encoded together


@dataclass(frozen=True)
class AudioFormat(Format):
    """An observation is a frame of audio, one channel. In the user's units a sample is a 16-bit integer's value.

    sample_rate: samples per second
    encoding:    "float": real numbers, normalized. "pcm": the 65536 levels of a 16-bit integer. "mulaw": 256 levels
                 after mu-law companding (mu = 255)
    channel:     what is read of a file with several: their mean ("mix"), "left", "right", or a number from 0
    """

    name = "audio"
    endings = ("wav",)
    hub_task = "audio-to-audio"
    reads = READ

    sample_rate: int
    encoding: Literal["float", "pcm", "mulaw"] = "float"
    channel: Channel = "mix"

    def __post_init__(self) -> None:
        if not is_size(self.sample_rate):
            raise UserError(f"data.format.sample_rate is {self.sample_rate!r}; it must be a whole number, 1 or more")
        if self.encoding not in LEVELS:
            raise UserError(f"data.format.encoding is {self.encoding!r}; it must be float, pcm or mulaw")
        if expected := unfit(self.channel, Channel):
            raise UserError(f"data.format.channel is {self.channel!r}; it must be {expected}")

    def problems(self, spec: ObservationSpec) -> list[str]:
        """The encoding says which levels there are."""
        levels = LEVELS[self.encoding]
        if spec.levels == levels and spec.kind == ("real" if levels is None else "quantized"):
            return []
        return [f"data.format.encoding is {self.encoding} for {spec.kind} observations of {spec.levels} levels"]

    @property
    def samples_per_second(self) -> int | None:
        """The sample rate."""
        return self.sample_rate

    def to_units(self, x: Array, description: Described) -> Array:
        """[..., D] frames -> samples, neither rounded nor clipped."""
        return decode(x, self, description.normalization)

    def from_units(self, raw: Array, description: Described) -> Array:
        """[..., D] samples -> what a model reads."""
        return encode(raw, self, description.normalization)

    @property
    def extra(self) -> str | None:
        """Recordings are read by soundfile."""
        return "audio"

    def read(self, path: str, description: Described) -> list[Example]:
        """One recording in whole frames, resampled to the model's rate.

        Raises UserError when it can't be read, lacks the channel or is too short to be scored.
        """
        file, size, least = user_path(path, path), description.spec.size, 1 + description.spec.unscored_steps
        header = read_header(file, channel=self.channel)
        if self.encoding != "float" and header.unscaled:
            raise Unreadable(file, header.unscaled)
        frames = header.resampled(self.sample_rate) // size
        if frames < least:
            raise Unreadable(file, shorter_than(min(least, frames + 1), size, self.sample_rate))
        samples = read_resampled(file, header, self.sample_rate, 0, frames * size)
        return [Example(encode(samples.reshape(-1, size), self, description.normalization))]

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """STEM-I.wav of each sequence."""
        files, clipped = [], 0
        for i, whole in enumerate(drawn.whole):
            samples, _ = self.to_samples(whole, description)
            _, over = self.to_samples(drawn.each[i], description)  # what was drawn; the beginning was there before
            files.append(f"{path}-{i:03d}.wav")
            write_wav(Path(files[-1]), samples, self.sample_rate)
            clipped += over
        return Written(tuple(files), clipped)

    def to_samples(self, frames: Any, description: Described) -> tuple[NDArray[np.int16], int]:
        """[T, D] what a model draws -> [T * D] 16-bit samples, and how many of them were clipped to fit.

        Raises UserError for frames that hold NaN.
        """
        samples = np.rint(self.to_units(np.asarray(frames), description)).reshape(-1)
        if np.isnan(samples).any():
            raise UserError("frames that hold NaN are not audio; was the model's training stable?")
        clipped = int(((samples < LEAST) | (samples > MOST)).sum())
        if self.encoding != "float":  # no level is out of range: mu-law's highest decodes to 32768, by rounding
            clipped = 0
        return np.clip(samples, LEAST, MOST).astype(np.int16), clipped

    def steps_after(self, prefixes: Sequence[Example], description: Described) -> int:
        """A second."""
        return math.ceil(self.sample_rate / description.spec.size)

    def steps_in(self, seconds: float, description: Described) -> float:
        """Frames, not rounded."""
        return seconds * self.sample_rate / description.spec.size


def shorter_than(frames: int, size: int, rate: int) -> str:
    """Why a recording that is too short can't be used."""
    return (
        f"is shorter than {'one frame' if frames == 1 else 'two frames, of which the first is not scored'} "
        f"({frames * size} samples at {rate} Hz); remove it or lower data.frame_size"
    )


# ---- encodings


def mulaw_encode(samples: Array) -> NDArray[np.int64]:
    """Samples, -32768..32767, -> codes 0..255, of the same shape.

    s = sample / 32768;  f(s) = sign(s) ln(1 + 255 |s|) / ln 256;  code = floor(255 (f(s) + 1) / 2 + 1/2)
    """
    s = np.asarray(samples, dtype=np.float64) / SCALE
    companded = np.sign(s) * np.log1p(MU * np.abs(s)) / np.log1p(MU)
    codes: NDArray[np.int64] = np.clip(np.floor(MU * (companded + 1) / 2 + 0.5), 0, MU).astype(np.int64)
    return codes


def mulaw_decode(codes: Array) -> NDArray[np.float64]:
    """Codes 0..255 -> samples, not rounded; `mulaw_encode` gives the codes back, of the samples rounded too.

    y = -1 + 2 code / 255;  sample = 32768 sign(y) (256^|y| - 1) / 255
    """
    y = 2 * np.asarray(codes, dtype=np.float64) / MU - 1
    samples: NDArray[np.float64] = SCALE * np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU
    return samples


def encode(samples: Array, audio: AudioFormat, normalization: Normalization | None) -> NDArray[np.float32]:
    """[T, D] samples -> [T, D] what a model reads.

    float: normalized. pcm, mulaw: sample rounded and clipped to 16 bits; then its level k of L is -1 + 2 k / (L - 1).
    """
    if samples.size > AT_ONCE and len(samples) > 1:  # an hour of float64 is a gigabyte
        steps = max(1, AT_ONCE * len(samples) // samples.size)
        parts = [encode(samples[i : i + steps], audio, normalization) for i in range(0, len(samples), steps)]
        return np.concatenate(parts)
    levels = LEVELS[audio.encoding]
    if levels is None:
        return (samples if normalization is None else normalization.apply(samples)).astype(np.float32)
    integers = np.clip(np.rint(samples), LEAST, MOST)
    level = mulaw_encode(integers) if audio.encoding == "mulaw" else integers - LEAST
    return (2.0 * level / (levels - 1) - 1).astype(np.float32)


def decode(frames: Array, audio: AudioFormat, normalization: Normalization | None) -> NDArray[np.float64]:
    """The inverse of `encode`: [T, D] what a model reads or draws -> [T, D] samples, neither rounded nor clipped."""
    levels = LEVELS[audio.encoding]
    x = np.asarray(frames, dtype=np.float64)
    if levels is None:
        return x if normalization is None else normalization.invert(x)
    level = np.rint((x + 1) / 2 * (levels - 1))
    return mulaw_decode(level) if audio.encoding == "mulaw" else level + LEAST
