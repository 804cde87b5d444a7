"""The tutorials: examples/*.ipynb, as they were executed, become pages of learn/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def copy(app: Sphinx) -> None:
    """Bring learn/ up to date; what hasn't changed isn't written, so that Sphinx doesn't read it again."""
    source, target = Path(app.srcdir).parent / "examples", Path(app.srcdir) / "learn"
    target.mkdir(exist_ok=True)
    notebooks = {path.name: as_page(path.read_bytes()) for path in source.glob("*.ipynb")}
    for path in target.glob("*.ipynb"):
        if path.name not in notebooks:
            path.unlink()
    for name, content in notebooks.items():
        page = target / name
        if not page.exists() or page.read_bytes() != content:
            page.write_bytes(content)


def as_page(notebook: bytes) -> bytes:
    """Links to docs/ lead from examples/ and from learn/ to the same pages."""
    return notebook.replace(b"](../docs/", b"](../")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
