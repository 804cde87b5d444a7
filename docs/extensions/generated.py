"""The pages of reference/ that say what the code knows: they are written when the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands_page import commands_page
from recipes_page import recipes_page
from settings_page import settings_page

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = {"commands": commands_page, "settings": settings_page, "recipes": recipes_page}


def write(app: Sphinx) -> None:
    """Bring them up to date; what hasn't changed isn't written, so that Sphinx doesn't read it again."""
    for name, text_of in PAGES.items():
        page, text = Path(app.srcdir) / "reference" / f"{name}.md", text_of()
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
