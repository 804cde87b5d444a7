"""Links from a module's source back to the entries of what stands there.

Sphinx takes it that all entries of a module begin alike. Here most are `zforcing.NAME`, and some, which users meet in
results alone, are named by their module.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from public_names import resolved

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SOURCES = "_modules/"
LINK = re.compile(r'#(zforcing\.[\w.]+)"')


def mended(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The page of a module's source, each link of which leads to an entry."""
    if not page.startswith(f"{SOURCES}zforcing"):
        return
    module = page.removeprefix(SOURCES).replace("/", ".")
    entries = app.env.domains.python_domain.objects
    by_source = {source_of(name): name for name in entries}

    def to_entry(link: re.Match[str]) -> str:
        name = link[1]
        inside = name.removeprefix(f"{module}.") if name.startswith(f"{module}.") else name.removeprefix("zforcing.")
        entry = name if name in entries else by_source.get(f"{module}.{inside}")
        if entry is None:  # what only a page of docs/paper has lines of
            return link[0]
        return f'#{entries[entry].node_id}"'  # a name by which it is known besides is no place of a page

    context["body"] = LINK.sub(to_entry, context["body"])


def source_of(name: str) -> str:
    """Where an entry's object is defined: its module, and its name there."""
    found = resolved(name)
    if hasattr(found, "__module__") and hasattr(found, "__qualname__"):
        return f"{found.__module__}.{found.__qualname__}"
    parent, _, last = name.rpartition(".")
    return f"{source_of(parent)}.{last}" if "." in parent else name


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", mended)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
