"""A program as text, as a person would write it: what is computed when.

Inner operations stand inside of those that read them, if there is one that does; matrix products have lines of their
own. `h'` is the field h of the state after a step, `h` before it.
"""

from __future__ import annotations

import itertools
import operator
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .program import Rows, Value, aten, values_in
from .trace import function_name
from .views import VIEWS, bases

PRODUCTS = (aten.mm.default, aten.addmm.default, aten.matmul.default, aten.bmm.default, aten.baddbmm.default)
LONGEST = 80  # characters of an operation inside of another one
SUM, PRODUCT, ATOM = range(3)  # how tightly an expression binds
OF_TENSORS = ("dtype", "layout", "device", "pin_memory", "memory_format")  # arguments that are left out


class Stage(NamedTuple):
    """Values that are computed together.

    Attributes:
        title: When that is; a line above them.
        rows: What their number of rows is called; "" of a heading, for the stages below it.
        values: In order.
    """

    title: str
    rows: str
    values: Sequence[Value]


class Expression(NamedTuple):
    """Text of a value, and how tightly its outermost operation binds."""

    text: str
    binds: int = ATOM

    def inside(self, binds: int) -> str:
        """The text as an operand of an operation."""
        return self.text if self.binds >= binds else f"({self.text})"


def describe(stages: Sequence[Stage], names: Mapping[Value, str], results: Mapping[str, Value]) -> str:
    """A program as text.

    Args:
        stages: Its parts, in order.
        names: Of its inputs, and of other values that have one.
        results: What it returns, by name. Those that are views of something get a line at the end.
    """
    writer = _Writer(stages, names, results.values())
    lines = [line for stage in stages for line in writer.stage(stage)]
    views = list(writer.results(results))
    if views and not stages[-1].values:
        lines.append(stages[-1].title)
    return "\n".join([*lines, *views])


def work_of(values: Sequence[Value]) -> str:
    """How much work operations are, in words."""
    return f"{len(values)} operations, {multiply_adds(values):,} multiply-adds a row"


def multiply_adds(values: Iterable[Value]) -> int:
    """Those of the matrix products among values: for each row, if the product has rows."""
    return sum(value.size * _summed(value) for value in values if value.function in PRODUCTS)


def _summed(value: Value) -> int:
    """The number of products that an entry of a matrix product is the sum of; 1 where those are the rows."""
    length = value.args[-1].shape[0 if len(value.args[-1].shape) < 3 else 1]
    return length.times if isinstance(length, Rows) else int(length)


