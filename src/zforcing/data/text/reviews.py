"""Sentences of documents, such as IMDB's reviews, as Z-Forcing's language model was trained.

A. Goyal, A. Sordoni, M.-A. Côté, N. R. Ke, Y. Bengio, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017
(https://arxiv.org/abs/1711.05411): sentences of 5 to 16 words of IMDB reviews, in lower case. Where this differs from
the authors' code: the vocabulary is that of the training split (they counted the words of the validation and test sets
too, so that fewer of these were unknown); words and sentences are cut by rules (`observations/sentences.py`); and
reviews are split, not sentences, unless `split_by` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from ...settings import Count
from ..splits import SPLITS, Split, cut
from . import documents
from .documents import Sentences, SplitPaths
from .sentences import SentenceDataModule


@dataclass(frozen=True)
class Reviews(SentenceDataModule):
    """A folder of documents, each a .txt file, with folders train and test (as aclImdb has) or without."""

    name: ClassVar[str] = "reviews"
    paper: ClassVar[str] = (
        "A. Goyal, A. Sordoni, M.-A. Côté, N. R. Ke, Y. Bengio, "
        '"Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017, arXiv 1711.05411'
    )

    # as the paper prepares them
    tokenize: bool = True
    lowercase: bool = True
    min_words: Count = 5
    max_words: Count | None = 16

    split_by: Literal["document", "sentence"] = "document"
    """whether a document's sentences stay in one split, or all sentences (of all folders) are split at random, as in
    the paper"""

    @cached_property
    def files(self) -> SplitPaths:
        files = documents.review_files(self.folder)
        if self.split_by == "sentence":
            return {"train": [file for split in SPLITS for file in files.get(split, [])]}
        shares = self.missing_shares(files)
        if shares:
            whole = files["train"]
            parts = cut(len(whole), shares, seed=self.split_seed, what=f"data.root {self.folder}: reviews")
            files |= {split: [whole[i] for i in index] for split, index in parts.items()}
        return files

    @cached_property
    def cut_splits(self) -> frozenset[Split]:
        there = documents.review_files(self.folder) if self.split_by == "document" else self.files
        return frozenset(self.missing_shares(there))

    @property
    def unread(self) -> list[str]:
        return documents.unread_folders(self.folder)

    def read(self, files: list[Path]) -> Sentences:
        return documents.read_reviews(files, self.rules)
