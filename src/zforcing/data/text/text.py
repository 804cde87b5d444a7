"""Text with a sentence on each line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ...errors import UserError
from ...settings import Count
from ..splits import Split
from . import documents
from .documents import Rules, Sentences, SplitPaths
from .sentences import SentenceDataModule


@dataclass(frozen=True)
class Text(SentenceDataModule):
    """A folder of train.txt, valid.txt (or dev.txt, validation.txt) and test.txt, a sentence a line; or one such file,
    or one of them, from whose lines the other splits are taken at random.
    """

    name: ClassVar[str] = "text"

    tokenize: bool = False
    """whether sentences are cut into words and signs (don't, -> do n't ,)"""

    lowercase: bool = False
    """whether sentences are read in lower case"""

    min_words: Count = 1
    """words of the shortest sentence that is kept (before its words are cut into anything smaller)"""

    max_words: Count | None = None
    """words of the longest sentence that is kept; without it, any number"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words(self.min_words, self.max_words)

    @property
    def rules(self) -> Rules:
        return Rules(self.tokenize, self.lowercase, self.min_words, self.max_words)

    @cached_property
    def files(self) -> SplitPaths:
        if documents.is_folder_of_documents(self.folder):
            raise UserError(
                f"data.root {self.folder}: has no train.txt; name the file, or set data.name reviews if each file is a "
                f"document"
            )
        return documents.lines_files(self.folder)

    @property
    def cut_splits(self) -> frozenset[Split]:
        return frozenset(self.missing_shares(self.files))

    @property
    def unread(self) -> list[str]:
        return documents.unread_files(self.folder)

    def read(self, files: list[Path]) -> Sentences:
        return documents.read_lines(files, self.rules)


def check_words(least: int, most: int | None) -> None:
    """Raises UserError for numbers of words that no sentence has."""
    if most is not None and least > most:
        raise UserError(
            f"data.min_words is {least} and data.max_words {most}: no sentence has so many words; data.min_words must "
            f"not be the larger one"
        )
