"""MIDI files of notes that never end, and of thousands at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from zforcing import UserError
from zforcing.data.music.midi_folder import MidiFolder
from zforcing.files.midi import Notes, TimeStep, read_midi
from zforcing.files.midi_events import notes_without_end

FAULTS = Path(__file__).parent / "data" / "faults" / "midi"


@pytest.mark.parametrize("name", ["bass_never_ends.mid", "off_in_another_track.mid"])
def test_a_note_without_an_end_is_counted(name: str) -> None:
    found = read_midi(FAULTS / name, TimeStep(4))
    assert (found.foreign, found.endless) == (0, 1)
    assert found.roll.sum() == 4


def test_a_folder_says_how_many_notes_have_no_end(tmp_path: Path) -> None:
    for number in range(3):
        shutil.copy(FAULTS / "bass_never_ends.mid", tmp_path / f"{number}.mid")
    data = MidiFolder(str(tmp_path))
    assert data.load("train", data.describe()).remark == "left out: 1 notes without an end"


def test_a_file_whose_only_note_never_ends_is_refused_for_that() -> None:
    with pytest.raises(UserError, match=r"has no note from 21 to 108, drums left out, and 1 that never ends; remove"):
        read_midi(FAULTS / "only_note_never_ends.mid", TimeStep(4))


def track(events: bytes) -> bytes:
    return b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk" + len(events).to_bytes(4, "big") + events


@pytest.mark.parametrize(
    ("events", "count"),
    [
        (b"\0\x90\x30\x40\x81\x00\x30\x00", 0),  # by running status, with velocity 0
        (b"\0\x90\x30\x40\0\x90\x30\x40\0\x80\x30\0", 1),  # twice, ended once
        (b"\0\x99\x30\x40", 0),  # a drum
        (
            b"\0\xff\x01\x03\x90\x30\x40\0\xc0\x05\0\xf0\x01\xf7\0\x91\x30\x40",
            1,
        ),  # behind text, a program, a maker's own
        (b"\0\x90\x30\x40\0\x90", 1),  # cut short
        (b"\0\x30\x40", 0),  # no command
    ],
)
def test_notes_are_followed_through_all_kinds_of_events(events: bytes, count: int) -> None:
    assert notes_without_end(track(events)) == count


def test_thousands_of_notes_at_once_take_no_longer_than_one() -> None:
    many, steps = 5000, 200_000
    start = np.arange(many) % 7
    notes = Notes(np.full(many, 60), start, np.full(many, steps))
    began = time.process_time()
    roll = notes.roll()
    assert time.process_time() - began < 1  # 12 s where each note is written
    assert roll[:, 39].all()
    assert roll.sum() == steps


def test_overlapping_notes_are_their_union() -> None:
    rng = np.random.default_rng(0)
    start, pitch = rng.integers(0, 50, 200), rng.integers(15, 112, 200)
    notes = Notes(pitch, start, start + rng.integers(1, 20, 200))
    expected = np.zeros((80, 128), dtype=np.uint8)
    for p, first, last in zip(pitch, start, notes.stop, strict=True):
        expected[first:last, p] = 1
    kept = notes.playable
    np.testing.assert_array_equal(notes.roll(), expected[start[kept].min() : notes.stop[kept].max(), 21:109])
