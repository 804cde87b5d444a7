"""What is drawn as music: files to listen to and a picture, with the notes that were in the roll."""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
import torch
from matplotlib.image import imread

from conftest import write_samples
from zforcing.errors import UserError
from zforcing.files.audio import write_wav
from zforcing.files.midi import TimeStep, held_notes, read_midi, read_tempo
from zforcing.files.pianoroll import write_pianoroll
from zforcing.files.synthesizer import A4, RATE, Sounding, synthesize
from zforcing.models import Generated
from zforcing.observations import DataDescription, MusicFormat, ObservationSpec, Written
from zforcing.observations.formats.music import HEARD, PICTURED

MUSIC = DataDescription("polyphonic", ObservationSpec("binary", 88), longest=9, format=MusicFormat())


def noise(*shape: int, seed: int = 0) -> Any:
    """Rolls that begin and end with a sounding step."""
    x = (np.random.default_rng(seed).random((*shape, 88)) < 0.2).astype(np.float32)
    x[..., [0, -1], 40] = 1
    return x


def notes(file: Path) -> list[tuple[int, int, int]]:
    """(pitch, begin, length) in ticks."""
    return sorted((note.pitch, note.time, note.duration) for note in symusic.Score(file).tracks[0].notes)


# ---- MIDI


def test_consecutive_steps_of_a_pitch_are_one_note() -> None:
    roll = np.zeros((5, 3))
    roll[[0, 1, 3], 1] = 1
    roll[[3, 4], 2] = 1
    assert held_notes(roll) == [(1, 0, 2), (1, 3, 1), (2, 3, 2)]
    assert held_notes(np.zeros((5, 3))) == []


def test_notes_are_written_where_they_sound(tmp_path: Path) -> None:
    roll = np.zeros((4, 88))
    roll[1:3, 0] = roll[3, 87] = 1
    MusicFormat(steps_per_quarter=2, quarters_per_minute=90.0).write_midi(tmp_path / "a.mid", roll)
    score = symusic.Score(tmp_path / "a.mid")
    eighth = score.ticks_per_quarter // 2
    assert notes(tmp_path / "a.mid") == [(21, eighth, 2 * eighth), (108, 3 * eighth, eighth)]
    assert [tempo.qpm for tempo in score.tempos] == pytest.approx([90], rel=1e-5)


@pytest.mark.parametrize(
    "step",
    [TimeStep(1), TimeStep(2), TimeStep(4), TimeStep(7), TimeStep(480), *(TimeStep(4, s) for s in (0.001, 0.1, 3.0))],
    ids=str,
)
def test_a_roll_that_is_written_and_read_is_the_same(tmp_path: Path, step: TimeStep) -> None:
    roll = noise(200)
    MusicFormat.of_steps(*step).write_midi(tmp_path / "a.mid", roll)
    found, *left_out = read_midi(tmp_path / "a.mid", step)
    assert np.array_equal(found, roll)
    assert left_out == [0, 0]


def test_silence_is_written_too(tmp_path: Path) -> None:
    MusicFormat().write_midi(tmp_path / "a.mid", np.zeros((3, 88)))
    assert symusic.Score(tmp_path / "a.mid").note_num() == 0


@pytest.mark.parametrize("roll", [np.zeros(88), np.full((2, 88), 0.5), np.full((2, 88), np.nan)], ids=str)
def test_what_is_no_roll_is_not_written(tmp_path: Path, roll: Any) -> None:
    with pytest.raises(UserError, match="is not a piano roll"):
        MusicFormat().write_midi(tmp_path / "a.mid", roll)


def with_tempos(file: Path, *tempos: tuple[int, float]) -> Path:
    """Four quarter notes of 100 ticks, with tempos from a tick on."""
    score = symusic.Score(100)
    score.tempos.extend(symusic.Tempo(time, qpm) for time, qpm in tempos)
    track = symusic.Track(program=0, is_drum=False)
    track.notes.extend(symusic.Note(100 * i, 100, 60, 80) for i in range(4))
    score.tracks.append(track)
    score.dump_midi(file)
    return file


