"""Music: each layout gives the rolls that were put into it, and each mistake is told in one line."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
from scipy.io import savemat

from zforcing.data import DATA, Chorales, MidiFolder, PolyphonicMusic, Split, SrnnMusic
from zforcing.data.music import chorales
from zforcing.data.music import known as known_music
from zforcing.data.music.dataset import MusicDataModule
from zforcing.data.music.rolls import Rolls
from zforcing.data.streams import load_pieces, streams
from zforcing.errors import UserError
from zforcing.files.midi import TimeStep, nearest, read_midi, read_tempo
from zforcing.files.pickles import read_pickle
from zforcing.observations import DataDescription, MusicFormat, ObservationSpec

SHARED = Path(__file__).parents[2] / "shared" / "data" / "packed"
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
CONTENT = {
    "train": [[(21, 60), (), (108,)], [(60,)], [(61,)] * 7],
    "valid": [[[62, 64], [62]]],
    "test": [((63,), (64,), (65,))],
}


def pickled(file: Path, content: Any = None, *, protocol: int = 2) -> str:
    file.write_bytes(pickle.dumps(CONTENT if content is None else content, protocol))
    return str(file)


def loaded(data: MusicDataModule, split: Split = "train") -> Rolls:
    return data.load(split, data.describe())


def pitches(rolls: Sequence[Any]) -> list[list[list[int]]]:
    """What sounds at each step of each roll, as MIDI numbers."""
    return [[(np.flatnonzero(step) + 21).tolist() for step in roll] for roll in rolls]


def sequences(data: MusicDataModule, split: Split = "train") -> list[list[list[int]]]:
    found = loaded(data, split)
    return pitches([found[i].x for i in range(len(found))])


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert "\n" not in said
    return said


def lacks(said: str, fragments: Sequence[str]) -> list[str]:
    """What a message should say and doesn't, with the message."""
    missing = [f for f in fragments if f not in said]
    return [*missing, said] if missing else []


def test_the_music_is_registered() -> None:
    names = {"chorales": Chorales, "midi-folder": MidiFolder, "polyphonic": PolyphonicMusic, "srnn-music": SrnnMusic}
    assert {name: DATA[name] for name in names} == names


# ---- pickles


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_holds_its_rolls(tmp_path: Path, protocol: int) -> None:
    data = PolyphonicMusic(pickled(tmp_path / "a.pickle", protocol=protocol))
    assert sequences(data) == [[[21, 60], [], [108]], [[60]], [[61]] * 7]
    assert sequences(data, "valid") == [[[62, 64], [62]]]
    assert sequences(data, "test") == [[[63], [64], [65]]]


def test_the_description_says_what_a_step_is(tmp_path: Path) -> None:
    description = PolyphonicMusic(pickled(tmp_path / "a.pkl")).describe()
    assert description == DataDescription("polyphonic", ObservationSpec("binary", 88), longest=7, format=MusicFormat())
    assert description.format == MusicFormat(lowest_pitch=21, steps_per_quarter=2, quarters_per_minute=120)


def test_a_roll_takes_a_byte_a_number_and_is_read_as_float32(tmp_path: Path) -> None:
    train = loaded(PolyphonicMusic(pickled(tmp_path / "a.pkl")))
    assert train.music.rolls[0].dtype == np.uint8
    assert train[0].x.dtype == np.float32
    assert np.array_equal(train.piece(2, 1, 3).x, train[2].x[1:3])


def test_training_sequences_are_cut_and_no_others(tmp_path: Path) -> None:
    content = CONTENT | {"train": [[(p,) for p in range(30, 37)]], "test": [[(40,)] * 9]}
    file = pickled(tmp_path / "a.pkl", content)
    data = PolyphonicMusic(file, chunk_steps=3)
    assert data.describe().longest == 3
    assert sequences(data) == [[[30], [31], [32]], [[33], [34], [35]], [[36]]]
    assert [len(s) for s in sequences(data, "test")] == [9]
    overlapping = PolyphonicMusic(file, chunk_steps=3, first_observation="conditioned")
    assert sequences(overlapping) == [[[30], [31], [32], [33]], [[33], [34], [35], [36]]]
    assert overlapping.describe().spec.conditions_on_first


def test_the_reader_of_pickles_agrees_with_pythons_own(tmp_path: Path) -> None:
    value = {"a": [(1, 2.5, -3, 2**80), (), [[]], {"b": None, 12: True}], "é": ("x" * 300, False, (1,), (1, 2))}
    shared: list[Any] = [1]
    value["twice"] = [shared, shared]
    for protocol in range(6):
        assert read_pickle(Path(pickled(tmp_path / "a.pkl", value, protocol=protocol)), "it") == value


@pytest.mark.slow
def test_a_key_whose_hash_takes_for_ever_is_refused(tmp_path: Path) -> None:
    doubled = b"})" + b"2\x86" * 60 + b"K\x01s."
    nested = b"})" + b"\x85" * 1_000_000 + b"K\x01s."
    for content in (doubled, nested):
        (tmp_path / "a.pkl").write_bytes(content)
        said = message(lambda: loaded(PolyphonicMusic(str(tmp_path / "a.pkl"))))
        assert "the key of a dict is neither text nor a whole number" in said
        assert len(said) < 400


@pytest.mark.parametrize("content", [b"}\x8a\x09" + b"\0" * 8 + b"\x20K\x01s.", b"]p%d\n." % (2**61 - 1), b"]p-1\n."])
def test_numbers_that_collide_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(UserError, match="is not a pickle, or a damaged one"):
        read_pickle(tmp_path / "a.pkl", "it")


def test_swapped_or_mixed_splits_of_a_known_set_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = {"train": [[(60,)] * 2], "valid": [[(60, 61)] * 3], "test": [[(62,)] * 4]}
    known: dict[known_music.Content, tuple[str, Split]] = {
        (1, 2, 2): ("Waltzes", "train"), (1, 3, 6): ("Waltzes", "valid"), (1, 4, 4): ("Marches", "test")
    }  # fmt: skip
    monkeypatch.setattr(known_music, "KNOWN", known)
    swapped = content | {"train": content["valid"], "valid": content["train"]}
    said = message(lambda: loaded(PolyphonicMusic(pickled(tmp_path / "a.pkl", swapped))))
    assert "its train split is the valid split of the Waltzes" in said
    said = message(lambda: loaded(PolyphonicMusic(pickled(tmp_path / "a.pkl", content))))
    assert "its valid split is of the Waltzes and its test split is of the Marches" in said


