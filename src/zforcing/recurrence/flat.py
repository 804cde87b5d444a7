"""Values of a plan at all steps at once: [T n, ...], time first."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .eager import Resample, Runner
from .program import Rows, Value, in_order_from, substitute


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
        known = {v: self.known[v] if same and v in loop.sources else self._repeated(v, rows) for v in loop.needs}
        runner(known, steps=self.steps, resample=resample)
        for value in (*loop.before, *loop.exported):
            self.hold(value, known[value], rows=rows)

    def evaluate(self, wanted: Value) -> Tensor:
        """A value at all steps, [T K B, ...]."""
        for value in in_order_from([wanted], self.known):
            if value.function is None:
                raise KeyError(f"the program's input {value} has no value")
            self._compute(value)
        tensor: Tensor = self._repeated(wanted, self.all_rows)
        return tensor

    def _compute(self, value: Value) -> None:
        rows = max((self.rows[read] for read in value.reads), default=0)
        if value.has_rows and rows == 0:  # made from nothing: zeros, or random numbers
            rows = self.all_rows

        def tensor_of(part: Any) -> Any:
            if isinstance(part, Value):
                return self._repeated(part, rows)
            return part.times * rows * self.steps if isinstance(part, Rows) else part

        args, kwargs = (substitute(part, tensor_of) for part in (value.args, value.kwargs))
        self.hold(value, value.of(*args, **kwargs), rows=rows)

    def _repeated(self, value: Value, rows: int) -> Any:
        """The tensor of a value with this number of rows a step; one without rows as it is."""
        if self.rows[value] in (0, rows):
            return self.known[value]
        if value not in self.repeated:
            steps = 1 if value in self.first else self.steps
            tensor = self.known[value].unflatten(0, (steps, 1, -1))
            self.repeated[value] = tensor.expand(steps, self.particles, *tensor.shape[2:]).flatten(0, 2)
        return self.repeated[value]
