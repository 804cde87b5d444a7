"""Settings that 0.1 wrote are read as today's data sets', and what is no setting of theirs is refused."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from zforcing.data import DATA
from zforcing.errors import UserError
from zforcing.training.runs.config import parse_config
from zforcing.training.runs.renamed import renamed

SHARES = {"valid_fraction": 0.2, "test_fraction": 0.3, "split_seed": 7}
SPEECH: dict[str, Any] = {"frame_size": 10, "speaker": None, "include_sa": True, "skip_unreadable": False, **SHARES}
MUSIC: dict[str, Any] = {
    "first_observation": None, "steps_per_quarter": None, "seconds_per_step": None, "drums": False, "chunk_steps": 9,
    "streams": None, "continue_streams": True, "skip_unreadable": False, **SHARES,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "tokens": "words", "max_vocabulary": 9, "tokenize": None, "lowercase": None, "min_words": None, "max_words": None,
    "split_by": "document", **SHARES,
}  # fmt: skip
ARRAYS: dict[str, Any] = {
    "array": "x", "lengths": "lengths", "observed": "observed", "sequence": None, "columns": None, **SHARES
}  # fmt: skip


def read(data: dict[str, Any]) -> Any:
    """The data set that settings of 0.1 are."""
    return parse_config({"data": renamed(data), "model": {"name": "rnn"}}).data


def today(name: str, **settings: Any) -> Any:
    return DATA[name](**settings)


def timit(root: Path) -> Path:
    for split in ("TRAIN", "TEST"):
        (root / split / "DR1").mkdir(parents=True)
    return root


# ---- speech


def test_a_layout_of_speech_is_a_data_set(tmp_path: Path) -> None:
    shared = {"root": str(tmp_path), "frame_size": 10}
    found = {layout: read({"name": "speech", "layout": layout, **shared, **SPEECH}) for layout in (
        "timit", "blizzard", "folders", "files", "auto"
    )}  # fmt: skip
    assert found["timit"] == today("timit", **shared, valid_fraction=0.2, split_seed=7)
    assert found["blizzard"] == today("blizzard", **shared, **SHARES)
    assert found["folders"] == found["auto"] == today("audio-folder", **shared, **SHARES)
    assert found["files"] == today("audio-folder", random_split=True, **shared, **SHARES)


def test_speech_of_any_layout_is_timit_where_its_folders_are(tmp_path: Path) -> None:
    root = str(timit(tmp_path))
    for data in ({"layout": "auto"}, {}):  # what a recipe leaves out was auto
        assert read({"name": "speech", "root": root, "include_sa": False, **data}) == today(
            "timit", root=root, include_sa=False
        )


def test_a_folder_that_is_gone_is_one_of_recordings() -> None:
    assert read({"name": "speech", "layout": "auto", "root": "gone"}) == today("audio-folder", root="gone")


@pytest.mark.parametrize("layout", ["timit", "blizzard"])
def test_a_split_by_speaker_that_is_no_more_is_refused_and_not_lost(layout: str) -> None:
    with pytest.raises(UserError, match=rf"unknown setting data\.speaker.*data {layout}"):
        read({"name": "speech", "layout": layout, "root": "x", **SPEECH, "speaker": "(.)"})
    assert read({"name": "speech", "layout": "files", "root": "x", "speaker": "(.)"}).speaker == "(.)"


# ---- music


@pytest.mark.parametrize(
    ("layout", "path", "expected"),
    [
        ("pickle", "a.dat", today("polyphonic", path="a.dat", chunk_steps=9)),
        ("mat", "a.mat", today("polyphonic", path="a.mat", chunk_steps=9)),
        ("srnn", "a.dat", today("srnn-music", path="a.dat", chunk_steps=9)),
        ("midi", "a", today("midi-folder", path="a", chunk_steps=9, **SHARES)),
        ("auto", "a.PICKLE", today("polyphonic", path="a.PICKLE", chunk_steps=9)),
        ("auto", "a.mat", today("polyphonic", path="a.mat", chunk_steps=9)),
        ("auto", "a.NPZ", today("srnn-music", path="a.NPZ", chunk_steps=9)),
        ("auto", ".", today("midi-folder", path=".", chunk_steps=9, **SHARES)),
        (None, "a.npz", today("srnn-music", path="a.npz", chunk_steps=9)),
    ],
)
def test_a_layout_of_music_is_a_data_set(layout: str | None, path: str, expected: Any) -> None:
    given = {} if layout is None else {"layout": layout}
    assert read({"name": "music", **given, "path": path, **MUSIC}) == expected


def test_what_meant_something_in_a_layout_of_music_is_kept() -> None:
    midi = {"seconds_per_step": 0.1, "drums": True, "first_observation": "conditioned", "skip_unreadable": True}
    assert read({"name": "music", "layout": "midi", "path": "a", **MUSIC, **midi}) == today(
        "midi-folder", path="a", chunk_steps=9, **SHARES, **midi
    )
    srnn = {"streams": 2, "continue_streams": False, "steps_per_quarter": 4}
    conditioned = {"first_observation": "conditioned"}  # as they all are
    assert read({"name": "music", "layout": "srnn", "path": "a", **MUSIC, **srnn, **conditioned}) == today(
        "srnn-music", path="a", chunk_steps=9, **srnn
    )
    pickle = {"steps_per_quarter": 4, "first_observation": "conditioned"}
    assert read({"name": "music", "layout": "pickle", "path": "a", **MUSIC, **pickle}) == today(
        "polyphonic", path="a", chunk_steps=9, **pickle
    )


def test_a_step_in_seconds_of_a_file_is_refused_and_not_lost() -> None:
    with pytest.raises(UserError, match=r"unknown setting data\.seconds_per_step.*data polyphonic"):
        read({"name": "music", "layout": "pickle", "path": "a.pkl", **MUSIC, "seconds_per_step": 0.1})


# ---- text


def test_a_layout_of_text_is_a_data_set(tmp_path: Path) -> None:
    shared = {"root": str(tmp_path), "max_vocabulary": 9, "unicode": "keep", **SHARES}
    text, reviews = today("text", **shared), today("reviews", **shared)
    given = {**TEXT, "root": str(tmp_path)}
    assert read({"name": "text", "layout": "lines", **given}) == text
    assert read({"name": "text", "layout": "reviews", **given}) == reviews
    assert read({"name": "text", "layout": "auto", **given}) == reviews
    (tmp_path / "train.txt").touch()
    assert read({"name": "text", "layout": "auto", **given}) == text
    assert read({"name": "text", "layout": "auto", **given, "root": "gone"}) == today(
        "text", **{**shared, "root": "gone"}
    )


def test_what_was_said_of_sentences_is_kept() -> None:
    said = {"tokenize": False, "lowercase": False, "min_words": 2, "max_words": 99, "split_by": "sentence"}
    found = read({"name": "text", "layout": "reviews", "root": "x", **TEXT, **said})
    assert found == today("reviews", root="x", max_vocabulary=9, unicode="keep", **SHARES, **said)


def test_only_runs_of_before_there_was_a_choice_keep_each_spelling_in_unicode() -> None:
    text = asdict(today("text", root="x"))
    del text["unicode"]
    assert renamed({"name": "text"} | text)["unicode"] == "keep"
    assert "unicode" not in renamed(
        {"name": "text", "root": "x", "tokens": "words"}
    )  # a recipe: what is new is the default
    assert renamed({"name": "reviews", "unicode": "nfkc"} | text)["unicode"] == "nfkc"


def test_null_stood_for_a_default_of_the_layout() -> None:
    assert renamed({"name": "text", "layout": "reviews", "max_words": None}) == {"name": "reviews", "max_words": 16}
    assert renamed({"name": "text", "layout": "lines", "tokenize": None}) == {"name": "text", "tokenize": False}


# ---- arrays


@pytest.mark.parametrize("path", ["a.csv", "a.Parquet"])
def test_arrays_in_a_table_are_a_table(path: str) -> None:
    given = {"name": "arrays", "path": path, **ARRAYS, "sequence": "trip", "columns": ["u"], "missing": "allow"}
    expected = today("table", path=path, sequence="trip", columns=["u"], missing="allow", **SHARES)
    assert read(given) == expected


@pytest.mark.parametrize("path", ["a.npz", "a.npy"])
def test_arrays_have_no_columns(path: str) -> None:
    given = {"name": "arrays", "path": path, **ARRAYS, "observed": "o"}
    assert read(given) == today("arrays", path=path, observed="o", **SHARES)
    with pytest.raises(UserError, match=r"unknown setting data\.columns.*data arrays"):
        read(given | {"columns": ["u"]})


# ---- what isn't of 0.1


@pytest.mark.parametrize(
    "data",
    [
        {"name": "text", "root": "x", "max_words": None},
        {"name": "reviews", "max_words": None},
        {"name": "digits", "threshold": 8},
        {"frame_size": 10},
        {},
    ],
)
def test_other_settings_stay_as_they_are(data: dict[str, Any]) -> None:
    assert renamed(data) == data


def test_a_setting_of_another_data_set_is_unknown() -> None:
    with pytest.raises(UserError) as error:
        parse_config({"data": {"name": "polyphonic", "drums": True, "layout": "pickle"}, "model": {"name": "rnn"}})
    assert "unknown setting data.drums" in str(error.value)
    assert "unknown setting data.layout" in str(error.value)
    assert "with data polyphonic" in str(error.value)
