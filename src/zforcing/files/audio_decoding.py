"""Samples of a recording as libsndfile decodes them: where seeking is exact, a stretch of it; else from the beginning.

Only samples of a fixed size, and FLAC's frames, are found again by their number. What comes behind a seek in MP3, Ogg
Vorbis, Opus, GSM or ADPCM depends on what was decoded before: such recordings are decoded once, from the beginning, to
a temporary file, and stretches are slices of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..settings import Range
from .reading import Unreadable

SCALE = 32768.0  # soundfile's samples are from -1 to 1
STEP = 1 << 20  # samples read together when a whole recording is read
UNKNOWN = 1 << 48  # samples or more: the header doesn't have the length
OPEN = 16  # decoded recordings that are kept, each in a file that has no name and goes away with the process
SOUGHT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # also FLAC
Samples = NDArray[np.float32]
Channel = Literal["mix", "left", "right"] | Annotated[int, Range(at_least=0)]
"""What is read of a recording with several channels: their mean, or one of them, numbered from 0 (left is 0)."""
NAMED: dict[Channel, int] = {"left": 0, "right": 1}


def opened(file: Path) -> Any:
    """A soundfile.SoundFile. Raises Unreadable."""
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


def is_sought(audio: Any) -> bool:
    """Whether a stretch of an open recording holds the same samples however it is reached."""
    return bool(audio.seekable()) and has_length(audio) and audio.subtype.startswith(SOUGHT)


def has_length(audio: Any) -> bool:
    """Whether its header says how long a recording is: a FLAC file that was written to a pipe doesn't."""
    return bool(audio.frames < UNKNOWN)


def from_beginning(file: Path) -> Iterator[Samples]:
    """All samples of a recording, [n] or [n, channels], from -1 to 1; `STEP` at a time, without a seek in between.

    Raises RuntimeError where the decoder fails.
    """

    class Streamed(import_soundfile(file).SoundFile):  # type: ignore[misc]  # soundfile ships no types
        def seekable(self) -> bool:  # else soundfile seeks after each read
            return False

    with Streamed(file) as audio:
        while len(block := audio.read(STEP, dtype="float32")):
            yield block


def stretch(file: Path, start: int, stop: int | None, channel: Channel) -> tuple[Samples, int]:
    """Samples [N] in units of 16-bit integers, and how many there must be.

    Raises Unreadable where the decoder fails; a file that ends early has fewer samples.
    """
    with opened(file) as audio:
        try:
            if not is_sought(audio):
                whole = decoded(file, channel)
                return np.array(whole[start:stop]), (len(whole) if stop is None else stop) - start
            count = (audio.frames if stop is None else stop) - start
            audio.seek(start)
            return in_levels(one_channel(audio.read(count, dtype="float32"), channel)), count
        except (RuntimeError, ValueError) as error:  # ValueError: of a length below 0
            raise Unreadable(file, f"can't be read from sample {start} ({error}); copy it again") from error


def one_channel(samples: Samples, channel: Channel) -> Samples:
    """[N], or [N, C] of C channels -> [N]."""
    if samples.ndim == 1:
        return samples
    number = NAMED.get(channel, channel)
    one: Samples = samples[:, number] if isinstance(number, int) else samples.mean(axis=1)
    return one


def in_levels(samples: Samples) -> Samples:
    """From -1 to 1 -> units of 16-bit integers; what is as large as no sound is infinite."""
    with np.errstate(over="ignore"):
        return samples * np.float32(SCALE)


def decoded(file: Path, channel: Channel) -> Samples:
    """All samples [N] of a recording in units of 16-bit integers, from the last few that were decoded."""
    now = file.stat()
    return _decoded(file, channel, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=OPEN)
def _decoded(file: Path, channel: Channel, changed: int, size: int) -> Samples:
    """By what a file that was changed differs in, too."""
    try:
        with tempfile.TemporaryFile() as stream:
            for block in from_beginning(file):
                stream.write(in_levels(one_channel(block, channel)).tobytes())
            stream.flush()
            return np.memmap(stream, dtype=np.float32, mode="r") if stream.tell() else np.empty(0, np.float32)
    except OSError as error:
        raise UserError(
            f"{file}: can't be decoded to a file in {tempfile.gettempdir()} ({error.strerror or error}); free some "
            f"space there, name another folder by TMPDIR, or convert the recording to FLAC"
        ) from error