def test_a_known_set_that_was_changed_is_named_with_its_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = {"train": [[(60,)] * 2, [(60, 61)] * 3], "valid": [[(60, 61)] * 3], "test": [[(62,)] * 4]}
    known: dict[known_music.Content, tuple[str, Split]] = {
        (1, 2, 2): ("Waltzes", "train"), (9, 9, 9): ("Waltzes", "train"), (1, 3, 6): ("Waltzes", "valid"),
        (1, 4, 4): ("Waltzes", "test"),
    }  # fmt: skip
    monkeypatch.setattr(known_music, "KNOWN", known)
    data = PolyphonicMusic(pickled(tmp_path / "a.pkl", content))
    said = "the train split isn't that of the Waltzes: 2 sequences of 5 steps with 8 notes, not 1 sequences of 2 steps"
    assert [said in loaded(data, split).remark for split in ("train", "valid", "test")] == [True, False, True]
    data = PolyphonicMusic(pickled(tmp_path / "b.pkl", content | {"train": content["train"][:1]}))
    assert [loaded(data, split).remark for split in ("train", "valid", "test")] == ["", "", ""]


class Trap:
    """Unpickled by Python's own library, it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_runs_no_code(tmp_path: Path, protocol: int) -> None:
    file, folder = tmp_path / "trap.pickle", tmp_path / "made"
    pickled(file, {"train": Trap(folder)}, protocol=protocol)
    said = message(lambda: loaded(PolyphonicMusic(str(file))))
    assert lacks(said, ["data.path", f"holds {os.name}.mkdir", "only lists, tuples, dicts, numbers"]) == []
    assert not folder.exists()
    pickle.loads(file.read_bytes())
    assert folder.exists(), "the trap is none"


def test_a_pickle_of_arrays_is_refused_by_name(tmp_path: Path) -> None:
    file = pickled(tmp_path / "a.pkl", {"train": np.zeros(3)})
    assert "holds numpy" in message(lambda: loaded(PolyphonicMusic(file)))


def test_a_damaged_pickle_reserves_no_memory_for_what_it_promises(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    file.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")  # an entry of the memo that Python's library makes 32 GiB for
    assert read_pickle(file, "a.pkl") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b".",
        b"\x80\x02K",
        b"\x80\x02e.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02h\x05.",
        b"\x80\x02\x86.",
    ],
)
def test_a_damaged_pickle_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    assert "is not a pickle, or a damaged one" in message(lambda: loaded(PolyphonicMusic(str(file))))


def test_no_damage_to_a_pickle_escapes(tmp_path: Path) -> None:
    whole, rng, file = pickle.dumps(CONTENT, 2), np.random.default_rng(0), tmp_path / "a.pkl"
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        file.write_bytes(damaged[: rng.integers(1, 2 * len(whole))])
        try:
            loaded(PolyphonicMusic(str(file)))
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017  # not all damage is an error


BAD_CONTENT: dict[str, tuple[Any, list[str]]] = {
    "no dict": ([1], ["holds a list", "dict of train, valid, test"]),
    "no test split": ({"train": [], "valid": []}, ["has no split", "'test'", "train, valid"]),
    "a split that is no list": (CONTENT | {"valid": 3}, ["its valid split is a int"]),
    "an empty split": (CONTENT | {"valid": []}, ["its valid split is empty"]),
    "an empty sequence": (CONTENT | {"test": [[(60,)], []]}, ["sequence 1 (counted from 0) of the test split is []"]),
    "a step that is a number": (CONTENT | {"test": [[(60,), 61]]}, ["sequence 0", "test split", "has 61 at step 1"]),
    "too low": (CONTENT | {"train": [[(60,)], [(), (20,)]]}, ["sequence 1", "train split", "pitch 20 at step 1", "21"]),
    "too high": (CONTENT | {"train": [[(109,)]]}, ["pitch 109 at step 0", "from 21 to 108"]),
    "half a tone": (CONTENT | {"train": [[(60.5,)]]}, ["pitch 60.5"]),
    "a whole float": (CONTENT | {"train": [[(60.0,)]]}, ["pitch 60.0", "whole"]),
    "a truth": (CONTENT | {"train": [[(60, True)]]}, ["pitch True"]),
    "text": (CONTENT | {"train": [[("C4",)]]}, ["pitch 'C4'"]),
    "a huge number": (CONTENT | {"train": [[(2**70,)]]}, ["pitch 1180591620717411303424"]),
    "one that can't be printed": (CONTENT | {"train": [[(10**5000,)]]}, ["pitch a number of thousands of digits"]),
    "more than a piano has": (CONTENT | {"train": [[(60,), (60,) * 89]]}, ["89 pitches at step 1", "a piano has 88"]),
    "one sequence many times": (CONTENT | {"train": [[(60,)] * 3000] * 3000}, ["9000", "repeats the same steps"]),
}


@pytest.mark.parametrize(("content", "fragments"), BAD_CONTENT.values(), ids=BAD_CONTENT.keys())
def test_a_mistake_in_a_pickle_is_named_by_its_place(tmp_path: Path, content: Any, fragments: list[str]) -> None:
    file = pickled(tmp_path / "a.pickle", content)
    assert lacks(message(lambda: loaded(PolyphonicMusic(file))), [f"data.path {file}", *fragments]) == []


def test_a_sequence_of_one_step_has_nothing_to_score_after_it(tmp_path: Path) -> None:
    data = PolyphonicMusic(pickled(tmp_path / "a.pkl"), first_observation="conditioned")
    said = message(data.describe)
    assert lacks(said, ["sequence 1 (counted from 0) of the train split has 1 step", "needs 2 or more"]) == []


# ---- MATLAB's files


def roll(*steps: Sequence[int], dtype: Any = np.uint8) -> Any:
    matrix = np.zeros((len(steps), 88), dtype=dtype)
    for row, sounding in zip(matrix, steps, strict=True):
        row[np.array(sounding, dtype=int) - 21] = 1
    return matrix


def mat(file: Path, **splits: Any) -> str:
    savemat(file, splits)
    return str(file)


def cells(*rolls: Any) -> Any:
    """A cell array [1, N]."""
    array = np.empty((1, len(rolls)), dtype=object)
    array[0, :] = [*rolls, None][:-1]
    return array


def test_matlabs_files_hold_their_rolls(tmp_path: Path) -> None:
    first, second = roll([21, 60], [], [108], dtype=np.float64), roll([60], [61])
    file = mat(tmp_path / "a.mat", traindata=cells(first, second), validdata=cells(second), testdata=cells(second))
    data = PolyphonicMusic(file)
    assert sequences(data) == [[[21, 60], [], [108]], [[60], [61]]]
    assert sequences(data, "test") == [[[60], [61]]]


BAD_MATRICES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no variable": ({"testdata": None}, ["has no variable 'testdata'", "traindata, validdata"]),
    "87 keys": ({"testdata": cells(roll([60])[:, 1:], roll([60]))}, ["sequence 0", "of testdata", "[1, 87]", "88"]),
    "a two": ({"testdata": cells(roll([60]), 2 * roll([], [23]))}, ["sequence 1", "is 2 at step 1, pitch 23"]),
    "NaN": ({"testdata": cells(roll([60]), roll([60]) * np.nan)}, ["is nan at step 0, pitch 21"]),
    "text": ({"testdata": "music"}, ["testdata is ndarray", "cell array"]),
}


@pytest.mark.parametrize(("changes", "fragments"), BAD_MATRICES.values(), ids=BAD_MATRICES.keys())
def test_a_mistake_in_matlabs_files_is_named(tmp_path: Path, changes: dict[str, Any], fragments: list[str]) -> None:
    splits = dict.fromkeys(("traindata", "validdata", "testdata"), cells(roll([60]))) | changes
    file = mat(tmp_path / "a.mat", **{name: value for name, value in splits.items() if value is not None})
    assert lacks(message(lambda: loaded(PolyphonicMusic(file))), [f"data.path {file}", *fragments]) == []


def test_a_damaged_mat_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"no music at all" * 20)
    assert "cannot be read" in message(lambda: loaded(PolyphonicMusic(str(tmp_path / "a.mat"))))


# ---- the SRNN authors' windows


def noise(*shape: int, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).random((*shape, 88)) < 0.1).astype(np.float32)


STREAMS, WINDOWS, STEPS = 2, 3, 5
MUSIC = {"train": noise(STREAMS, WINDOWS * STEPS + 1), "valid": noise(STREAMS, 2 * STEPS + 1, seed=1)}
TESTS = [noise(4, seed=2), noise(7, seed=3)]


def windowed() -> dict[str, Any]:
    """Two streams of so many windows of 5 steps, window i + 2 going on where window i ends; two test sequences."""
    arrays: dict[str, Any] = {}
    for split, music in MUSIC.items():
        for name, part in (("u", music[:, :-1]), ("x", music[:, 1:])):
            arrays[f"{name}_{split}"] = part.reshape(STREAMS, -1, STEPS, 88).swapaxes(0, 1).reshape(-1, STEPS, 88)
    u, x, mask = np.full((2, 6, 88), np.nan, np.float32), np.zeros((2, 6, 88), np.float32), np.zeros((2, 6), np.float32)
    for i, whole in enumerate(TESTS):
        n = len(whole) - 1
        u[i, :n], x[i, :n], mask[i, :n] = whole[:-1], whole[1:], 1
    return arrays | {"u_test": u, "x_test": x, "mask_test": mask}


def srnn(folder: Path, *, name: str = "jsb_raw_batchsize2_seqlen5.npz", **changes: Any) -> str:
    arrays = windowed() | changes
    np.savez(folder / name, **{key: value for key, value in arrays.items() if value is not None})
    return str(folder / name)


def test_the_windows_of_a_stream_are_one_sequence_in_training(tmp_path: Path) -> None:
    data = SrnnMusic(srnn(tmp_path))
    assert sequences(data) == pitches(MUSIC["train"])
    assert sequences(data, "test") == pitches(TESTS)
    description = data.describe()
    assert description.longest == WINDOWS * STEPS
    assert description.spec == ObservationSpec("binary", 88, "conditioned")
    assert (loaded(data, "test").lengths - 1).tolist() == [3, 6]


def test_chunks_of_the_streams_are_the_authors_batches(tmp_path: Path) -> None:
    data = SrnnMusic(srnn(tmp_path))
    train, arrays = loaded(data), windowed()
    plan = streams(train.lengths - 1, STREAMS, STEPS, seed=0, epoch=0)
    batches = list(load_pieces(train, plan, data.describe().spec))
    assert len(batches) == WINDOWS
    for k, batch in enumerate(batches):
        rows = [STREAMS * k + piece.index for piece in plan[k]]  # in an order of the epoch's own, kept throughout it
        assert np.array_equal(batch.x, arrays["x_train"][rows])
        assert np.array_equal(batch.start, arrays["u_train"][rows, 0])


@pytest.mark.parametrize(("split", "joined"), [("valid", True), ("valid", False), ("train", False)])
def test_a_window_is_a_sequence_of_its_own(split: Split, joined: bool, tmp_path: Path) -> None:
    """Of validation always: the authors' code validates from a state of zeros."""
    arrays = windowed()
    found = loaded(SrnnMusic(srnn(tmp_path), continue_streams=joined), split)
    assert len(found) == len(arrays[f"u_{split}"])
    for example, u, x in zip(
        (found[i] for i in range(len(found))), arrays[f"u_{split}"], arrays[f"x_{split}"], strict=True
    ):
        assert np.array_equal(example.x, np.concatenate([u[:1], x]))


