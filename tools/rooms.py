"""The rooms of the package in the order of their imports, and what the code really imports, read without running it.

A module imports only its own room and those before it (tests/test_architecture.py). The house that the site draws
(docs/extensions/house.py) and the tests of a room (tools/room_tests.py) follow from the same lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "zforcing"
ROOMS = (
    "errors",
    "registry",
    "text_table",
    "settings",
    "runtime",
    "files",
    "distributions",
    "observations",
    "recurrence",
    "nn",
    "emissions",
    "processes",
    "models",
    "bounds",
    "data",
    "tasks",
    "exporting",
    "saving",
    "training",
    "evaluation",
    "sharing",
    "report",
    "benchmark",
    "testing",
    "api",
    "",  # the package itself: what it exports comes from everywhere, and only the commands may ask it for its version
    "cli",
    "__main__",
)


def module_name(path: Path) -> str:
    """`models.sequence` for models/sequence.py, `models` for models/__init__.py, `` for the package itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}


def is_deferred(node: ast.AST) -> bool:
    """Whether importing the module doesn't run what is inside: functions, and what is for type checkers."""
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imports(source: str, module: str, *, is_package: bool) -> Iterator[tuple[str, bool]]:
    """What a module imports: ours as `zforcing.models.sequence`, and whether importing the module does it."""
    package = ["zforcing", *module.split(".")] if module else ["zforcing"]
    package = package if is_package else package[:-1]
    tree = ast.parse(source)
    later = {id(inner) for outer in ast.walk(tree) if is_deferred(outer) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in later) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parent = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{origin}.{alias.name}"
                known = inside.removeprefix("zforcing.") in FILES
                yield (inside if known else origin), id(node) not in later


@cache
def imported(module: str) -> list[tuple[str, bool]]:
    """What a module of the package imports, see `imports`."""
    path = FILES[module]
    return list(imports(path.read_text("utf-8"), module, is_package=path.name == "__init__.py"))


def room(module: str) -> str:
    """The room that a module is in."""
    return module.split(".")[0]


def ours(target: str) -> str | None:
    """The module without `zforcing.`; None for other packages'."""
    return target.removeprefix("zforcing").removeprefix(".") if target.split(".")[0] == "zforcing" else None


def arrows() -> dict[str, set[str]]:
    """Of each room, the rooms that its modules import."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module in FILES:
        targets = {room(target) for name, _ in imported(module) if (target := ours(name)) is not None}
        found[room(module)] |= targets - {room(module)}
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """A graph without circles, but for the arrows that others imply: a to c, where there are a to b and b to c."""
    below = {node: _reached(graph, node) for node in graph}
    return {node: {b for b in to if not any(b in below[other] for other in to - {b})} for node, to in graph.items()}


def _reached(graph: dict[str, set[str]], node: str) -> set[str]:
    """All that arrows lead to from a node, by way of others too."""
    return set().union(*({other} | _reached(graph, other) for other in graph[node]))
