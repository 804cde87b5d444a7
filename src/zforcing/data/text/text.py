"""Sentences: each is a sequence, of words, characters, bytes or byte pairs, and ends in a symbol that is scored too.

With `layout: reviews` as Z-Forcing's language model was trained: A. Goyal, A. Sordoni, M.-A. Côté, N. R. Ke, Y. Bengio,
"Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017 (https://arxiv.org/abs/1711.05411), on sentences of 5 to
16 words of IMDB reviews, in lower case. Where this differs from the authors' code: the vocabulary is that of the
training split (they counted the words of the validation and test sets too, so that fewer of these were unknown); words
and sentences are cut by rules (`sentences.py`); and reviews are split, not sentences, unless `split_by` says so.

Perplexity is exp(-total log-likelihood / symbols), the end symbols among them, as is usual. An unknown word counts as
the one symbol <unk>: what is scored is the text with its unknown words replaced, so perplexities can only be compared
under the same vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from ...errors import UserError
from ...files.reading import user_path
from ...observations import (
    DataDescription,
    ObservationSpec,
    TextFormat,
    Tokens,
    Vocabulary,
    build_vocabulary,
    refuse_end_symbol,
)
from .. import folders
from ..module import DataModule
from ..splits import SPLITS, Split, check_random_split, cut
from . import documents
from .dataset import TextDataset
from .documents import Files, Layout, Rules, Sentences

CHOICES = {
    "layout": ("auto", "lines", "reviews"),
    "tokens": get_args(Tokens),
    "split_by": ("document", "sentence"),
}
LONGEST = 100_000  # steps: a longer "sentence" is a book without line ends
MOST_SYMBOLS = 1_000_000


@dataclass(frozen=True)
class Text(DataModule):
    """Sentences from files of text in UTF-8.

    Numbers stand for symbols, those of the training split's most frequent words, say; the model keeps which (its
    vocabulary), and other words are unknown to it.
    """

    name: ClassVar[str] = "text"

    root: str = ""
    """a folder of train.txt, valid.txt (or dev.txt, validation.txt) and test.txt, a sentence a line; or one such file;
    or a folder of reviews, each a .txt file, with folders train and test (as aclImdb has) or without"""

    layout: Literal["auto", "lines", "reviews"] = "auto"
    """what files hold: lines (each is a sentence) or reviews (each file is a document, to be cut into sentences); auto:
    lines where data.root is a file or has a train.txt"""

    tokens: Literal["words", "characters", "bytes", "bpe"] = "words"
    """what a step is: words (what white space separates), characters, bytes, or bpe (byte pairs)"""

    max_vocabulary: int = 16000
    """words or characters of the training split that are known, the most frequent ones; bpe: merges"""

    tokenize: bool | None = None
    """whether sentences are cut into words and signs (don't, -> do n't ,); without it, those of reviews are"""

    lowercase: bool | None = None
    """whether sentences are read in lower case; without it, those of reviews are"""

    min_words: int | None = None
    """words of the shortest sentence that is kept (before its words are cut into anything smaller); without it, 5 of
    reviews, 1 of lines"""

    max_words: int | None = None
    """words of the longest sentence that is kept; without it, 16 of reviews, and any number of lines"""

    split_by: Literal["document", "sentence"] = "document"
    """reviews: whether a review's sentences stay in one split, or all sentences (of all folders) are split at random,
    as in the paper"""

    valid_fraction: float = 0.05
    """share of the lines, reviews or sentences to validate on, where no file or folder has these; one at least"""

    test_fraction: float = 0.1
    """share of them to test on, where no file or folder has these; one at least"""

    split_seed: int = 42
    """which of them are validated and tested on, where no file or folder has these"""

    def __post_init__(self) -> None:
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise UserError(f"data.{field} is {getattr(self, field)!r}; it must be {' or '.join(choices)}")
        for field in ("min_words", "max_words"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UserError(f"data.{field} is {value}; it must be 1 or more")
        if not 1 <= self.max_vocabulary <= MOST_SYMBOLS:
            raise UserError(f"data.max_vocabulary is {self.max_vocabulary}; it must be from 1 to {MOST_SYMBOLS}")
        check_random_split(
            valid_fraction=self.valid_fraction, test_fraction=self.test_fraction, split_seed=self.split_seed
        )
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise UserError(
                f"data.min_words is {self.min_words} and data.max_words {self.max_words}: no sentence has so many "
                f"words; it must not be the larger one"
            )

    def describe(self) -> DataDescription:
        """The vocabulary and how long sentences are, the end symbol included, from the training split alone."""
        vocabulary, train = self._training
        return DataDescription(
            "text", _spec(vocabulary), longest=int(train.lengths.max()), format=TextFormat(vocabulary)
        )

    def load(self, split: Split, description: DataDescription) -> TextDataset:
        """One split, in the numbers of the description's vocabulary. With the training split the test's files are
        looked at: what is no text, or has no line, is refused before the training.
        """
        vocabulary = self._known(description)
        if split == "train":
            documents.refuse_unreadable(self._files.get("test", []))
        rules = self._rules
        for field, given, trained in (
            ("tokenize", rules.tokenize, vocabulary.tokenize),
            ("lowercase", rules.lowercase, vocabulary.lowercase),
        ):
            if given != trained:
                raise UserError(
                    f"data.{field} is {str(given).lower()}, but the model was trained with {str(trained).lower()}: set "
                    f"it so"
                )
        if split == "train" and "_training" in vars(self) and self._training[0] == vocabulary:
            return self._training[1].described_as(description)  # `describe` has just made it
        return self._numbered(self._sentences(split), vocabulary, split).described_as(description)

    @cached_property
    def _root(self) -> Path:
        if not self.root:
            raise UserError("data.root is empty; name a folder of text, or a .txt file with a sentence on each line")
        root = user_path(self.root, f"data.root {self.root}")
        if not root.exists():
            raise UserError(f"data.root {self.root}: no such folder or file; a relative path starts at {Path.cwd()}")
        return root

    @cached_property
    def _layout(self) -> Layout:
        layout = documents.find_layout(self._root) if self.layout == "auto" else self.layout
        if layout == "lines" and self.split_by != "document":
            raise UserError(
                f"data.split_by is {self.split_by}, but data.layout lines, which has sentences and no documents: leave "
                "it out"
            )
        return layout

    @cached_property
    def _rules(self) -> Rules:
        """The settings, or what they are for this layout."""
        reviews = self._layout == "reviews"
        least = (5 if reviews else 1) if self.min_words is None else self.min_words
        most = (16 if reviews else None) if self.max_words is None else self.max_words
        if most is not None and least > most:
            raise UserError(f"data.layout reviews keeps sentences of {least} to {most} words: none; set both numbers")
        return Rules(
            tokenize=reviews if self.tokenize is None else self.tokenize,
            lowercase=reviews if self.lowercase is None else self.lowercase,
            min_words=least,
            max_words=most,
        )

    @cached_property
    def _files(self) -> Files:
        """The files of each split; where a split is still to be cut from the sentences, it has none."""
        root = self._root
        if self._layout == "lines":
            return documents.lines_files(root)
        files = documents.review_files(root)
        if self.split_by == "sentence":
            return {"train": [file for split in SPLITS for file in files.get(split, [])]}
        shares = self._shares(files)
        if shares:
            whole = files["train"]
            parts = cut(len(whole), shares, seed=self.split_seed, what=f"data.root {root}: reviews")
            files |= {split: [whole[i] for i in index] for split, index in parts.items()}
        return files

    def _shares(self, files: Files) -> dict[Split, float]:
        """Of the training files, for the splits without files of their own."""
        shares: dict[Split, float] = {"test": self.test_fraction, "valid": self.valid_fraction}
        return {split: share for split, share in shares.items() if split not in files}

    @cached_property
    def _training(self) -> tuple[Vocabulary, TextDataset]:
        """The vocabulary of the training split, and the split in its numbers."""
        train, rules = self._sentences("train"), self._rules
        vocabulary = build_vocabulary(
            train.text, self.tokens, most=self.max_vocabulary, lowercase=rules.lowercase, tokenize=rules.tokenize
        )
        return vocabulary, self._numbered(train, vocabulary, "train")

    @cached_property
    def _read(self) -> dict[Split, Sentences]:
        """What was read so far; kept, for several splits may be cut from the same files."""
        return {}

    def _sentences(self, split: Split) -> Sentences:
        if split not in self._read:
            self._read.update(self._parts(split))
        return self._read[split]

    def _parts(self, split: Split) -> dict[Split, Sentences]:
        """A split, and those that are cut from the same files."""
        files = self._files
        shares = self._shares(files)
        if split in files and not (shares and split == "train"):
            return {split: self._text(files[split])}
        whole, what = self._text(files["train"]), "lines" if self._layout == "lines" else "sentences"
        index = cut(len(whole.text), shares, seed=self.split_seed, what=f"data.root {self._root}: {what} to train on")
        return {part: whole.take(rows) for part, rows in index.items()}

    def _text(self, files: list[Path]) -> Sentences:
        """The sentences of some files; there is one at least."""
        read = documents.read_lines if self._layout == "lines" else documents.read_reviews
        found, rules = read(files, self._rules), self._rules
        what = f"{files[0]}{'' if len(files) == 1 else f' and {len(files) - 1} more files'}"
        if not found.text:
            least, most = rules.min_words, rules.max_words
            words = f"{least} or more" if most is None else f"{least} to {most}"
            raise UserError(
                f"{what}: no sentence of {words} words, {found.left_out} of others and {found.empty} empty lines; mend "
                f"the text, data.min_words or data.max_words"
            )
        if self.tokens == "words":
            refuse_end_symbol(found.text, what)
        return found

    def _numbered(self, sentences: Sentences, vocabulary: Vocabulary, split: Split) -> TextDataset:
        symbols, ends = vocabulary.number(sentences.text)
        data = TextDataset(symbols, ends, vocabulary, left_out=sentences.left_out, empty=sentences.empty)
        data.remark = "; ".join(part for part in (data.remark, *self._how_split(split)) if part)
        index = int(np.argmax(data.lengths))
        if data.lengths[index] > LONGEST:
            raise UserError(
                f"data.root {self._root}: the sentence {sentences.text[index][:40]!r}... of the {split} split has "
                f"{data.lengths[index]} steps, more than {LONGEST}; end it by a new line, or leave long ones out by "
                f"data.max_words"
            )
        return data

    def _how_split(self, split: Split) -> list[str]:
        """What a reader of the split should know of where it comes from."""
        if split == "train":
            return [folders.told_unread(documents.unread(self._root, self._layout))]
        return [folders.told_cut(split, "the training text")] if split in self._cut else []

    @cached_property
    def _cut(self) -> frozenset[Split]:
        """The splits that have no files of their own."""
        if self._layout == "reviews" and self.split_by == "document":
            there = documents.review_files(self._root)
            return frozenset(self._shares(there))
        return frozenset(self._shares(self._files))

    def _known(self, description: DataDescription) -> Vocabulary:
        """The model's vocabulary, if its sentences are of this kind."""
        kind, spec = description.format, description.spec
        if not isinstance(kind, TextFormat):
            raise UserError(
                f"data text holds sentences, but the model was trained on data {description.name}: name its own data"
            )
        vocabulary = kind.vocabulary
        if spec != _spec(vocabulary):
            raise UserError(
                f"the vocabulary has {len(vocabulary)} symbols, but the model reads {spec}: it is another run's; take "
                f"the one that was written with the model"
            )
        if self.tokens != vocabulary.tokens:
            raise UserError(
                f"data.tokens is {self.tokens}, but the model was trained with {vocabulary.tokens}: set it so"
            )
        return vocabulary


def _spec(vocabulary: Vocabulary) -> ObservationSpec:
    return ObservationSpec("categorical", len(vocabulary), unknown=vocabulary.unknown)
