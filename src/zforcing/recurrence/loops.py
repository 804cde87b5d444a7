"""Finds what is computed when: which parts of a step are loops over time, and what is computed for all steps at once.

A state's field that depends on no field of the state is given, seen one step late. The dependencies of the others have
strongly connected components; each is a loop, in an order in which what a loop reads is there. Whatever no loop needs
at each step is computed for all steps at once: before the loops, between them, or after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .algebra import LinearMaps, is_linear, with_neighbours_joined
from .plan import Loop, Plan
from .program import Value, aten, in_order, is_alike, merge_equal, replace_values, users_of
from .views import VIEWS, bases


@dataclass(frozen=True)
class Recurrence:
    """A step of a recurrence as a program.

    Attributes:
        state: For each field of the state, the input that holds it before the step.
        new: For each field, its value after the step.
        first: For each field, the input that holds it before the first step.
        made: For each field, how it is made of `start` before the first step; empty where it isn't.
        outputs: The results that are wanted of every step.
        start: The input x_0, and `x` the input x_t that takes its place one step later; None where they aren't known.
        x: See `start`.
        weight: A particle filter's log-weight of the step, after which rows may continue from other rows of the same
            sequence; None without a filter.
        same: The inputs that are the same for all particles of a sequence, if there is a filter.
    """

    state: Mapping[str, Value]
    new: Mapping[str, Value]
    first: Mapping[str, Value]
    outputs: tuple[Value, ...]
    made: Mapping[str, Value] = field(default_factory=dict)
    start: Value | None = None
    x: Value | None = None
    weight: Value | None = None
    same: frozenset[Value] = frozenset()


def make_plan(step: Recurrence) -> Plan:
    """Find the loops of a recurrence, and rewrite its program for them."""
    step, previous = _without_late_fields(_without_empty_fields(step))
    step, loops = _without_copies(step, _components(step))
    step = _with_linear_maps_rewritten(step, loops)
    return Plan(tuple(_loops(step, loops)), step.outputs, step.new, step.first, previous, step.weight)


def shift(values: Tensor, first: Tensor) -> Tensor:
    """What was there one step before: `first` [n, ...], then all but the last n rows of values [T n, ...]."""
    return torch.cat([first, values[: len(values) - len(first)]])


def shifted(values: Value, first: Value) -> Value:
    """`shift` as a value."""
    return Value("shift", shift, (values, first), {}, values.shape, values.dtype, values.device)


# ---- what is known without a loop


def _without_empty_fields(step: Recurrence) -> Recurrence:
    """The recurrence without fields that hold nothing, such as known inputs where there are none."""
    empty = {name: value for name, value in step.state.items() if value.size == 0}
    nothing = {value: _zeros(value) for value in empty.values()}
    return _with_values(step, nothing, without=empty)


def _zeros(like: Value) -> Value:
    kwargs = {"dtype": like.dtype, "device": like.device}
    return Value("zeros", aten.zeros.default, (list(like.shape),), kwargs, like.shape, like.dtype, like.device)


def _without_late_fields(step: Recurrence) -> tuple[Recurrence, Value | None]:
    """The recurrence without the fields that depend on no state: what they hold is given, one step late.

    Where a field is made of x_t as the first one is of x_0, it is computed from x_{t-1}.
    """
    of_start: dict[Value, Value] = {}  # what takes the place of x_t before the first step, and one step late
    of_previous: dict[Value, Value] = {}
    if step.start is not None and step.x is not None:
        of_start[step.x] = step.start
        of_previous[step.x] = Value("previous", shape=step.x.shape, dtype=step.x.dtype, device=step.x.device)
    used = None
    while True:
        states = set(step.state.values())
        late = [name for name in step.state if not (set(in_order([step.new[name]])) & states)]
        if step.weight is not None:  # a filter may change the rows of what differs between particles
            late = [name for name in late if _is_same(step, step.new[name])]
        if not late:
            return step, used
        replaced: dict[Value, Value] = {}
        for name in late:
            new, made = step.new[name], step.made.get(name)
            if of_start and made is not None and is_alike(new, made, of_start):
                (replaced[step.state[name]],) = replace_values([new], of_previous)
                (used,) = of_previous.values()
                step = replace(step, same=step.same | {used})
            else:
                replaced[step.state[name]] = shifted(new, step.first[name])
        step = _with_values(step, replaced, without=late)


def _with_values(step: Recurrence, replaced: Mapping[Value, Value], *, without: Iterable[str]) -> Recurrence:
    """The recurrence with inputs replaced, and without some fields of the state; their last values are kept."""
    wanted = merge_equal(replace_values(_roots(step), replaced))
    state = {name: value for name, value in step.state.items() if name not in set(without)}
    return _rebuilt(step, wanted, state=state)


def _roots(step: Recurrence) -> list[Value]:
    """All values that are wanted of a recurrence."""
    return [*step.new.values(), *step.outputs, *filter(None, [step.weight])]


def _rebuilt(step: Recurrence, roots: Sequence[Value], **changes: Any) -> Recurrence:
    """The recurrence with other values for `_roots`."""
    num, outputs = len(step.new), len(step.outputs)
    weight = None if step.weight is None else roots[-1]
    new = dict(zip(step.new, roots, strict=False))
    return replace(step, new=new, outputs=tuple(roots[num : num + outputs]), weight=weight, **changes)


# ---- loops


def _reads(step: Recurrence, name: str) -> list[str]:
    """The fields that a field's new value depends on."""
    needed = set(in_order([step.new[name]]))
    return [other for other, value in step.state.items() if value in needed]


