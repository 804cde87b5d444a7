"""A step of a recurrence that is run once at a time, in stages, as its inputs come.

What a stage gives is needed to choose the next one's input: the prior of a latent, then the emission of an observation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .algebra import LinearMaps, fused
from .frame import Frame, Step, copy_each
from .program import Value, evaluate, in_order, in_order_from, merge_equal, rewrite
from .views import VIEWS

PREVIOUS = "previous x"


@dataclass(frozen=True)
class Stages:
    """A step in stages.

    Attributes:
        results: What each stage gives.
        before: What is carried from step to step, by name: the input that holds it before the step. These are fields of
            the state, and x_{t-1} (`PREVIOUS`) where a field of the state is made of it alone.
        after: The values of the same after the step.
        late: The other fields of the state that are wanted, which depend on x_t alone.
    """

    results: tuple[tuple[Value, ...], ...]
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    late: Mapping[str, Value]


def make_stages(
    state: Mapping[str, Value], new: Mapping[str, Value], results: Sequence[Sequence[Value]], *, x: Value, whole: bool
) -> Stages:
    """Rewrite a step for running it once at a time.

    A field that depends on x_t alone isn't carried: it is computed at the step that reads it, from x_{t-1}, where its
    linear map and those that read it become one. What no result ever depends on isn't computed.

    Args:
        state: The fields of the state, the inputs that hold them before the step.
        new: The fields after the step.
        results: What each stage gives.
        x: The step's last input.
        whole: Whether all fields are wanted after the steps, also those that no result depends on.
    """
    late = {name: value for name, value in new.items() if _rows_read_by([value]) == {x}}
    previous = replace(x, name=PREVIOUS)
    before = {name: value for name, value in state.items() if name not in late} | {PREVIOUS: previous}
    wanted = [*(v for stage in results for v in stage), *(new[name] for name in before if name in new), x]
    given, after = _split(_without_late(wanted, {state[name]: late[name] for name in late}, {x: previous}), before)
    names = _read_ever(given, before, after, always=set(state) - set(late) if whole else set())
    given, after = _split(_rewritten([*given, *(after[name] for name in names)]), names)
    left = iter(given)
    return Stages(
        results=tuple(tuple(next(left) for _ in stage) for stage in results),
        before={name: before[name] for name in names},
        after=after,
        late=late,
    )


def _without_late(wanted: Sequence[Value], late: Mapping[Value, Value], previous: Mapping[Value, Value]) -> list[Value]:
    """The values with what late fields hold computed from x_{t-1}."""
    seen = dict(zip(late, _with(list(late.values()), previous), strict=True))
    return merge_equal(_with(wanted, seen))


def _split(values: Sequence[Value], names: Collection[str]) -> tuple[list[Value], dict[str, Value]]:
    """Values of the stages, and those after the step by name."""
    at = len(values) - len(names)
    return list(values[:at]), dict(zip(names, values[at:], strict=True))


def _with(values: Sequence[Value], others: Mapping[Value, Value]) -> list[Value]:
    """The values with others in the place of some inputs."""
    return rewrite(values, lambda value: others.get(value, value))


def _rows_read_by(values: Iterable[Value]) -> set[Value]:
    """The inputs with rows that values depend on."""
    return {v for v in in_order(values) if v.function is None and v.has_rows}


def _read_ever(
    results: Sequence[Value], before: Mapping[str, Value], after: Mapping[str, Value], *, always: set[str]
) -> list[str]:
    """The names of what is carried that results depend on, at this or at a later step; and of `always`."""
    found: set[str] = set()
    names = always | {name for name, value in before.items() if value in _rows_read_by(results)}
    while names - found:
        found |= names
        read = _rows_read_by(after[name] for name in found)
        names = {name for name, value in before.items() if value in read}
    return [name for name in before if name in found]


def _rewritten(roots: Sequence[Value]) -> list[Value]:
    """The same values from less work at each step."""
    maps = LinearMaps(roots, loop_of=lambda _: 0, depends=lambda value, loop: False)
    return fused(maps.rewritten())


class StagedRun:
    """Runs the stages of a step again and again, with operations that write into memory allocated once.

    Args:
        stages: What is run.
        constants: The tensors of inputs without rows.
        first: What is carried, before the first step, [n, ...] each.
        rows: n.
    """

    def __init__(self, stages: Stages, constants: Mapping[Value, Tensor], first: Mapping[str, Tensor], *, rows: int):
        self.stages = stages
        self.frame = Frame(2, rows, 2)  # steps alternate between two places: one holds the state before, one that after
        self.at = 0
        order = in_order([*(v for stage in stages.results for v in stage), *stages.after.values()])
        moving = _moving(order)
        self._hold_constants(constants, order, moving, rows=rows)
        self.carried = {name: torch.zeros_like(tensor).repeat(2, *[1] * tensor.dim()) for name, tensor in first.items()}
        work = [value for value in order if value in moving and value.function is not None]
        copies = self._hold_carried(first, set(work))
        for value in moving:
            if value.function is None and value not in self.frame.each:
                self.frame.hold_one(value, self.frame.empty(value, 1)[0])
        self.frame.allocate(work, set(), 1)
        self.work = [*self._stages_of(work, moving)]
        self.work[-1] += [copy_each(self.frame.at(value), slots) for value, slots in copies]
        self.given = [[self.frame.at(value) for value in stage] for stage in stages.results]

    def _hold_constants(
        self, constants: Mapping[Value, Tensor], order: Sequence[Value], moving: set[Value], *, rows: int
    ) -> None:
        """Compute what is the same at all steps, once."""
        known = dict(constants)
        evaluate([value for value in order if value not in moving], known, rows=rows)
        for value in order:
            if value not in moving:
                self.frame.hold_one(value, known[value])

    def _hold_carried(self, first: Mapping[str, Tensor], work: set[Value]) -> list[tuple[Value, Sequence[Tensor]]]:
        """Let what is carried be computed where the next step finds it; returns what must be copied there."""
        copies: list[tuple[Value, Sequence[Tensor]]] = []
        for name, before in self.stages.before.items():
            here, there = self.carried[name].unbind(0)
            here.copy_(first[name])
            self.frame.each[before] = [here, there]
        for name, after in self.stages.after.items():
            here, there = self.carried[name].unbind(0)
            free = after not in self.frame.each and after.function not in VIEWS
            if free and (after in work or after.function is None):
                self.frame.each[after] = [there, here]
            else:
                copies.append((after, [there, here]))
        return copies

    def _stages_of(self, work: Sequence[Value], moving: set[Value]) -> Iterable[list[Step]]:
        """What each stage does, and then the end of the step."""
        known: dict[Value, None] = {v: None for v in self.frame.each if v not in set(work)}
        for wanted in (*self.stages.results, tuple(self.stages.after.values())):
            order = [value for value in in_order_from(wanted, known) if value in moving]
            known.update(dict.fromkeys(order))
            yield self.frame.steps_of(order)

    def put(self, value: Value, tensor: Tensor) -> None:
        """Give an input of the step, [n, ...]."""
        if value in self.frame.each:  # else nothing reads it
            self.frame.each[value][self.at].copy_(tensor.detach())

    def run(self, stage: int) -> list[Tensor]:
        """Run a stage, whose inputs have been put; returns its results."""
        for step in self.work[stage]:
            step(self.at)
        return [each[self.at].clone() for each in self.given[stage]]

    def end(self) -> None:
        """End the step, with the last input put."""
        for step in self.work[-1]:
            step(self.at)
        self.at = 1 - self.at

    def reorder(self, index: Tensor) -> None:
        """Between steps: let row i go on from row index[i], index [n] int64."""
        for slots in self.carried.values():
            before = slots[self.at]
            before.copy_(before[index])

    def state(self) -> dict[str, Tensor]:
        """What is carried, after the last step that has ended."""
        return {name: slots[self.at].clone() for name, slots in self.carried.items()}

    @property
    def is_finite(self) -> bool:
        """Whether the state is: before the step, and as far as the step has gone."""
        return all(bool(slots.isfinite().all()) for slots in self.carried.values())


def _moving(order: Sequence[Value]) -> set[Value]:
    """The values that may differ between steps."""
    found: set[Value] = set()
    for value in order:
        if (value.function is None and value.has_rows) or value.is_random or any(v in found for v in value.reads):
            found.add(value)
    return found
