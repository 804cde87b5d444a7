"""One file of audio: what its header says, and any stretch of its samples, at its own sample rate or at another.

A sample is a 16-bit integer's value, -32768 to 32767, whatever the file holds; one of more bits has fractional digits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import Unreadable

SCALE = 32768.0  # what soundfile calls 1
NIST = b"NIST_1A"
UNKNOWN_SIZE = 0x7FFF0000  # programs that write a WAV file to a pipe put this or more where its size belongs
BLOCK = 8192  # samples at the new rate that are resampled together, at least
MARGIN = 512  # samples at the lower of two rates: the resampling filter reaches less far
STEP = 1 << 20  # samples read together where a whole recording is passed over
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """How many samples a recording has, and how many of them are a second."""

    samples: int
    rate: int

    def resampled(self, rate: int) -> int:
        """How many samples it has at another rate: floor(samples * rate / own rate)."""
        return self.samples * rate // self.rate


# ---- headers


def read_header(file: Path) -> Header:
    """Without reading the samples, but for the last. Raises Unreadable if they can't be read, or aren't one channel."""
    _refuse_unopenable(file)
    promised = _promised_bytes(file)
    size = file.stat().st_size
    with _opened(file) as audio:
        if audio.channels != 1:
            raise Unreadable(file, f"has {audio.channels} channels; mix it down to one")
        if audio.frames == 0:
            raise Unreadable(file, "holds no samples; record it again or remove it")
        if promised is not None and promised > size:
            raise Unreadable(file, f"is cut short: its header promises {promised} bytes, it has {size}; copy it again")
        try:
            audio.seek(audio.frames - 1)
            complete = len(audio.read(1)) == 1
        except RuntimeError:  # libsndfile's; FLAC shows only so that its end is missing
            complete = False
        if not complete:
            raise Unreadable(file, f"is cut short: its header promises {audio.frames} samples; copy it again")
        if audio.subtype in ("FLOAT", "DOUBLE"):
            _refuse_not_finite(file, audio)
        return Header(int(audio.frames), int(audio.samplerate))


def _refuse_not_finite(file: Path, audio: Any) -> None:
    """Integers are finite; of floating-point samples only reading them tells."""
    audio.seek(0)
    for block in audio.blocks(STEP, dtype="float32"):
        if not np.isfinite(block).all():
            raise Unreadable(file, "holds NaN or infinity; write it again")


def is_sphere(file: Path) -> bool:
    """Whether a file, under whatever name, begins as NIST's SPHERE files do."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(NIST)) == NIST
    except OSError:
        return False


def _refuse_unopenable(file: Path) -> None:
    if file.is_symlink() and not file.exists():
        raise Unreadable(file, "is a link to nothing; copy what it stands for, or remove it")
    if not file.exists():
        raise Unreadable(file, f"no such file; a relative path starts at {Path.cwd()}")
    if not file.is_file():
        raise Unreadable(file, "is no file; name a recording")
    if not os.access(file, os.R_OK):
        raise Unreadable(file, "may not be read; check its permissions")
    if file.stat().st_size == 0:
        raise Unreadable(file, "is empty (0 bytes); copy it again or remove it")


