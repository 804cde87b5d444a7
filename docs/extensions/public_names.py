"""The entries of public names: the directive `api`, whose words are names of `zforcing` or dotted ones.

    ```{api} fit History
    ```

A class's entry has the members that it adds; what it has from a base class is documented there, once. `:records:` hides
how the classes are constructed, which functions do; `:equations:` begins with the docstring of the class's module.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from docstrings import ENTRY, EXAMPLE, SECTIONS, entries, sections, to_rst
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from markdown import plain as markdown
from sphinx.util.docutils import SphinxDirective

from zforcing.settings import in_words, type_to_json
from zforcing.settings.check import hints_of
from zforcing.settings.fields import field_docstrings

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

records: set[str] = set()  # by their dotted names
with_equations: set[str] = set()


class Api(SphinxDirective):
    """Entries, each by autodoc."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"records": directives.flag, "equations": directives.flag}

    def run(self) -> list[nodes.Node]:
        """The entries' nodes."""
        names = [dotted(name) for name in self.arguments[0].split()]
        if "records" in self.options:
            records.update(names)
        if "equations" in self.options:
            with_equations.update(names)
        lines = ["```{eval-rst}", *(line for name in names for line in entry(name)), "```"]
        found = nodes.container()
        self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, found)
        return found.children


class Fields(SphinxDirective):
    """The fields of a record that a file holds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list."""
        cls = resolved(dotted(self.arguments[0]))
        about = about_fields(cls)
        listed = [f"- `{field.name}`: {markdown(about.get(field.name, ''))}".rstrip(": ") for field in fields(cls)]
        found = nodes.container()
        self.state.nested_parse(StringList(listed, self.env.docname), self.content_offset, found)
        return found.children


def about_fields(cls: type[Any]) -> dict[str, str]:
    """What each field is: the string under it, or what the docstring says."""
    said = dict(sections(inspect.getdoc(cls) or "")).get("Attributes", [])
    listed = (ENTRY.fullmatch(entry) for entry in entries(said))
    return field_docstrings(cls) | {found[1]: found[2] for found in listed if found}


def dotted(name: str) -> str:
    """`fit` is `zforcing.fit`; `bounds.Bound` is `zforcing.bounds.Bound`."""
    return name if name.startswith("zforcing.") else f"zforcing.{name}"


def entry(name: str) -> list[str]:
    """What autodoc is asked for."""
    found = resolved(name)
    if not inspect.isclass(found):
        return [f".. auto{'function' if callable(found) else 'data'}:: {name}", ""]
    members = own_members(found)
    return [f".. autoclass:: {name}", f"   :{'members: ' + ', '.join(members) if members else 'no-members:'}", ""]


def resolved(name: str) -> Any:
    """The object of a dotted name. Raises ImportError or AttributeError where there is none."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(import_module(module), last)
    except ModuleNotFoundError:
        return getattr(resolved(module), last)


def own_members(cls: type[Any]) -> list[str]:
    """The public methods and properties that a class adds to its bases, in the order of its source."""
    inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
    data = {name for name, _ in record_fields(cls)}
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_") and name not in inherited | data and documented(value)
    ]


def documented(member: Any) -> bool:
    """Whether it is a method or a property with a docstring."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    return (inspect.isfunction(member) or hasattr(member, "__get__")) and bool(getattr(member, "__doc__", None))


def docstring(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """An entry's text; a dataclass's has its fields too."""
    doc, types = "\n".join(lines), {}
    if what == "class" and record_fields(found):
        types = {name: kind_of(found, name, kind) for name, kind in record_fields(found)}
        if not any(f"\n{section}:\n" in doc for section in ("Args", "Attributes")):
            doc = with_fields(found, doc)
    if name in with_equations:
        doc = with_module(found, doc)
    lines[:] = to_rst(doc, types=types)


def with_module(cls: type[Any], doc: str) -> str:
    """The docstring, with that of its module behind what comes before its sections."""
    text, rest = parted(doc)
    said = re.sub(r"The module's docstring [^.]*\.", "", text).strip()
    return f"{said}\n\n{inspect.getdoc(inspect.getmodule(cls))}\n\n{rest}"


def parted(doc: str) -> tuple[str, str]:
    """What comes before a docstring's sections, and they."""
    first = re.search(rf"^({'|'.join([*SECTIONS, EXAMPLE])}):$", doc, flags=re.MULTILINE)
    return (doc[: first.start()], doc[first.start() :]) if first else (doc, "")


def with_fields(cls: type[Any], doc: str) -> str:
    """The docstring, with the strings under the fields before its sections."""
    about = field_docstrings(cls)
    listed = [f"    {name}: {about.get(name, '')}".rstrip() for name, _ in record_fields(cls)]
    text, rest = parted(doc)
    return "\n".join([text.rstrip(), "", "Attributes:", *listed, "", rest]) if listed else doc


def record_fields(cls: type[Any]) -> list[tuple[str, str]]:
    """The fields of a dataclass or a named tuple, and their types as the source has them; of another class none."""
    if is_dataclass(cls):
        return [(field.name, str(field.type)) for field in fields(cls) if field.init]
    return list(getattr(cls, "__annotations__", {}).items()) if hasattr(cls, "_fields") else []


def kind_of(cls: type[Any], name: str, kind: str) -> str:
    """The type of a field: in words what a setting takes, else as the source has it."""
    try:
        hint = hints_of(cls).get(name)
        type_to_json(hint)
    except (TypeError, NameError):
        return f"``{kind}``"
    return in_words(hint)


def signature(app: Sphinx, what: str, name: str, found: Any, *rest: Any) -> tuple[str | None, str | None] | None:
    """How a dataclass is constructed, without types: its fields have them."""
    if what != "class" or not (is_dataclass(found) or name in records):
        return None
    if name in records:
        return "", None
    known = inspect.signature(found)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in known.parameters.values()]
    return str(known.replace(parameters=bare, return_annotation=inspect.Signature.empty)), None


def public(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.Node | None:
    """A link to the entry of what an annotation names by the module where it is defined; no link where it has none."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("zforcing."):
        return None
    try:
        wanted = resolved(target)
    except (ImportError, AttributeError):
        return None
    python = env.domains.python_domain
    for name in python.objects:
        if name.rpartition(".")[2] == target.rpartition(".")[2] and resolved(name) is wanted:
            return python.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)
    return text if node["reftype"] == "class" else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("api", Api)
    app.add_directive("fields", Fields)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", public)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
