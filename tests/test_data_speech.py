"""Folders of recordings: each data set has its splits, each frame the samples that were there, each mistake a line."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from zforcing.data import DATA, AudioFolder, Blizzard, Split, Timit
from zforcing.data.audio import framed
from zforcing.data.audio.dataset import AudioDataModule
from zforcing.data.audio.framed import FramedRecordings, mean_and_std
from zforcing.data.batches import load_batches, training_batches
from zforcing.data.pieces import Pieces
from zforcing.errors import UserError
from zforcing.observations import AudioFormat, DataDescription, Normalization, ObservationSpec, decode

SHARED = Path(__file__).parents[2] / "shared" / "data"
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
SPEAKERS = ("ann", "bob", "cy", "dee", "eve", "flo")


def write(file: Path, samples: Any = None, *, rate: int = 16000, form: str = "WAV") -> Path:
    """Samples 0, 1, 2, ..., unless told otherwise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.arange(100, dtype=np.int16) if samples is None else samples, rate, "PCM_16", format=form)
    return file


def noise(samples: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 3000 + 50).astype(np.int16)


def plain(root: Path, files: int = 40) -> Path:
    """A folder of recordings with no order to it; that of number n is 60 + n samples of n."""
    for n in range(files):
        write(root / f"{'ab'[n % 2]}" / f"{n:03}.wav", np.full(60 + n, n + 1, dtype=np.int16))
    return root


def timit(root: Path, *, valid: bool = False, upper: bool = True) -> Path:
    """TIMIT's tree: SPHERE files that are called .WAV, with transcripts beside them."""
    for split, speakers in {"train": 4, "test": 2, "valid": 2 if valid else 0}.items():
        for n in range(speakers):
            for utterance in ("SA1", "SA2", "SI1027", "SX127", "SX37"):
                name = f"{split}/dr{1 + n % 2}/{split[:2]}{n}/{utterance.lower()}.wav"
                file = write(root / (name.upper() if upper else name), noise(90, n), form="NIST")
                for suffix in (".TXT", ".PHN", ".WRD"):
                    file.with_suffix(suffix).write_text("0 90 h#\n")
    return root


def by_folder(root: Path, **counts: int) -> Path:
    for folder, count in counts.items():
        for n in range(count):
            write(root / folder / f"{n}.wav")
    return root


def by_speaker(root: Path, each: int = 5) -> Path:
    for speaker in SPEAKERS:
        for take in range(each):
            write(root / f"{speaker}_{take}.wav")
    return root


def loaded(data: AudioDataModule, split: Split = "train") -> FramedRecordings:
    return data.load(split, data.describe())


def names(data: AudioDataModule) -> dict[Split, list[str]]:
    description = data.describe()
    return {split: list(data.load(split, description).recordings.names) for split in SPLITS}


def counts(data: AudioDataModule) -> list[int]:
    return [len(files) for files in names(data).values()]


def raw(data: AudioDataModule, split: Split = "train") -> list[Any]:
    """The samples of every sequence, in frames, as lists."""
    description = data.describe()
    scaling = description.normalization
    examples = [x.x for x in map(data.load(split, description).__getitem__, range(len(data.load(split, description))))]
    return [np.rint(x if scaling is None else scaling.invert(x)).astype(int).tolist() for x in examples]


def message(cls: type[AudioDataModule] = AudioFolder, **settings: Any) -> str:
    with pytest.raises(UserError) as error:
        loaded(cls(**settings))
    said = str(error.value)
    assert "\n" not in said
    return said


# ---- trees


def test_the_data_sets_of_audio_are_registered() -> None:
    names = {"audio-folder": AudioFolder, "blizzard": Blizzard, "timit": Timit}
    assert {name: DATA[name] for name in names} == names


@pytest.mark.parametrize("upper", [True, False])
def test_timit_is_read_as_it_lies_on_its_disc(tmp_path: Path, upper: bool) -> None:
    found = names(Timit(str(timit(tmp_path, upper=upper)), frame_size=10))
    assert [len(files) for files in found.values()] == [19, 1, 10]
    train = "TRAIN" if upper else "train"
    assert {f.split("/")[0] for f in found["train"] + found["valid"]} == {train}
    assert {f.split("/")[0] for f in found["test"]} == {"TEST" if upper else "test"}


def test_a_valid_folder_of_timit_is_used(tmp_path: Path) -> None:
    found = names(Timit(str(timit(tmp_path, valid=True)), frame_size=10))
    assert [len(files) for files in found.values()] == [20, 10, 10]
    assert all(name.startswith("VALID/DR") for name in found["valid"])


def test_timit_without_its_common_sentences(tmp_path: Path) -> None:
    data = Timit(str(timit(tmp_path, valid=True)), frame_size=10, include_sa=False)
    assert counts(data) == [12, 6, 6]
    assert not any("/SA" in name for files in names(data).values() for name in files)


