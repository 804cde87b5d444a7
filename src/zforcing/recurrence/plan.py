"""A plan: which parts of a step are loops over time, and what is computed for all steps at once. It is data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .describe import Stage, describe, work_of
from .program import Value, in_order_from
from .views import VIEWS

LEGEND = "n rows, T steps, in blocks of m; h' is h after a step"


@dataclass(frozen=True, repr=False)
class Loop:
    """A loop over time.

    Attributes:
        fields: The fields of the state that it computes.
        before: For each field, the input that holds it before the step.
        after: For each field, its value after the step.
        first: For each field, its value before the first step.
        exported: Values of each step that are needed after the loop, other than `before`.
        given: Values that it reads of each step, known before the step, with rows.
        constants: Values that it reads, the same at all steps.
        ahead: Those of `given` that are linear maps of `sources`, computed just before the steps of a block, so that
            neither they nor their gradients are in memory for all steps.
        sources: What `ahead` reads of each step.
        weights: What `ahead` reads that is the same at all steps.
        log_weight: What a particle filter reads after each step, before it chooses the rows that continue.
    """

    fields: tuple[str, ...]
    before: tuple[Value, ...]
    after: tuple[Value, ...]
    first: tuple[Value, ...]
    exported: tuple[Value, ...]
    given: tuple[Value, ...]
    constants: tuple[Value, ...]
    ahead: tuple[Value, ...] = ()
    sources: tuple[Value, ...] = ()
    weights: tuple[Value, ...] = ()
    log_weight: Value | None = None

    @property
    def known(self) -> list[Value]:
        """Those of `given` that are known before the loop."""
        return [value for value in self.given if value not in self.ahead]

    @property
    def needs(self) -> list[Value]:
        """All that must be known to run it, each once: first states, values of each step, constants."""
        return list(dict.fromkeys([*self.first, *self.known, *self.sources, *self.constants, *self.weights]))

    @property
    def reads(self) -> list[Value]:
        """All that it reads."""
        return [*self.before, *self.given, *self.constants]

    @property
    def results(self) -> list[Value]:
        """All that it computes for others, and its state; each once."""
        return list(dict.fromkeys([*self.after, *self.exported, *filter(None, [self.log_weight])]))

    @cached_property
    def body(self) -> list[Value]:
        """The operations of a step, in order."""
        return in_order_from(self.results, dict.fromkeys(self.reads))

    @property
    def names(self) -> dict[Value, str]:
        """For people: h is the field h before a step, h' after it, h_0 before the first one."""
        found: dict[Value, str] = {}
        for suffix, values in (("", self.before), ("'", self.after), ("_0", self.first)):
            for name, value in zip(self.fields, values, strict=True):
                found.setdefault(value, f"{name}{suffix}")
        if self.log_weight is not None:
            found.setdefault(self.log_weight, "log_weight")
        return found

    @property
    def stages(self) -> list[Stage]:
        """What is computed in it, and when."""
        steps = computed(self.body)
        ahead = in_order_from(self.ahead, dict.fromkeys([*self.sources, *self.weights]))
        return [
            Stage(f"loop over {', '.join(self.fields)}; a step is {work_of(steps)}:", "", ()),
            Stage("  ahead, for a block of steps at once:", "m n", computed(ahead)),
            Stage("  each step:", "n", steps),
        ]

    def __repr__(self) -> str:
        given = dict.fromkeys(v for v in [*self.known, *self.sources] if v.function is not None)
        names = {value: f"given_{i}" for i, value in enumerate(given, 1)} | self.names
        return f"{LEGEND}\n{describe(self.stages, names, {})}"


@dataclass(frozen=True, repr=False)
class Plan:
    """The loops of a recurrence in order, and its values for all steps at once.

    Attributes:
        loops: In order.
        outputs: What was wanted, in the rewritten program.
        last: For each field of the state, its value after the step, in the rewritten program.
        first: For each field, the input that holds it before the first step.
        weight: The weight of a particle filter, in the rewritten program.
        previous: The input x_{t-1} of all steps, if something reads it.
    """

    loops: tuple[Loop, ...]
    outputs: tuple[Value, ...]
    last: Mapping[str, Value]
    first: Mapping[str, Value]
    previous: Value | None
    weight: Value | None = None

    @property
    def stages(self) -> list[Stage]:
        """What is computed, and when; the terms of a bound and the last state are not among it."""
        known: dict[Value, Any] = dict.fromkeys(self.first.values())
        loops = [stage for loop in self.loops for stage in self._around(loop, known)]
        after = self._next(self.outputs, known)
        once = [value for value in known if not _is_of_rows(value) and value.reads]
        return [
            Stage("once, of the weights:", "1", computed(once)),
            *loops,
            Stage("after the loops, for all steps at once:", "T n", computed(after)),
        ]

    def _around(self, loop: Loop, known: dict[Value, Any]) -> Iterator[Stage]:
        """What is computed before a loop, and in it; adds to what is known."""
        known.update(dict.fromkeys(loop.before))
        before = self._next([*loop.known, *loop.sources, *loop.constants, *loop.weights], known)
        yield Stage(f"before the loop over {', '.join(loop.fields)}, for all steps at once:", "T n", computed(before))
        if loop.body:
            yield from loop.stages
        known.update(dict.fromkeys(loop.exported))

    @staticmethod
    def _next(wanted: Iterable[Value], known: dict[Value, Any]) -> list[Value]:
        """What isn't known yet, with rows; adds it to what is known."""
        found = in_order_from(wanted, known)
        known.update(dict.fromkeys(found))
        return [value for value in found if _is_of_rows(value)]

    def text(self, outputs: Mapping[str, Value], inputs: Mapping[Value, str]) -> str:
        """The plan as a person would write it, with names of outputs and of inputs."""
        names = {value: f"{name}_0" for name, value in self.first.items()} | dict(inputs)
        for loop in self.loops:
            names |= loop.names
        for name, value in outputs.items():
            if value.function is not None and value.function not in VIEWS:
                names.setdefault(value, name)
        return f"{LEGEND}\n{describe(self.stages, names, outputs)}"

    def __repr__(self) -> str:
        return self.text({f"output_{i}": value for i, value in enumerate(self.outputs, 1)}, {})


def _is_of_rows(value: Value) -> bool:
    """Whether a value has rows; several results have if what they are made of has."""
    return value.has_rows or any(read.has_rows for read in value.reads)


def computed(values: Iterable[Value]) -> list[Value]:
    """Without inputs and views."""
    return [value for value in values if value.function is not None and value.function not in VIEWS]