def _promised_bytes(file: Path) -> int | None:
    """How long a WAV, AIFF, AU or SPHERE file must be by its header; None where the header doesn't say.

    Raises Unreadable for OGG without the page that ends it. (FLAC says itself when it ends too early.)
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
            return None if size == 0xFFFFFFFF else offset + size  # which stands for unknown
        if start[:4] == b"OggS":
            _refuse_ogg_without_end(file, stream)
    return None


def _refuse_ogg_without_end(file: Path, stream: BinaryIO) -> None:
    """The last page has the flag 4, "end of stream" (RFC 3533); a page is at most 65307 bytes long."""
    stream.seek(max(0, file.stat().st_size - 65307))
    end = stream.read()
    at = end.rfind(b"OggS")
    if at < 0 or not end[at + 5 : at + 6] or not end[at + 5] & 4:
        raise Unreadable(file, "is cut short: its last page is missing; copy it again")


def _promised_by_wav(stream: BinaryIO) -> int | None:
    """Where the chunk `data` ends; the stream stands at the first chunk. RF64 has the size in the chunk `ds64`."""
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
    """Header, and all samples. Refuses those that are compressed: no one's reader but NIST's knows how."""
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
    """[N]: samples start..stop-1 of a recording, or all from `start` on, at its own rate."""
    with _opened(file) as audio:
        count = (audio.frames if stop is None else stop) - start
        try:
            audio.seek(start)
            samples: Samples = audio.read(count, dtype="float32") * np.float32(SCALE)
        except RuntimeError as error:
            raise Unreadable(file, f"can't be read from sample {start} on ({error}); copy it again") from error
    if len(samples) != count:
        raise Unreadable(file, f"ends at sample {start + len(samples)}, not at {start + count}; copy it again")
    if not np.isfinite(samples).all():
        raise Unreadable(file, "holds NaN or infinity; write it again")
    return samples


def read_resampled(file: Path, header: Header, rate: int, start: int, stop: int) -> Samples:
    """[N]: samples start..stop-1 of a recording at `rate`, of which there are `header.resampled(rate)`.

    Resampled in blocks that begin at fixed places, with a margin on both sides: each sample is the same whatever
    stretch it is read with, and a stretch costs the same wherever it stands in however long a recording.
    """
    if rate == header.rate:
        return read_samples(file, start, stop)
    size = _block_size(header.rate, rate)
    first, last = start // size, (stop - 1) // size
    blocks = [_resampled_block(file, header, rate, block) for block in range(first, last + 1)]
    return np.concatenate(blocks)[start - first * size : stop - first * size]


def blocks_of(file: Path, header: Header, rate: int) -> Iterator[Samples]:
    """All samples of a recording at `rate`, a few seconds or minutes at a time."""
    samples = header.resampled(rate)
    for start in range(0, samples, STEP):
        yield read_resampled(file, header, rate, start, min(start + STEP, samples))


def _block_size(old: int, new: int) -> int:
    """In samples at the new rate; a whole number of samples at the old one lasts as long."""
    unit = new // gcd(old, new)
    return unit * -(-BLOCK // unit)


def _resampled_block(file: Path, header: Header, rate: int, block: int) -> Samples:
    """The samples of one block, of which the last is shorter."""
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
    result = np.zeros(count, dtype=np.float32)  # soxr rounds its length; the number of samples is the floor
    found = samples[first : first + count]
    result[: len(found)] = found
    return result


def _opened(file: Path) -> Any:
    """A soundfile.SoundFile."""
    soundfile = import_soundfile(file)
    try:
        return soundfile.SoundFile(file)
    except UnicodeEncodeError as error:
        raise Unreadable(file, "has a name that is no UTF-8; rename it") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip(" .")
        raise Unreadable(file, f"is no audio that libsndfile reads ({reason}); make it WAV or remove it") from error


def import_soundfile(file: Path) -> Any:
    """The optional package that reads and writes audio; `file` is what needs it, for the message."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: it is there, the library that it calls isn't
        raise UserError(f"{file}: audio needs soundfile; pip install 'zforcing[audio]'") from error
    return soundfile


def write_wav(path: str | Path, samples: NDArray[np.int16], rate: int) -> None:
    """[N] 16-bit samples, `rate` of them per second, as a WAV file of one channel. Replaces what is there."""
    file = Path(path)
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples are {samples.dtype} {list(samples.shape)}; they must be int16 [N]")
    soundfile = import_soundfile(file)
    try:
        soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    except soundfile.LibsndfileError as error:
        raise UserError(f"{file}: can't be written ({error.error_string.strip(' .')}); check its folder") from error
