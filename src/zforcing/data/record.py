"""What a run keeps of a split, to notice later that it is another one: a file or folder that has grown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from .audio.framed import FramedRecordings
from .dataset import SequenceDataset
from .suspicious import LARGE, count_numbers

MANY = 100_000  # sequences, of more of which no digests are kept


@dataclass(frozen=True)
class SplitRecord:
    """N sequences, as they were.

    Attributes:
        sequences: N.
        steps: of all of them.
        fingerprint: 12 hexadecimal digits, of all digests in their order.
        digests: 12 hexadecimal digits for each sequence; none where there are too many.
        by: what the digests are of: numbers, names (of recordings) or lengths (of what takes long to read).
    """

    sequences: int
    steps: int
    fingerprint: str
    digests: tuple[str, ...]
    by: str

    @classmethod
    def of(cls, data: SequenceDataset) -> SplitRecord:
        """The record of a split; numbers are read where there are few."""
        by = _by(data)
        digests = tuple(_short(_content(data, index, by)) for index in range(len(data)))
        kept = digests if len(digests) <= MANY else ()
        return cls(len(data), int(data.lengths.sum()), _short("".join(digests).encode()), kept, by)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"digests": " ".join(self.digests)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SplitRecord:
        """The inverse of `to_json`. Raises UserError for other values."""
        try:
            return cls(**dict(values) | {"digests": tuple(values["digests"].split())})
        except (TypeError, KeyError, AttributeError) as error:
            raise UserError(f"the record of a split is damaged: {error}") from None

    def same(self, other: SplitRecord) -> int:
        """How many sequences of this one are in the other, by their numbers or names."""
        if self.by != other.by or self.by == "lengths":
            return 0
        known = set(other.digests)
        return sum(digest in known for digest in self.digests)

    def change(self, now: SplitRecord) -> str:
        """In words, what is another than it was; "" where nothing is."""
        if self.fingerprint == now.fingerprint or self.by != now.by:
            return ""
        if self.sequences != now.sequences:
            return f"had {self.sequences} sequences and has {now.sequences}"
        return f"has other sequences, or the same in another order ({now.same(self)} of {now.sequences} were in it)"


def _by(data: SequenceDataset) -> str:
    if isinstance(data, FramedRecordings):
        return "names"
    return "numbers" if count_numbers(data) <= LARGE else "lengths"


def _content(data: SequenceDataset, index: int, by: str) -> bytes:
    """What tells a sequence from others."""
    if isinstance(data, FramedRecordings):
        name, start = data.recordings.names[int(data.pieces.recording[index])], data.pieces.start[index]
        return f"{name} {start} {data.lengths[index]}".encode(errors="surrogateescape")
    if by == "lengths":
        return f"{data.lengths[index]}".encode()
    example = data[index]
    parts = [np.asarray(a).tobytes() for a in (example.x, example.observed, example.inputs) if a is not None]
    return b"".join([f"{np.shape(example.x)}".encode(), *parts])


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
