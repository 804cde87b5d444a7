"""Samples and observations: how audio becomes frames of numbers that a model reads, and frames become audio again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files.audio import SCALE, read_header, read_resampled
from ..files.reading import Array, Unreadable, user_path
from .description import AudioFormat, DataDescription, Normalization
from .example import Example

LEAST, MOST = -32768, 32767  # of a 16-bit integer
LEVELS = {"float": None, "pcm": 65536, "mulaw": 256}
MU = 255.0
AT_ONCE = 1 << 20  # samples that are encoded together


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


# ---- one recording


def read_recording(path: str | Path, description: DataDescription) -> Example:
    """A file of audio as a model reads it, in whole frames: resampled to the description's rate, framed and encoded.

    Raises UserError when it can't be read, has more than one channel or is shorter than a frame.
    """
    file, audio, size = user_path(str(path), str(path)), _audio(description), description.spec.size
    header = read_header(file)
    frames = header.resampled(audio.sample_rate) // size
    if frames == 0:
        raise Unreadable(file, shorter_than(1, size, audio.sample_rate))
    samples = read_resampled(file, header, audio.sample_rate, 0, frames * size)
    return Example(encode(samples.reshape(-1, size), audio, description.normalization))


def shorter_than(frames: int, size: int, rate: int) -> str:
    """Why a recording that is too short can't be used."""
    return (
        f"is shorter than {'one frame' if frames == 1 else 'two frames, of which the first is not scored'} "
        f"({frames * size} samples at {rate} Hz); remove it or lower data.frame_size"
    )


def to_samples(frames: Any, description: DataDescription) -> tuple[NDArray[np.int16], int]:
    """[T, D] what a model draws -> [T * D] 16-bit samples, and how many of them were clipped to fit.

    Raises UserError for frames that hold NaN, or that the description knows to be no audio.
    """
    audio = _audio(description)
    samples = np.rint(decode(np.asarray(frames), audio, description.normalization)).reshape(-1)
    if np.isnan(samples).any():
        raise UserError("frames that hold NaN are no audio; was the model's training stable?")
    clipped = int(((samples < LEAST) | (samples > MOST)).sum())
    if audio.encoding != "float":  # no level is out of range: mu-law's highest decodes to 32768, by rounding
        clipped = 0
    return np.clip(samples, LEAST, MOST).astype(np.int16), clipped


def _audio(description: DataDescription) -> AudioFormat:
    if description.audio is None:
        raise UserError(f"data {description.name} is no audio: only a model trained on audio reads or makes recordings")
    return description.audio
