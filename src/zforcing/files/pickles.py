"""Read pickles of plain data safely, without executing them.

A pickle is a program for a stack machine, and Python's implementation imports and calls whatever the program names.
This one only has the instructions that build lists, tuples, dicts, numbers and text, and can't call anything. It also
doesn't allocate memory that a damaged file asks for, such as a memo of 2^32 entries.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UserError

PICKLES = frozenset((".p", ".pickle", ".pkl"))  # suffixes
PROTOCOLS = frozenset(("PROTO", "FRAME"))  # the encoding of what follows, which pickletools handles
VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
)
IMPORTS = frozenset(("GLOBAL", "STACK_GLOBAL", "INST"))


def read_pickle(file: Path, source: str) -> Any:
    """Read a pickle of any protocol.

    Args:
        file: The file.
        source: The file's name in messages.

    Returns:
        The object: lists, tuples, dicts, numbers and text.

    Raises:
        UserError: The file is damaged, or holds anything else.
    """
    machine = _Machine(source)
    try:
        content = file.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            raise UserError(f"{source}: is compressed by gzip; decompress it with gunzip")
        for instruction, argument, _ in pickletools.genops(content):
            machine.run(instruction.name, argument)
        return machine.stack.pop()
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{source}: can't be read ({error.strerror}); check its permissions") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # from instructions in a wrong order
        reason = " ".join(str(error).split())
        raise UserError(f"{source}: is not a pickle, or a damaged one ({reason}); copy it again") from error


LARGEST_KEY = 2**60  # Python's hashes of larger ones may all be the same, and a dict of them takes hours


class _Machine:
    """The stack machine: a stack of values, marks (positions in it), and a memo of values used again."""

    def __init__(self, source: str):
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        if name in IMPORTS:
            self._refuse_import(name, argument)
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        elif name not in PROTOCOLS:
            raise UserError(
                f"{self.source}: has the unsupported pickle instruction {name}; only lists, tuples, dicts, numbers and "
                f"text are read"
            )

    def _refuse_import(self, name: str, argument: Any) -> None:
        target = ".".join(map(str, self.stack[-2:])) if name == "STACK_GLOBAL" else str(argument).replace(" ", ".")
        raise UserError(
            f"{self.source}: holds {target}; only lists, tuples, dicts, numbers and text are read, because anything "
            f"else in a pickle can execute arbitrary code"
        )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def put(self, key: int | None) -> None:
        key = len(self.memo) if key is None else key
        if not 0 <= key < LARGEST_KEY:
            raise ValueError("a value is kept under a number that no pickle has")
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def make_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError(f"a tuple of {size} out of {len(self.stack)}")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def append(self, items: list[Any]) -> None:
        self._list().extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("keys for a value that is not a dict")
        target.update(_pairs(items))

    def since_mark(self) -> list[Any]:
        """Pop the values since the last mark."""
        start = self.marks.pop()
        items, self.stack[start:] = self.stack[start:], []
        return items

    def last(self, count: int) -> list[Any]:
        """Pop the last `count` values."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("an entry for a value that is not a list")
        return target


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    if not all(type(key) in (str, int) for key in keys):  # hashing deeply nested tuples may take forever
        raise TypeError("the key of a dict is neither text nor a whole number")
    if any(type(key) is int and abs(key) >= LARGEST_KEY for key in keys):
        raise ValueError("the key of a dict is a number of more than 60 bits")
    return dict(zip(keys, items[1::2], strict=True))


INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(VALUES, _Machine.push),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "STOP": lambda m, _: None,
    "MARK": _Machine.mark,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.make_tuple(1),
    "TUPLE2": lambda m, _: m.make_tuple(2),
    "TUPLE3": lambda m, _: m.make_tuple(3),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "APPEND": lambda m, _: m.append(m.last(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": lambda m, _: m.push(_pairs(m.since_mark())),
    "SETITEM": lambda m, _: m.set_items(m.last(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
}
