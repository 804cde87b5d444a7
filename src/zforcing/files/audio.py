"""Read an audio file as one channel: its header, and any range of its samples, at its own or another sample rate.

Of several channels the mean is read, or one of them. Samples are in units of 16-bit integers, -32768 to 32767, whatever
the file's format; with more bits they have fractional digits.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .audio_bytes import promised_bytes, sound_behind_unfinished_header
from .audio_decoding import (
    NAMED,
    SCALE,
    STEP,
    Channel,
    Samples,
    from_beginning,
    has_length,
    import_soundfile,
    opened,
    stretch,
)
from .reading import Unreadable

__all__ = ["SCALE", "Channel", "Samples"]  # of recordings; what follows reads them
CLIPPED = 0.1  # of the samples
BLOCK = 8192  # samples at the new rate that are resampled together, at least
MARGIN = 512  # samples at the lower of two rates: the resampling filter reaches less far
READ = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".nist", ".oga", ".ogg", ".opus", ".sph", ".w64", ".wav")
NEVER_READ = frozenset((".aac", ".amr", ".m4a", ".m4b", ".mka", ".weba", ".wma"))  # audio, but not libsndfile's


@dataclass(frozen=True)
class Header:
    """The length and the sample rate of a recording, how many channels it has, and which of them is read."""

    samples: int
    rate: int  # samples per second
    channels: int = 1
    channel: Channel = "mix"
    beyond: int = 0  # samples of floats that are beyond full scale, -1 to 1

    def resampled(self, rate: int) -> int:
        """The number of samples at another rate, floor(samples * rate / self.rate)."""
        return self.samples * rate // self.rate

    @property
    def unscaled(self) -> str:
        """Why 16-bit levels can't hold the recording, where more than a tenth of it would be clipped; else nothing."""
        if self.beyond <= CLIPPED * self.samples:
            return ""
        return (
            f"has {100 * self.beyond / self.samples:.1f} % of its samples beyond full scale, which is -1 to 1, and "
            "levels would clip them; divide them, as by 32768 where they are 16-bit numbers, or set data.encoding "
            "float"
        )


# ---- headers


def read_header(file: Path, *, channel: Channel = "mix") -> Header:
    """Read the header, and the last sample to check that the file is complete.

    Args:
        file: WAV, FLAC, MP3, OGG, AIFF, AU, NIST SPHERE or another format that libsndfile reads.
        channel: What is read of several channels.

    Returns:
        Length, sample rate and channels.

    Raises:
        Unreadable: The file can't be read, is truncated or empty, or doesn't have the channel.
    """
    _refuse_unopenable(file)
    promised = promised_bytes(file)
    size = file.stat().st_size
    with opened(file) as audio:
        number = NAMED.get(channel, channel)
        if isinstance(number, int) and number >= audio.channels:
            count = "1 channel" if audio.channels == 1 else f"{audio.channels} channels"
            raise Unreadable(file, f"has {count}, and data.channel is {channel}; set it to mix, or remove the file")
        if audio.frames == 0:
            _refuse_without_samples(file)
        if promised is not None and promised > size:
            raise Unreadable(file, f"is truncated: its header promises {promised} bytes, it has {size}; copy it again")
        samples = _checked_length(file, audio)
        beyond = _beyond_full_scale(file) if audio.subtype in ("FLOAT", "DOUBLE") else 0
        return Header(samples, int(audio.samplerate), int(audio.channels), channel, beyond)


def _refuse_without_samples(file: Path) -> None:
    left = sound_behind_unfinished_header(file)
    if left:
        raise Unreadable(
            file,
            f"was never finished: its header says that it holds no samples, but {left} bytes of them follow; repair "
            "it, as by ffmpeg -ignore_length 1 -i IN.wav OUT.wav",
        )
    raise Unreadable(file, "holds no samples; record it again or remove it")


def _checked_length(file: Path, audio: Any) -> int:
    """How many samples there are: as the header says, if the last one is there; counted where there is no other way."""
    counts = not (audio.seekable() and has_length(audio))
    try:
        if counts:
            samples = sum(len(block) for block in from_beginning(file))
        else:
            audio.seek(audio.frames - 1)
            samples = audio.frames - 1 + len(audio.read(1))
    except (RuntimeError, ValueError):  # only so can one see that a FLAC file's end is missing, or a length is below 0
        samples = -1
    if samples < 0 and not has_length(audio):
        raise Unreadable(file, "is damaged: it can't be decoded to its end; copy it again")
    if has_length(audio) and samples != audio.frames:
        raise Unreadable(file, f"is truncated: its header promises {audio.frames} samples; copy it again")
    return int(samples)


def _beyond_full_scale(file: Path) -> int:
    """How many samples of floats are beyond -1 to 1. Raises Unreadable where one isn't finite."""
    beyond = 0
    for block in from_beginning(file):
        if not np.isfinite(block).all():
            raise Unreadable(file, "holds NaN or infinity; write it again")
        beyond += int(np.count_nonzero((np.abs(block) > 1).reshape(len(block), -1).any(axis=1)))
    return beyond


