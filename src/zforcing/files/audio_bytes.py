"""What the first bytes of an audio file say: which container it is, and how long it promises to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .reading import Unreadable

NIST = b"NIST_1A"
UNKNOWN_SIZE = 0x7FFF0000  # programs that write a WAV file to a pipe put this or more where its size belongs


def is_sphere(file: Path) -> bool:
    """Whether a file begins like a NIST SPHERE file, whatever its name."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(NIST)) == NIST
    except OSError:
        return False


def promised_bytes(file: Path) -> int | None:
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


def sound_behind_unfinished_header(file: Path) -> int:
    """How many bytes follow in a WAV file whose header says that there are none; 0 of any other file.

    Programs write the size once a recording ends; where they were stopped before, it stays 0.
    """
    with file.open("rb") as stream:
        start = stream.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"WAVE":
            return 0
        for name, size in _chunks(stream):
            if name == b"data":
                return file.stat().st_size - stream.tell() if size == 0 else 0
    return 0


def _promised_by_wav(stream: BinaryIO) -> int | None:
    """The end of the chunk `data`, from a stream at the first chunk. RF64 has the size in the chunk `ds64`."""
    large = None
    for name, size in _chunks(stream):
        if name == b"data" and large is not None and size == 0xFFFFFFFF:
            return stream.tell() + large
        if name == b"data":
            return None if size >= UNKNOWN_SIZE else stream.tell() + size
        if name == b"ds64":
            large = int.from_bytes(stream.read(16)[8:], "little")
    return None


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The name and the size of each chunk, from a stream at the first one's beginning; it is then at its content."""
    while len(chunk := stream.read(8)) == 8:
        size, content = int.from_bytes(chunk[4:], "little"), stream.tell()
        yield chunk[:4], size
        stream.seek(content + size + size % 2)


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
