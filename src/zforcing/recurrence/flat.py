"""Values of a plan at all steps at once: [T n, ...], time first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .eager import Resample, Runner
from .program import Rows, Value, evaluate, in_order_from, substitute
from .views import bases


class Flat:
    """The tensors of a program's values at T steps.

    A value has T B rows if it is the same for all particles, else T K B: row i + j B of a step is copy j of sequence i.
    """

    def __init__(self, *, steps: int, sequences: int, particles: int):
        self.steps, self.sequences, self.particles = steps, sequences, particles
        self.known: dict[Value, Any] = {}
        self.rows: dict[Value, int] = {}  # of one step; 0 for a value without rows
        self.repeated: dict[Value, Tensor] = {}
        self.first: set[Value] = set()  # values before the first step
        self.last: dict[Value, Tensor] = {}  # some values after the last step

    @property
    def all_rows(self) -> int:
        """K B."""
        return self.sequences * self.particles

    def hold(self, value: Value, tensor: Tensor, *, rows: int) -> None:
        """Put an input at all steps, with this number of rows a step."""
        self.known[value], self.rows[value] = tensor, rows

    def hold_first(self, value: Value, tensor: Tensor) -> None:
        """Put what a field of the state holds before the first step, [B, ...] or [K B, ...]."""
        self.known[value], self.rows[value] = tensor, len(tensor)
        self.first.add(value)

    def run(self, runner: Runner, *, resample: Resample | None = None) -> None:
        """Run a loop, after what it reads; once for all particles if it reads nothing that differs between them."""
        loop = runner.loop
        for value in (*loop.known, *loop.sources, *loop.constants, *loop.weights):
            self.evaluate(value)
        is_random = any(value.is_random for value in loop.body)
        rows = max(self.all_rows if is_random else 0, *(self.rows[value] for value in loop.needs))
        same = len({self.rows[v] for v in loop.sources}) == 1 and not set(loop.sources) & set(loop.known)
        known = {v: self._tensor(v) if same and v in loop.sources else self._repeated(v, rows) for v in loop.needs}
        results = runner(known, steps=self.steps, resample=resample)
        for value, tensor in results.steps.items():
            self.known[value], self.rows[value] = tensor, rows
        self.last |= results.last

    def evaluate(self, wanted: Value) -> Tensor:
        """A value at all steps, [T K B, ...]."""
        for value in in_order_from([wanted], self.known):
            if value.function is None:
                raise KeyError(f"the program's input {value} has no value")
            self._compute(value)
        tensor: Tensor = self._repeated(wanted, self.all_rows)
        return tensor

    def evaluate_last(self, wanted: Value, lengths: Tensor) -> Tensor:
        """A value at the last step of each row, [K B, ...], which has `lengths` [K B] steps."""
        if bases([wanted]) <= self.last.keys() and not lengths.is_cuda and bool((lengths == self.steps).all()):
            known: dict[Value, Any] = dict(self.last)
            evaluate([wanted], known, rows=self.all_rows)
            tensor: Tensor = known[wanted]
            return tensor.repeat(self.all_rows // len(tensor), *[1] * (tensor.dim() - 1))
        at = torch.arange(len(lengths), device=lengths.device)
        each: Tensor = self.evaluate(wanted).unflatten(0, (self.steps, -1))
        return each[lengths - 1, at]

    def _compute(self, value: Value) -> None:
        rows = max((self.rows[read] for read in value.reads), default=0)
        if value.has_rows and (rows == 0 or value.is_random):  # made from nothing, or each row's own
            rows = self.all_rows

        def tensor_of(part: Any) -> Any:
            if isinstance(part, Value):
                return self._repeated(part, rows)
            return part.times * rows * self.steps if isinstance(part, Rows) else part

        args, kwargs = (substitute(part, tensor_of) for part in (value.args, value.kwargs))
        self.hold(value, value.of(*args, **kwargs), rows=rows)

    def _tensor(self, value: Value) -> Any:
        """The tensor of a value, or several; computed now if that was left for when it is read."""
        if callable(self.known[value]):
            self.known[value] = self.known[value]()
        return self.known[value]

    def _repeated(self, value: Value, rows: int) -> Any:
        """The tensor of a value with this number of rows a step; one without rows as it is."""
        if self.rows[value] in (0, rows):
            return self._tensor(value)
        if value not in self.repeated:
            steps = 1 if value in self.first else self.steps
            tensor = self._tensor(value).unflatten(0, (steps, 1, -1))
            self.repeated[value] = tensor.expand(steps, self.particles, *tensor.shape[2:]).flatten(0, 2)
        return self.repeated[value]
