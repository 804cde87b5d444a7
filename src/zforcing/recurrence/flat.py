"""Values of a plan at all steps at once: [T n, ...], time first."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .eager import Runner
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

    @property
    def all_rows(self) -> int:
        """K B."""
        return self.sequences * self.particles

    def hold(self, value: Value, tensor: Tensor, *, rows: int) -> None:
        """Put an input at all steps, with this number of rows a step."""
        self.known[value], self.rows[value] = tensor, rows

    def hold_first(self, value: Value, tensor: Tensor) -> None:
        """Put what a field of the state holds before the first step, [K B, ...]."""
        self.known[value], self.rows[value] = tensor, self.all_rows

    def run(self, runner: Runner) -> None:
        """Run a loop, after what it reads."""
        loop = runner.loop
        for value in (*loop.known, *loop.sources, *loop.constants, *loop.weights):
            self.evaluate(value)
        same = len({self.rows[v] for v in loop.sources}) == 1 and not set(loop.sources) & set(loop.known)
        known: dict[Value, Any] = {v: self.known[v] if same else self._for_all(v) for v in loop.sources}
        known |= {v: self._for_all(v) for v in (*loop.first, *loop.known, *loop.constants, *loop.weights)}
        runner(known, steps=self.steps)
        for value in (*loop.before, *loop.exported):
            self.hold(value, known[value], rows=self.all_rows)

    def evaluate(self, wanted: Value) -> Tensor:
        """A value at all steps, [T K B, ...]."""
        for value in in_order_from([wanted], self.known):
            if value.function is None:
                raise KeyError(f"the program's input {value} has no value")
            self._compute(value)
        return self._for_all(wanted)

    def _compute(self, value: Value) -> None:
        rows = max((self.rows[read] for read in value.reads), default=0)
        if value.has_rows and rows == 0:  # made from nothing: zeros, or random numbers
            rows = self.all_rows

        def tensor_of(part: Any) -> Any:
            if isinstance(part, Value):
                return self._for_all(part) if rows == self.all_rows else self.known[part]
            return part.times * rows * self.steps if isinstance(part, Rows) else part

        args, kwargs = (substitute(part, tensor_of) for part in (value.args, value.kwargs))
        assert value.function is not None, "checked by the caller"
        self.hold(value, value.function(*args, **kwargs), rows=rows)

    def _for_all(self, value: Value) -> Any:
        """The tensor with a row for each particle."""
        if self.rows[value] in (0, self.all_rows) or value in self.repeated:
            return self.repeated.get(value, self.known[value])
        tensor = self.known[value].unflatten(0, (self.steps, 1, -1))
        shape = (self.steps, self.particles, *tensor.shape[2:])
        self.repeated[value] = tensor.expand(*shape).flatten(0, 2)
        return self.repeated[value]