def test_the_number_of_streams_can_be_said(tmp_path: Path) -> None:
    file = srnn(tmp_path, name="music.npz")
    assert "no multiple of 16 streams" in message(lambda: loaded(SrnnMusic(file)))
    assert sequences(SrnnMusic(file, streams=2)) == pitches(MUSIC["train"])


def shuffled(name: str) -> dict[str, Any]:
    """Windows of both arrays in another order."""
    order = [1, 0, 2, 3, 4, 5]
    arrays = windowed()
    return {f"{kind}_{name}": arrays[f"{kind}_{name}"][order] for kind in "ux"}


BAD_WINDOWS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "an order of their own": (
        shuffled("train"),
        {},
        ["the train split: window 2 (counted from 0) doesn't go on where window 0 ends", "data.continue_streams false"],
    ),
    "other streams": ({}, {"streams": 3}, ["window 3 (counted from 0) doesn't go on where window 0 ends"]),
    "a remainder": ({}, {"streams": 4}, ["has 6 windows, no multiple of 4 streams", "data.streams"]),
    "x that isn't u one step later": ({"x_train": windowed()["u_train"]}, {}, ["u_train is not x one step earlier"]),
    "a missing array": ({"mask_test": None}, {}, ["has no array mask_test", "u_test", "data.name srnn-music"]),
    "other shapes": ({"u_valid": noise(2, 4)}, {}, ["u_valid and x are [2, 4, 88] and [4, 5, 88]"]),
    "87 keys": ({"u_valid": np.zeros((2, 5, 87)), "x_valid": np.zeros((2, 5, 87))}, {}, ["[2, 5, 87]", "88"]),
    "a half": ({"u_train": windowed()["u_train"] / 2}, {}, ["u_train, window 0 (counted from 0), is 0.5 at step 0"]),
    "a mask with a hole": ({"mask_test": np.eye(2, 6)}, {}, ["mask_test must be 1 in the steps of a sequence"]),
    "an empty test sequence": ({"mask_test": np.zeros((2, 6))}, {}, ["mask_test must be 1", "one or more"]),
    "another mask": ({"mask_test": np.ones((2, 5))}, {}, ["[2, 6, 88], [2, 6, 88] and [2, 5]"]),
    "a mask that is too long": ({"mask_test": np.ones((2, 6))}, {}, ["u_test of sequence 0", "is nan at step 3"]),
}


