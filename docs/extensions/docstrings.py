"""Docstrings of Google's form, in plain text with formulas, as the reStructuredText that Sphinx reads.

What is indented or aligned is shown as it stands; a name of the package in backticks links to its entry; what else
reStructuredText would take for markup (`x_`, `|x|`, `*`, "A. Author") is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from markdown import OPTION

import zforcing

SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}
EXAMPLE = "Example"
ENTRY = re.compile(r"(\*{0,2}[\w.]+): (.*)", re.DOTALL)
ALIGNED = re.compile(r"\S {3,}\S")
ENUMERATED = re.compile(r"\(?[\w#]+[.)] ")


def to_rst(doc: str, *, types: Mapping[str, str] | None = None) -> list[str]:
    """The lines of a docstring. types: what each of its attributes is, in words."""
    lines: list[str] = []
    for section, text in sections(doc):
        if section in SECTIONS:
            lines += field(SECTIONS[section], section_items(section, text, types or {}))
        elif section == EXAMPLE:
            lines += [".. rubric:: Example", "", *example(text)]
        else:
            lines += [line for one in paragraphs(text) for line in paragraph(one)]
    return lines


def sections(doc: str) -> Iterator[tuple[str, list[str]]]:
    """The text before the first section, by the name "", and each section's lines, dedented."""
    name: str = ""
    lines: list[str] = []
    for line in doc.splitlines():
        heading = line.removesuffix(":") if line.endswith(":") else ""
        if heading in (*SECTIONS, EXAMPLE):
            yield name, lines
            name, lines = heading, []
        else:
            lines.append(line.removeprefix("    ") if name else line)
    yield name, lines


def field(label: str, items: list[str]) -> list[str]:
    """A field with a list of items, or with one text."""
    if not items:
        return []
    text = items if len(items) == 1 and not items[0].startswith("**") else [f"* {item}" for item in items]
    return ["", f":{label}:", *(f"    {line}" for line in text), ""]


def section_items(section: str, text: list[str], types: Mapping[str, str]) -> list[str]:
    """Each entry of a section on a line."""
    if section == "Returns":
        return [inline(" ".join(part.strip() for part in text if part.strip()))]
    return [item(entry, types) for entry in entries(text)]


def entries(text: Iterable[str]) -> Iterator[str]:
    """`name: what it is`, with what goes on below it."""
    whole: list[str] = []
    for line in filter(None, text):
        if whole and not line.startswith(" "):
            yield " ".join(whole)
            whole = []
        whole.append(line.strip())
    if whole:
        yield " ".join(whole)


def item(entry: str, types: Mapping[str, str]) -> str:
    """`**name** (type): what it is`."""
    found = ENTRY.fullmatch(entry)
    if found is None:
        return inline(entry)
    name, about = found.groups()
    kind = f" ({types[name]})" if name in types else ""
    return f"**{escaped(name)}**{kind}: {inline(about)}"


def paragraphs(text: Iterable[str]) -> Iterator[list[str]]:
    """The text, parted where a line is empty; a list's items are by themselves."""
    one: list[str] = []
    for line in text:
        if not line.strip() or (line.startswith("- ") and one and not one[-1].startswith(" " * 4)):
            if one:
                yield one
            one = []
        if line.strip():
            one.append(line)
    if one:
        yield one


def paragraph(lines: list[str]) -> list[str]:
    """A formula or a drawing as it stands, an item of a list, or running text on one line."""
    if lines[0].startswith(">>>"):
        return ["", *lines, ""]
    if all(line.startswith("  ") for line in lines) or any(ALIGNED.search(line) for line in lines):
        return ["", ".. code-block:: text", "", *(f"    {line}" for line in dedented(lines)), ""]
    text = inline(" ".join(line.strip() for line in lines).removeprefix("- "))
    return [f"* {text}", ""] if lines[0].startswith("- ") else [f"\\ {text}" if ENUMERATED.match(text) else text, ""]


def example(text: list[str]) -> list[str]:
    """Code: a session, which tests run, or lines."""
    if any(line.startswith(">>>") for line in text):
        return [*text, ""]
    if text and text[0].endswith("::"):
        return [inline(text[0][:-1]), "", *code(text[1:])]
    return code(text)


def code(text: list[str]) -> list[str]:
    """A block of Python."""
    return [".. code-block:: python", "", *(f"    {line}" for line in dedented(text)), ""]


def dedented(lines: list[str]) -> list[str]:
    """Without the spaces that all lines begin with."""
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def inline(text: str) -> str:
    """Running text: what stands in backticks is a link or code, and all else is what it looks like."""
    parts = OPTION.sub(r"`\1`", text).replace("``", "`").split("`")
    return "".join(named(part) if i % 2 else escaped(part) for i, part in enumerate(parts))


def named(text: str) -> str:
    """A link to a public name, or code."""
    name = re.sub(r"^(zf|zforcing)\.|\(\)$", "", text)
    if name in zforcing.api.__all__:
        return f"\\ :py:obj:`~zforcing.{name}`\\ "
    return f"\\ ``{text}``\\ " if text.strip() else ""


def escaped(text: str) -> str:
    """Text without markup."""
    return re.sub(r"([\\*|_])", r"\\\1", text)
