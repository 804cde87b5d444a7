"""Files of text: which there are, which split each of them is in, and the sentences that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.text import read_text, split_lines
from ...observations import Unicode, prepare, split_sentences
from .. import folders
from ..splits import Split

SplitPaths = dict[Split, list[Path]]
LABELS = ("neg", "pos", "unsup")  # aclImdb's folders of reviews; the other .txt files are lists of addresses


@dataclass(frozen=True)
class Rules:
    """How sentences are prepared, and how many words (what white space then separates) those that are kept have."""

    tokenize: bool
    lowercase: bool
    min_words: int = 1
    max_words: int | None = None
    unicode: Unicode = "keep"


@dataclass(frozen=True, eq=False)
class Sentences:
    """Prepared sentences. left_out, empty: how many of the files' had too few or too many words, or were no text."""

    text: list[str]
    left_out: int = 0
    empty: int = 0

    def take(self, index: NDArray[np.int64]) -> Sentences:
        """Those with these numbers. What is counted is still that of the files."""
        return replace(self, text=[self.text[i] for i in index.tolist()])


# ---- which files


def is_folder_of_documents(root: Path) -> bool:
    """Whether it is a folder, and none of train.txt."""
    return not root.is_file() and "train" not in _split_files(root)


def lines_files(root: Path) -> SplitPaths:
    """The files of the splits; a single file, or files of which none has a split's name, are the training split."""
    if root.is_file():
        return {"train": [root]}
    loose = loose_files(root)
    if loose:
        return {"train": loose}
    return _split_files(root)


def _split_files(root: Path) -> SplitPaths:
    texts = [file for file in _listed(root) if file.suffix.lower() == ".txt" and file.is_file()]
    return folders.by_split(texts, f"data.root {root}", lambda file: file.stem)


def loose_files(root: Path) -> list[Path]:
    """The .txt files in a folder, sorted, where none of them has the name of a split; else none."""
    if root.is_file() or _split_files(root):
        return []
    return [file for file in _listed(root) if file.suffix.lower() == ".txt" and file.is_file()]


def unread_folders(root: Path) -> list[str]:
    """The names of folders that belong to no split, where other folders do: they may be misspelt."""
    of_splits = [*chain.from_iterable(folders.split_folders(root).values())]
    return [folder.name for folder in folders.folders_in(root) if of_splits and folder not in of_splits]


def unread_files(root: Path) -> list[str]:
    """The names of .txt files that belong to no split: they may be misspelt."""
    if root.is_file() or loose_files(root):
        return []
    used = [*chain.from_iterable(_split_files(root).values())]
    return [f.name for f in _listed(root) if f.suffix.lower() == ".txt" and f.is_file() and f not in used]


def review_files(root: Path) -> SplitPaths:
    """All .txt files below the folders train, and valid and test if there are; without such, all of the root's."""
    if root.is_file():
        raise UserError(f"data.root {root}: is a file; reviews are in a folder (data.name text reads lines of a file)")
    split_folders = folders.split_folders(root)
    if split_folders and "train" not in split_folders:
        names = " and ".join(folder.name for folder in chain.from_iterable(split_folders.values()))
        raise UserError(f"data.root {root}: has a folder {names} and none named train; add it, or name one")
    below: SplitPaths = split_folders or {"train": [root]}
    files = {split: [text for folder in some for text in _texts_below(folder)] for split, some in below.items()}
    for split, texts in files.items():
        if not texts:
            where = f"{split_folders[split][0].name} " if split_folders else ""
            raise UserError(f"data.root {root}: no .txt file below its folder {where}".rstrip() + "; correct data.root")
    return files


def _texts_below(folder: Path) -> list[Path]:
    """Sorted; where there are folders pos, neg or unsup, as in aclImdb, only those in them. Links are followed."""
    labelled = [entry for entry in folders.folders_in(folder) if entry.name in LABELS]
    texts = [
        parent / name
        for top in labelled or [folder]
        for parent, names in folders.walk(top)
        for name in names
        if name.lower().endswith(".txt") and not name.startswith(".")
    ]
    return sorted(texts)


def _listed(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError as error:
        raise UserError(f"data.root {root}: can't be listed ({error.strerror}); check its permissions") from error


# ---- what is in them


def refuse_unreadable(files: Sequence[Path]) -> None:
    """Raises UserError about a file that is no UTF-8, and where none of them has a line of text."""
    filled = [file for file in files if read_text(file).strip()]
    if files and not filled:
        raise UserError(f"{files[0]}: holds no text; write a sentence on each line, or take the file away")


def read_lines(files: Iterable[Path], rules: Rules) -> Sentences:
    """A sentence on each line. White space around it is no part of it, and a line of nothing else is no sentence."""
    return _select((line for file in files for line in split_lines(read_text(file))), rules)


def read_reviews(files: Iterable[Path], rules: Rules) -> Sentences:
    """The sentences of documents, one document a file."""
    return _select((sentence for file in files for sentence in split_sentences(read_text(file))), rules)


def _select(raw: Iterable[str], rules: Rules) -> Sentences:
    text, left_out, empty = [], 0, 0
    least, most = rules.min_words, rules.max_words
    for line in raw:
        sentence = line.strip()
        if not sentence:
            empty += 1
        elif most is not None and len(sentence.split()) > most:  # cutting it would make no fewer words of it
            left_out += 1
        else:
            prepared = prepare(sentence, tokenize=rules.tokenize, lowercase=rules.lowercase, unicode=rules.unicode)
            words = len(prepared.split())
            if words < least or (most is not None and words > most):
                left_out += 1
            else:
                text.append(prepared)
    return Sentences(text, left_out, empty)
