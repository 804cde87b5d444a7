"""Recordings that other programs read wrongly or not at all, of each kind one, and splits that are named by words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from zforcing import UserError
from zforcing.data.audio.folder import AudioFolder
from zforcing.data.audio.timit import Timit
from zforcing.data.text.text import Text
from zforcing.files.audio import read_header, read_resampled, read_samples

FAULTS = Path(__file__).parent / "data" / "faults" / "audio"


def decoded(file: Path, count: int) -> np.ndarray:
    """What libsndfile decodes from the beginning in one go, in units of 16-bit integers."""
    with soundfile.SoundFile(file) as audio:
        samples: np.ndarray = audio.read(count, dtype="float32") * 32768
    return samples


@pytest.mark.parametrize(
    ("name", "count"), [("mp3_named_wav.wav", 30000), ("flac_unknown_length.flac", 4000), ("gsm610.wav", 4480)]
)
def test_a_stretch_holds_what_the_recording_does_there(name: str, count: int) -> None:
    file = FAULTS / name
    whole = decoded(file, count - 1)  # soundfile itself fails at the end of a FLAC file of unknown length
    assert read_header(file).samples == count
    for start in range(0, count - 500, 700):
        np.testing.assert_array_equal(read_samples(file, start, start + 500), whole[start : start + 500])
    np.testing.assert_array_equal(read_samples(file)[:-1], whole)


def test_what_cannot_be_sought_is_the_same_at_another_rate(tmp_path: Path) -> None:
    tone = np.sin(np.arange(40000) / 9) / 2
    soundfile.write(tmp_path / "a.ogg", tone, 16000, format="OGG", subtype="VORBIS")
    soundfile.write(tmp_path / "a.wav", decoded(tmp_path / "a.ogg", 40000) / 32768, 16000, subtype="FLOAT")
    one, other = (
        read_resampled(tmp_path / name, read_header(tmp_path / name), 8000, 9000, 20000) for name in ("a.ogg", "a.wav")
    )
    np.testing.assert_array_equal(one, other)


def test_a_changed_recording_is_decoded_anew(tmp_path: Path) -> None:
    for level in (0.1, 0.5):
        soundfile.write(tmp_path / "a.ogg", np.full(9000 + int(100 * level), level), 16000, format="OGG")
        assert abs(read_samples(tmp_path / "a.ogg", 4000, 4010) / 32768 - level).max() < 0.02


def test_a_header_that_was_never_finished_is_said() -> None:
    with pytest.raises(UserError, match=r"was never finished: .* no samples, but 8000 bytes of them follow; repair it"):
        read_header(FAULTS / "data_size_0.wav")


def folder_of(root: Path, *names: str, form: str = "a.wav") -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(number).normal(size=2000) / 10
        soundfile.write(root / name, samples, 16000)
    return root


def unscaled(root: Path) -> str:
    for number in range(4):
        (root / f"{number}.wav").write_bytes((FAULTS / "float_unscaled.wav").read_bytes())
    return str(root)


@pytest.mark.parametrize("encoding", ["pcm", "mulaw"])
def test_floats_beyond_full_scale_are_not_clipped_in_silence(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"4 of 4 .* 0\.wav has 99\.5 % of its samples beyond full scale"):
        AudioFolder(unscaled(tmp_path), encoding=encoding).describe()  # type: ignore[arg-type]  # a word of the table


def test_floats_beyond_full_scale_are_said(tmp_path: Path) -> None:
    data = AudioFolder(unscaled(tmp_path))
    assert "4 of 4 recordings have samples of floats beyond full scale (-1 to 1), 15920 in all" in (
        data.load("train", data.describe()).remark
    )


LIBRI = ("train-clean-100/19/a.flac", "train-other-500/26/b.flac", "dev-clean/84/c.flac", "test-clean/61/d.flac")


def test_splits_that_are_named_by_words_are_taken(tmp_path: Path) -> None:
    data = AudioFolder(str(folder_of(tmp_path, *LIBRI)))
    assert data.split_files(tmp_path) == {"train": [*LIBRI[:2]], "valid": [LIBRI[2]], "test": [LIBRI[3]]}
    description = data.describe()
    assert data.load("train", description).remark == "its recordings are those in train-clean-100 and train-other-500"
    assert data.load("test", description).remark == "its recordings are those in test-clean"


def test_words_of_some_splits_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no folder train but .*; correct data\.root, or set data\.random_split"):
        AudioFolder(str(folder_of(tmp_path, *LIBRI[2:], "clean/e.flac"))).describe()


def test_a_random_split_is_always_said(tmp_path: Path) -> None:
    data = AudioFolder(str(folder_of(tmp_path, *(f"{i}.wav" for i in range(4)))))
    description = data.describe()
    assert data.load("train", description).remark == ""
    assert data.load("valid", description).remark == "cut at random from all recordings (data.valid_fraction)"
    timit = Timit(
        str(folder_of(tmp_path / "timit", *(f"{s}/DR1/{i}/{i}.wav" for s in ("TRAIN", "TEST") for i in "abc")))
    )
    assert timit.load("valid", timit.describe()).remark.startswith("cut at random from the training utterances")
    assert timit.load("test", timit.describe()).remark == ""


def test_files_of_text_are_taken_by_words_too(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(f"a sentence to {split}\n")
    text = Text(str(tmp_path))
    assert {split: [file.name for file in files] for split, files in text.files.items()} == {
        split: [f"ptb.{split}.txt"] for split in ("train", "valid", "test")
    }
    assert text.cut_splits == frozenset()