@pytest.mark.parametrize(
    ("tempos", "expected"),
    [
        ([], 120.0),
        ([(0, 90.0)], 90.0),
        ([(0, 90.0), (100, 60.0)], 60.0),  # three of four quarters
        ([(0, 90.0), (300, 60.0)], 90.0),
        ([(300, 60.0)], 120.0),  # before the first one it is MIDI's
        ([(400, 60.0)], 120.0),
    ],
)
def test_the_tempo_of_a_file_is_that_of_most_of_its_quarters(
    tmp_path: Path, tempos: list[tuple[int, float]], expected: float
) -> None:
    assert read_tempo(with_tempos(tmp_path / "a.mid", *tempos)) == pytest.approx(expected, rel=1e-5)


def test_what_goes_on_from_a_file_has_its_tempo(tmp_path: Path) -> None:
    file = with_tempos(tmp_path / "a.mid", (0, 72.0))
    assert MusicFormat().continuing(str(file)).quarters_per_minute == pytest.approx(72, rel=1e-5)
    assert MusicFormat().continuing("test:0") == MusicFormat()
    in_seconds = MusicFormat.of_steps(4, 0.1)
    assert in_seconds.continuing(str(file)) == in_seconds


# ---- sound


def test_a_roll_is_rendered_at_its_tempo(tmp_path: Path) -> None:
    roll = np.zeros((8, 88))
    roll[4:, A4 - 21] = 1
    music = MusicFormat(steps_per_quarter=2, quarters_per_minute=60.0)
    assert write_samples_of(music, roll, tmp_path / "a.wav") == (1, 2, RATE)
    sound = music.sound(roll)
    silent, heard = sound[: 2 * RATE], sound[2 * RATE : 4 * RATE].astype(float)
    assert not silent.any()
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(440, abs=1)
    assert 4 * RATE < len(sound) < 4.2 * RATE


def write_samples_of(music: MusicFormat, roll: Any, file: Path) -> tuple[int, int, int]:
    """Channels, bytes a sample and rate of a written file."""
    write_wav(file, music.sound(roll), RATE)
    with wave.open(str(file)) as opened:
        assert np.array_equal(np.frombuffer(opened.readframes(opened.getnframes()), "<i2"), music.sound(roll))
        return opened.getnchannels(), opened.getsampwidth(), opened.getframerate()


def test_many_notes_are_as_loud_as_one_and_never_clipped() -> None:
    one = synthesize([Sounding(60, 0.0, 0.5)], 0.5)
    many = synthesize([Sounding(pitch, 0.0, 0.5) for pitch in range(21, 109, 8)], 0.5)
    assert np.abs(one).max() == np.abs(many).max() == round(0.9 * 32767)
    assert abs(int(one[0])) < 10
    assert abs(int(one[-1])) < 10  # it begins and ends without a click


def test_the_sound_is_that_of_the_notes_in_any_order() -> None:
    notes = [Sounding(60, 0.0, 0.3), Sounding(64, 0.1, 0.3), Sounding(67, 0.1, 2.0)]
    assert np.array_equal(synthesize(notes, 0.0), synthesize(notes, 0.0))
    np.testing.assert_allclose(synthesize(notes, 0.0), synthesize(notes[::-1], 0.0), atol=1)


def test_no_note_is_silence() -> None:
    assert not synthesize([], 0.1).any()
    assert len(synthesize([], 0.1)) >= 0.1 * RATE


# ---- pictures


