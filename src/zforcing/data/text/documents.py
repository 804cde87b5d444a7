"""Files of text: which there are, which split each of them is in, and the sentences that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files.text import read_text, split_lines
from ...observations import prepare, split_sentences
from .. import folders
from ..splits import Split

Files = dict[Split, list[Path]]
LABELS = ("neg", "pos", "unsup")  # aclImdb's folders of reviews; the .txt files beside them are lists of addresses


@dataclass(frozen=True)
class Rules:
    """How sentences are prepared, and how many words (what white space then separates) those that are kept have."""

    tokenize: bool
    lowercase: bool
    min_words: int = 1
    max_words: int | None = None


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


def lines_files(root: Path) -> Files:
    """The files of the splits; of a single file, it alone."""
    if root.is_file():
        return {"train": [root]}
    return {split: [file] for split, file in _split_files(root).items()}


def _split_files(root: Path) -> dict[Split, Path]:
    found: dict[Split, Path] = {}
    texts = [file for file in _listed(root) if file.suffix.lower() == ".txt" and file.is_file()]
    for split, names in folders.NAMES.items():
        files = [file for file in texts if file.stem.lower() in names]
        if len(files) > 1:
            raise UserError(
                f"data.root {root}: {' and '.join(f.name for f in files)} are both the {split} split; leave one of them"
            )
        if files:
            found[split] = files[0]
    return found


def unread_folders(root: Path) -> list[str]:
    """The names of folders beside those of the splits, where there are such: they may be misspelt."""
    found = folders.split_folders(root).values()
    return [folder.name for folder in folders.folders_in(root) if found and folder not in found]


def unread_files(root: Path) -> list[str]:
    """The names of .txt files beside those of the splits: they may be misspelt."""
    if root.is_file():
        return []
    used = _split_files(root).values()
    return [f.name for f in _listed(root) if f.suffix.lower() == ".txt" and f.is_file() and f not in used]


def review_files(root: Path) -> Files:
    """All .txt files below the folders train, and valid and test if there are; without such, all of the root's."""
    if root.is_file():
        raise UserError(f"data.root {root}: is a file; reviews are in a folder (data.name text reads lines of a file)")
    found = folders.split_folders(root)
    if found and "train" not in found:
        names = " and ".join(folder.name for folder in found.values())
        raise UserError(f"data.root {root}: has a folder {names} and none that is called train; add it, or name one")
    files: Files = {split: _texts_below(folder) for split, folder in (found or {"train": root}).items()}
    for split, texts in files.items():
        if not texts:
            where = f"{found[split].name} " if found else ""
            raise UserError(f"data.root {root}: no .txt file below its folder {where}".rstrip() + "; mend data.root")
    return files


def _texts_below(folder: Path) -> list[Path]:
    """Sorted; where there are folders pos, neg or unsup, as in aclImdb, those in them alone. Links are followed."""
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
    return _kept((line for file in files for line in split_lines(read_text(file))), rules)


def read_reviews(files: Iterable[Path], rules: Rules) -> Sentences:
    """The sentences of documents, one document a file."""
    return _kept((sentence for file in files for sentence in split_sentences(read_text(file))), rules)


def _kept(raw: Iterable[str], rules: Rules) -> Sentences:
    text, left_out, empty = [], 0, 0
    least, most = rules.min_words, rules.max_words
    for line in raw:
        sentence = line.strip()
        if not sentence:
            empty += 1
        elif most is not None and len(sentence.split()) > most:  # cutting it would make no fewer words of it
            left_out += 1
        else:
            prepared = prepare(sentence, tokenize=rules.tokenize, lowercase=rules.lowercase)
            words = len(prepared.split())
            if words < least or (most is not None and words > most):
                left_out += 1
            else:
                text.append(prepared)
    return Sentences(text, left_out, empty)