def test_a_copy_of_timit_with_each_utterance_twice_counts_it_once(tmp_path: Path) -> None:
    root = timit(tmp_path, valid=True)
    for file in list(root.rglob("*.WAV")):
        write(file.with_name(file.name + ".wav"), noise(90, 1))
    found = names(Timit(str(root), frame_size=10))
    assert [len(files) for files in found.values()] == [20, 10, 10]
    assert all(name.endswith(".WAV") for files in found.values() for name in files)


def test_one_in_twenty_of_timit_s_training_files_validates(tmp_path: Path) -> None:
    files = [f"TRAIN/DR1/S{n:03}/SX{n}.WAV" for n in range(462)]
    for name in files:
        write(tmp_path / name, form="NIST")
    write(tmp_path / "TEST/DR1/T/SX1.WAV", form="NIST")
    expected = sorted(files)
    random.Random(1234).shuffle(expected)
    found = names(Timit(str(tmp_path), frame_size=10))
    assert found["valid"] == sorted(expected[:23])  # 5 % of 462, as 231 are of 4620
    assert found["train"] == sorted(expected[23:])


@pytest.mark.parametrize("folder", ["valid", "dev", "Validation", "DEV"])
def test_folders_give_the_splits(tmp_path: Path, folder: str) -> None:
    assert counts(AudioFolder(str(by_folder(tmp_path, train=4, test=3, **{folder: 2})), frame_size=10)) == [4, 2, 3]


def test_a_missing_folder_is_split_off_train(tmp_path: Path) -> None:
    assert counts(AudioFolder(str(by_folder(tmp_path / "a", Train=40, TEST=3)), frame_size=10)) == [38, 2, 3]
    assert counts(AudioFolder(str(by_folder(tmp_path / "b", train=40, dev=3)), frame_size=10)) == [38, 3, 2]
    assert counts(AudioFolder(str(by_folder(tmp_path / "c", train=40)), frame_size=10)) == [36, 2, 2]


def test_files_are_split_at_random(tmp_path: Path) -> None:
    data = AudioFolder(str(plain(tmp_path)), frame_size=10, valid_fraction=0.1, test_fraction=0.2)
    assert counts(data) == [28, 4, 8]


def test_a_recording_in_two_forms_is_not_split_at_random(tmp_path: Path) -> None:
    write(by_folder(tmp_path, a=9) / "a" / "3.flac")
    assert "a/3.flac and a/3.wav may be the same in two forms" in message(root=str(tmp_path), frame_size=10)