class _Writer:
    """Names values, and writes them."""

    def __init__(self, stages: Sequence[Stage], names: Mapping[Value, str], results: Iterable[Value]):
        self.names: dict[Value, str] = {}
        for value, name in names.items():
            self.names[value] = self._unique(name)
        self.letters = _letters()
        self.stage_of = {value: i for i, stage in enumerate(stages) for value in stage.values}
        self.users: dict[Value, list[Value]] = {value: [value] for value in bases(results)}
        for user in self.stage_of:
            for read in values_in((user.args, user.kwargs)):
                (base,) = bases([read])
                self.users.setdefault(base, []).append(user)

    def stage(self, stage: Stage) -> Iterator[str]:
        """A stage's title and lines."""
        if stage.values or not stage.rows:
            yield stage.title
        indent = " " * (len(stage.title) - len(stage.title.lstrip()) + 2)
        for value in stage.values:
            expression = self._operation(value)
            if not self._is_inside(value, expression):
                if value not in self.names:
                    self.names[value] = self._letter()
                yield f"{indent}{self.names[value]} = {expression.text}{_shape(value, stage.rows)}"

    def results(self, results: Mapping[str, Value]) -> Iterator[str]:
        """The results that are views of something."""
        for name, value in results.items():
            if value.function in VIEWS:
                yield f"  {name} = {self.expression(value).text}"

    def expression(self, value: Value) -> Expression:
        """A value where it is read."""
        if value not in self.names and value.function in VIEWS:
            return Expression(self._view(value))
        if value not in self.names and value.function is not None:
            return self._operation(value)
        return Expression(self.names.setdefault(value, self._unique(value.name.replace(" ", "_"))))

    def _is_inside(self, value: Value, expression: Expression) -> bool:
        """Whether a value is written inside of the one that reads it."""
        if value in self.names or value.is_random:
            return False
        if not value.reads:
            return True
        users = self.users.get(value, [])
        alone = len(users) == 1 and self.stage_of[users[0]] == self.stage_of[value]
        return alone and value.function not in PRODUCTS and len(expression.text) <= LONGEST

    def _operation(self, value: Value) -> Expression:
        known, args = OPERATORS.get(value.function), [self._argument(part) for part in value.args]
        named = {name: self._argument(part).text for name, part in value.kwargs.items() if name not in OF_TENSORS}
        if known is not None and not named:
            return known(*args)
        arguments = [*(arg.text for arg in args), *(f"{name}={text}" for name, text in named.items())]
        return Expression(f"{function_name(value.function or str)}({', '.join(arguments)})")

    def _view(self, value: Value) -> str:
        base, *args = value.args
        text = self.expression(base).inside(ATOM)
        if value.function is aten.slice.Tensor:
            dim, start, stop = args
            return f"{text}[{':, ' * dim}{start}:{stop}]"
        if value.function is aten.select.int:
            dim, index = args
            return f"{text}[{':, ' * dim}{index}]"
        sizes = args[0] if args and isinstance(args[0], list) else args
        return f"{text}.{function_name(value.function or str)}({', '.join(self._argument(n).text for n in sizes)})"

    def _argument(self, part: Any) -> Expression:
        if isinstance(part, Value):
            return self.expression(part)
        if isinstance(part, list | tuple):
            return Expression(f"[{', '.join(self._argument(p).text for p in part)}]")
        if isinstance(part, Rows):
            return Expression("n" if part.times == 1 else f"{part.times} n")
        return Expression(f"{part:.4g}" if isinstance(part, float) else str(part))

    def _letter(self) -> str:
        taken = {name.split("_")[0].rstrip("'") for name in self.names.values()}
        return next(letter for letter in self.letters if letter not in taken)

    def _unique(self, name: str) -> str:
        taken = set(self.names.values())
        numbered = (f"{name}_{i}" for i in itertools.count(2))
        return next(n for n in itertools.chain([name], numbered) if n not in taken)


def _letters() -> Iterator[str]:
    """a to z, aa to zz, and so on, without what stands for numbers in shapes."""
    for length in itertools.count(1):
        words = map("".join, itertools.product(string.ascii_lowercase, repeat=length))
        yield from (word for word in words if word not in ("m", "n"))


def _shape(value: Value, rows: str) -> str:
    """The shape, at the end of a line; a scalar has none, and neither have several results."""
    if not value.shape:
        return ""
    sizes = (f"{n.times} {rows}" if n.times > 1 else rows for n in value.shape if isinstance(n, Rows))
    return f"  # [{', '.join([*sizes, *(str(n) for n in value.shape if not isinstance(n, Rows))])}]"


def _infix(sign: str, binds: int) -> Callable[[Expression, Expression], Expression]:
    def write(a: Expression, b: Expression) -> Expression:
        loose = sign in "+*"  # of operands of the same kind the order doesn't matter
        return Expression(f"{a.inside(binds)} {sign} {b.inside(binds if loose else binds + 1)}", binds)

    return write


_add, _sub, _mul, _div, _matmul = (_infix(s, SUM if s in "+-" else PRODUCT) for s in "+-*/@")
OPERATORS: dict[Any, Callable[..., Expression]] = {
    aten.add.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.mul.Tensor: _mul,
    aten.div.Tensor: _div,
    aten.mm.default: _matmul,
    aten.matmul.default: _matmul,
    aten.neg.default: lambda x: Expression(f"-{x.inside(ATOM)}", PRODUCT),
    aten.addmm.default: lambda x, a, b: _add(x, _matmul(a, b)),
    aten.addcmul.default: lambda x, a, b: _add(x, _mul(a, b)),
    aten.scalar_tensor.default: lambda x: x,
    operator.getitem: lambda x, i: Expression(f"{x.inside(ATOM)}[{i.text}]"),
}
