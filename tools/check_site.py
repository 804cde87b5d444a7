"""Check a built site: links within it lead to a page and a place of it, and no page loads anything from elsewhere.

python tools/check_site.py build/docs
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}
NEVER_LOADED = {"canonical", "next", "prev", "search", "index", "author"}  # relations of <link> that only name a page


class Page(HTMLParser):
    """The links of a page, what it loads, and the places that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in LOADS and LOADS[tag] in values and values.get("rel", "") not in NEVER_LOADED:
            self.loads.add(values[LOADS[tag]])


def faults(site: Path) -> list[str]:
    """A line for each broken link and each thing from elsewhere."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site)}: {fault}"
        for path, page in pages.items()
        for target in sorted(page.links | page.loads)
        if (fault := wrong(target, path, pages, loaded=target in page.loads))
    ]


def wrong(target: str, path: Path, pages: dict[Path, Page], *, loaded: bool) -> str | None:
    """What is wrong with a link or a thing that a page loads; None if nothing is."""
    parts = urlsplit(target)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return f"loads {target} from elsewhere" if loaded else None
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not file.is_file():
        return f"{target} leads nowhere"
    if parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].places:
        return f"{target} leads to no place of that page"
    return None


def main(site: Path) -> int:
    """Print the faults; 1 if there are any."""
    site = site.resolve()
    found = faults(site)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} broken links")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