def test_splits_are_the_same_each_time_and_hold_each_file_once(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"root": str(plain(tmp_path)), "frame_size": 10}
    first, again = names(AudioFolder(**settings)), names(AudioFolder(**settings))
    assert first == again
    written = [f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*.wav")]
    assert sorted(f for files in first.values() for f in files) == sorted(written)
    assert first != names(AudioFolder(**settings, split_seed=1))


def test_the_test_split_does_not_depend_on_the_validation_split(tmp_path: Path) -> None:
    root = str(plain(tmp_path))
    one, two = (names(AudioFolder(root, frame_size=10, valid_fraction=f)) for f in (0.05, 0.4))
    assert one["test"] == two["test"]


def test_folders_of_splits_may_be_taken_for_any_folders(tmp_path: Path) -> None:
    data = AudioFolder(str(by_folder(tmp_path, train=20, test=20)), random_split=True, frame_size=10)
    assert counts(data) == [36, 2, 2]
    assert {name.split("/")[0] for name in names(data)["train"]} == {"train", "test"}


def test_blizzard_is_every_wav_file_split_at_random(tmp_path: Path) -> None:
    for n in range(100):
        write(tmp_path / "unsegmented" / f"book{n % 5}" / f"chapter{n}.wav", noise(100, n))
    (tmp_path / "unsegmented" / "book1" / "chapter1.mp3").write_bytes(b"x")
    write(tmp_path / "unsegmented" / "copy.flac", form="FLAC")
    assert counts(Blizzard(str(tmp_path), frame_size=10)) == [90, 5, 5]


def test_blizzard_whole_and_in_segments_is_refused(tmp_path: Path) -> None:
    by_folder(tmp_path, lhb_segmented=5, lhb_unsegmented=5)
    assert "lhb_segmented and lhb_unsegmented" in message(Blizzard, root=str(tmp_path))


def test_audio_is_found_by_suffix_and_sphere_under_any_name(tmp_path: Path) -> None:
    forms = {"a.WAV": "WAV", "b.flac": "FLAC", "c.sph": "NIST", "d.NIST": "NIST", "e.aif": "AIFF", "f.AIFF": "AIFF"}
    forms |= {"g.au": "AU", "h.ogg": "OGG", "i.wv1": "NIST", "j": "NIST"}
    for name, form in forms.items():
        subtype = "VORBIS" if form == "OGG" else "PCM_16"
        soundfile.write(tmp_path / name, noise(1000, 0), 16000, subtype, format=form)
    for name in ("a.txt", "b.phn", "README", "c.wrd", ".d.wav", ".hidden/e.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("0 1 h#")
    assert sorted(f for files in names(AudioFolder(str(tmp_path))).values() for f in files) == sorted(forms)


@pytest.mark.parametrize(("channel", "expected"), [("mix", 200), ("left", 100), ("right", 300), (0, 100), (1, 300)])
def test_of_several_channels_the_mean_or_the_chosen_one_is_read(tmp_path: Path, channel: Any, expected: int) -> None:
    both = np.repeat(np.array([[100, 300]], dtype=np.int16), 100, axis=0)
    for split in SPLITS:
        write(tmp_path / split / "a.wav", both)
    data = AudioFolder(str(tmp_path), frame_size=10, channel=channel, encoding="pcm")
    description = data.describe()
    x = data.load("train", description)[0].x
    assert (decode(x, AudioFormat(16000, "pcm"), None) == expected).all()
    read = description.format.read(str(tmp_path / "test" / "a.wav"), description)
    np.testing.assert_array_equal(read[0].x, x)


def test_what_became_of_several_channels_is_said_once(tmp_path: Path) -> None:
    by_folder(tmp_path, train=2, valid=1, test=1)
    write(tmp_path / "valid" / "b.wav", np.zeros((50, 2), dtype=np.int16))
    said = {split: loaded(AudioFolder(str(tmp_path), frame_size=10), split).remark for split in SPLITS}
    assert said["train"] == "1 of 5 recordings have 2 channels, mixed down to one (data.channel)"
    assert said["valid"] == said["test"] == ""
    assert loaded(AudioFolder(str(tmp_path), frame_size=10)).remark == said["train"]


def test_from_which_rates_recordings_are_resampled_is_said(tmp_path: Path) -> None:
    by_folder(tmp_path, train=2, valid=1, test=1)
    write(tmp_path / "test" / "z.wav", noise(900, 0), rate=44100)
    said = loaded(AudioFolder(str(tmp_path), frame_size=10, sample_rate=16000)).remark
    assert said == "1 of 5 recordings are resampled from 44100 to 16000 samples per second (data.sample_rate)"


def test_mp3_and_opus_are_read_and_what_libsndfile_cant_read_is_counted(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    for name, rate, subtype, form in (("a.mp3", 16000, "MPEG_LAYER_III", "MP3"), ("b.OPUS", 16000, "OPUS", "OGG")):
        soundfile.write(tmp_path / "train" / name, noise(4000, 1), rate, subtype, format=form)
    for name in ("c.m4a", "d.M4A", "e.wma"):
        (tmp_path / "train" / name).write_bytes(b"not for libsndfile")
    data = loaded(AudioFolder(str(tmp_path), frame_size=10))
    assert data.recordings.names == ["train/0.wav", "train/a.mp3", "train/b.OPUS"]
    assert "2 .m4a and 1 .wma files passed over: this libsndfile can't read them" in data.remark


def test_where_an_old_libsndfile_reads_no_mp3_it_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    soundfile.write(tmp_path / "train" / "a.mp3", noise(4000, 1), 16000, "MPEG_LAYER_III", format="MP3")
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": "", "OGG": ""})
    data = loaded(AudioFolder(str(tmp_path), frame_size=10))
    assert data.recordings.names == ["train/0.wav"]
    assert data.remark.startswith("1 .mp3 file passed over")


def test_a_folder_of_nothing_but_m4a_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"x")
    said = message(root=str(tmp_path))
    assert "no audio below it" in said
    assert "1 .m4a file passed over: this libsndfile can't read them; convert them" in said


def test_a_circle_of_links_is_walked_once(tmp_path: Path) -> None:
    plain(tmp_path / "x", 6)
    (tmp_path / "x" / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert sum(counts(AudioFolder(str(tmp_path), frame_size=10))) == 6


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    plain(tmp_path / "x", 6)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "link").symlink_to(tmp_path / "x", target_is_directory=True)
    assert sum(counts(AudioFolder(str(tmp_path / "y"), frame_size=10))) == 6


# ---- speakers


def speakers_of(files: list[str]) -> set[str]:
    return {name.split("_")[0] for name in files}


@pytest.mark.parametrize("pattern", [r"^([a-z]+)_", r"(.)?(?P<speaker>ann|bob|cy|dee|eve|flo)_"])
def test_each_speaker_is_in_one_split(tmp_path: Path, pattern: str) -> None:
    data = AudioFolder(str(by_speaker(tmp_path)), frame_size=10, speaker=pattern, valid_fraction=0.2, test_fraction=0.3)
    found = names(data)
    assert [len(files) for files in found.values()] == [15, 5, 10]
    assert [len(speakers_of(files)) for files in found.values()] == [3, 1, 2]
    assert set.union(*map(speakers_of, found.values())) == set(SPEAKERS)


def test_each_split_has_a_speaker_at_least(tmp_path: Path) -> None:
    assert counts(AudioFolder(str(by_speaker(tmp_path)), frame_size=10, speaker="([a-z]+)")) == [20, 5, 5]


def test_fractions_that_ask_for_all_speakers_leave_one_for_each_split(tmp_path: Path) -> None:
    data = AudioFolder(
        str(by_speaker(tmp_path)), frame_size=10, speaker="([a-z]+)", valid_fraction=0.01, test_fraction=0.98
    )
    assert counts(data) == [5, 5, 20]


def test_a_speaker_with_most_files_is_not_held_out_for_a_small_share(tmp_path: Path) -> None:
    for speaker, takes in {"ann": 80, "bob": 9, "cy": 11}.items():
        for take in range(takes):
            write(tmp_path / f"{speaker}_{take}.wav")
    for seed in range(4):
        found = names(AudioFolder(str(tmp_path), frame_size=10, speaker="([a-z]+)", split_seed=seed))
        assert speakers_of(found["train"]) == {"ann"}


def test_timit_can_validate_on_speakers_of_their_own(tmp_path: Path) -> None:
    found = names(Timit(str(timit(tmp_path)), frame_size=10, by_speaker=True))
    assert [len(files) for files in found.values()] == [15, 5, 10]
    assert len({name.split("/")[2] for name in found["valid"]}) == 1
    write(tmp_path / "one" / "TEST/DR1/A/SX1.WAV", form="NIST")
    write(tmp_path / "one" / "TRAIN/DR1/B/SX1.WAV", form="NIST")
    said = message(Timit, root=str(tmp_path / "one"), frame_size=10, by_speaker=True)
    assert "has 1 speaker(s) by data.by_speaker (B) for train, valid" in said
    assert not {name.split("/")[2] for name in found["train"]} & {name.split("/")[2] for name in found["valid"]}


# ---- frames


def test_a_sequence_is_a_recording_in_whole_frames(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    assert raw(AudioFolder(str(tmp_path), frame_size=30)) == [np.arange(90).reshape(3, 30).tolist()]


@pytest.mark.parametrize(
    ("frames", "first", "chunk", "expected"),
    [
        ([7], 0, 3, [(0, 0, 3), (0, 3, 3), (0, 6, 1)]),
        ([7], 1, 3, [(0, 0, 4), (0, 3, 4)]),
        ([8], 1, 3, [(0, 0, 4), (0, 3, 4), (0, 6, 2)]),
        ([2, 6, 1], 0, 3, [(0, 0, 2), (1, 0, 3), (1, 3, 3), (2, 0, 1)]),
        ([2, 6], 1, None, [(0, 0, 2), (1, 0, 6)]),
        ([2, 6], 0, None, [(0, 0, 2), (1, 0, 6)]),
        ([3], 0, 100, [(0, 0, 3)]),
    ],
)
def test_recordings_are_cut_into_pieces(
    frames: list[int], first: int, chunk: int | None, expected: list[tuple[int, int, int]]
) -> None:
    pieces = Pieces.cut(np.array(frames), first=first, chunk=chunk)
    assert list(zip(pieces.recording, pieces.start, pieces.length, strict=True)) == expected


def test_scored_pieces_follow_each_other(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    data = AudioFolder(str(tmp_path), frame_size=10, chunk_frames=4)
    frames = np.arange(100).reshape(10, 10).tolist()
    assert raw(data) == [frames[0:4], frames[4:8], frames[8:10]]
    assert data.describe().longest == 4
    assert raw(data, "test") == [frames]


def test_conditioned_pieces_overlap_by_the_frame_that_is_not_scored(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    data = AudioFolder(str(tmp_path), frame_size=10, evaluation_chunk_frames=4, first_observation="conditioned")
    frames = np.arange(100).reshape(10, 10).tolist()
    assert raw(data, "valid") == [frames[0:5], frames[4:9], frames[8:10]]
    assert raw(data) == [frames]
    assert data.describe().longest == 9


@pytest.mark.parametrize("first", ["scored", "conditioned"])
@pytest.mark.parametrize("rate", [None, 24000])
def test_a_piece_is_a_slice_of_its_sequence(tmp_path: Path, first: Any, rate: int | None) -> None:
    for split in SPLITS:
        write(tmp_path / split / "a.wav", noise(20000, 1))
    data = loaded(AudioFolder(str(tmp_path), sample_rate=rate, chunk_frames=40, first_observation=first))
    for index in range(len(data)):
        whole = data[index].x
        assert len(whole) == data.lengths[index]
        for start, stop in [(0, 1), (3, 9), (len(whole) - 2, len(whole))]:
            np.testing.assert_array_equal(data.piece(index, start, stop).x, whole[start:stop])


def test_lengths_are_those_of_the_resampled_recordings(tmp_path: Path) -> None:
    for split in SPLITS:
        for n in range(5):
            write(tmp_path / split / f"{n}.wav", noise(5000 + 997 * n, n), rate=44100 if n % 2 else 8000)
    data = loaded(AudioFolder(str(tmp_path), sample_rate=16000))
    expected = [(5000 + 997 * n) * 16000 // (44100 if n % 2 else 8000) // 200 for n in range(5)]
    assert data.lengths.tolist() == expected
    assert [len(data[i].x) for i in range(5)] == expected


def test_a_piece_reads_no_more_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in SPLITS:
        write(tmp_path / split / "a.wav", noise(100000, 1))
    data = loaded(AudioFolder(str(tmp_path), frame_size=100))
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def watched(self: Any, frames: int = -1, **more: Any) -> Any:
        asked.append(frames)
        return read(self, frames, **more)

    monkeypatch.setattr(soundfile.SoundFile, "read", watched)
    data.piece(0, 500, 504)
    assert asked == [400]


def test_batches_of_pieces_are_read(tmp_path: Path) -> None:
    data = AudioFolder(str(plain(tmp_path)), frame_size=5, chunk_frames=4, first_observation="conditioned")
    train, spec = loaded(data), data.describe().spec
    batches = list(load_batches(train, training_batches(train.lengths, 8, seed=0, epoch=0), spec))
    assert sum(len(b) for b in batches) == len(train)
    assert sum(int(b.lengths.sum()) for b in batches) == int((train.lengths - 1).sum())
    assert max(b.x.shape[1] for b in batches) == 4
    assert all(b.start.shape[1] == 5 for b in batches)


# ---- normalization


def test_one_mean_and_one_standard_deviation_are_those_of_all_training_samples(tmp_path: Path) -> None:
    everything = [noise(997 + 10 * n, n) for n in range(4)]
    for n, samples in enumerate(everything):
        write(tmp_path / "train" / f"{n}.wav", samples)
    write(tmp_path / "valid" / "a.wav", noise(500, 9))
    write(tmp_path / "test" / "a.wav", noise(500, 9))
    data = AudioFolder(str(tmp_path), frame_size=50)
    scaling, samples = data.describe().normalization, np.concatenate(everything).astype(float)
    assert scaling is not None
    assert len(scaling.mean) == len(scaling.std) == 50
    np.testing.assert_allclose(scaling.mean, samples.mean(), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, samples.std(), rtol=1e-12)
    x = loaded(data, "valid")[0].x
    np.testing.assert_allclose(x.reshape(-1), (noise(500, 9) - samples.mean()) / samples.std(), atol=1e-5)
    assert x.dtype == np.float32


def test_the_standard_deviation_survives_a_large_mean() -> None:
    blocks = [np.float32([1e6, 1e6 + 1]), np.float32([1e6 + 2]), np.float32([1e6 + 3, 1e6 + 4, 1e6 + 5])]
    assert mean_and_std(blocks) == pytest.approx((1e6 + 2.5, np.arange(6).std()), rel=1e-12)


def test_silence_is_refused_where_it_would_be_normalized(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / split / "a.wav", np.zeros(100, dtype=np.int16))
    assert "silence" in message(root=str(tmp_path), frame_size=10)
    assert len(loaded(AudioFolder(str(tmp_path), frame_size=10, encoding="pcm"))) == 1


# ---- descriptions


@pytest.mark.parametrize(("encoding", "levels"), [("pcm", 65536), ("mulaw", 256)])
def test_levels_are_not_normalized(tmp_path: Path, encoding: Any, levels: int) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    description = AudioFolder(str(tmp_path), frame_size=10, encoding=encoding).describe()
    assert description.spec == ObservationSpec("quantized", 10, levels=levels)
    assert description.normalization is None
    assert description.format == AudioFormat(16000, encoding)


def test_pcm_steps_hold_the_level_of_each_sample(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    x = loaded(AudioFolder(str(tmp_path), frame_size=10, encoding="pcm"))[0].x
    np.testing.assert_allclose(x.reshape(-1), -1 + 2 * (np.arange(100) + 32768) / 65535, atol=1e-7)


def test_a_description_comes_back_from_json(tmp_path: Path) -> None:
    by_folder(tmp_path, train=2, valid=1, test=1)
    description = AudioFolder(str(tmp_path), frame_size=10, first_observation="conditioned").describe()
    assert description.name == "audio-folder"
    assert description.spec == ObservationSpec("real", 10, "conditioned")
    assert DataDescription.from_json(description.to_json()) == description


def test_a_trained_model_s_description_scales_the_data(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    description = DataDescription(
        "audio-folder",
        ObservationSpec("real", 10),
        7,
        Normalization((5.0,) * 10, (2.0,) * 10),
        format=AudioFormat(16000),
    )
    x = AudioFolder(str(tmp_path), frame_size=10).load("test", description)[0].x
    np.testing.assert_array_equal(x.reshape(-1), (np.arange(100) - 5) / 2)


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        ({"encoding": "pcm"}, ["data.encoding is pcm", "trained with float"]),
        ({"first_observation": "conditioned"}, ["data.first_observation is conditioned", "trained with scored"]),
        ({"frame_size": 20}, ["data.frame_size is 20", "trained with 10"]),
        ({"sample_rate": 8000}, ["data.sample_rate is 8000", "trained with 16000"]),
        ({}, ["data.sample_rate is 22050", "trained with 16000"]),
    ],
)
def test_data_that_does_not_fit_the_trained_model_is_refused(
    tmp_path: Path, settings: dict[str, Any], fragments: list[str]
) -> None:
    for split in SPLITS:
        write(tmp_path / split / "a.wav", rate=16000 if settings else 22050)
    description = DataDescription("audio-folder", ObservationSpec("real", 10), 7, format=AudioFormat(16000))
    with pytest.raises(UserError) as error:
        AudioFolder(str(tmp_path), **({"frame_size": 10} | settings)).load("test", description)
    assert [f for f in fragments if f not in str(error.value)] == []


def test_a_model_of_other_data_is_refused(tmp_path: Path) -> None:
    by_folder(tmp_path, train=1, valid=1, test=1)
    with pytest.raises(UserError, match="trained on data digits"):
        AudioFolder(str(tmp_path)).load("test", DataDescription("digits", ObservationSpec("binary", 1), 64))


# ---- bad recordings


def spoiled(root: Path, bad: int, good: int = 40) -> Path:
    """So many good recordings, and so many that are empty."""
    plain(root, good)
    for n in range(bad):
        (root / f"bad{n:03}.wav").write_bytes(b"")
    return root


def test_all_bad_recordings_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framed, "NAMED", 8)
    said = message(root=str(spoiled(tmp_path, 20)), frame_size=10)
    assert "20 of 60 recordings can't be used" in said
    assert "data.skip_unreadable" in said
    assert len(re.findall(r"bad\d+\.wav is empty \(0 bytes\)", said)) == 8
    assert said.endswith("and 12 more")


def test_bad_recordings_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    data = AudioFolder(str(spoiled(tmp_path, 20)), frame_size=10, skip_unreadable=True, valid_fraction=0.2)
    description = data.describe()
    splits = [data.load(split, description) for split in SPLITS]
    assert sum(s.skipped for s in splits) == 20
    assert sum(len(s) for s in splits) == 40
    assert all(len(s.recordings.names) + s.skipped == n for s, n in zip(splits, (45, 12, 3), strict=True))


def test_a_bad_recording_leaves_the_others_splits_as_they_were(tmp_path: Path) -> None:
    root = plain(tmp_path)
    before = names(AudioFolder(str(root), frame_size=10))
    (root / "a" / "000.wav").write_bytes(b"")
    after = names(AudioFolder(str(root), frame_size=10, skip_unreadable=True))
    assert after == {split: [f for f in files if f != "a/000.wav"] for split, files in before.items()}


def test_a_split_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    by_folder(tmp_path, train=2, valid=1)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.wav").write_bytes(b"")
    said = message(root=str(tmp_path), frame_size=10, skip_unreadable=True)
    assert "of 1 recordings none is left in the test split" in said
    assert "test/a.wav is empty" in said


BAD_RECORDINGS: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "one without the channel": (
        lambda f: write(f, np.zeros((50, 2), dtype=np.int16)),
        {"channel": 2},
        "a.wav has 2 channels, and data.channel is 2; set it to mix",
    ),
    "a short one": (lambda f: write(f, np.arange(9, dtype=np.int16)), {}, "a.wav is shorter than one frame (10 samp"),
    "a link to nothing": (lambda f: f.symlink_to("nowhere.wav"), {}, "a.wav is a broken symbolic link"),
    "one frame and none to score": (
        lambda f: write(f, np.arange(19, dtype=np.int16)),
        {"first_observation": "conditioned"},
        "a.wav is shorter than two frames, of which the first is not scored (20 samples at 16000 Hz)",
    ),
    "a short one at the new rate": (
        lambda f: write(f, np.arange(19, dtype=np.int16)),
        {"sample_rate": 8000},
        "a.wav is shorter than one frame (10 samples at 8000 Hz)",
    ),
}


@pytest.mark.parametrize(("make", "settings", "fragment"), BAD_RECORDINGS.values(), ids=BAD_RECORDINGS.keys())
def test_a_bad_recording_is_named(
    tmp_path: Path, make: Callable[[Path], object], settings: dict[str, Any], fragment: str
) -> None:
    for n, split in enumerate(("train", "train", "valid", "test")):
        write(tmp_path / split / f"{n}.wav", np.arange(300, dtype=np.int16).reshape(100, 3))
    make(tmp_path / "test" / "a.wav")
    settings = {"root": str(tmp_path), "frame_size": 10} | settings
    said = message(**settings)
    assert f"test/{fragment}" in said
    assert "1 of 5 recordings" in said
    data = AudioFolder(**settings, skip_unreadable=True)
    assert loaded(data, "test").skipped == 1


def test_a_recording_that_is_just_long_enough_is_used(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / split / "a.wav", np.arange(20, dtype=np.int16))
    data = AudioFolder(str(tmp_path), frame_size=10, first_observation="conditioned")
    assert loaded(data).lengths.tolist() == [2]
    assert data.describe().longest == 1


def test_shorten_is_named_in_a_tree_of_timit(tmp_path: Path) -> None:
    root = timit(tmp_path)
    file = root / "TEST" / "DR1" / "TE0" / "SA1.WAV"
    file.write_bytes(file.read_bytes().replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n"))
    said = message(Timit, root=str(root), frame_size=10)
    assert "TEST/DR1/TE0/SA1.WAV is compressed by Shorten; decompress it: sph2pipe" in said


def test_mixed_rates_name_a_file_of_each(tmp_path: Path) -> None:
    by_folder(tmp_path, train=2, valid=1, test=1)
    write(tmp_path / "test" / "z.wav", rate=8000)
    said = message(root=str(tmp_path), frame_size=10)
    assert (
        "1 of 8000 and 4 of 16000 samples per second, such as train/0.wav and test/z.wav; set data.sample_rate" in said
    )


# ---- bad folders and settings


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(tmp_path)

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)  # root may list everything
    said = message(root=str(tmp_path), random_split=True)
    assert f"{tmp_path}: can't be listed (Permission denied)" in said


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], dict[str, Any], list[str]]] = {
    "no name": (lambda t: None, {"root": ""}, ["data.root is empty", "name the folder"]),
    "missing": (lambda t: None, {"root": "ROOT/nowhere"}, ["nowhere", "no such file or directory"]),
    "a file": (lambda t: write(t / "a.wav"), {"root": "ROOT/a.wav"}, ["a.wav", "is a file"]),
    "no audio": (lambda t: (t / "a.txt").write_text("x"), {}, ["no audio below it", ".wav", "SPHERE"]),
    "no audio in a split": (
        lambda t: [by_folder(t, train=1, test=1), (t / "valid").mkdir()],
        {},
        ["no audio in its folder of the valid split"],
    ),
    "two files": (
        lambda t: plain(t, 2),
        {},
        ["has 2 recording(s)", "train, test and valid", "folders train, valid, test"],
    ),
    "two files of Blizzard": (lambda t: plain(t, 2), {"cls": Blizzard}, ["has 2 recording(s)"]),
    "a test folder alone": (lambda t: by_folder(t, test=3, Other=1), {}, ["no folder train but Other, test"]),
    "a tree of TIMIT": (lambda t: timit(t), {}, ["are TIMIT's", "set data.name timit", "data.random_split true"]),
    "two folders for a split": (
        lambda t: by_folder(t, train=1, dev=1, valid=1),
        {},
        ["dev and valid are both the folder of the valid split"],
    ),
    "no TIMIT": (lambda t: by_folder(t, train=3), {"cls": Timit}, ["no folders TRAIN and TEST", "another data.name"]),
    "TIMIT without DR1": (lambda t: by_folder(t, train=3, test=3), {"cls": Timit}, ["DR1 to DR8"]),
    "nothing left to train on": (
        lambda t: plain(t, 3),
        {"test_fraction": 0.5, "valid_fraction": 0.49},
        ["none is left to train on", "data.test_fraction or data.valid_fraction"],
    ),
    "a speaker where none is split off": (
        lambda t: by_folder(t, train=1, valid=1, test=1),
        {"speaker": "(.)"},
        ["data.speaker", "leave data.speaker out", "data.random_split true"],
    ),
    "a file without a speaker": (
        lambda t: by_speaker(t),
        {"speaker": "(ann|bob)"},
        ["names no speaker in 'cy_0.wav'", "data.speaker"],
    ),
    "an empty name of a speaker": (lambda t: by_speaker(t), {"speaker": "(x?)"}, ["names no speaker in 'ann_0.wav'"]),
    "too few speakers": (
        lambda t: [write(t / f"{s}_{n}.wav") for s in ("ann", "bob") for n in range(9)],
        {"speaker": "([a-z]+)"},
        ["has 2 speaker(s)", "ann, bob", "train, test and valid"],
    ),
}


@pytest.mark.parametrize(("make", "settings", "fragments"), BAD_FOLDERS.values(), ids=BAD_FOLDERS.keys())
def test_a_bad_folder_is_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, make: Callable[[Path], object], settings: dict[str, Any], fragments: list[str]
) -> None:
    make(tmp_path)
    given = {"root": "ROOT", "frame_size": 10} | settings
    said = message(**{k: v.replace("ROOT", str(tmp_path)) if k == "root" else v for k, v in given.items()})
    assert [f for f in fragments if f not in said] == []