@pytest.mark.parametrize(("changes", "settings", "fragments"), BAD_WINDOWS.values(), ids=BAD_WINDOWS.keys())
def test_windows_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], fragments: list[str]
) -> None:
    file = srnn(tmp_path, **changes)
    assert lacks(message(lambda: loaded(SrnnMusic(file, **settings))), fragments) == []


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = Path(srnn(tmp_path))
    file.write_bytes(file.read_bytes()[:5000])
    assert "is not an .npz archive, or a truncated one" in message(lambda: loaded(SrnnMusic(str(file))))


# ---- MIDI


def midi(file: Path, *tracks: Sequence[tuple[float, float, int]], drums: int | None = None, **more: Any) -> Path:
    """Notes (begin and length in quarters, pitch), a list for each track, of which number `drums` is percussion."""
    tempos = more.get("tempos", [(0, 120.0)])
    score = symusic.Score(480)
    for quarter, tempo in tempos:
        score.tempos.append(symusic.Tempo(480 * quarter, tempo))
    for number, notes in enumerate(tracks):
        track = symusic.Track(is_drum=number == drums)
        for begin, length, pitch in notes:
            track.notes.append(symusic.Note(round(480 * begin), round(480 * length), pitch, 64))
        score.tracks.append(track)
    file.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(file)
    return file


def midis(root: Path, **counts: int) -> Path:
    """So many files in each folder; that of number n holds n + 2 quarters."""
    for folder, count in counts.items():
        for n in range(count):
            midi(root / folder / f"{n:02}.mid", [(0, n + 2, 60)])
    return root


SIXTEENTHS = TimeStep(4)


def read(file: Path, step: TimeStep = SIXTEENTHS, **settings: Any) -> list[list[int]]:
    return pitches([read_midi(file, step, **settings)[0]])[0]


def test_the_tracks_of_a_midi_file_are_one_roll(tmp_path: Path) -> None:
    file = midi(tmp_path / "a.mid", [(0, 1, 60), (1, 0.5, 62)], [(0.5, 1, 48)])
    assert read(file) == [[60]] * 2 + [[48, 60]] * 2 + [[48, 62]] * 2
    assert read(file, TimeStep(2)) == [[60], [48, 60], [48, 62]]


def test_a_note_begins_at_the_nearest_step_and_lasts_one_at_least(tmp_path: Path) -> None:
    notes = [(0, 0.5, 60), (1.1, 0.01, 61), (1.4, 0.05, 62), (1.625, 0.25, 63)]  # at 0, 4.4, 5.6 and 6.5 steps
    assert read(midi(tmp_path / "a.mid", notes)) == [[60], [60], [], [], [61], [], [62], [63]]
    assert nearest(np.array([0.49, 0.5, 1.5, 2.4999999999])).tolist() == [0, 1, 2, 3]


def test_silence_around_the_music_is_left_out(tmp_path: Path) -> None:
    assert read(midi(tmp_path / "a.mid", [(8, 0.25, 60), (9, 0.25, 60)])) == [[60], [], [], [], [60]]


def test_drums_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    file = midi(tmp_path / "a.mid", [(0, 0.5, 36)], [(0, 0.25, 60)], drums=0)
    assert read(file) == [[60]]
    assert read(file, drums=True) == [[36, 60], [36]]


def test_notes_that_no_piano_has_are_left_out_and_counted(tmp_path: Path) -> None:
    for split in SPLITS:
        midi(tmp_path / split / "a.mid", [(0, 9, 20), (0, 9, 109), (1, 0.25, 21), (1, 0.25, 108)])
    found = loaded(MidiFolder(str(tmp_path)))
    assert pitches([found[0].x]) == [[[21, 108]]]
    assert found.music.left_out == 2
    assert found.remark == "left out: 2 notes outside of the 88 keys"


def test_a_step_in_seconds_follows_the_tempo(tmp_path: Path) -> None:
    file = midi(tmp_path / "a.mid", [(0, 1, 60), (1, 1, 62)], tempos=[(0, 120.0), (1, 60.0)])
    assert read(file, TimeStep(4, seconds=0.25)) == [[60]] * 2 + [[62]] * 4
    assert read(file, TimeStep(4)) == [[60]] * 4 + [[62]] * 4


