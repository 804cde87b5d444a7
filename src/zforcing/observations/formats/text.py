"""Sentences as numbers: each symbol is a step, and the last one ends the sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...files.paths import user_path
from ...files.text import read_text, split_lines
from ..example import Example
from ..spec import ObservationSpec
from ..vocabulary import END, Vocabulary
from .base import Described, Format
from .drawn import Drawn, Written


@dataclass(frozen=True)
class TextFormat(Format):
    """An observation is a symbol of a sentence; the vocabulary says which symbol has which number."""

    name = "text"
    endings = ("txt",)
    hub_task = "text-generation"
    reads = (".txt",)
    is_text = True

    vocabulary: Vocabulary

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TextFormat:
        """From the JSON values of the vocabulary."""
        return cls(**values | {"vocabulary": Vocabulary.from_json(values["vocabulary"])})

    def brief(self) -> dict[str, Any]:
        """Of the vocabulary its kind and its size."""
        known = self.vocabulary
        return {"name": self.name, "vocabulary": {"tokens": known.tokens, "symbols": len(known)}}

    def problems(self, spec: ObservationSpec) -> list[str]:
        """Every symbol is a category."""
        known = self.vocabulary
        if spec.kind == "categorical" and len(known) == spec.size:
            return []
        return [
            (
                f"data.format.vocabulary has {len(known)} symbols for {spec.kind} observations of size {spec.size}; it "
                "must have one for each category"
            )
        ]

    @property
    def extra(self) -> str | None:
        """Byte pairs are read by tokenizers."""
        return "text" if self.vocabulary.tokens == "bpe" else None

    def read(self, path: str, description: Described) -> list[Example]:
        """The beginning of a sentence on each line of a file, prepared as the model's sentences were; without the end
        symbol (see `whole`). Empty lines don't count.
        """
        known = self.vocabulary
        lines = (line.strip() for line in split_lines(read_text(user_path(path, path))))
        prepared = (known.prepared(line) for line in lines)
        sentences = [sentence for sentence in prepared if sentence.split()]
        if not sentences:
            raise UserError(f"{path}: holds no text; write the beginning of a sentence on each line")
        if known.tokens == "words":
            refuse_end_symbol(sentences, path)
        symbols, ends = known.number(sentences)
        return [Example(ids[:-1].astype(np.int64)) for ids in np.split(symbols, ends[:-1])]

    def parse(self, source: str) -> tuple[Example, list[str]]:
        """The symbols of some text, without the end symbol, and what the vocabulary doesn't have of it."""
        symbols = self.vocabulary.encode(source)
        if not symbols:
            raise UserError(f"{source!r} holds no symbol: give some text")
        return Example(np.array(symbols, dtype=np.int64)), self.vocabulary.unknown_in(source)

    def whole(self, example: Example) -> Example:
        """With the end symbol, if it isn't there."""
        if example.x[-1] == self.vocabulary.end:
            return example
        return Example(np.append(example.x, self.vocabulary.end))

    def unknown_in(self, examples: Sequence[Example]) -> int | None:
        """How many symbols stand for what the vocabulary doesn't have."""
        return sum(int(np.count_nonzero(example.x == self.vocabulary.unknown)) for example in examples)

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        """STEM.txt with a sentence on each line, up to its end symbol."""
        known = self.vocabulary
        sentences = [ids.tolist() for ids in drawn.whole]
        lines = [known.line(ids) for ids in sentences]
        Path(f"{path}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        ended = [known.end in ids for ids in sentences]
        shown = [line if is_whole else f"{line} ..." for line, is_whole in zip(lines, ended, strict=True)]
        return Written((f"{path}.txt",), text=tuple(shown))

    def steps_after(self, prefixes: Sequence[Example], description: Described) -> int:
        """Up to the longest sentence trained on. Raises UserError where one has its end: nothing stands behind it."""
        if any(prefix.x[-1] == self.vocabulary.end for prefix in prefixes):
            raise UserError("a sentence is whole already: keep less of it by --given 0.5")
        return super().steps_after(prefixes, description)

    def steps_between(self, ends: Sequence[Example], description: Described) -> int | None:
        """As many as the longest sentence has: one between two short ones may be longer than they are."""
        return max(description.longest, *(len(example.x) for example in ends))


def refuse_end_symbol(sentences: Iterable[str], what: str) -> None:
    """Raise about the first sentence that spells the end symbol: its end would be predictable."""
    for sentence in sentences:
        if END in sentence and END in sentence.split():
            raise UserError(
                f"{what}: the sentence {sentence[:40]!r} holds {END}, which is put at the end of every sentence; take "
                f"it out of the text"
            )
