"""The tests of a room: the files that are called after it, and those whose last room, in the order of imports, it is.

python tools/room_tests.py bounds      a file a line, for pytest
python tools/room_tests.py             how many there are of each room

test_bounds.py and test_data_mnist.py are called after their rooms. Another file belongs to the last room that it uses:
one that tests what particles do uses models, observations and bounds, and nothing after those. What it imports itself
counts, and the commands where it runs them by the fixture `zf`; `testing` is a tool of all tests. A room that no file
is of has those that use it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rooms import ROOMS, SRC, ours, room

TESTS = Path(__file__).parents[1] / "tests"
PUBLIC = ("zforcing", "zforcing.api")
TOOLS = {"testing"}
UNNAMED = {"": "api", "__main__": "cli"}  # the package itself offers what its api has


def files_of(name: str) -> list[Path]:
    """The files of a room's tests; of a room that has none of its own, those that use it."""
    files = sorted(TESTS.glob("test_*.py"))
    own = [path for path in files if room_of(path) == name]
    return own or [path for path in files if name in used_by(path)]


@cache
def room_of(path: Path) -> str:
    """The room that a test file is called after, or the last one that it uses; of one that uses none, the first."""
    called = [name for name in ROOMS if name and f"{path.stem}_".startswith(f"test_{name}_")]
    if called:
        return called[0]
    found = used_by(path) - TOOLS
    last = max(found, key=ROOMS.index, default=ROOMS[0])
    return UNNAMED.get(last, last)


@cache
def used_by(path: Path) -> frozenset[str]:
    """The rooms that a test file uses."""
    return frozenset(used(path.read_text("utf-8")))


def used(source: str) -> set[str]:
    """The rooms that a file imports from; what it takes from the package itself counts as the room that it is from."""
    nodes = list(ast.walk(ast.parse(source)))
    froms = [
        (str(node.module), alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    plain = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules = ({module for module, _ in froms} | {alias.name for alias in plain}) - set(PUBLIC)
    called = {alias.asname or alias.name.partition(".")[0] for alias in plain if alias.name in PUBLIC}
    names = {name for module, name in froms if module in PUBLIC} | set(attributes_of(called, nodes))
    found = {room(target) for module in modules if (target := ours(module)) is not None}
    commands = {"cli"} if runs_commands(nodes) else set()
    return found | {public_names().get(name, "api") for name in names} | commands


def attributes_of(called: set[str], nodes: list[ast.AST]) -> Iterator[str]:
    """ELBO, in `zf.ELBO`, where zf is what the package is called."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
            yield node.attr


def runs_commands(nodes: list[ast.AST]) -> bool:
    """Whether a test or a fixture takes `zf`, the command line."""
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef))
    return any(argument.arg == "zf" for function in functions for argument in function.args.args)


@cache
def public_names() -> dict[str, str]:
    """The rooms of the names that the package offers, and of the packages in it."""
    tree = ast.parse((SRC / "api.py").read_text("utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level and node.module]
    names = {alias.name: room(str(node.module)) for node in froms for alias in node.names}
    return {name: name for name in ROOMS if name} | names


def main(name: str | None) -> int:
    """Print the files of a room, or how many each has; 1 for a room that there isn't."""
    if name is None:
        print(*(f"{len(files):3d}  {each}" for each in ROOMS if (files := files_of(each))), sep="\n")
        return 0
    found = files_of(name)
    if not found:
        named = ", ".join(each for each in ROOMS if files_of(each))
        print(f"no tests are of a room {name!r}; there are {named}", file=sys.stderr)
        return 1
    print(*(path.relative_to(TESTS.parent) for path in found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(next(iter(sys.argv[1:]), None)))
