r"""What docs/paper/*.md says of equations, with the lines of code and the tests that it names found in the sources.

An equation is a block of a page:

    ```{equation-to-code} Auxiliary cost
    :number: 8
    :paper: \log p_\xi(b_t \mid z_t)
    :code: zforcing.models.zforcing.ZForcing.auxiliary | target = at_least_float32(context).detach()
    :test: tests/test_parity.py::test_the_loss_equals_the_released_models

    \log p(b_t \mid z_t) = ...
    ```

number: in the paper, where it was checked; or `where`: the part of the paper; or `from`, where it is of no paper here.
paper:  the formula in the paper's notation, where that is another than ours.
code:   an object and a fragment of one statement in it; `a ... b`: from the statement with a to the one with b. Any
        number of them.
test:   what proves it; any number of them.

What follows are the formulas, in LaTeX, an empty line between two.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import dedent
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```\{equation-to-code\} (?P<title>.+)\n(?P<body>(?:(?!```).*\n)*)```$", re.MULTILINE)
FIELD = re.compile(r":(number|where|from|paper|code|test): (.+)")

Found = TypeVar("Found")
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NotFoundError(LookupError):
    """A page names something that isn't there."""


@dataclass(frozen=True)
class Excerpt:
    """Lines of an object's source."""

    module: str
    name: str
    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Proof:
    """A test, and the first sentence of what it, or its module, says of itself."""

    path: str
    name: str
    says: str
    is_slow: bool


@dataclass(frozen=True)
class Equation:
    """A block of a page, as it was written."""

    title: str
    place: str
    paper: str | None
    code: tuple[str, ...]
    tests: tuple[str, ...]
    formulas: tuple[str, ...]


def equations(page: str) -> Iterator[Equation]:
    """Those of a page, in its order."""
    for found in BLOCK.finditer(page):
        yield equation(found["title"], found["body"].splitlines())


def equation(title: str, lines: list[str]) -> Equation:
    """One, from what is written between its fences."""
    fields: dict[str, list[str]] = {}
    rest = list(lines)
    while rest and (found := FIELD.fullmatch(rest[0].rstrip())):
        fields.setdefault(found[1], []).append(found[2])
        del rest[0]
    formulas = tuple(part.strip() for part in re.split(r"\n\s*\n", "\n".join(rest)) if part.strip())
    code, tests = (tuple(fields.get(name, ())) for name in ("code", "test"))
    return Equation(title, _place(fields), fields.get("paper", [None])[0], code, tests, formulas)


def _place(fields: dict[str, list[str]]) -> str:
    """What a card says of where its equation is from; "" where nothing was said."""
    said = {"number": "equation {}", "where": "{}", "from": "{}"}
    return "; ".join(form.format(*fields[name]) for name, form in said.items() if name in fields)


def faults(given: Equation) -> list[str]:
    """A line for each thing that an equation lacks, or that isn't where it says."""
    lacks = {
        "formula": given.formulas,
        "code": given.code,
        "test": given.tests,
        "number, and not where it is from": given.place,
    }
    found = [f"has no {what}" for what, value in lacks.items() if not value]
    found += [f"writes {line!r} as a formula" for part in given.formulas for line in part.split("\n") if line[0] == ":"]
    found += [fault for code in given.code if (fault := _fault(excerpt, code))]
    found += [fault for test in given.tests if (fault := _fault(proof, test))]
    return [f"{given.title}: {fault}" for fault in found]


def _fault(find: Callable[[str], Found], name: str) -> str | None:
    try:
        find(name)
    except NotFoundError as error:
        return str(error)
    return None


def excerpt(given: str) -> Excerpt:
    """The lines that `object | fragment` names. Raises NotFoundError unless there is one statement with it."""
    dotted, _, fragment = (part.strip() for part in given.partition(" | "))
    module, name = _split(dotted)
    path = _path(module)
    lines, tree = _parsed(path)
    statements = list(_statements(_definition(tree, name, module=module), lines))
    ends = [_only(statements, part.strip(), dotted) for part in fragment.split(" ... ")]
    start, stop = ends[0][0], ends[-1][1]
    if stop < start:
        raise NotFoundError(f"{dotted}: {fragment!r} ends before it begins")
    return Excerpt(module, name, str(path.relative_to(ROOT)), start, dedent("\n".join(lines[start - 1 : stop])))


def proof(given: str) -> Proof:
    """The test that `path::name` names. Raises NotFoundError where there is none."""
    file, _, name = given.partition("::")
    path = ROOT / file
    if not path.is_file():
        raise NotFoundError(f"there is no {file}")
    _, tree = _parsed(path)
    if name not in _definitions(tree):
        raise NotFoundError(f"{file} has no test {name}")
    node = _definitions(tree)[name]
    says = ast.get_docstring(node) or ast.get_docstring(tree) or ""
    slow = any("mark.slow" in ast.unparse(decorator) for decorator in node.decorator_list)
    return Proof(file, name, says.split("\n\n")[0].replace("\n", " "), slow)


@lru_cache
def _parsed(path: Path) -> tuple[list[str], ast.Module]:
    text = path.read_text("utf-8")
    return text.splitlines(), ast.parse(text)


def _path(module: str) -> Path:
    return ROOT / "src" / Path(*module.split(".")).with_suffix(".py")


def _split(dotted: str) -> tuple[str, str]:
    """Module, and name in it: zforcing.models.zforcing, ZForcing.auxiliary."""
    parts = dotted.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if _path(module := ".".join(parts[:end])).is_file():
            return module, ".".join(parts[end:])
    raise NotFoundError(f"{dotted} is in no module of src")


def _definitions(node: ast.Module | Definition) -> dict[str, Definition]:
    return {child.name: child for child in node.body if isinstance(child, Definition)}


def _definition(tree: ast.Module, name: str, *, module: str) -> Definition:
    node: ast.Module | Definition = tree
    for part in name.split("."):
        if part not in _definitions(node):
            raise NotFoundError(f"{module} has no {name}")
        node = _definitions(node)[part]
    assert not isinstance(node, ast.Module), "a name has a part"
    return node


def _statements(node: Definition, lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """First line, last line and text of each statement of an object but its docstrings; of `if` and `for` the head."""
    for child in ast.walk(node):
        if not isinstance(child, ast.stmt) or child is node or _is_text(child):
            continue
        body: list[ast.stmt] = getattr(child, "body", [])
        stop = max(child.lineno, body[0].lineno - 1) if body else child.end_lineno or child.lineno
        yield child.lineno, stop, "\n".join(lines[child.lineno - 1 : stop])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _only(statements: list[tuple[int, int, str]], fragment: str, dotted: str) -> tuple[int, int]:
    """First and last line of the one statement with this fragment."""
    found = [(start, stop) for start, stop, text in statements if fragment and fragment in text]
    if len(found) != 1:
        raise NotFoundError(f"{dotted} has {len(found) or 'no'} lines with {fragment!r}")
    return found[0]