def test_time_goes_right_and_pitch_up(tmp_path: Path) -> None:
    roll = np.zeros((4, 88))
    roll[0, 1] = roll[3, 87] = 1
    write_pianoroll(tmp_path / "a.png", [roll])
    picture = imread(tmp_path / "a.png")[..., 0]
    rows, columns = np.nonzero(picture < 0.1)
    low, high = rows > picture.shape[0] / 2, rows < picture.shape[0] / 2
    assert columns[low].max() < picture.shape[1] / 4  # the low note comes first
    assert columns[high].min() >= picture.shape[1] * 3 / 4
    assert len(rows[low]) == len(rows[high]) > 0


def test_rolls_of_any_length_stand_under_each_other(tmp_path: Path) -> None:
    def height(*lengths: int) -> int:
        write_pianoroll(tmp_path / "a.png", [noise(n) for n in lengths])
        rows: int = imread(tmp_path / "a.png").shape[0]
        return rows

    one, two, three = height(5), height(5, 9), height(1, 5, 9)
    assert three - two == two - one > 88


# ---- samples


def drawn(n: int = 3, steps: int = 6) -> Generated:
    x = torch.tensor(noise(n, steps))
    return Generated(x, torch.zeros(n, steps, 2), torch.distributions.Bernoulli(logits=torch.zeros_like(x)))


def test_music_that_is_drawn_is_written_as_arrays_a_picture_and_midi(tmp_path: Path) -> None:
    made = drawn()
    written = write_samples(tmp_path, "s", made, MUSIC)
    names = ["s.npz", "s.png", *(f"s-{i:03}.{ending}" for i in range(3) for ending in ("mid", "wav"))]
    assert written == Written(tuple(str(tmp_path / name) for name in names))
    assert np.array_equal(np.load(tmp_path / "s.npz")["x"], made.x)
    for i in range(3):
        assert np.array_equal(read_midi(tmp_path / f"s-{i:03}.mid", TimeStep(2))[0], made.x[i])


def test_a_continuation_begins_with_what_was_given_and_shows_it_in_grey(tmp_path: Path) -> None:
    made, before = drawn(2), [noise(4, seed=1), noise(7, seed=2)]
    write_samples(tmp_path, "s", made, MUSIC, before=before)
    for i in range(2):
        found = read_midi(tmp_path / f"s-{i:03}.mid", TimeStep(2)).roll
        assert np.array_equal(found, np.concatenate([before[i], made.x[i]]))
    picture = imread(tmp_path / "s.png")[..., 0]
    assert (picture[:, : picture.shape[1] * 4 // 13] < 0.1).sum() == 0
    assert (picture < 0.1).sum() > 0


def test_a_first_step_that_was_given_is_heard(tmp_path: Path) -> None:
    made, start = drawn(1), torch.tensor(noise(1, 1, seed=5)[:, 0])
    write_samples(tmp_path, "s", made, MUSIC, start=start)
    found = read_midi(tmp_path / "s-000.mid", TimeStep(2)).roll
    assert np.array_equal(found, np.concatenate([start, made.x[0]]))


def test_one_picture_shows_a_few_rolls_at_most(tmp_path: Path) -> None:
    for n in (PICTURED, PICTURED + 3):
        write_samples(tmp_path, str(n), drawn(n, 2), MUSIC)
    shapes = [imread(tmp_path / f"{n}.png").shape for n in (PICTURED, PICTURED + 3)]
    assert shapes[0] == shapes[1]
    assert len(list(tmp_path.glob(f"{PICTURED + 3}-*.mid"))) == PICTURED + 3
    assert len(list(tmp_path.glob(f"{PICTURED + 3}-*.wav"))) == HEARD


def test_without_symusic_all_but_the_midi_files_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "symusic", None)
    written = write_samples(tmp_path, "s", drawn(), MUSIC)
    names = ["s.npz", "s.png", "s-000.wav", "s-001.wav", "s-002.wav"]
    assert written.files == tuple(str(tmp_path / name) for name in names)
    assert written.lacking is not None
    assert "pip install 'zforcing[midi]'" in written.lacking
