"""Sentences: each is a sequence, of words, characters, bytes or byte pairs, and ends in a symbol that is scored too.

Perplexity is exp(-total log-likelihood / symbols), the end symbols among them, as is usual. An unknown word counts as
the one symbol <unk>: what is scored is the text with its unknown words replaced, so perplexities can only be compared
under the same vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ...errors import UserError
from ...files.paths import user_path
from ...observations import (
    DataDescription,
    ObservationSpec,
    TextFormat,
    Unicode,
    Vocabulary,
    build_vocabulary,
    refuse_end_symbol,
)
from ...settings import Count, Range, Seed, Share
from .. import folders
from ..module import DataModule
from ..splits import Split, check_random_split, cut
from . import documents
from .dataset import TextDataset
from .documents import Rules, Sentences, SplitPaths

LONGEST = 100_000  # steps: a longer "sentence" is a book without line ends
MOST_SYMBOLS = 1_000_000


@dataclass(frozen=True)
class SentenceDataModule(DataModule):
    """Sentences from files of text in UTF-8. A subclass says which files, and how sentences are found in them.

    Numbers stand for symbols, those of the training split's most frequent words, say; the model keeps which (its
    vocabulary), and other words are unknown to it.
    """

    root: str = ""
    """where the text is"""

    tokens: Literal["words", "characters", "bytes", "bpe"] = "words"
    """what a step is: words (what white space separates), characters, bytes, or bpe (byte pairs)"""

    max_vocabulary: Annotated[int, Range(at_least=1, at_most=MOST_SYMBOLS)] = 16000
    """words or characters of the training split that are known, the most frequent ones; bpe: merges"""

    tokenize: bool = False
    """whether sentences are cut into words and signs (don't, -> do n't ,)"""

    lowercase: bool = False
    """whether sentences are read in lower case"""

    unicode: Unicode = "nfc"
    """which spelling in Unicode sentences are read in: nfc (an accent is a part of its letter), nfkc (ligatures, wide
    letters and the like made plain too), or keep, that of the file, in which words that look alike may be several"""

    min_words: Count = 1
    """words of the shortest sentence that is kept (before its words are cut into anything smaller)"""

    max_words: Count | None = None
    """words of the longest sentence that is kept; null: any number"""

    valid_fraction: Share = 0.05
    """share of the lines, reviews or sentences to validate on, where no file or folder has these; one at least"""

    test_fraction: Share = 0.1
    """share of them to test on, where no file or folder has these; one at least"""

    split_seed: Seed = 42
    """which of them are validated and tested on, where no file or folder has these"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_random_split(valid_fraction=self.valid_fraction, test_fraction=self.test_fraction)
        if self.max_words is not None and self.min_words > self.max_words:
            raise UserError(
                f"data.min_words is {self.min_words} and data.max_words {self.max_words}: no sentence has so many "
                f"words; data.min_words must not be the larger one"
            )

    @property
    def rules(self) -> Rules:
        """How sentences are prepared, and which ones are used."""
        return Rules(self.tokenize, self.lowercase, self.min_words, self.max_words, self.unicode)

    @property
    @abstractmethod
    def files(self) -> SplitPaths:
        """The files of each split; where a split is still to be cut from the training sentences, it has none."""

    @property
    @abstractmethod
    def cut_splits(self) -> frozenset[Split]:
        """The splits that have no files or folders of their own."""

    @property
    @abstractmethod
    def unread(self) -> list[str]:
        """Names of files and folders that belong to no split: they may be misspelt."""

    @property
    def note(self) -> str:
        """What else a reader should know of how sentences are found; may be empty."""
        return ""

    @abstractmethod
    def read(self, files: list[Path]) -> Sentences:
        """The sentences of some files."""

    def describe(self) -> DataDescription:
        """The vocabulary and how long sentences are, the end symbol included, from the training split only."""
        vocabulary, train = self._training
        return DataDescription(
            self.name, _spec(vocabulary), longest=int(train.lengths.max()), format=TextFormat(vocabulary)
        )

    def load(self, split: Split, description: DataDescription) -> TextDataset:
        """One split, in the numbers of the description's vocabulary. With the training split the test's files are
        looked at: what is no text, or has no line, is refused before the training.
        """
        vocabulary = self._known(description)
        if split == "train":
            documents.refuse_unreadable(self.files.get("test", []))
        rules = self.rules
        for field in ("tokenize", "lowercase", "unicode"):
            value, trained = (str(getattr(own, field)).lower() for own in (rules, vocabulary))
            if value != trained:
                raise UserError(
                    f"data.{field} is {value}, but the model was trained with {trained}: set data.{field} to {trained}"
                )
        if split == "train" and "_training" in vars(self) and self._training[0] == vocabulary:
            return self._training[1].described_as(description)  # `describe` has just made it
        return self._numbered(self._sentences(split), vocabulary, split).described_as(description)

    @cached_property
    def folder(self) -> Path:
        if not self.root:
            raise UserError("data.root is empty; name a folder of text, or a .txt file with a sentence on each line")
        root = user_path(self.root, f"data.root {self.root}")
        if not root.exists():
            raise UserError(f"data.root {self.root}: no such file or directory; a relative path starts at {Path.cwd()}")
        return root

    def missing_shares(self, files: SplitPaths) -> dict[Split, float]:
        """Of the training files, for the splits without files of their own."""
        shares: dict[Split, float] = {"test": self.test_fraction, "valid": self.valid_fraction}
        return {split: share for split, share in shares.items() if split not in files}

    @cached_property
    def _training(self) -> tuple[Vocabulary, TextDataset]:
        """The vocabulary of the training split, and the split in its numbers."""
        train, rules = self._sentences("train"), self.rules
        vocabulary = build_vocabulary(
            train.text,
            self.tokens,
            most=self.max_vocabulary,
            lowercase=rules.lowercase,
            tokenize=rules.tokenize,
            unicode=rules.unicode,
        )
        return vocabulary, self._numbered(train, vocabulary, "train")

    @cached_property
    def _read(self) -> dict[Split, Sentences]:
        """The sentences read so far: several splits may be cut from the same files."""
        return {}

    def _sentences(self, split: Split) -> Sentences:
        if split not in self._read:
            self._read.update(self._parts(split))
        return self._read[split]

    def _parts(self, split: Split) -> dict[Split, Sentences]:
        """A split, and those that are cut from the same files."""
        files = self.files
        shares = self.missing_shares(files)
        if split in files and not (shares and split == "train"):
            return {split: self._text(files[split])}
        whole = self._text(files["train"])
        index = cut(
            len(whole.text), shares, seed=self.split_seed, what=f"data.root {self.folder}: sentences to train on"
        )
        return {part: whole.take(rows) for part, rows in index.items()}

    def _text(self, files: list[Path]) -> Sentences:
        """The sentences of some files; there is one at least."""
        sentences, rules = self.read(files), self.rules
        what = f"{files[0]}{'' if len(files) == 1 else f' and {len(files) - 1} more files'}"
        if not sentences.text:
            least, most = rules.min_words, rules.max_words
            words = f"{least} or more" if most is None else f"{least} to {most}"
            raise UserError(
                f"{what}: no sentence of {words} words, {sentences.left_out} of others and {sentences.empty} "
                f"empty lines; correct the text, data.min_words or data.max_words"
            )
        if self.tokens == "words":
            refuse_end_symbol(sentences.text, what)
        return sentences

    def _numbered(self, sentences: Sentences, vocabulary: Vocabulary, split: Split) -> TextDataset:
        symbols, ends = vocabulary.number(sentences.text)
        data = TextDataset(symbols, ends, vocabulary, left_out=sentences.left_out, empty=sentences.empty)
        data.remark = "; ".join(part for part in (data.remark, *self._how_split(split)) if part)
        index = int(np.argmax(data.lengths))
        if data.lengths[index] > LONGEST:
            raise UserError(
                f"data.root {self.folder}: the sentence {sentences.text[index][:40]!r}... of the {split} split has "
                f"{data.lengths[index]} steps, more than {LONGEST}; end it by a new line, or leave long ones out by "
                f"data.max_words"
            )
        return data

    def _how_split(self, split: Split) -> list[str]:
        """What a reader of the split should know of where it comes from."""
        if split == "train":
            return [self.note, folders.unread_remark(self.unread)]
        return [folders.cut_remark(split, "the training text")] if split in self.cut_splits else []

    def _known(self, description: DataDescription) -> Vocabulary:
        """The model's vocabulary, if its sentences are of this kind."""
        kind, spec = description.format, description.spec
        if not isinstance(kind, TextFormat):
            raise UserError(
                f"data {self.name} holds sentences, but the model was trained on data {description.name}: name its own"
            )
        vocabulary = kind.vocabulary
        if spec != _spec(vocabulary):
            raise UserError(
                f"the vocabulary has {len(vocabulary)} symbols, but the model reads {spec}: it is another run's; use "
                f"the one that was written with the model"
            )
        if self.tokens != vocabulary.tokens:
            raise UserError(
                f"data.tokens is {self.tokens}, but the model was trained with {vocabulary.tokens}: set "
                f"data.tokens to {vocabulary.tokens}"
            )
        return vocabulary


def _spec(vocabulary: Vocabulary) -> ObservationSpec:
    return ObservationSpec("categorical", len(vocabulary), unknown=vocabulary.unknown)