def test_of_two_tempos_at_a_tick_the_last_is_played(tmp_path: Path) -> None:
    file = midi(tmp_path / "a.mid", [(0, 1, 60)], tempos=[(0, 120.0), (0, 60.0)])
    assert read_tempo(file) == 60.0
    assert read(file, TimeStep(4, seconds=0.25)) == [[60]] * 4


def test_halves_of_seconds_are_rounded_up_late_in_a_file(tmp_path: Path) -> None:
    starts = [50.05 * 2**i for i in range(5)]
    file = midi(tmp_path / "a.mid", [(0, 0.1, 60), *((2 * start, 0.1, 62) for start in starts)])  # quarters
    roll = read(file, TimeStep(4, seconds=0.1))
    found = [step for step, sounds in enumerate(roll) if sounds == [62]]
    assert found == [int(np.floor(10 * start + 0.5 + 1e-6)) for start in starts]


def test_a_piece_in_two_forms_is_not_split_at_random(tmp_path: Path) -> None:
    midi(midis(tmp_path, a=9) / "a" / "03.midi", [(0, 5, 60)])
    with pytest.raises(UserError, match=r"a/03.mid and a/03.midi may be the same in two forms"):
        loaded(MidiFolder(str(tmp_path)))


def test_folders_of_splits_are_used(tmp_path: Path) -> None:
    midis(tmp_path, Train=3, dev=2, test=1)
    (tmp_path / "Train" / "README").write_text("no music")
    midi(tmp_path / "Train" / "deeper" / "a.MIDI", [(0, 1, 60)])
    data = MidiFolder(str(tmp_path))
    assert [loaded(data, split).lengths.tolist() for split in SPLITS] == [[8, 12, 16, 4], [8, 12], [8]]
    assert data.describe().format == MusicFormat(steps_per_quarter=4)


def test_a_folder_without_splits_is_split_at_random_by_file(tmp_path: Path) -> None:
    midis(tmp_path, a=20)

    def lengths(**settings: Any) -> list[list[int]]:
        data = MidiFolder(str(tmp_path), steps_per_quarter=1, **settings)
        return [loaded(data, split).lengths.tolist() for split in SPLITS]

    found = lengths(test_fraction=0.2)
    assert [len(split) for split in found] == [14, 2, 4]
    assert sorted(length for split in found for length in split) == list(range(2, 22))
    assert lengths(test_fraction=0.2) == found
    assert lengths(test_fraction=0.2, split_seed=7) != found


def test_a_missing_valid_folder_is_split_off_the_training_files(tmp_path: Path) -> None:
    data = MidiFolder(str(midis(tmp_path, train=10, test=2)), valid_fraction=0.3)
    assert [len(loaded(data, split)) for split in SPLITS] == [7, 3, 2]


BAD_MIDI: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda f: f.write_bytes(b""), "is not a MIDI file that symusic can read"),
    "text": (lambda f: f.write_text("X:1\nK:C\nCDEF"), "is not a MIDI file that symusic can read"),
    "cut short": (
        lambda f: f.write_bytes(midi(f, [(n, 1, 60) for n in range(9)]).read_bytes()[:60]),
        "is not a MIDI file that symusic can read",
    ),
    "no notes": (lambda f: midi(f, []), "has no note from 21 to 108, drums left out"),
    "drums": (lambda f: midi(f, [(0, 1, 36)], drums=0), "has no note from 21 to 108, drums left out"),
    "years": (lambda f: midi(f, [(0, 1, 60), (300_000, 1, 60)]), "has 1200004 steps, more than 1000000"),
    "a link to nothing": (lambda f: f.symlink_to("nowhere.mid"), "no such file"),
}


@pytest.mark.parametrize(("make", "reason"), BAD_MIDI.values(), ids=BAD_MIDI.keys())
def test_a_bad_midi_file_is_named_or_left_out_and_counted(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    midis(tmp_path, train=2, valid=1, test=1)
    make(tmp_path / "test" / "bad.mid")
    said = message(lambda: loaded(MidiFolder(str(tmp_path))))
    assert lacks(said, ["1 of 5 MIDI files can't be used", "data.skip_unreadable", f"test/bad.mid {reason}"]) == []
    data = MidiFolder(str(tmp_path), skip_unreadable=True)
    assert [(len(loaded(data, split)), loaded(data, split).skipped) for split in SPLITS] == [(2, 0), (1, 0), (1, 1)]


def test_a_midi_file_of_patterns_is_refused(tmp_path: Path) -> None:
    file = midi(tmp_path / "a.mid", [(0, 1, 60)], [(0, 1, 62)])
    content = bytearray(file.read_bytes())
    content[8:10] = b"\0\2"
    file.write_bytes(content)
    assert "independent patterns (MIDI format 2)" in message(lambda: read(file))


def test_where_splits_of_midi_files_come_from_is_said(tmp_path: Path) -> None:
    midis(tmp_path, train=9, val=2, spare=1)
    midi(tmp_path / "loose.mid", [(0, 1, 60)])
    data = MidiFolder(str(tmp_path))
    assert [len(loaded(data, split)) for split in SPLITS] == [8, 2, 1]
    assert loaded(data, "train").remark == "loose.mid, spare isn't read: no split has this name"
    assert loaded(data, "test").remark == "cut at random from the training files (data.test_fraction)"
    assert loaded(data, "valid").remark == ""


def test_a_midi_file_of_one_step_has_nothing_to_score_after_it(tmp_path: Path) -> None:
    midis(tmp_path, train=2, valid=1, test=1)
    midi(tmp_path / "test" / "short.mid", [(0, 0.25, 60)])
    said = message(lambda: loaded(MidiFolder(str(tmp_path), first_observation="conditioned")))
    assert "test/short.mid has 1 step, and data.first_observation conditioned needs 2" in said
    assert len(loaded(MidiFolder(str(tmp_path)), "test")) == 2


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], dict[str, Any], list[str]]] = {
    "nothing": (lambda t: None, {}, ["no MIDI files below it", ".mid or .midi"]),
    "an empty split": (lambda t: [midis(t, train=2), (t / "valid").mkdir()], {}, ["folder of the valid split"]),
    "no train": (lambda t: midis(t, test=2), {}, ["has a folder test but none named train"]),
    "two valid": (lambda t: midis(t, train=1, dev=1, valid=1), {}, ["dev and valid are both the folder of the valid"]),
    "two files": (lambda t: midis(t, a=2), {}, ["MIDI files: there are 2, 2 are held out", "data.test_fraction"]),
    "all spoilt": (
        lambda t: [midis(t, train=1, test=1), midi(t / "valid" / "a.mid", [])],
        {"skip_unreadable": True},
        ["of 1 MIDI files none is left in the valid split", "valid/a.mid has no note"],
    ),
}


