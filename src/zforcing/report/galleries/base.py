"""What a gallery is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...files.reading import Array
from ...observations import DataDescription


@dataclass(frozen=True)
class Gallery:
    """How the sequences of a format are shown.

    format:  its name
    show:    the blocks of one sequence [T, D] or [T], as a model reads it
    samples: how many a page shows
    steps:   at most, of a sample; None: as long as samples are by default
    narrow:  whether many stand beside each other
    compare: the blocks of a sequence with what was made of it; None: one after the other
    """

    format: str
    show: Callable[[Array, DataDescription], Sequence[Any]]
    samples: int = 4
    steps: int | None = None
    narrow: bool = False
    compare: Callable[[Array, Array, DataDescription], Sequence[Any]] | None = None

    def both(self, x: Array, made: Array, description: DataDescription) -> Sequence[Any]:
        """A sequence, and what was made of it."""
        if self.compare is not None:
            return self.compare(x, made, description)
        return [*self.show(x, description), *self.show(made, description)]
