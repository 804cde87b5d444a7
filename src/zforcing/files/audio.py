"""Read a mono audio file: its header, and any range of its samples, at its own or another sample rate.

Samples are in units of 16-bit integers, -32768 to 32767, whatever the file's format; with more bits they have
fractional digits.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Unreadable

SCALE = 32768.0  # soundfile's samples are from -1 to 1
NIST = b"NIST_1A"
UNKNOWN_SIZE = 0x7FFF0000  # programs that write a WAV file to a pipe put this or more where its size belongs
BLOCK = 8192  # samples at the new rate that are resampled together, at least
MARGIN = 512  # samples at the lower of two rates: the resampling filter reaches less far
STEP = 1 << 20  # samples read together when a whole recording is read
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """The length and the sample rate of a recording."""

    samples: int
    rate: int  # samples per second

    def resampled(self, rate: int) -> int:
        """The number of samples at another rate, floor(samples * rate / self.rate)."""
        return self.samples * rate // self.rate


# ---- headers


def read_header(file: Path) -> Header:
    """Read the header, and the last sample to check that the file is complete.

    Args:
        file: WAV, FLAC, OGG, AIFF, AU, NIST SPHERE or another format that libsndfile reads.

    Returns:
        Length and sample rate.

    Raises:
        Unreadable: The file can't be read, is truncated or empty, or has more than one channel.
    """
    _refuse_unopenable(file)
    promised = _promised_bytes(file)
    size = file.stat().st_size
    with _opened(file) as audio:
        if audio.channels != 1:
            raise Unreadable(file, f"has {audio.channels} channels; mix it down to one")
        if audio.frames == 0:
            raise Unreadable(file, "holds no samples; record it again or remove it")
        if promised is not None and promised > size:
            raise Unreadable(file, f"is truncated: its header promises {promised} bytes, it has {size}; copy it again")
        try:
            audio.seek(audio.frames - 1)
            complete = len(audio.read(1)) == 1
        except RuntimeError:  # from libsndfile; only so can one see that a FLAC file's end is missing
            complete = False
        if not complete:
            raise Unreadable(file, f"is truncated: its header promises {audio.frames} samples; copy it again")
        if audio.subtype in ("FLOAT", "DOUBLE"):
            _refuse_not_finite(file, audio)
        return Header(int(audio.frames), int(audio.samplerate))


def _refuse_not_finite(file: Path, audio: Any) -> None:
    """Read all samples to check that they are finite."""
    audio.seek(0)
    for block in audio.blocks(STEP, dtype="float32"):
        if not np.isfinite(block).all():
            raise Unreadable(file, "holds NaN or infinity; write it again")


def is_sphere(file: Path) -> bool:
    """Whether a file begins like a NIST SPHERE file, whatever its name."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(NIST)) == NIST
    except OSError:
        return False


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


def _promised_bytes(file: Path) -> int | None:
    """The size in bytes of a WAV, AIFF, AU or SPHERE file by its header; None if the header doesn't have it.

    Raises Unreadable for an OGG file without its last page. (libsndfile itself detects a truncated FLAC file.)
    """
    with file.open("rb") as stream:
        start = stream.read(12)
        if start.startswith(NIST):
            stream.seek(0)
            return _promised_by_sphere(file, stream.read(4096))
        if start[:4] in (b"RIFF", b"RF64") and start[8:] == b"WAVE":
            return _promised_by_wav(stream)
        if start[:4] == b"FORM" and start[8:] in (b"AIFF", b"AIFC"):
            return 7 + int.from_bytes(start[4:8], "big")  # without the pad byte, which some writers leave out
        if start[:4] == b".snd":
            offset, size = (int.from_bytes(part, "big") for part in (start[4:8], start[8:]))
            return None if size == 0xFFFFFFFF else offset + size  # 0xFFFFFFFF is an unknown size
        if start[:4] == b"OggS":
            _refuse_ogg_without_end(file, stream)
    return None


def _refuse_ogg_without_end(file: Path, stream: BinaryIO) -> None:
    """The last page has the flag 4, "end of stream" (RFC 3533); a page is at most 65307 bytes long."""
    stream.seek(max(0, file.stat().st_size - 65307))
    end = stream.read()
    at = end.rfind(b"OggS")
    if at < 0 or not end[at + 5 : at + 6] or not end[at + 5] & 4:
        raise Unreadable(file, "is truncated: its last page is missing; copy it again")


def _promised_by_wav(stream: BinaryIO) -> int | None:
    """The end of the chunk `data`, from a stream at the first chunk. RF64 has the size in the chunk `ds64`."""
    large = None
    while len(chunk := stream.read(8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data" and large is not None and size == 0xFFFFFFFF:
            return stream.tell() + large
        if chunk[:4] == b"data":
            return None if size >= UNKNOWN_SIZE else stream.tell() + size
        if chunk[:4] == b"ds64":
            large = int.from_bytes(stream.read(16)[8:], "little")
            size -= 16
        stream.seek(size + size % 2, os.SEEK_CUR)
    return None


def _promised_by_sphere(file: Path, text: bytes) -> int | None:
    """The size of header and samples. Refuses samples compressed by Shorten, which libsndfile can't read."""
    lines = text.decode("latin-1").split("end_head")[0].splitlines()
    fields = {words[0]: words[-1] for words in (line.split(maxsplit=2) for line in lines[2:]) if len(words) == 3}
    if "shorten" in fields.get("sample_coding", "").lower():
        raise Unreadable(
            file, "is compressed by Shorten; decompress it: sph2pipe -f wav IN OUT, or NIST's w_decode -o pcm IN OUT"
        )
    try:
        numbers = [int(fields[name]) for name in ("sample_count", "channel_count", "sample_n_bytes")]
        return int(lines[1]) + numbers[0] * numbers[1] * numbers[2]
    except (IndexError, KeyError, ValueError):
        return None


# ---- samples


def read_samples(file: Path, start: int = 0, stop: int | None = None) -> Samples:
    """Read samples at the recording's own rate.

    Args:
        file: The recording.
        start: The first sample, from 0.
        stop: The sample after the last one; None is the end.

    Returns:
        Array [N] float32.

    Raises:
        Unreadable: The samples can't be read or aren't finite.
    """
    with _opened(file) as audio:
        count = (audio.frames if stop is None else stop) - start
        try:
            audio.seek(start)
            samples: Samples = audio.read(count, dtype="float32") * np.float32(SCALE)
        except RuntimeError as error:
            raise Unreadable(file, f"can't be read from sample {start} ({error}); copy it again") from error
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
        return read_samples(file, start, stop)
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
    samples: Samples = soxr.resample(read_samples(file, start, stop), header.rate, rate)
    first = (begin - start) // down * up
    count = min(size, header.resampled(rate) - block * size)
    result = np.zeros(count, dtype=np.float32)  # soxr rounds the length, which may be a sample less
    available = samples[first : first + count]
    result[: len(available)] = available
    return result


def _opened(file: Path) -> Any:
    """A soundfile.SoundFile."""
    soundfile = import_soundfile(file)
    try:
        return soundfile.SoundFile(file)
    except UnicodeEncodeError as error:
        raise Unreadable(file, "has a name that is not UTF-8; rename it") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip(" .")
        raise Unreadable(
            file, f"is not an audio file that libsndfile can read ({reason}); convert it to WAV or remove it"
        ) from error


def import_soundfile(file: Path) -> Any:
    """Import the optional package soundfile; `file` begins the message if it isn't installed."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its library libsndfile is missing
        raise UserError(f"{file}: audio needs soundfile; pip install 'zforcing[audio]'") from error
    return soundfile


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