@pytest.mark.parametrize(("make", "settings", "fragments"), BAD_FOLDERS.values(), ids=BAD_FOLDERS.keys())
def test_a_bad_folder_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], settings: dict[str, Any], fragments: list[str]
) -> None:
    make(tmp_path)
    said = message(lambda: loaded(MidiFolder(str(tmp_path), **settings)))
    assert lacks(said, [f"data.path {tmp_path}", *fragments]) == []


def test_midi_without_symusic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midis(tmp_path, a=5)
    monkeypatch.setitem(sys.modules, "symusic", None)
    assert "pip install 'zforcing[midi]'" in message(lambda: loaded(MidiFolder(str(tmp_path), skip_unreadable=True)))


# ---- settings, and the trained model


BAD_SETTINGS: dict[str, tuple[type[MusicDataModule], dict[str, Any], list[str]]] = {
    "first_observation": (MidiFolder, {"first_observation": "free"}, ["data.first_observation is 'free'", "scored"]),
    "no first_observation": (PolyphonicMusic, {"first_observation": None}, ["data.first_observation is None"]),
    "a chorale's": (Chorales, {"first_observation": None}, ["data.first_observation is None"]),
    "chunk_steps": (SrnnMusic, {"chunk_steps": 0}, ["data.chunk_steps is 0", "1 or more"]),
    "streams": (SrnnMusic, {"streams": 0}, ["data.streams is 0", "1 or more"]),
    "steps_per_quarter": (MidiFolder, {"steps_per_quarter": 0}, ["data.steps_per_quarter is 0", "between 1 and 480"]),
    "a chorale's step": (Chorales, {"steps_per_quarter": 0}, ["data.steps_per_quarter is 0"]),
    "too fine": (PolyphonicMusic, {"steps_per_quarter": 481}, ["data.steps_per_quarter is 481", "between 1 and 480"]),
    "seconds": (MidiFolder, {"seconds_per_step": 0.0}, ["data.seconds_per_step is 0.0", "between 0.001 and 3"]),
    "no number": (MidiFolder, {"seconds_per_step": float("nan")}, ["data.seconds_per_step is nan"]),
    "both": (MidiFolder, {"seconds_per_step": 0.1, "steps_per_quarter": 4}, ["both say how long a step is"]),
    "seed": (MidiFolder, {"split_seed": -1}, ["data.split_seed is -1"]),
    "a chorale's seed": (Chorales, {"split_seed": -1}, ["data.split_seed is -1"]),
    "fraction": (MidiFolder, {"valid_fraction": float("nan")}, ["data.valid_fraction is nan"]),
    "fractions": (MidiFolder, {"valid_fraction": 0.5, "test_fraction": 0.5}, ["their sum must be below 1"]),
}