BAD_SETTINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "encoding": ({"encoding": "alaw"}, ["data.encoding is 'alaw'", "mulaw"]),
    "first_observation": ({"first_observation": "free"}, ["data.first_observation", "conditioned"]),
    "frame_size": ({"frame_size": 0}, ["data.frame_size is 0", "1 or more"]),
    "sample_rate": ({"sample_rate": -1}, ["data.sample_rate is -1", "1 or more"]),
    "chunk_frames": ({"chunk_frames": 0}, ["data.chunk_frames is 0", "1 or more"]),
    "evaluation_chunk_frames": ({"evaluation_chunk_frames": 0}, ["data.evaluation_chunk_frames is 0"]),
    "split_seed": ({"split_seed": -1}, ["data.split_seed is -1"]),
    "valid_fraction": ({"valid_fraction": 0.0}, ["data.valid_fraction is 0.0", "more than 0 and less than 1"]),
    "test_fraction": ({"test_fraction": float("nan")}, ["data.test_fraction is nan"]),
    "fractions that sum to 1": ({"valid_fraction": 0.5, "test_fraction": 0.5}, ["their sum must be below 1"]),
    "no expression": ({"speaker": "(a"}, ["data.speaker is '(a'", "not a regular expression"]),
    "no group": ({"speaker": "[a-z]+"}, ["data.speaker is '[a-z]+'", "group"]),
}


