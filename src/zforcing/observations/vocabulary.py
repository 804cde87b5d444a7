"""Vocabularies, which number symbols: words, characters, bytes or byte pairs. Models keep theirs."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .sentences import Unicode, prepare

Tokens = Literal["words", "characters", "bytes", "bpe"]
END = "</s>"
UNKNOWN = {"words": "<unk>", "characters": "\ufffd"}  # the second is one character, so that what is decoded is text
AT_ONCE = 4096  # sentences in one call of `tokenizers`


@dataclass(frozen=True)
class Vocabulary:
    """The numbers 0..V-1 of the symbols that sentences are made of, and how a sentence is prepared for it.

    tokens:    words (what white space separates), characters, bytes (of UTF-8) or bpe (byte pairs: R. Sennrich,
               B. Haddow, A. Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016)
    symbols:   of words and characters, each one's text: the unknown one first, the end of a sentence last
    lowercase: whether a sentence is read in lower case
    tokenize:  whether it is first cut into words and signs (`sentences.split_words`)
    pairs:     of bpe, the tokenizer as JSON, byte-level: nothing is unknown to it, and no more so to bytes
    unicode:   which spelling a sentence is read in; a model of before there was a choice keeps that of the text

    The end symbol is number V-1. There is none for padding, which is masked, and none for the start: a model of
    categories reads the number V before the first one (`ObservationSpec`), which is never emitted.
    """

    tokens: Tokens
    symbols: tuple[str, ...] = ()
    lowercase: bool = False
    tokenize: bool = False
    pairs: str | None = None
    unicode: Unicode = "keep"

    def __post_init__(self) -> None:
        """Raise UserError for invalid fields, as in an edited config.json."""
        if self.tokens not in get_args(Tokens):
            raise UserError(f"vocabulary.tokens is {self.tokens!r}; it must be {' or '.join(get_args(Tokens))}")
        for name in ("lowercase", "tokenize"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"vocabulary.{name} is {getattr(self, name)!r}; it must be true or false")
        if self.unicode not in get_args(Unicode):
            raise UserError(f"vocabulary.unicode is {self.unicode!r}; it must be {' or '.join(get_args(Unicode))}")
        self._check_symbols()
        if (self.tokens == "bpe") != (self.pairs is not None):
            raise UserError(f"vocabulary.pairs must be a tokenizer's JSON for tokens bpe, and null for {self.tokens}")
        if len(self) < 2:
            raise UserError("vocabulary.pairs is not the JSON of a tokenizer, or an empty one")

    def _check_symbols(self) -> None:
        symbols = self.symbols
        if self.tokens not in UNKNOWN:
            if symbols:
                raise UserError(f"vocabulary.symbols has {len(symbols)} entries; for tokens {self.tokens} it has none")
            return
        if not all(isinstance(symbol, str) for symbol in symbols) or len(set(symbols)) != len(symbols):
            raise UserError("vocabulary.symbols must be texts, each of them once")
        first = UNKNOWN[self.tokens]
        if len(symbols) < 2 or symbols[0] != first or symbols[-1] != END:
            raise UserError(
                f"vocabulary.symbols has {len(symbols)} entries; it must begin with {first!r}, end in {END!r}"
            )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Vocabulary:
        """From the JSON values of its fields. Raises UserError for invalid values."""
        return cls(**values | {"symbols": tuple(values["symbols"])})

    def __len__(self) -> int:
        """V, the end symbol included."""
        match self.tokens:
            case "bytes":
                return 257
            case "bpe":
                return self._pairs_size + 1
            case _:
                return len(self.symbols)

    @property
    def end(self) -> int:
        """The number of the symbol that ends every sentence."""
        return len(self) - 1

    @property
    def unknown(self) -> int | None:
        """The number of words or characters that the training split didn't have, or too seldom."""
        return 0 if self.tokens in UNKNOWN else None

    def encode(self, text: str) -> list[int]:
        """The numbers of one sentence, prepared first; without the end symbol."""
        return next(self._encoded([self.prepared(text)]))

    def prepared(self, text: str) -> str:
        """A sentence as those that the vocabulary was built from."""
        return prepare(text, tokenize=self.tokenize, lowercase=self.lowercase, unicode=self.unicode)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a sentence, up to its end symbol if it has one. Words have a space between them."""
        known = []
        for number in ids:
            if number == self.end:
                break
            known.append(int(number))
        match self.tokens:
            case "words":
                return " ".join(self.symbols[number] for number in known)
            case "characters":
                return "".join(self.symbols[number] for number in known)
            case "bytes":
                return bytes(known).decode("utf-8", errors="replace")
            case _:
                text: str = self._tokenizer.decode(known)
                return text

    def line(self, ids: Iterable[int]) -> str:
        """The text of a sentence on one line: its bytes or byte pairs may spell a new one."""
        return " ".join(self.decode(ids).splitlines())

    def unknown_in(self, text: str) -> list[str]:
        """The words or characters of a text that it doesn't have, each once."""
        if self.tokens not in UNKNOWN:
            return []
        prepared = self.prepared(text)
        parts = dict.fromkeys(prepared.split() if self.tokens == "words" else prepared)
        known = set(self.symbols[1:-1])
        return [part for part in parts if part not in known]

    def number(self, sentences: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """N prepared sentences -> the symbols of all of them, each with its end symbol, and where each one ends [N]."""
        flat, ends, end = array("i"), array("q"), self.end
        for ids in self._encoded(sentences):
            flat.extend(ids)
            flat.append(end)
            ends.append(len(flat))
        return np.frombuffer(flat, dtype=np.int32), np.frombuffer(ends, dtype=np.int64)

    def _encoded(self, sentences: Sequence[str]) -> Iterator[list[int]]:
        known, unknown = self._numbers, self.unknown or 0
        match self.tokens:
            case "words":
                return ([known.get(word, unknown) for word in sentence.split()] for sentence in sentences)
            case "characters":
                return ([known.get(character, unknown) for character in sentence] for sentence in sentences)
            case "bytes":
                return (list(sentence.encode()) for sentence in sentences)
            case _:
                parts = (sentences[i : i + AT_ONCE] for i in range(0, len(sentences), AT_ONCE))
                return (encoding.ids for part in parts for encoding in self._tokenizer.encode_batch(list(part)))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Of all symbols but the end, which no text spells."""
        return {symbol: number for number, symbol in enumerate(self.symbols[:-1])}

    @cached_property
    def _pairs_size(self) -> int:
        """How many symbols the tokenizer has: without the package, so that a model can be loaded without it."""
        try:
            return len(json.loads(self.pairs or "")["model"]["vocab"])
        except (ValueError, KeyError, TypeError):
            return 0

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            return _tokenizers().Tokenizer.from_str(self.pairs)
        except UserError:
            raise
        except Exception as error:  # its own class, for which it has no name
            raise UserError(
                f"vocabulary.pairs is not the JSON of a tokenizer: {' '.join(str(error).split())}"
            ) from error


def build_vocabulary(
    sentences: Sequence[str],
    tokens: Tokens,
    *,
    most: int,
    lowercase: bool,
    tokenize: bool,
    unicode: Unicode = "keep",
) -> Vocabulary:
    """Build a vocabulary from the prepared sentences of the training split.

    words, characters: the `most` most frequent ones, in that order, and those that are as frequent in the order of
    their code points; the unknown one and the end are added. bpe: at most `most` merges.
    """
    kept = Vocabulary("bytes", lowercase=lowercase, tokenize=tokenize, unicode=unicode)
    match tokens:
        case "bytes":
            return kept
        case "bpe":
            return replace(kept, tokens=tokens, pairs=_learned_pairs(sentences, most))
    symbols = chain.from_iterable(map(str.split, sentences) if tokens == "words" else sentences)
    counts, unknown = Counter(symbols), UNKNOWN[tokens]
    counts.pop(unknown, None)
    by_frequency = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return replace(kept, tokens=tokens, symbols=(unknown, *by_frequency[:most], END))


def _learned_pairs(sentences: Sequence[str], merges: int) -> str:
    """A tokenizer of all 256 bytes and at most so many merges, as JSON. A pair that occurs once is not merged."""
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=len(alphabet) + merges, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    learned: str = tokenizer.to_str()
    return learned


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise UserError('data.tokens bpe needs tokenizers; pip install "zforcing[text]"') from error
    return tokenizers
