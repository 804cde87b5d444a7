"""Sentences: which symbols a text becomes, which split it is in, what the model keeps, and each mistake in a line."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import write_samples
from zforcing import MODELS, ObservationSpec, SequenceBatch
from zforcing.bounds import Bound
from zforcing.bounds.base import BoundResult
from zforcing.data import DATA, Reviews, Split, Text
from zforcing.data.dataset import SequenceDataset
from zforcing.data.text.dataset import TextDataset
from zforcing.data.text.sentences import SentenceDataModule
from zforcing.errors import UserError
from zforcing.evaluation.likelihood import evaluate
from zforcing.models import RNN, Generated
from zforcing.observations import (
    DataDescription,
    TextFormat,
    Vocabulary,
    build_vocabulary,
    collate,
    prepare,
    split_sentences,
    split_words,
)
from zforcing.saving.model import load, save

SHARED = Path(__file__).parents[2] / "shared" / "data"
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
KINDS = ("words", "characters", "bytes", "bpe")
TRAIN = ("the cat sat", "the dog sat", "a cat", "the end")


def write(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


def by_file(root: Path, train: Any = TRAIN, valid: Any = ("the cat",), test: Any = ("a dog ran",)) -> str:
    for split, lines in {"train": train, "valid": valid, "test": test}.items():
        write(root / f"{split}.txt", *lines)
    return str(root)


def numbered_lines(root: Path, lines: int = 40) -> str:
    return str(write(root / "all.txt", *(f"line {n}" for n in range(lines))))


def acl_imdb(root: Path, each: int = 20) -> str:
    """The tree of aclImdb as it is distributed; review n says `this is review number n .`, and more."""
    for folder, count in {
        "train/pos": each,
        "train/neg": each,
        "train/unsup": each,
        "test/pos": 2,
        "test/neg": 3,
    }.items():
        for n in range(count):
            said = f"This is review number {n} of {folder.replace('/', '')}. It's short.<br /><br />Was it a good one?"
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{n}_7.txt").write_text(said, "utf-8")
    for name in (
        "README",
        "imdb.vocab",
        "imdbEr.txt",
        "train/urls_pos.txt",
        "train/labeledBow.feat",
        "test/urls_neg.txt",
    ):
        (root / name).write_text("http://www.imdb.com/title/tt0453418/usercomments\n", "utf-8")
    return str(root)


def sentences(data: SentenceDataModule, split: Split = "train") -> list[str]:
    description = data.describe()
    assert description.format.vocabulary is not None
    loaded = data.load(split, description)
    return [description.format.vocabulary.decode(loaded[i].x) for i in range(len(loaded))]


def loaded(data: SentenceDataModule, split: Split = "train") -> TextDataset:
    return data.load(split, data.describe())


def counts(data: SentenceDataModule) -> list[int]:
    description = data.describe()
    return [len(data.load(split, description)) for split in SPLITS]


def vocabulary(data: SentenceDataModule) -> Vocabulary:
    found = data.describe().format.vocabulary
    assert found is not None
    return found


def built(tokens: Any, *text: str, most: int = 100) -> Vocabulary:
    return build_vocabulary(text, tokens, most=most, lowercase=False, tokenize=False)


def message(split: Split = "train", cls: type[SentenceDataModule] = Text, **settings: Any) -> str:
    with pytest.raises(UserError) as error:
        loaded(cls(**settings), split)
    said = str(error.value)
    assert "\n" not in said
    return said


# ---- symbols


def test_text_is_registered() -> None:
    assert (DATA["text"], DATA["reviews"]) == (Text, Reviews)


def test_words_are_numbered_by_frequency_and_then_by_the_alphabet(tmp_path: Path) -> None:
    assert vocabulary(Text(by_file(tmp_path))).symbols == ("<unk>", "the", "cat", "sat", "a", "dog", "end", "</s>")


def test_a_sentence_is_its_words_and_the_end_symbol(tmp_path: Path) -> None:
    x = loaded(Text(by_file(tmp_path)))[0].x
    assert x.tolist() == [1, 2, 3, 7]
    assert x.dtype == np.int64


def test_the_spec_is_of_categories_that_know_the_unknown_one(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path)).describe()
    assert description.spec == ObservationSpec("categorical", 8, unknown=0)
    assert description.longest == 4


def test_the_vocabulary_is_the_training_split_s_alone_and_other_words_are_unknown(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path))
    test = loaded(data, "test")
    assert test[0].x.tolist() == [4, 5, 0, 7]
    assert test.unknown == 1
    assert test.unknown_share == pytest.approx(1 / 3)
    assert (loaded(data).unknown, loaded(data).unknown_share) == (0, 0)


def test_the_vocabulary_keeps_the_most_frequent_words(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path), max_vocabulary=2)
    assert vocabulary(data).symbols == ("<unk>", "the", "cat", "</s>")
    assert sentences(data) == ["the cat <unk>", "the <unk> <unk>", "<unk> cat", "the <unk>"]
    assert loaded(data).unknown == 5


def test_an_unknown_word_that_is_spelled_out_is_unknown(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path, train=("<unk> b <unk> <unk>", "b")))
    assert vocabulary(data).symbols == ("<unk>", "b", "</s>")
    assert loaded(data)[0].x.tolist() == [0, 1, 0, 0, 2]
    assert loaded(data).unknown == 3


def test_an_unknown_character_is_one_character() -> None:
    known = built("characters", "abba", "a c")
    assert known.symbols == ("\ufffd", "a", "b", " ", "c", "</s>")
    assert known.encode("ab€") == [1, 2, 0]
    assert known.encode(known.decode([1, 2, 0])) == [1, 2, 0]


def test_bytes_are_those_of_utf_8_and_need_no_training() -> None:
    known = built("bytes", "a")
    assert known.encode("aé") == [97, 195, 169]
    assert (len(known), known.end, known.unknown) == (257, 256, None)
    assert known.decode([97, 195, 256, 97]) == "a\ufffd"  # half a character, as a model may write


def test_byte_pairs_are_merged_by_frequency() -> None:
    known = built("bpe", "xy xy", "xy z", most=1)
    assert len(known) == 256 + 1 + 1
    assert len(known.encode("xyz")) == 2
    assert known.end == 257


def test_byte_pairs_are_learned_the_same_each_time() -> None:
    text = [f"the {n % 7} cats and the {n % 5} dogs" for n in range(50)]
    assert built("bpe", *text) == built("bpe", *text)


@pytest.mark.parametrize("tokens", KINDS)
def test_what_was_encoded_is_decoded_up_to_the_end(tokens: str) -> None:
    known = built(tokens, *TRAIN)
    ids = known.encode("the cat sat")
    assert known.decode([*ids, known.end, *ids]) == "the cat sat"
    assert known.decode(np.array(ids)) == "the cat sat"
    assert known.decode([]) == ""
    assert known.encode("") == []


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_nothing_is_unknown_to_bytes(tokens: str) -> None:
    known = built(tokens, *TRAIN)
    assert known.decode(known.encode("naïve 🐈 \u4e2d")) == "naïve 🐈 \u4e2d"


def test_a_vocabulary_prepares_what_it_encodes() -> None:
    known = build_vocabulary(["do n't go"], "words", most=9, lowercase=True, tokenize=True)
    assert known.decode(known.encode("Don't go")) == "do n't go"


@pytest.mark.parametrize("tokens", KINDS)
def test_the_vocabulary_comes_back_from_the_run_s_files(tmp_path: Path, tokens: Any) -> None:
    description = Text(by_file(tmp_path / "text"), tokens=tokens, max_vocabulary=5).describe()
    model = MODELS["rnn"](description.spec, MODELS["rnn"].Config(hidden_size=3, embedding_size=2))
    model.description = description
    save(tmp_path / "run", model)
    again = load(tmp_path / "run").description
    assert again == description
    assert again is not None
    assert isinstance(again.format, TextFormat)
    assert again.format.vocabulary.decode(again.format.vocabulary.encode("the")) == "the"


# ---- sequences


@pytest.mark.parametrize("tokens", KINDS)
def test_lengths_count_the_end_symbol(tmp_path: Path, tokens: Any) -> None:
    data = Text(by_file(tmp_path), tokens=tokens)
    train, known = loaded(data), vocabulary(data)
    assert [len(train[i].x) for i in range(len(train))] == train.lengths.tolist()
    assert [train[i].x[-1] for i in range(len(train))] == [known.end] * 4
    assert train.lengths.tolist() == [len(known.encode(sentence)) + 1 for sentence in TRAIN]
    assert sentences(data) == list(TRAIN)


def test_a_piece_is_a_slice_of_its_sentence(tmp_path: Path) -> None:
    train = loaded(Text(by_file(tmp_path)))
    for index in range(len(train)):
        np.testing.assert_array_equal(train.piece(index, 1, 3).x, train[index].x[1:3])


def test_the_fingerprint_is_that_of_every_data_set(tmp_path: Path) -> None:
    train = loaded(Text(by_file(tmp_path)))
    assert train.fingerprint() == SequenceDataset.fingerprint(train)


def test_the_training_split_is_the_same_with_a_vocabulary_that_was_read(tmp_path: Path) -> None:
    root = by_file(tmp_path)
    description = DataDescription.from_json(json.loads(json.dumps(Text(root).describe().to_json())))
    assert Text(root).load("train", description).fingerprint() == loaded(Text(root)).fingerprint()


def test_x_0_is_the_start_symbol(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path))
    train, spec = loaded(data), data.describe().spec
    batch = collate([train[0], train[2]], spec)
    assert batch.start.tolist() == [8, 8]
    assert batch.lengths.tolist() == [4, 3]


class Unigram(Bound):
    """log p(x) under fixed probabilities [V]."""

    particles = 1

    def __init__(self, probabilities: Any):
        self.log_p = torch.log(torch.tensor(probabilities))

    def __call__(self, model: Any, batch: SequenceBatch, **_: Any) -> BoundResult:
        value = (self.log_p[batch.x] * batch.mask).sum(1)
        return BoundResult(value, -value, {"kl": torch.zeros(len(batch))}, "exact")


def test_perplexity_is_over_words_and_ends(tmp_path: Path) -> None:
    """Half of what is scored is `a`, a quarter `b`, a quarter ends: entropy 1.5 bits."""
    data = Text(by_file(tmp_path, train=("a b", "a a"), test=("a b a", "a")))
    description = data.describe()
    assert description.format.vocabulary is not None
    assert description.format.vocabulary.symbols == ("<unk>", "a", "b", "</s>")
    found = evaluate(
        RNN(description.spec, hidden_size=2, embedding_size=2),  # whose own likelihood isn't asked for
        data.load("test", description),
        description=description,
        bound=Unigram([0.01, 0.5, 0.25, 0.25]),
        split="test",
    )
    assert found.num_dims == found.num_steps == 6
    assert found.perplexity == pytest.approx(math.exp((3 * math.log(2) + 3 * math.log(4)) / 6))
    assert found.bits_per_dim == pytest.approx(1.5)


# ---- files


@pytest.mark.parametrize("name", ["valid", "validation", "dev", "DEV"])
def test_a_folder_of_lines_gives_the_splits(tmp_path: Path, name: str) -> None:
    write(tmp_path / "train.txt", *TRAIN)
    write(tmp_path / f"{name}.txt", "a", "b")
    write(tmp_path / "test.txt", "c")
    write(tmp_path / "notes.txt", "what lies beside them is left out")
    assert counts(Text(str(tmp_path))) == [4, 2, 1]


def test_missing_files_are_split_off_train(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", *(f"line {n}" for n in range(40)))
    assert counts(Text(str(tmp_path))) == [34, 2, 4]
    write(tmp_path / "test.txt", "a test")
    assert counts(Text(str(tmp_path))) == [38, 2, 1]


def test_one_file_is_split_at_random(tmp_path: Path) -> None:
    data = Text(numbered_lines(tmp_path), valid_fraction=0.2, test_fraction=0.3)
    rows = {
        split: [e.x for e in map(loaded(data, split).__getitem__, range(len(loaded(data, split))))] for split in SPLITS
    }
    assert [len(found) for found in rows.values()] == [20, 8, 12]
    train = sentences(data)
    assert train == sorted(train, key=lambda line: int(line.split()[1]))
    assert train == sentences(Text(data.root, valid_fraction=0.2, test_fraction=0.3))
    assert train != sentences(replace(data, split_seed=7))


def test_every_line_is_in_one_split_and_test_does_not_depend_on_valid(tmp_path: Path) -> None:
    root = numbered_lines(tmp_path)
    text = [sentences(Text(root, tokens="bytes", valid_fraction=share), "test") for share in (0.05, 0.4)]
    assert text[0] == text[1]
    found = [line for split in SPLITS for line in sentences(Text(root, tokens="bytes"), split)]
    assert sorted(found) == sorted(f"line {n}" for n in range(40))


def test_empty_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path, train=("a b", "", "  ", " c \r", "\t")))
    assert sentences(data) == ["a b", "c"]
    assert loaded(data).empty == 3
    assert loaded(data).remark == "3 empty lines were left out"


def test_only_a_new_line_ends_a_line(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path, train=("a\u2028b\x0cc\x85d", "e")), tokens="characters")
    assert sentences(data) == ["a\u2028b\x0cc\x85d", "e"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    root = by_file(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa b")
    assert sentences(Text(root)) == ["a b"]


def test_sentences_outside_the_limits_are_left_out_and_counted(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path, train=("a", "a b", "a b c", "a b c d")), min_words=2, max_words=3)
    assert sentences(data) == ["a b", "a b c"]
    assert loaded(data).left_out == 2
    assert loaded(data).remark == "2 sentences with too few or too many words were left out"


def test_limits_count_words_whatever_a_step_is(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path), min_words=3, tokens="characters", max_words=3)
    assert sentences(data) == ["the cat sat", "the dog sat"]


def test_lines_are_prepared_if_asked_for(tmp_path: Path) -> None:
    root = by_file(tmp_path, train=("I don't. Go!", "IT", "Mr. X left. Yes"))
    assert sentences(Text(root)) == ["I don't. Go!", "IT", "Mr. X left. Yes"]
    assert sentences(Text(root, tokenize=True)) == ["I do n't . Go !", "IT", "Mr. X left . Yes"]
    assert sentences(Text(root, lowercase=True)) == ["i don't. go!", "it", "mr. x left. yes"]


# ---- reviews


def test_aclimdb_is_read_as_it_is_distributed(tmp_path: Path) -> None:
    data = Reviews(acl_imdb(tmp_path))
    description = data.describe()
    found = {split: data.load(split, description) for split in SPLITS}
    # each review has one sentence of 9 words, one of 4 and one of 6
    assert [len(text) for text in found.values()] == [57 * 2, 3 * 2, 5 * 2]
    assert [text.left_out for text in found.values()] == [57, 3, 5]
    assert "this is review number 19 of trainunsup ." in sentences(data)
    assert set(sentences(data, "test")) == {
        "was it a good one ?",
        *(f"this is review number {n} of <unk> ." for n in range(3)),
    }


def test_sentences_of_a_review_stay_together(tmp_path: Path) -> None:
    for n in range(30):
        write(tmp_path / "ab"[n % 2] / f"{n}.txt", f"first of r{n} is it. Second of r{n} is it.")
    data = Reviews(str(tmp_path), valid_fraction=0.1, test_fraction=0.2, tokens="bytes")
    reviews = [{line.split()[2] for line in sentences(data, split)} for split in SPLITS]
    assert [len(names) for names in reviews] == [21, 3, 6]
    assert counts(data) == [42, 6, 12]
    assert len(set.union(*reviews)) == 30


def test_sentences_can_be_split_as_in_the_paper(tmp_path: Path) -> None:
    data = Reviews(acl_imdb(tmp_path), split_by="sentence", tokens="bytes")
    assert counts(data) == [130 - 6 - 13, 6, 13]  # of both folders together: 130 sentences, 5 % and 10 %
    assert any("testpos" in line for line in sentences(data))


def test_folders_of_splits_are_found_below_reviews(tmp_path: Path) -> None:
    for folder, count in {"train": 4, "dev": 2, "test": 3}.items():
        for n in range(count):
            write(tmp_path / folder / f"x{n}" / "a.txt", f"There is only one {n}.")
    assert counts(Reviews(str(tmp_path))) == [4, 2, 3]


def test_folders_beside_those_of_the_splits_are_named(tmp_path: Path) -> None:
    for folder in ("train", "val", "test", "held-out"):
        write(tmp_path / folder / "a.txt", "There is only one here.")
    data = Reviews(str(tmp_path))
    assert counts(data) == [1, 1, 1]
    assert loaded(data).remark == "held-out isn't read: no split has this name"


def test_reviews_take_train_txt_for_a_document(tmp_path: Path) -> None:
    for name in ("train", "b", "c"):
        write(tmp_path / f"{name}.txt", "One two three four. One two three", "four five six.")
    data = Reviews(str(tmp_path))
    assert counts(data) == [2, 2, 2]
    assert sentences(data) == ["one two three four .", "one two three four five six ."]


def test_reviews_may_be_read_as_they_are(tmp_path: Path) -> None:
    data = Reviews(acl_imdb(tmp_path), tokenize=False, lowercase=False, min_words=1, max_words=99)
    assert "It's short." in sentences(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It was bad. I left.", ["It was bad.", "I left."]),
        ("it was bad. i left! why? no", ["it was bad.", "i left!", "why?", "no"]),
        ("Mr. Smith met J. R. Smith. Dr. No didn't.", ["Mr. Smith met J. R. Smith.", "Dr. No didn't."]),
        ("At 5 a.m. it rained. At 5 a.m. It rained.", ["At 5 a.m. it rained.", "At 5 a.m.", "It rained."]),
        ("Dogs, cats etc. are in. And so am I. Then what", ["Dogs, cats etc. are in.", "And so am I.", "Then what"]),
        ("Well... maybe. Well... Maybe.", ["Well... maybe.", "Well...", "Maybe."]),
        ('He said "no." She left. (Really.) Yes', ['He said "no."', "She left.", "(Really.)", "Yes"]),
        ('"What?" he said.', ['"What?" he said.']),
        ("3.5 out of 10, e.g. this", ["3.5 out of 10, e.g. this"]),
        ("a title<br /><br>and\nmore\n \nend", ["a title", "and more", "end"]),
        ("“Quoted.” Said", ['"Quoted."', "Said"]),
        ("No. 5 is alive. He said no. Then", ["No. 5 is alive.", "He said no.", "Then"]),
        ("  \n ", []),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("It's well-made, isn't it?", "It 's well-made , is n't it ?"),
        ("They'll say I'm cannot-do; we've won.", "They 'll say I 'm cannot-do ; we 've won ."),
        ("the dogs' o'clock 'quote'", "the dogs ' o'clock ' quote '"),
        ("1,000 at 8:30, 3.5/10: $5 (50%)", "1,000 at 8:30 , 3.5/10 : $ 5 ( 50 % )"),
        ("Mr. X of the U.S. left...", "Mr. X of the U.S. left ..."),
        ('He said "no."', 'He said " no . "'),
        ("this--that - and it’s the end.)", "this -- that - and it 's the end . )"),
        ("naïve café, so?!", "naïve café , so ? !"),
        ("", ""),
    ],
)
def test_a_sentence_is_cut_into_words(sentence: str, expected: str) -> None:
    assert " ".join(split_words(sentence)) == expected


def test_a_long_run_of_stops_takes_no_longer_than_others() -> None:
    assert split_sentences("." * 1_000_000) == ["." * 1_000_000]  # for hours, were each of them a beginning


def test_preparing_keeps_what_is_not_asked_for() -> None:
    assert prepare("It's  A", tokenize=False, lowercase=False) == "It's  A"
    assert prepare("It's  A", tokenize=True, lowercase=True) == "it 's a"


# ---- beginnings and samples


def test_words_that_look_alike_are_one_word(tmp_path: Path) -> None:
    lines = ["caf\u00e9 \ufb01n", "cafe\u0301 fin"] * 20
    file = tmp_path / "text.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    counts = {
        "nfc": ["caf\u00e9", "fin", "\ufb01n"],
        "nfkc": ["caf\u00e9", "fin"],
        "keep": ["cafe\u0301", "caf\u00e9", "fin", "\ufb01n"],
    }
    for unicode, words in counts.items():
        description = Text(str(file), unicode=unicode).describe()
        known = description.format.vocabulary
        assert sorted(known.symbols[1:-1]) == sorted(words)
        assert (known.encode("caf\u00e9") == known.encode("cafe\u0301")) is (unicode != "keep")
        assert known.unknown_in("cafe\u0301") == []
    assert Text(str(file)).describe().format == Text(str(file), unicode="nfc").describe().format
    with pytest.raises(
        UserError, match=r"data\.unicode is nfc, but the model was trained with keep: set data\.unicode to keep"
    ):
        Text(str(file)).load("train", Text(str(file), unicode="keep").describe())


def test_a_prefix_is_a_beginning_on_each_line(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path / "text"), lowercase=True)
    prefix = write(tmp_path / "prefix.txt", "The cat", "", "a bird")
    description = data.describe()
    found = description.format.read(str(prefix), description)
    assert [example.x.tolist() for example in found] == [[1, 2], [4, 0]]
    assert found[0].x.dtype == np.int64


def test_a_prefix_needs_no_training_data(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path / "text")).describe()
    prefix = write(tmp_path / "prefix.txt", "a dog")
    assert description.format.read(str(prefix), description)[0].x.tolist() == [4, 5]


def generated(*rows: list[int]) -> Generated:
    x = torch.tensor(rows)
    return Generated(x, torch.zeros(*x.shape, 1), torch.distributions.Categorical(torch.ones(*x.shape, 8)))


def test_samples_are_written_up_to_their_ends(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path / "text")).describe()
    written = write_samples(tmp_path, "s", generated([1, 2, 3], [4, 7, 1], [7, 1, 1]), description)
    assert [Path(file).name for file in written.files] == ["s.npz", "s.txt"]
    assert (tmp_path / "s.txt").read_text("utf-8") == "the cat sat\na\n\n"
    assert np.load(tmp_path / "s.npz")["x"].tolist() == [[1, 2, 3], [4, 7, 1], [7, 1, 1]]


def test_continuations_are_written_after_their_beginnings(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path / "text")).describe()
    before = [np.array([1, 2]), np.array([4])]
    write_samples(tmp_path, "s", generated([3, 7], [2, 3]), description, before=before)
    assert (tmp_path / "s.txt").read_text("utf-8") == "the cat sat\na cat sat\n"


def test_a_sample_of_bytes_stays_on_its_line(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path / "text"), tokens="bytes").describe()
    write_samples(tmp_path, "s", generated([97, 10, 98, 256], [13, 10, 99, 100]), description)
    assert (tmp_path / "s.txt").read_text("utf-8") == "a b\n cd\n"


# ---- mistakes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tokens": "word"}, "data.tokens is 'word'; it must be words or characters or bytes or bpe"),
        ({"cls": Reviews, "split_by": "line"}, "data.split_by is 'line'; it must be document or sentence"),
        ({"cls": Reviews, "min_words": 0}, "data.min_words is 0; it must be 1 or more"),
        (
            {"cls": Reviews, "min_words": 20},
            "data.min_words is 20 and data.max_words 16: no sentence has so many words",
        ),
        ({"min_words": 0}, "data.min_words is 0; it must be 1 or more"),
        ({"max_words": -1}, "data.max_words is -1; it must be 1 or more"),
        ({"min_words": 5, "max_words": 4}, "data.min_words is 5 and data.max_words 4"),
        ({"max_vocabulary": 0}, "data.max_vocabulary is 0; it must be between 1 and 1000000"),
        ({"max_vocabulary": 10**7}, "data.max_vocabulary is 10000000"),
        ({"split_seed": -1}, "data.split_seed is -1; it must be 0 or more"),
        ({"valid_fraction": 0.0}, "data.valid_fraction is 0.0; it must be more than 0 and less than 1"),
        ({"test_fraction": math.nan}, "data.test_fraction is nan"),
        ({"valid_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({}, "data.root is empty"),
        ({"root": "nowhere"}, "data.root nowhere: no such file or directory; a relative path starts at"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], expected: str) -> None:
    assert expected in message(**settings)


@pytest.mark.parametrize("cls", [Text, Reviews])
def test_text_in_another_encoding_is_refused(tmp_path: Path, cls: type[SentenceDataModule]) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_bytes(b"fine\nna\xefve\n")
    said = message(cls=cls, root=str(tmp_path))
    assert ".txt: line 2 is not UTF-8 (byte 7 of the file, 0xef); save the file as UTF-8" in said


def test_text_in_utf_16_without_its_mark_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "all.txt").write_bytes("one\ntwo\n".encode("utf-16-le"))
    assert "all.txt: line 1 holds the byte 0, so it is no text in UTF-8 (UTF-16?)" in message(
        root=str(tmp_path / "all.txt")
    )


def test_a_bad_test_split_is_refused_with_the_training_split(tmp_path: Path) -> None:
    root = by_file(tmp_path)
    (tmp_path / "test.txt").write_bytes(b"na\xefve\n")
    assert "test.txt: line 1 is not UTF-8" in message(root=root)
    write(tmp_path / "test.txt", "", " ")
    assert "test.txt: holds no text" in message(root=root)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_text_is_refused(tmp_path: Path, split: Split) -> None:
    root = by_file(tmp_path)
    write(tmp_path / f"{split}.txt", "", " ")
    assert f"{split}.txt: no sentence of 1 or more words, 0 of others" in message(split, root=root)


def test_limits_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    said = message(root=by_file(tmp_path), min_words=4, max_words=5)
    assert (
        "train.txt: no sentence of 4 to 5 words, 4 of others and 0 empty lines; correct the text, data.min_words or"
        in said
    )


def test_a_book_on_one_line_is_refused(tmp_path: Path) -> None:
    root = by_file(tmp_path, train=("a b", "the whale " * 60_000))
    said = message(root=root)
    assert "the sentence 'the whale the whale the whale the whale '... of the train split has 120001 steps" in said
    assert "data.max_words" in said
    assert counts(Text(root, max_words=1000)) == [1, 1, 1]


def test_a_text_that_spells_the_end_symbol_is_refused(tmp_path: Path) -> None:
    root = by_file(tmp_path, valid=("the cat </s>",))
    assert "valid.txt: the sentence 'the cat </s>' holds </s>" in message("valid", root=root)
    assert sentences(Text(root, tokens="bytes"), "valid") == ["the cat </s>"]


def test_a_folder_without_train_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test.txt", "a")
    assert "has no train.txt; name the file, or set data.name reviews" in message(root=str(tmp_path))
    (tmp_path / "dev").mkdir()
    assert "has a folder dev and none named train" in message(cls=Reviews, root=str(tmp_path))


def test_files_without_a_splits_name_are_lines_to_split(tmp_path: Path) -> None:
    for name in ("b.txt", "a.TXT"):
        write(tmp_path / name, *(f"line {n} of {name}" for n in range(20)))
    (tmp_path / "notes.md").touch()
    data = Text(str(tmp_path))
    assert counts(data) == [34, 2, 4]
    read = [line for split in SPLITS for line in sentences(data, split)]
    assert sorted(read) == sorted(f"line {n} of {name}" for name in ("a.TXT", "b.txt") for n in range(20))
    said = data.load("train", data.describe()).remark
    assert said == "each line of 2 .txt files as a sentence (documents: data.name reviews)"


def test_two_files_of_a_split_are_refused(tmp_path: Path) -> None:
    root = by_file(tmp_path)
    write(tmp_path / "dev.txt", "a")
    assert "dev.txt and valid.txt are both the valid split" in message(root=root)


def test_folders_without_text_are_refused(tmp_path: Path) -> None:
    assert "no .txt file below its folder; correct data.root" in message(cls=Reviews, root=str(tmp_path))
    (tmp_path / "train").mkdir()
    assert "no .txt file below its folder train" in message(cls=Reviews, root=str(tmp_path))


def test_a_file_is_no_folder_of_reviews(tmp_path: Path) -> None:
    assert "is a file; reviews are in a folder (data.name text reads" in message(
        cls=Reviews, root=numbered_lines(tmp_path)
    )


@pytest.mark.parametrize("lines", [1, 2])
def test_too_few_lines_to_split_are_refused(tmp_path: Path, lines: int) -> None:
    said = message(root=numbered_lines(tmp_path, lines))
    assert f"there are {lines}, 2 are held out and none is left to train on" in said
    assert "data.test_fraction or data.valid_fraction" in said


def test_byte_pairs_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = built("bpe", *TRAIN)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert 'pip install "zforcing[text]"' in message(root=by_file(tmp_path), tokens="bpe")
    assert len(Vocabulary("bpe", pairs=known.pairs)) == len(known)  # a model is loaded without it


def test_a_model_of_something_else_is_refused(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path))
    arrays = DataDescription("arrays", ObservationSpec("categorical", 8), longest=3)
    with pytest.raises(UserError, match="data text holds sentences, but the model was trained on data arrays"):
        data.load("test", arrays)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    data = Text(by_file(tmp_path))
    other = replace(data.describe(), format=TextFormat(built("words", "a b c")))
    with pytest.raises(UserError, match=r"the vocabulary has 5 symbols, but the model reads .*size=8.*another run's"):
        data.load("test", other)
    with pytest.raises(
        UserError, match=r"data\.format\.vocabulary has 5 symbols for categorical observations of size 8"
    ):
        DataDescription.from_json(other.to_json())


@pytest.mark.parametrize(
    ("field", "trained", "given"), [("tokens", "words", "bytes"), ("lowercase", True, False), ("tokenize", True, False)]
)
def test_settings_that_the_model_was_not_trained_with_are_refused(
    tmp_path: Path, field: str, trained: Any, given: Any
) -> None:
    root = by_file(tmp_path)
    description = Text(root, **{field: trained}).describe()
    expected = (
        f"data.{field} is {str(given).lower()}, but the model was trained with {str(trained).lower()}: "
        f"set data.{field} to {str(trained).lower()}"
    )
    with pytest.raises(UserError, match=expected):
        Text(root, **{field: given}).load("test", description)


def test_a_prefix_of_nothing_is_refused(tmp_path: Path) -> None:
    description = Text(by_file(tmp_path / "text")).describe()
    with pytest.raises(UserError, match="holds no text; write the beginning of a sentence on each line"):
        description.format.read(str(write(tmp_path / "prefix.txt", "")), description)
    with pytest.raises(UserError, match=r"can't be read \(No such file or directory\)"):
        description.format.read(str(tmp_path / "none.txt"), description)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tokens": "word"}, "vocabulary.tokens is 'word'"),
        ({"lowercase": 1}, "vocabulary.lowercase is 1; it must be true or false"),
        ({"symbols": ["<unk>", "a", "a", "</s>"]}, "vocabulary.symbols must be texts, each of them once"),
        ({"symbols": ["<unk>", 3, "</s>"]}, "vocabulary.symbols must be texts"),
        ({"symbols": ["a", "</s>"]}, "vocabulary.symbols has 2 entries; it must begin with '<unk>'"),
        ({"symbols": []}, "vocabulary.symbols has 0 entries"),
        ({"tokens": "bytes"}, "vocabulary.symbols has 3 entries; for tokens bytes it has none"),
        ({"pairs": "{}"}, "vocabulary.pairs must be a tokenizer's JSON for tokens bpe, and null for words"),
        ({"tokens": "bpe", "symbols": [], "pairs": "{}"}, "vocabulary.pairs is not the JSON of a tokenizer"),
        ({"tokens": "bpe", "symbols": [], "pairs": "no JSON"}, "vocabulary.pairs is not the JSON of a tokenizer"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
        ({"symbols": None}, "the data's description doesn't fit"),
    ],
)
def test_a_damaged_vocabulary_is_refused(changed: dict[str, Any], expected: str) -> None:
    description = DataDescription(
        "text", ObservationSpec("categorical", 3, unknown=0), 3, format=TextFormat(built("words", "a"))
    )
    values = description.to_json()
    values["format"]["vocabulary"] |= changed
    with pytest.raises(UserError) as error:
        DataDescription.from_json(values)
    assert expected in str(error.value)


def test_real_sentences_are_read_whole(tmp_path: Path) -> None:
    """Of B. Pang and L. Lee, 2005; lines as wc counts them, words as Python's split (at no-break spaces too)."""
    packed = SHARED / "packed" / "text_rt_polarity.npz"
    if not packed.exists():
        pytest.skip(f"{packed} is not there")
    with np.load(packed) as archive:
        lines, member = archive["text_utf8"].tobytes().decode().split("\n"), archive["split"]
    for number, split in enumerate(SPLITS):
        write(tmp_path / f"{split}.txt", *(line for line, part in zip(lines, member, strict=True) if part == number))
    data = Text(str(tmp_path))
    description = data.describe()
    found = [data.load(split, description) for split in SPLITS]
    assert [len(text) for text in found] == [8506, 1100, 1056]
    assert [int(text.lengths.sum()) - len(text) for text in found] == [178512, 23301, 22235]
    assert description.spec.size == 16002
    assert [round(text.unknown_share, 3) for text in found] == [0.017, 0.068, 0.064]