@pytest.mark.parametrize(("settings", "fragments"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_bad_setting_is_refused_in_one_line_that_names_it(settings: dict[str, Any], fragments: list[str]) -> None:
    said = message(root="anywhere", **settings)
    assert [f for f in fragments if f not in said] == []


# ---- real recordings


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Free Spoken Digit Dataset and CMU AN4, the second laid out as TIMIT is."""
    if not (SHARED / "unpack.py").exists():
        pytest.skip(f"real recordings are not there: no {SHARED.parent.name}/{SHARED.name} beside the checkout")
    folder = tmp_path_factory.mktemp("real")
    command = [sys.executable, str(SHARED / "unpack.py"), str(folder), "fsdd", "an4"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def minutes(data: FramedRecordings) -> float:
    return float((data.recordings.samples / data.recordings.rates).sum()) / 60


def test_the_an4_recordings_are_read_as_timit_is(real: Path) -> None:
    data = Timit(str(real / "an4"), chunk_frames=40, first_observation="conditioned")
    description = data.describe()
    splits = [data.load(split, description) for split in SPLITS]
    assert [len(s.recordings.names) for s in splits] == [386, 100, 130]
    assert [minutes(s) for s in splits] == pytest.approx([16.1, 4.4, 5.95], abs=0.05)
    assert description.longest == 40
    assert int(splits[0].lengths.max()) == 41
    assert len(splits[2]) == 130
    x = np.concatenate([splits[0][i].x.reshape(-1) for i in range(len(splits[0]))])
    assert [x.mean(), x.std()] == pytest.approx([0, 1], abs=0.01)  # the overlaps count twice, the tails not at all


def test_the_spoken_digits_are_resampled(real: Path) -> None:
    data = AudioFolder(str(real / "fsdd"), sample_rate=16000, encoding="mulaw")
    description = data.describe()
    splits = [data.load(split, description) for split in SPLITS]
    assert [len(s) for s in splits] == [2400, 300, 300]
    assert [minutes(s) for s in splits] == pytest.approx([17.5, 2.2, 2.2], abs=0.05)
    assert all(len(splits[1][i].x) == splits[1].lengths[i] for i in range(100))


def test_the_spoken_digits_are_split_by_speaker(real: Path) -> None:
    data = AudioFolder(
        str(real / "fsdd"), random_split=True, speaker=r"\d_([a-z]+)_", valid_fraction=0.15, test_fraction=0.15
    )
    found = names(data)
    assert [len(files) for files in found.values()] == [2000, 500, 500]
    assert [len({f.split("_")[1] for f in files}) for files in found.values()] == [4, 1, 1]


@pytest.mark.parametrize(
    ("form", "suffix"), [("OGG", "ogg"), ("AIFF", "aiff"), ("AU", "au"), ("RF64", "wav"), ("FLAC", "flac")]
)
def test_a_file_that_is_cut_short_is_refused_in_every_format(tmp_path: Path, form: str, suffix: str) -> None:
    plain(tmp_path)
    whole = tmp_path / f"whole.{suffix}"
    subtype = "VORBIS" if form == "OGG" else "PCM_16"
    soundfile.write(whole, noise(60000, 1), 16000, subtype, format=form)
    loaded(AudioFolder(str(tmp_path), frame_size=10))  # as it is, it is fine
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    assert f"whole.{suffix} is truncated" in message(root=str(tmp_path), frame_size=10)


def test_nan_is_found_before_anything_starts_and_can_be_left_out(tmp_path: Path) -> None:
    plain(tmp_path)
    samples = noise(200, 1) / 32768
    samples[77] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16000, "FLOAT")
    assert "nan.wav holds NaN or infinity" in message(root=str(tmp_path), frame_size=10, encoding="pcm")
    loaded(AudioFolder(str(tmp_path), frame_size=10, encoding="pcm", skip_unreadable=True))


def test_a_name_that_is_no_utf_8_is_spelled_out(tmp_path: Path) -> None:
    plain(tmp_path)
    good = next(tmp_path.glob("*/*.wav"))
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.wav"))).write_bytes(good.read_bytes())
    said = message(root=str(tmp_path), frame_size=10)
    assert r"bad\xff.wav has a name that is not UTF-8; rename it" in said
    loaded(AudioFolder(str(tmp_path), frame_size=10, skip_unreadable=True))


def test_a_link_to_a_pipe_is_no_recording(tmp_path: Path) -> None:
    plain(tmp_path / "audio")
    os.mkfifo(tmp_path / "pipe")
    for name in ("odd", "odd.wav"):
        (tmp_path / "audio" / name).symlink_to(tmp_path / "pipe")
    loaded(AudioFolder(str(tmp_path / "audio"), frame_size=10))
