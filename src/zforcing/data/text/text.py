"""Text with a sentence on each line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ...errors import UserError
from ..splits import Split
from . import documents
from .documents import Sentences, SplitPaths
from .sentences import SentenceDataModule


@dataclass(frozen=True)
class Text(SentenceDataModule):
    """A folder of train.txt, valid.txt (or dev.txt, validation.txt) and test.txt, a sentence a line; or one such file,
    one of them, or a folder of other .txt files, from whose lines the other splits are taken at random.
    """

    name: ClassVar[str] = "text"

    @cached_property
    def files(self) -> SplitPaths:
        if documents.is_folder_of_documents(self.folder) and not self._loose:
            raise UserError(
                f"data.root {self.folder}: has no train.txt; name the file, or set data.name reviews if each file is a "
                f"document"
            )
        return documents.lines_files(self.folder)

    @cached_property
    def _loose(self) -> list[Path]:
        return documents.loose_files(self.folder)

    @property
    def note(self) -> str:
        count = len(self._loose)
        if not count:
            return ""
        return f"each line of {count} .txt file{'s' * (count > 1)} as a sentence (documents: data.name reviews)"

    @property
    def cut_splits(self) -> frozenset[Split]:
        return frozenset(self.missing_shares(self.files))

    @property
    def unread(self) -> list[str]:
        return documents.unread_files(self.folder)

    def read(self, files: list[Path]) -> Sentences:
        return documents.read_lines(files, self.rules)
