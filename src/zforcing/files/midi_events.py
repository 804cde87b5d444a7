"""What symusic doesn't say of a MIDI file: how many notes begin and never end, which it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

DRUMS = 9  # the channel of percussion, from 0
OFF, ON = 0x80, 0x90
SHORT = frozenset((0xC0, 0xD0))  # commands with one byte of data; the others of a channel have two
COMMON = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # bytes of data of what belongs to no channel


class NoteEvent(NamedTuple):
    """A note begins (velocity above 0) or ends."""

    channel: int
    pitch: int
    begins: bool


def notes_without_end(content: bytes, *, drums: bool = False) -> int:
    """How many notes of a file begin and don't end in their own track. Of a damaged file, those before the damage."""
    return sum(_open_at_the_end(track, drums=drums) for track in _tracks(content))


def _open_at_the_end(track: bytes, *, drums: bool) -> int:
    sounding: Counter[tuple[int, int]] = Counter()
    for channel, pitch, begins in _note_events(track):
        if drums or channel != DRUMS:
            key = channel, pitch
            sounding[key] = sounding[key] + 1 if begins else max(0, sounding[key] - 1)
    return sounding.total()


def _tracks(content: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "big")
        if content[at : at + 4] == b"MTrk":
            yield content[at + 8 : at + 8 + size]
        at += 8 + size


def _note_events(track: bytes) -> Iterator[NoteEvent]:
    at, status = 0, 0
    try:
        while at < len(track):
            _, at = _number(track, at)  # ticks since the last event
            if track[at] >= 0x80:
                status, at = track[at], at + 1
            if status < OFF:  # data without a command
                return
            if status < 0xF0:
                command = status & 0xF0
                if command in (OFF, ON):
                    yield NoteEvent(status & 0x0F, track[at], command == ON and track[at + 1] > 0)
                at += 1 if command in SHORT else 2
            else:
                at = _behind_other(track, at, status)
    except IndexError:  # the track is cut short
        return


def _behind_other(track: bytes, at: int, status: int) -> int:
    """Where what belongs to no channel ends: text, tempo and the like (0xFF), or a maker's own (0xF0, 0xF7)."""
    if status not in (0xFF, 0xF0, 0xF7):
        return at + COMMON.get(status, 0)
    size, content = _number(track, at + (status == 0xFF))
    return content + size


def _number(track: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the last of which is below 128, and where it ends."""
    value = 0
    while track[at] >= 0x80:
        value, at = value << 7 | track[at] & 0x7F, at + 1
    return value << 7 | track[at], at + 1
