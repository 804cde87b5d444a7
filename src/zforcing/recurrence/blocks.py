"""What both passes of a loop share: its inputs, and its blocks of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .frame import Frame
from .plan import Loop
from .program import Value, evaluate

ROWS_AT_ONCE = 2048  # of a block: enough for products to be efficient, few enough to stay in the cache


@contextmanager
def of_rows(most: int) -> Iterator[None]:
    """Within it, loops run in blocks of so many rows, to check what several blocks of a short sequence give."""
    global ROWS_AT_ONCE
    before, ROWS_AT_ONCE = ROWS_AT_ONCE, most
    try:
        yield
    finally:
        ROWS_AT_ONCE = before


class Pass:
    """What both passes share: the loop's inputs, and its blocks of steps."""

    def __init__(self, loop: Loop, steps: int, tensors: Sequence[Tensor], lower: torch.dtype | None):
        self.loop, self.steps = loop, steps
        self.tensors = dict(zip(loop.needs, tensors, strict=True))
        self.rows = len(self.tensors[loop.first[0]])
        self.block = min(steps, -(-ROWS_AT_ONCE // self.rows))
        self.device = self.tensors[loop.first[0]].device.type
        self.lower = None if self.tensors[loop.first[0]].dtype == torch.float64 else lower
        self.frame = Frame(steps, self.rows, self.block, lower=self.lower)

    def hold_inputs(self, names: Mapping[Value, Value]) -> None:
        """Put the loop's inputs."""
        for value in self.loop.known:
            self.frame.hold(names[value], self.tensors[value].unflatten(0, (self.steps, -1)))
        for value in self.loop.constants:
            self.frame.hold_one(names[value], self.tensors[value])

    def evaluate(self, wanted: Iterable[Value], known: dict[Value, Any], *, rows: int) -> None:
        """Compute values of many rows, their products in the loop's precision."""
        with torch.autocast(self.device, dtype=self.lower, enabled=self.lower is not None):
            evaluate(wanted, known, rows=rows)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Start and stop of each block of steps."""
        for start in range(0, self.steps, self.block):
            yield start, min(start + self.block, self.steps)

    def ahead_inputs(self, start: int, stop: int) -> dict[Value, Any]:
        """What `loop.ahead` reads of a block."""
        known: dict[Value, Any] = {v: self.tensors[v] for v in self.loop.weights}
        for value in self.loop.sources:
            known[value] = self.tensors[value].unflatten(0, (self.steps, -1))[start:stop].flatten(0, 1)
        return known