def _components(step: Recurrence) -> list[tuple[str, ...]]:
    """The strongly connected components of the fields' dependencies, each after those that it reads (R. Tarjan)."""
    edges = {name: _reads(step, name) for name in step.state}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            found.append(tuple(n for n in step.state if n in stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in index:
            visit(name)
    return found


def _without_copies(step: Recurrence, found: Sequence[tuple[str, ...]]) -> tuple[Recurrence, list[tuple[str, ...]]]:
    """Without fields that are no loop, but hold something of the step before; where there is a filter, one loop for all
    that differs between particles, which changes its rows.
    """
    loops: list[tuple[str, ...]] = []
    filtered: list[str] = []
    differing = set() if step.weight is None else _differing(step)
    for names in found:
        if differing.issuperset(names):
            filtered += [name for name in names if _is_read(step, step.state[name])]
        elif len(names) > 1 or names[0] in _reads(step, names[0]):
            loops.append(names)
        else:
            (name,) = names
            step = _with_values(step, {step.state[name]: shifted(step.new[name], step.first[name])}, without=names)
    unread = [name for names in found for name in names if name in step.state and not _is_read(step, step.state[name])]
    step = _with_values(step, {}, without=unread)
    loops = [tuple(name for name in names if name in step.state) for names in loops]
    return step, [names for names in (*loops, tuple(filtered)) if names]


def _is_read(step: Recurrence, value: Value) -> bool:
    return value in set(in_order(_roots(step)))


def _is_same(step: Recurrence, value: Value) -> bool:
    """Whether a value is the same for all particles of a sequence."""
    return all(v in step.same for v in in_order([value]) if v.function is None and v.has_rows)


def _differing(step: Recurrence) -> set[str]:
    """The fields that differ between the particles of a sequence."""
    needed = {name: in_order([step.new[name], step.first[name]]) for name in step.state}
    names = {value: name for name, value in step.state.items()}
    found: set[str] = set()

    def differs(value: Value) -> bool:
        if value in names:
            return names[value] in found
        return value.is_random or (value.function is None and value.has_rows and value not in step.same)

    while more := {name for name in needed if name not in found and any(map(differs, needed[name]))}:
        found |= more
    return found


def _filter_of(step: Recurrence, loops: Sequence[tuple[str, ...]]) -> int | None:
    """The number of the loop whose rows a particle filter changes: the last one, if there is any."""
    filtered = loops and step.weight is not None and _differing(step).issuperset(loops[-1])
    return len(loops) - 1 if filtered else None


class _Dependence:
    """Which values depend on the state of which loop, and which of them a loop needs at each step."""

    def __init__(self, step: Recurrence, loops: Sequence[tuple[str, ...]]):
        self.order = in_order(_roots(step))
        numbers = {step.state[name]: i for i, names in enumerate(loops) for name in names}
        self.on: dict[Value, frozenset[int]] = {}
        for value in self.order:
            own = frozenset([numbers[value]]) if value in numbers else frozenset()
            self.on[value] = own.union(*(self.on[read] for read in value.reads))
        self.inside: dict[Value, int] = {}
        for i, names in enumerate(loops):
            each_step = [step.new[name] for name in names]
            if step.weight is not None and i == _filter_of(step, loops):
                each_step.append(step.weight)
            for value in in_order(each_step):
                if i in self.on[value] and value.function is not None:
                    self.inside.setdefault(value, i)

    def depends(self, value: Value, loop: int) -> bool:
        """Whether a value depends on the state of a loop; a merged weight depends on none."""
        return loop in self.on.get(value, frozenset())


def _with_linear_maps_rewritten(step: Recurrence, loops: Sequence[tuple[str, ...]]) -> Recurrence:
    dependence = _Dependence(step, loops)
    maps = LinearMaps(_roots(step), loop_of=dependence.inside.get, depends=dependence.depends)
    return _rebuilt(step, with_neighbours_joined(maps.rewritten()))


def _loops(step: Recurrence, loops: Sequence[tuple[str, ...]]) -> Iterable[Loop]:
    dependence, filtered = _Dependence(step, loops), _filter_of(step, loops)
    for i, names in enumerate(loops):
        yield _loop(step, names, number=i, dependence=dependence, weight=step.weight if i == filtered else None)


def _loop(
    step: Recurrence, names: tuple[str, ...], *, number: int, dependence: _Dependence, weight: Value | None
) -> Loop:
    """The loop over some fields of the state, with what it reads and what others read of it."""
    inside = [v for v in dependence.order if dependence.inside.get(v) == number]
    ours = set(inside)
    after = tuple(step.new[name] for name in names)
    read = [*(r for v in inside for r in v.reads), *after, *filter(None, [weight])]
    given, constants = _known_of([v for v in read if not dependence.depends(v, number)])
    wanted = {*step.new.values(), *step.outputs}
    read_outside = bases({r for v in dependence.order if v not in ours for r in v.reads} | wanted)
    return Loop(
        fields=names,
        before=tuple(step.state[name] for name in names),
        after=after,
        first=tuple(step.first[name] for name in names),
        exported=tuple(v for v in inside if v in read_outside and v.function not in VIEWS),
        given=given,
        constants=constants,
        log_weight=weight,
        **_linear_of(given, dependence.order, ours, wanted),
    )


def _known_of(read: Iterable[Value]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """`given` and `constants` of a loop that reads these; views of what is given are made in the loop."""
    given: dict[Value, None] = {}
    constants: dict[Value, None] = {}
    for value in read:
        base = value
        while base.has_rows and base.function in VIEWS and base.args[0].has_rows:
            base = base.args[0]
        (given if base.has_rows else constants)[base] = None
    return tuple(given), tuple(constants)


def _linear_of(
    given: Iterable[Value], everything: Sequence[Value], loop: set[Value], wanted: set[Value]
) -> dict[str, tuple[Value, ...]]:
    """`ahead`, `sources` and `weights` of a loop: the given values that are linear maps and that only it reads."""
    users = users_of(everything)

    def is_ours(value: Value) -> bool:
        """Whether only the loop reads a value, or views of it."""
        of = users.get(value, [])
        return value not in wanted and all(u in loop or (u.function in VIEWS and is_ours(u)) for u in of)

    ahead = tuple(v for v in given if is_linear(v) and is_ours(v))
    reads: dict[Value, None] = {}
    stack = list(reversed(ahead))
    while stack:
        for read in stack.pop().reads:
            if is_linear(read) and read.has_rows and read not in wanted and len(users[read]) == 1:
                stack.append(read)
            else:
                reads[read] = None
    return {
        "ahead": ahead,
        "sources": tuple(v for v in reads if v.has_rows),
        "weights": tuple(v for v in reads if not v.has_rows),
    }