def _refuse_unopenable(file: Path) -> None:
    if file.is_symlink() and not file.exists():
        raise Unreadable(file, "is a broken symbolic link; copy its target, or remove it")
    if not file.exists():
        raise Unreadable(file, f"no such file; a relative path starts at {Path.cwd()}")
    if not file.is_file():
        raise Unreadable(file, "is not a regular file; name a recording")
    if not os.access(file, os.R_OK):
        raise Unreadable(file, "permission denied; make it readable")
    if file.stat().st_size == 0:
        raise Unreadable(file, "is empty (0 bytes); copy it again or remove it")


# ---- samples


def read_samples(file: Path, start: int = 0, stop: int | None = None, *, channel: Channel = "mix") -> Samples:
    """Read samples at the recording's own rate.

    Args:
        file: The recording.
        start: The first sample, from 0.
        stop: The sample after the last one; None is the end.
        channel: What is read of several channels.

    Returns:
        Array [N] float32.

    Raises:
        Unreadable: The samples can't be read or aren't finite.
    """
    samples, count = stretch(file, start, stop, channel)
    if len(samples) != count:
        raise Unreadable(file, f"ends at sample {start + len(samples)}, not at {start + count}; copy it again")
    if not np.isfinite(samples).all():
        raise Unreadable(file, "holds NaN or infinity; write it again")
    return samples


def read_resampled(file: Path, header: Header, rate: int, start: int, stop: int) -> Samples:
    """Read samples at another rate.

    The recording is resampled in blocks at fixed positions, with a margin on both sides, so that a sample doesn't
    depend on the range it is read with, and the cost of a range doesn't depend on its position.

    Args:
        file: The recording.
        header: Its header.
        rate: The new rate, in samples per second. There are `header.resampled(rate)` samples.
        start: The first sample, from 0.
        stop: The sample after the last one.

    Returns:
        Array [N] float32.
    """
    if rate == header.rate:
        return read_samples(file, start, stop, channel=header.channel)
    size = _block_size(header.rate, rate)
    first, last = start // size, (stop - 1) // size
    blocks = [_resampled_block(file, header, rate, block) for block in range(first, last + 1)]
    return np.concatenate(blocks)[start - first * size : stop - first * size]


def blocks_of(file: Path, header: Header, rate: int) -> Iterator[Samples]:
    """Yield all samples of a recording at a rate, in arrays of at most `STEP`."""
    samples = header.resampled(rate)
    for start in range(0, samples, STEP):
        yield read_resampled(file, header, rate, start, min(start + STEP, samples))


def _block_size(old: int, new: int) -> int:
    """The block size in samples at the new rate, which is as long as a whole number of samples at the old rate."""
    unit = new // gcd(old, new)
    return unit * -(-BLOCK // unit)


def _resampled_block(file: Path, header: Header, rate: int, block: int) -> Samples:
    """The samples of one block; the last block is shorter."""
    try:
        import soxr
    except ImportError as error:
        raise UserError(f"{file}: resampling audio needs soxr; pip install 'zforcing[audio]'") from error
    common = gcd(header.rate, rate)
    up, down = rate // common, header.rate // common
    size = _block_size(header.rate, rate)
    margin = down * -(-MARGIN * header.rate // (min(header.rate, rate) * down))  # at the old rate
    begin = block * size // up * down
    start, stop = max(0, begin - margin), min(header.samples, begin + size // up * down + margin)
    samples: Samples = soxr.resample(read_samples(file, start, stop, channel=header.channel), header.rate, rate)
    first = (begin - start) // down * up
    count = min(size, header.resampled(rate) - block * size)
    result = np.zeros(count, dtype=np.float32)  # soxr rounds the length, which may be a sample less
    available = samples[first : first + count]
    result[: len(available)] = available
    return result


def unread_suffixes() -> frozenset[str]:
    """Suffixes of audio that the libsndfile here can't read: an old one lacks MP3 (before 1.1) or Opus (1.0.29)."""
    soundfile = import_soundfile(Path("recordings"))
    lacking = {".mp3"} if "MP3" not in soundfile.available_formats() else set()
    lacking |= {".opus"} if "OPUS" not in soundfile.available_subtypes("OGG") else set()
    return NEVER_READ | lacking


def write_wav(path: str | Path, samples: NDArray[np.int16], rate: int) -> None:
    """Write a mono 16-bit WAV file, replacing an existing file.

    Args:
        path: The file.
        samples: [N] int16.
        rate: Samples per second.

    Raises:
        ValueError: `samples` has another type or shape.
        UserError: The file can't be written.
    """
    file = Path(path)
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples are {samples.dtype} {list(samples.shape)}; they must be int16 [N]")
    try:
        with file.open("wb") as stream, wave.open(stream, "wb") as audio:
            audio.setnchannels(1)
            audio.setsampwidth(2)
            audio.setframerate(rate)
            audio.writeframes(samples.astype("<i2").tobytes())
    except OSError as error:
        raise UserError(f"{file}: can't be written ({error.strerror or error}); check its folder") from error
