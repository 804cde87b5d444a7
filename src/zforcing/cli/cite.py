"""`zforcing cite`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..files.json_text import json_text
from ..sharing.bibtex import entry
from ..sharing.citing import Citation, citation
from ..training.runs.trained import Trained
from .options import RUN_HELP, command_parser
from .words import import_option, take_imports


def cite(argv: Sequence[str]) -> int:
    """Print BibTeX of what a run used, its software, model, bounds and data: zforcing cite RUN > run.bib.

    A work is there once, under a line that says what it is cited for. What names no source stands in lines at the end,
    which BibTeX reads over.
    """
    from .. import __version__

    words, _ = take_imports(argv)
    parser = command_parser("cite", cite)
    parser.add_argument("run", type=str, help=RUN_HELP)
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(words)
    found = citation(Trained.load(options.run, which="best"), version=__version__)
    print(json_text(as_json(found)) if options.json else found.bibtex())
    return 0


def as_json(found: Citation) -> dict[str, Any]:
    """The works with their fields as plain text, what names none, and all of it as BibTeX."""
    works = [
        {"key": key, "type": work.kind, "for": found.used_by[key], "authors": list(work.authors)}
        | dict(work.fields)
        | {"bibtex": entry(key, work)}
        for key, work in found.works.items()
    ]
    return {"works": works, "nothing_to_cite": found.nothing, "bibtex": found.bibtex()}