@pytest.mark.parametrize(("cls", "settings", "fragments"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_bad_setting_is_refused(cls: type[MusicDataModule], settings: dict[str, Any], fragments: list[str]) -> None:
    assert lacks(message(lambda: cls(**settings)), fragments) == []


BAD_PATHS: dict[str, tuple[Callable[[str], MusicDataModule], str, list[str]]] = {
    "no name": (PolyphonicMusic, "", ["data.path is empty", ".pickle or .mat"]),
    "no name of a folder": (MidiFolder, "", ["data.path is empty", "a folder of MIDI files"]),
    "missing": (PolyphonicMusic, "nowhere.pkl", ["nowhere.pkl", "no such file or folder"]),
    "another suffix": (PolyphonicMusic, "a.csv", ["its suffix is '.csv'", ".mat, .p, .pickle or .pkl"]),
    "one MIDI file": (PolyphonicMusic, "a.mid", ["its suffix is '.mid'", "data.name midi-folder reads a folder"]),
    "windows": (PolyphonicMusic, "a.npz", ["its suffix is '.npz'", "data.name srnn-music reads"]),
    "a file as a folder": (MidiFolder, "a.mid", ["is a file; name a folder of MIDI files"]),
    "a folder as a pickle": (
        PolyphonicMusic,
        ".",
        ["is a folder", "data.name midi-folder reads a folder of MIDI files"],
    ),
    "a folder as windows": (SrnnMusic, ".", ["is a folder; name the SRNN authors' .npz file"]),
    "a pickle as windows": (SrnnMusic, "a.pkl", ["its suffix is '.pkl'", "data.name polyphonic reads such files"]),
    "nobody's home": (PolyphonicMusic, "~nobody-of-that-name/a.pkl", ["has no home folder for ~nobody-of-that-name"]),
}


@pytest.mark.parametrize(("make", "name", "fragments"), BAD_PATHS.values(), ids=BAD_PATHS.keys())
def test_a_bad_path_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[str], MusicDataModule],
    name: str,
    fragments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("a.pkl", "a.csv", "a.mid", "a.npz"):
        pickled(tmp_path / file)
    assert lacks(message(lambda: loaded(make(name))), fragments) == []


@pytest.mark.parametrize("name", ["music.p", "music.PKL", "music.pickle"])
def test_a_pickle_has_any_of_the_usual_suffixes(tmp_path: Path, name: str) -> None:
    assert len(sequences(PolyphonicMusic(pickled(tmp_path / name)))) == 3


@pytest.mark.parametrize(
    ("trained", "fragments"),
    [
        (
            DataDescription("polyphonic", ObservationSpec("binary", 88, "conditioned"), 9, format=MusicFormat()),
            ["data.first_observation is scored", "trained with conditioned"],
        ),
        (
            DataDescription("polyphonic", ObservationSpec("binary", 88), 9, format=MusicFormat(steps_per_quarter=4)),
            ["steps_per_quarter 2, but the model was trained with 4", "data.seconds_per_step"],
        ),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, trained: DataDescription, fragments: list[str]
) -> None:
    data = PolyphonicMusic(pickled(tmp_path / "a.pkl"))
    assert lacks(message(lambda: data.load("test", trained)), fragments) == []


def test_the_format_of_music_is_kept_with_the_model() -> None:
    music = MusicFormat(steps_per_quarter=4, quarters_per_minute=150.0, seconds_per_step=0.1, drums=True)
    description = DataDescription("polyphonic", ObservationSpec("binary", 88), 9, format=music)
    assert DataDescription.from_json(description.to_json()) == description


@pytest.mark.parametrize(
    ("music", "fragment"),
    [
        ({"lowest_pitch": -1}, "data.format.lowest_pitch is -1"),
        ({"lowest_pitch": 60}, "they must be binary, with MIDI numbers up to 127"),
        ({"steps_per_quarter": 2.5}, "data.format.steps_per_quarter is 2.5"),
        ({"quarters_per_minute": float("nan")}, "data.format.quarters_per_minute is nan"),
        ({"swing": 1}, "doesn't fit"),
    ],
)
def test_a_format_that_no_music_has_is_refused(music: dict[str, Any], fragment: str) -> None:
    values = DataDescription("polyphonic", ObservationSpec("binary", 88), 9).to_json() | {
        "format": {"name": "music"} | music
    }
    assert fragment in message(lambda: DataDescription.from_json(values))


# ---- what to go on from


def prefixes(folder: Path, name: str, **settings: Any) -> list[list[list[int]]]:
    """What a model of MIDI files reads; where these are is of no matter."""
    data = MidiFolder("gone", **settings)
    given = DataDescription("midi-folder", ObservationSpec("binary", 88), 9, format=data._format)
    return pitches([example.x for example in given.format.read(str(folder / name), given)])


def test_what_is_drawn_has_the_median_tempo_of_the_training_files(tmp_path: Path) -> None:
    for split, tempos in {"train": (60.0, 90.0, 200.0), "valid": (30.0,), "test": (30.0,)}.items():
        for n, tempo in enumerate(tempos):
            (tmp_path / split).mkdir(exist_ok=True)
            roll = np.eye(88)[:4]
            MusicFormat(quarters_per_minute=tempo).write_midi(tmp_path / split / f"{n}.mid", roll)
    description = MidiFolder(str(tmp_path)).describe()
    assert isinstance(description.format, MusicFormat)
    assert description.format.quarters_per_minute == pytest.approx(90, rel=1e-5)
    of_before = replace(description, format=MusicFormat(steps_per_quarter=4))
    assert len(MidiFolder(str(tmp_path)).load("test", of_before)) == 1  # a run of before has 120 there
    in_seconds = MidiFolder(str(tmp_path), seconds_per_step=0.1).describe()
    assert in_seconds.format == MusicFormat.of_steps(4, 0.1)


def test_a_prefix_is_a_midi_file_at_the_models_step(tmp_path: Path) -> None:
    midi(tmp_path / "a.mid", [(0, 1, 60), (1, 0.5, 62)])
    assert prefixes(tmp_path, "a.mid", steps_per_quarter=2) == [[[60], [60], [62]]]
    assert prefixes(tmp_path, "a.mid", seconds_per_step=0.25) == [[[60], [60], [62]]]
    assert prefixes(tmp_path, "a.mid") == [[[60]] * 4 + [[62]] * 2]


def test_a_prefix_has_drums_if_the_model_reads_them(tmp_path: Path) -> None:
    midi(tmp_path / "a.mid", [(0, 0.5, 36)], [(0, 0.25, 60)], drums=0)
    assert prefixes(tmp_path, "a.mid") == [[[60]]]
    assert prefixes(tmp_path, "a.mid", drums=True) == [[[36, 60], [36]]]


def test_a_prefix_is_a_pickle_of_one_sequence_or_an_archive_of_rolls(tmp_path: Path) -> None:
    pickled(tmp_path / "one.pkl", [(60, 64), (62,)])
    assert prefixes(tmp_path, "one.pkl") == [[[60, 64], [62]]]
    np.savez(tmp_path / "one.npz", x=roll([60], []))
    np.savez(tmp_path / "two.npz", x=np.stack([roll([60], [61]), roll([62], [])]).astype(np.float32))
    assert prefixes(tmp_path, "one.npz") == [[[60], []]]
    assert prefixes(tmp_path, "two.npz") == [[[60], [61]], [[62], []]]


BAD_PREFIXES: dict[str, tuple[Callable[[Path], object], str, list[str]]] = {
    "missing": (lambda t: None, "a.mid", ["a.mid: no such file"]),
    "another kind": (lambda t: (t / "a.wav").write_bytes(b""), "a.wav", ["its suffix is '.wav'", ".mid, .midi, .npz"]),
    "a whole data set": (lambda t: pickled(t / "a.pkl"), "a.pkl", ["its sequence is {'test'", "list of steps"]),
    "no archive": (lambda t: (t / "a.npz").write_bytes(b"x"), "a.npz", ["is not an .npz archive"]),
    "no x": (lambda t: np.savez(t / "a.npz", y=np.zeros(3)), "a.npz", ["has no array 'x', it has y"]),
    "flat": (lambda t: np.savez(t / "a.npz", x=np.zeros(88)), "a.npz", ["array 'x' is [88]", "[n, T, 88]"]),
    "grey": (lambda t: np.savez(t / "a.npz", x=np.full((2, 88), 0.5)), "a.npz", ["array 'x' is 0.5 at step 0"]),
}


@pytest.mark.parametrize(("make", "name", "fragments"), BAD_PREFIXES.values(), ids=BAD_PREFIXES.keys())
def test_a_bad_prefix_is_refused(
    tmp_path: Path, make: Callable[[Path], object], name: str, fragments: list[str]
) -> None:
    make(tmp_path)
    assert lacks(message(lambda: prefixes(tmp_path, name)), fragments) == []


def test_a_prefix_needs_a_step_after_the_one_that_is_conditioned_on(tmp_path: Path) -> None:
    content = {split: [[(60,)] * 4] for split in SPLITS}
    data = PolyphonicMusic(pickled(tmp_path / "a.pkl", content), first_observation="conditioned")
    one = pickled(tmp_path / "one.pkl", [(60,)])
    assert "has 1 step; the model conditions" in message(lambda: data.describe().format.read(one, data.describe()))


# ---- chorales


def test_what_sounds_when_a_step_begins_sounds_in_it() -> None:
    notes = np.array([(60, 0, 1), (62, 1, 1.5), (64, 1.25, 1.5), (65, 1.5, 2 + 1 / 3), (20, 0, 9), (66, 2 + 1 / 3, 3)])
    assert pitches([chorales.roll_of_notes(notes, 2)]) == [[[60], [60], [62], [65], [65], [66]]]
    assert pitches([chorales.roll_of_notes(notes, 3)])[0][6:] == [[65], [66], [66]]


def test_a_chorale_of_music21_is_parsed() -> None:
    notes = chorales.parse_chorale("bach/bwv66.6")
    assert notes.shape == (165, 3)  # 9 bars of 4/4 after an upbeat, in F sharp minor
    assert notes[:, 2].max() == 36
    sounding = pitches([chorales.roll_of_notes(notes, 2)])[0]
    assert len(sounding) == 72
    assert sounding[0] == [57, 64, 73]  # tenor and bass begin on one A
    assert sounding[-1] == [54, 58, 61, 66]  # F sharp major


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and chorales that are quickly parsed: one note of so many quarters as the name has letters."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(chorales, "parse_chorale", lambda name: np.array([(60.0, 0.0, float(len(name)))]))
    return tmp_path / "cache" / "zforcing"


def test_chorales_are_split_at_random_by_piece(cache: Path) -> None:
    data = Chorales()
    counts = [len(loaded(data, split)) for split in SPLITS]
    assert sum(counts) > 340
    assert counts[1] / sum(counts) == pytest.approx(76 / 382, abs=0.005)
    assert counts[2] / sum(counts) == pytest.approx(77 / 382, abs=0.005)
    assert data.describe().name == "chorales"
    assert loaded(data).fingerprint() == loaded(Chorales()).fingerprint()
    assert loaded(data).fingerprint() != loaded(Chorales(split_seed=1)).fingerprint()


def test_parsed_chorales_are_kept_in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(Chorales()).fingerprint()
    assert [file.name for file in cache.iterdir()] == [f"chorales-1-music21-{chorales.version('music21')}.npz"]
    monkeypatch.setattr(chorales, "parse_chorale", lambda name: pytest.fail("parsed again"))
    assert loaded(Chorales()).fingerprint() == first
    finer = loaded(Chorales(steps_per_quarter=4))
    assert finer.lengths.tolist() == (2 * loaded(Chorales()).lengths).tolist()


def test_a_damaged_cache_is_made_again(cache: Path) -> None:
    first = loaded(Chorales()).fingerprint()
    file = next(cache.iterdir())
    file.write_bytes(file.read_bytes()[:1000])
    assert loaded(Chorales()).fingerprint() == first
    with np.load(file) as archive:
        assert len(archive.files) > 340


def test_chorales_need_no_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(loaded(Chorales())) > 200


def test_chorales_without_music21_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    assert "pip install 'zforcing[chorales]'" in message(Chorales().describe)


def test_chorales_take_what_other_music_takes(tmp_path: Path, cache: Path) -> None:
    data = Chorales(first_observation="conditioned")
    description = data.describe()
    midi(tmp_path / "a.mid", [(0, 1, 60)])
    assert pitches([description.format.read(str(tmp_path / "a.mid"), description)[0].x]) == [[[60], [60]]]
    assert "data chorales holds music" in message(
        lambda: data.load("test", DataDescription("digits", ObservationSpec("binary", 1), 64))
    )


# ---- the sets that papers report on


def packed(name: str) -> Any:
    if not (SHARED / f"{name}.npz").exists():
        pytest.skip(f"real music is not there: no shared/data/packed/{name}.npz beside the checkout")
    return np.load(SHARED / f"{name}.npz")


def test_the_jsb_chorales_are_as_published(tmp_path: Path) -> None:
    arrays = packed("poly_jsb")
    content = {}
    for split in SPLITS:
        rolls = np.split(
            np.unpackbits(arrays[f"{split}_bits"], axis=-1, count=88), np.cumsum(arrays[f"{split}_lengths"])
        )
        content[split] = [[tuple(step) for step in sequence] for sequence in pitches(rolls[:-1])]
    data = PolyphonicMusic(pickled(tmp_path / "JSB Chorales.pickle", content))
    assert [len(loaded(data, split)) for split in SPLITS] == [229, 76, 77]
    assert loaded(data, "test").lengths.sum() == 4725


def test_the_srnn_authors_jsb_is_as_published(tmp_path: Path) -> None:
    arrays, stream = packed("poly_srnn_jsb"), {}
    for split in ("train", "valid"):
        music = np.unpackbits(arrays[f"{split}_stream_bits"], axis=-1, count=88)
        for name, part in (("u", music[:, :-1]), ("x", music[:, 1:])):
            stream[f"{name}_{split}"] = part.reshape(16, -1, 100, 88).swapaxes(0, 1).reshape(-1, 100, 88)
    tests = np.split(np.unpackbits(arrays["test_bits"], axis=-1, count=88), np.cumsum(arrays["test_lengths"]))[:-1]
    longest = max(map(len, tests)) - 1
    u, x, mask = (
        np.zeros((len(tests), longest, 88)),
        np.zeros((len(tests), longest, 88)),
        np.zeros((len(tests), longest)),
    )
    for i, whole in enumerate(tests):
        n = len(whole) - 1
        u[i, :n], x[i, :n], mask[i, :n] = whole[:-1], whole[1:], 1
    np.savez(tmp_path / "jsb_raw_batchsize16_seqlen100.npz", **stream, u_test=u, x_test=x, mask_test=mask)
    data = SrnnMusic(str(tmp_path / "jsb_raw_batchsize16_seqlen100.npz"))
    assert [len(loaded(data, split)) for split in SPLITS] == [16, 80, 77]
    assert (loaded(data).lengths - 1).tolist() == [1700] * 16
    assert (loaded(data, "test").lengths - 1).sum() == 9396
