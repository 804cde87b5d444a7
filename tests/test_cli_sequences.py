"""`interpolate` and `continue` as a user runs them on images, text and music, and the sequences that they are given."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from conftest import Command
from zforcing.cli import main
from zforcing.cli.sources import beginnings_of, read_sequence, read_sequences
from zforcing.data import Digits, PolyphonicMusic, Text
from zforcing.errors import UserError
from zforcing.observations import Example, TextFormat
from zforcing.training.runs.trained import Trained

SMALL = ["--model.hidden_size", "6", "--model.latent_size", "2", "--model.embedding_size", "4", "--model.mlp_size", "4"]
STEPS = ["--training.max_steps", "2", "--device", "cpu"]
SENTENCES = ["a good film", "a bad film", "the good end", "a film of the end", "good and bad"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small runs: of images, text and music."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_default_dtype(torch.float32)
    for split in ("train", "valid", "test"):
        (folder / "text").mkdir(exist_ok=True)
        (folder / "text" / f"{split}.txt").write_text("\n".join(SENTENCES) + "\n")
    rng = np.random.default_rng(0)
    pieces = [[tuple(rng.integers(21, 109, size=3).tolist()) for _ in range(9)] for _ in range(4)]
    (folder / "music.pickle").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), pieces), 2))
    for name, recipe, data in (
        ("digits", "digits-zforcing", []),
        ("text", "imdb-small-zforcing", ["--data.root", str(folder / "text")]),
        ("music", "jsb-zforcing", ["--data.path", str(folder / "music.pickle")]),
    ):
        assert main(["train", recipe, "--run-dir", str(folder / f"run-{name}"), *data, *SMALL, *STEPS]) == 0
    assert main(["train", "digits-rnn", "--run-dir", str(folder / "run-rnn"), *SMALL[:2], *SMALL[4:6], *STEPS]) == 0
    return folder


def test_interpolating_images_makes_a_picture_of_all_of_them(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("interpolate", runs / "run-digits", "test:0", "test:5", "--num", 4, "--out", tmp_path, "--json")
    arrays, picture = map(Path, result.json["files"])
    assert np.load(arrays)["x"].shape == (4, 64, 1)
    assert picture.name == "interpolate-test-0-test-5-seed0.png"
    assert {"a": "test:0", "b": "test:5", "num": 4, "path": "linear", "decode": "greedy"}.items() <= result.json.items()


def test_interpolating_sentences_prints_the_ladder(runs: Path, tmp_path: Path, zf: Command) -> None:
    words = ["interpolate", runs / "run-text", "a good film", "the good end", "--num", 5, "--out", tmp_path]
    lines = zf(*words).out.splitlines()
    assert len(lines) == 5 + 2
    (file,) = tmp_path.glob("interpolate-a-good-film-????????-the-good-end-????????-seed0.txt")
    written = file.read_text().splitlines()
    assert [line.removesuffix(" ...") for line in lines[:5]] == written
    values = zf(*words, "--json").json
    assert (values["text"], values["unknown"]) == (lines[:5], 0)
    x = np.load(values["files"][0])["x"]
    assert x.shape[1] == 6  # the longest sentence trained on: a rung isn't cut at the ends' length
    end = Text(str(runs / "text")).describe().format.vocabulary.end
    assert [line.endswith(" ...") for line in lines[:5]] == [end not in row for row in x]


def test_unknown_words_are_named_and_counted(runs: Path, tmp_path: Path, zf: Command) -> None:
    words = ["--out", tmp_path, "--json"]
    for result in (
        zf("interpolate", runs / "run-text", "a zzq film", "the end", *words),
        zf("continue", runs / "run-text", "a zzq film", *words),
    ):
        assert "not in the vocabulary, and read as unknown: zzq" in result.err
        assert result.json["unknown"] == 1


def test_unknown_words_of_a_file_are_counted(runs: Path, tmp_path: Path, zf: Command) -> None:
    (tmp_path / "a.txt").write_text("a zzq film zzp\n")
    result = zf("continue", runs / "run-text", tmp_path / "a.txt", "--out", tmp_path, "--json")
    assert "a.txt: read as a file, 2 of its symbols unknown" in result.err
    assert result.json["unknown"] == 2


def test_other_sources_and_checkpoints_have_files_of_their_own(runs: Path, tmp_path: Path, zf: Command) -> None:
    long = "a film of the end and a good film and a bad film of the"
    for a in ("a good film", "a good film .", "a good film !", f"{long} end", f"{long} film"):
        assert zf("continue", runs / "run-text", a, "--out", tmp_path).code == 0
    assert zf("continue", runs / "run-text", "a good film", "--checkpoint", "last", "--out", tmp_path).code == 0
    assert len(list(tmp_path.glob("continue-a-good-film-????????-last-seed0.txt"))) == 1
    assert len(list(tmp_path.glob("*.txt"))) == 6
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.txt").write_text("a good\n")
        assert zf("continue", runs / "run-text", tmp_path / folder / "good.txt", "--out", tmp_path).code == 0
    for a in ("good", "test 0", "a good film last"):
        assert zf("continue", runs / "run-text", a, "--out", tmp_path).code == 0
    assert zf("continue", runs / "run-text", "test:0", "--given", 1, "--out", tmp_path).code == 0
    assert len(list(tmp_path.glob("*.txt"))) == 12


def test_a_name_fits_into_255_bytes(runs: Path, tmp_path: Path, zf: Command) -> None:
    a, b = "\u6211\u559c\u6b22" * 30, "\u96fb\u5f71" * 40
    assert zf("interpolate", runs / "run-text", a, b, "--path", "spherical", "--out", tmp_path).code == 0
    assert all(len(file.name.encode()) <= 255 for file in tmp_path.iterdir())


def test_a_file_may_be_called_anything(runs: Path, tmp_path: Path, zf: Command) -> None:
    file = tmp_path / "caf\udce9.txt"
    file.write_text("a good\n")
    assert zf("continue", runs / "run-text", file, "--out", tmp_path / "out", "--json").code == 0


@pytest.mark.parametrize("text", ["10/10", "</s>", "~10 films", "he/she", "test: film", "a film/book"])
def test_what_no_file_is_called_is_text(text: str, runs: Path, tmp_path: Path, zf: Command) -> None:
    assert "read as unknown" in zf("continue", runs / "run-text", text, "--out", tmp_path).err


def test_a_whole_sentence_has_nothing_behind_it(runs: Path, tmp_path: Path, zf: Command) -> None:
    assert "keep less of it by --given 0.5" in zf("continue", runs / "run-text", "test:0", "--out", tmp_path).mistake
    assert zf("continue", runs / "run-text", "test:0", "--given", 2, "--out", tmp_path).code == 0


def test_files_of_a_call_before_are_removed(runs: Path, tmp_path: Path, zf: Command) -> None:
    for num in (4, 2):
        files = zf("interpolate", runs / "run-music", "test:0", "test:1", "--num", num, "--out", tmp_path, "--json")
        assert sorted(map(str, tmp_path.iterdir())) == sorted(files.json["files"])


def test_a_first_step_that_is_read_is_mixed_and_written(runs: Path, tmp_path: Path, zf: Command) -> None:
    data = ["--data.path", runs / "music.pickle", "--data.first_observation", "conditioned"]
    assert zf("train", "jsb-zforcing", "--run-dir", tmp_path / "run", *data, *SMALL, *STEPS).code == 0
    values = zf("interpolate", tmp_path / "run", "test:0", "test:1", "--num", 4, "--out", tmp_path / "out", "--json")
    arrays = np.load(values.json["files"][0])
    assert arrays["x"].shape == (4, 8, 88)
    music = PolyphonicMusic(str(runs / "music.pickle"))
    test = music.load("test", music.describe())
    assert np.array_equal(arrays["start"], [test[0].x[0], test[0].x[0], test[1].x[0], test[1].x[0]])


def test_a_vocabulary_of_another_run_is_refused(runs: Path, tmp_path: Path, zf: Command) -> None:
    (tmp_path / "text").mkdir()
    for split in ("train", "valid", "test"):  # as many words
        (tmp_path / "text" / f"{split}.txt").write_text("\n".join(SENTENCES).replace("film", "book") + "\n")
    words = ["--data.root", tmp_path / "text", *SMALL, *STEPS]
    assert zf("train", "imdb-small-zforcing", "--run-dir", tmp_path / "run", *words).code == 0
    (other,) = (tmp_path / "run" / "checkpoints" / "best").glob("**/config.json")
    own = Path(shutil.copytree(runs / "run-text", tmp_path / "copy"))
    (config,) = (own / "checkpoints" / "best").glob("**/config.json")
    shutil.copy(other, config)
    assert "config.json isn't as it was written" in zf("evaluate", own).mistake
    config.with_name("SHA256SUMS").unlink()  # as of version 0.1
    assert "isn't that of the weights in its folder, but edited or another run's" in zf("evaluate", own).mistake


def test_interpolating_pieces_writes_music_that_is_heard_and_seen(runs: Path, tmp_path: Path, zf: Command) -> None:
    words = ["--path", "spherical", "--decode", "sample", "--infer", "draw", "--seed", 3]
    files = zf("interpolate", runs / "run-music", "test:0", "train:1", *words, "--out", tmp_path, "--json").json[
        "files"
    ]
    assert [Path(file).suffix for file in files] == [".npz", ".png", *[".mid", ".wav"] * 7]
    assert np.load(files[0])["x"].shape == (7, 9, 88)


def test_a_half_given_digit_is_completed_below_the_whole_one(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("continue", runs / "run-digits", "test:3-5", "--given", 0.5, "--num", 2, "--out", tmp_path, "--json")
    arrays, picture = map(Path, result.json["files"])
    assert result.json["steps"] == 32
    assert result.json["prefix_steps"] == [32, 32, 32]
    assert np.load(arrays)["x"].shape == (6, 32, 1)
    digits = Digits()
    test = digits.load("test", digits.describe())
    grid = imread(picture)[::8, ::8, 0]  # 8 pixels of 8 each, and a grey line between
    cells = [[grid[1 + 9 * r : 9 + 9 * r, 1 + 9 * c : 9 + 9 * c] for c in range(3)] for r in range(4)]
    for column, index in enumerate((3, 4, 5)):
        whole = test[index].x.reshape(8, 8)
        assert np.array_equal(cells[0][column], whole)
        assert np.array_equal(cells[1][column][:4], whole[:4])
        assert np.allclose(cells[1][column][4:], 0.5, atol=0.01)
        for row in (2, 3):
            assert np.array_equal(cells[row][column][:4], whole[:4])
            drawn = np.load(arrays)["x"][(row - 2) * 3 + column].reshape(4, 8)
            assert np.array_equal(cells[row][column][4:], drawn)


def test_text_goes_on_from_words_that_are_given(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("continue", runs / "run-text", "a good", "--num", 3, "--out", tmp_path, "--json")
    arrays, text = map(Path, result.json["files"])
    assert re.fullmatch(r"continue-a-good-[0-9a-f]{8}-seed0\.txt", text.name)
    lines = text.read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("a good") for line in lines)
    assert np.load(arrays)["x"].shape[0] == 3
    assert [line.removesuffix(" ...") for line in result.json["text"]] == lines


def test_sentences_that_are_drawn_are_printed(runs: Path, tmp_path: Path, zf: Command) -> None:
    words = ["sample", runs / "run-text", "--num", 5, "--steps", 3, "--out", tmp_path]
    *lines, arrays, text = zf(*words).out.splitlines()
    assert [line.removesuffix(" ...") for line in lines] == Path(text).read_text().splitlines()
    end = Text(str(runs / "text")).describe().format.vocabulary.end
    assert [line.endswith(" ...") for line in lines] == [end not in row for row in np.load(arrays)["x"]]
    assert zf(*words, "--json").json["text"] == lines


def test_music_goes_on_from_a_piece_of_the_data(runs: Path, tmp_path: Path, zf: Command) -> None:
    files = zf("continue", runs / "run-music", "test:1", "--given", 4, "--steps", 6, "--out", tmp_path, "--json").json
    assert files["prefix_steps"] == [4]
    assert [Path(file).suffix for file in files["files"]] == [".npz", ".png", *[".mid", ".wav"] * 4]


def test_info_says_of_a_vocabulary_its_kind_and_size(runs: Path, zf: Command) -> None:
    words = {word for line in SENTENCES for word in line.split()}
    found = zf("info", runs / "run-text", "--json").json["data"]["format"]["vocabulary"]
    assert found == {"tokens": "words", "symbols": len(words) + 2}


def test_evaluating_text_counts_unknown_words_and_ends(runs: Path, tmp_path: Path, zf: Command) -> None:
    values = zf("evaluate", runs / "run-text", "--json").json
    symbols = sum(len(line.split()) + 1 for line in SENTENCES)
    assert (values["num_dims"], values["num_unknown"]) == (symbols, 0)
    total = values["nats_per_sequence"] * values["num_sequences"]
    assert values["perplexity"] == pytest.approx(np.exp(-total / symbols))
    assert zf("evaluate", runs / "run-digits", "--json").json["num_unknown"] is None


def test_nats_per_step_of_sequences_weighs_them_alike(runs: Path, zf: Command) -> None:
    assert zf("evaluate", runs / "run-text").code == 0
    values = json.loads((runs / "run-text" / "evaluation-test-elbo.json").read_text())
    assert values["nats_per_step"] == pytest.approx(values["nats_per_sequence"] * 5 / values["num_steps"])
    assert values["nats_per_step_of_sequences"] != pytest.approx(values["nats_per_step"], rel=1e-4)
    equal = zf("evaluate", runs / "run-music", "--json").json
    assert equal["nats_per_step_of_sequences"] == pytest.approx(equal["nats_per_step"])


def test_skipping_what_cant_be_read_is_for_files(runs: Path, zf: Command) -> None:
    for split in ([], ["test"]):
        said = zf("evaluate", runs / "run-text", *split, "--skip-unreadable").mistake
        assert "recordings and MIDI files" in said


MISSPELT = ["test:", "test:-1", "test:0-", "test:0,,5", f"test:{'9' * 5000}", "test:0 ,1"]

MISTAKES: list[tuple[list[object], str]] = [
    (["interpolate", "run-rnn", "test:0", "test:1"], "model rnn has no latents"),
    (["interpolate", "run-digits", "test:0", "test:300"], "the test split has sequences 0 to 299"),
    (["interpolate", "run-digits", "test:0-1", "test:2"], "test:0-1 holds 2 sequences"),
    (["interpolate", "run-digits", "test:0", "test:1", "--num", "1"], "--num is 1; it must be 2 or more"),
    (
        ["interpolate", "run-digits", "test:0", "test:1", "--path", "round"],
        "--path is round; it must be linear or spherical",
    ),
    (
        ["interpolate", "run-digits", "test:0", "test:1", "--decode", "beam"],
        "--decode is beam; it must be greedy or sample",
    ),
    (["interpolate", "run-digits", "test:0", "nowhere.npz"], "nowhere.npz: no such file"),
    (["interpolate", "run-text", "a film", "nowhere.txt"], "nowhere.txt"),
    (["interpolate", "run-text", "a film", " "], "holds no symbol"),
    (["continue", "run-digits", "test:0"], "the images are whole already, 64 steps: keep less of them by --given 0.5"),
    (["continue", "run-digits", "test:5-3"], "test:5-3 goes backwards; write test:3-5"),
    *((["continue", "run-music", source], "sequences of a split are written test:0") for source in MISSPELT),
    *((["continue", "run-text", source], "sequences of a split are written test:0") for source in MISSPELT[:-1]),
    (["continue", "run-music", ""], "nothing is given to read"),
    (["continue", "run-music", "~nobody-of-that-name/a.mid"], "has no home folder for ~nobody-of-that-name"),
    (["continue", "run-text", "caf\udce9 bar"], "is not UTF-8"),
    (["continue", "run-text", "./nowhere/good.txt"], "good.txt"),
    (["continue", "run-music", "test:0", "--given", "nan"], "--given is nan; it must be a finite number or null"),
    (["train", "jsb-rnn", "--data.first_observation", "x"], "is x; it must be scored or conditioned"),
    (["train", "imdb-rnn", "--data.tokenize", "x"], "--data.tokenize is x; it must be true or false"),
    (["sample", "run-music", "--steps", "x"], "--steps is x; it must be a whole number or null"),
    (["sample", "run-music", "--steps", ""], "--steps is empty; it must be a whole number or null"),
    (["sample", "run-music", "--num", "x"], "--num is x; it must be a whole number"),
    (["evaluate", "run-music", "--chunk-steps", "x"], "--chunk-steps is x; it must be a whole number or null"),
    (["train", "imdb-rnn", "--data.tokens", "x"], "is x; it must be words or characters or bytes or bpe"),
    (["train", "jsb-rnn", "--weights.kl", "x"], "--weights.kl is x; it must be a finite number"),
    (["continue", "run-digits", "test:0,300"], "test:300: the test split has sequences 0 to 299"),
    (["continue", "run-digits", "test:0", "--given", "0"], "--given is 0; it must be a share between 0 and 1"),
    (["continue", "run-digits", "test:0", "--given", "1.5"], "or a whole number of steps"),
    (["continue", "run-digits", "test:0", "--given", "65"], "--given 65 of the 64 steps"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=[ascii(words)[:60] for words, _ in MISTAKES])
def test_a_mistake_is_one_line(words: list[object], said: str, runs: Path, zf: Command) -> None:
    command, run, *others = words
    assert said in zf(command, run if command == "train" else runs / str(run), *others).mistake


def test_a_mistake_in_a_recipe_names_the_file(tmp_path: Path, zf: Command) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: jsb-rnn\ntraining: {max_steps: abc}\n")
    said = f"{file}: training.max_steps (line 2) is 'abc'; it must be a whole number or null"
    assert zf("train", file).mistake.endswith(said)


def test_sources_are_sequences_of_the_data_files_or_text(runs: Path) -> None:
    found = Trained.load(str(runs / "run-text"), which="best")
    assert isinstance(found.description.format, TextFormat)
    vocabulary = found.description.format.vocabulary
    assert [vocabulary.decode(e.x) for e in read_sequences("train:1-2", found)] == SENTENCES[1:3]
    listed = [vocabulary.decode(e.x) for e in read_sequences("train:3,0-1,0", found)]
    assert listed == [SENTENCES[i] for i in (3, 0, 1, 0)]
    own, given = (read_sequence(source, found).x.tolist() for source in ("train:0", "a good film"))
    assert own == given == [*vocabulary.encode("a good film"), vocabulary.end]
    assert read_sequences("a good", found)[0].x.tolist() == vocabulary.encode("a good")
    (runs / "begin.txt").write_text("the end\na film\n")
    assert len(read_sequences(str(runs / "begin.txt"), found)) == 2


def test_a_share_or_a_number_of_the_scored_steps_is_kept() -> None:
    examples = [Example(np.zeros((9, 1), np.float32)), Example(np.zeros((5, 1), np.float32), np.ones((5, 1), bool))]
    assert [len(e.x) for e in beginnings_of(examples, None, first=0)] == [9, 5]
    assert [len(e.x) for e in beginnings_of(examples, 0.5, first=0)] == [4, 2]
    assert [len(e.x) for e in beginnings_of(examples, 0.5, first=1)] == [5, 3]
    assert [len(e.x) for e in beginnings_of(examples, 3, first=1)] == [4, 4]
    assert beginnings_of(examples, 3, first=0)[1].observed.shape == (3, 1)
    with pytest.raises(UserError, match="--given 6 of the 5 steps of sequence 1 is 6"):
        beginnings_of(examples, 6, first=0)
