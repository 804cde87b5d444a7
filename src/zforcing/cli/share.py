"""`zforcing share`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.json_text import json_text
from ..training.runs.folder import find_run
from .options import RUN_HELP, checkpoint_option, command_parser
from .words import import_option, take_imports


def share(argv: Sequence[str]) -> int:
    """Make a folder to hand a model over, with its card: zforcing share RUN [--out FOLDER] [--push USER/NAME].

    It holds the weights, their config.json and README.md: no data, no optimizer, no paths of this machine. A folder
    that it made goes to the Hugging Face Hub as it stands: zforcing share FOLDER --push USER/NAME.
    """
    from ..sharing.folder import is_shared

    options = share_options(argv)
    run = find_run(options.run)
    made: dict[str, Any] = as_it_stands(options) if options.push and is_shared(run) else make(run, options)
    folder = Path(made.get("folder", run))
    values = made | ({"address": push(folder, options)} if options.push else {})
    if options.json:
        print(json_text(values))
    else:
        show(values)
    return 0


def share_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    words, _ = take_imports(argv)
    parser = command_parser("share", share)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("--out", type=str | None, default=None, help="the folder to make; RUN/shared by default")
    hub = "a name on the Hugging Face Hub, where the folder then goes: user/name"
    parser.add_argument("--push", type=str | None, default=None, help=hub)
    parser.add_argument("--private", action="store_true", help="with --push: not for everybody's eyes, where it is new")
    licence = "the model's licence, by the Hub's name for it (apache-2.0, cc-by-4.0)"
    parser.add_argument("--license", type=str, default="unknown", help=licence)
    replaced = "replace a folder that was made before, also a card that was edited"
    parser.add_argument("--overwrite", action="store_true", help=replaced)
    checkpoint_option(parser)
    import_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(words)
    if options.private and options.push is None:
        raise UserError("--private goes with --push: a folder has no owner")
    return options


def as_it_stands(options: Namespace) -> dict[str, Any]:
    """Nothing is made. Raises UserError about an option that would be of what is made."""
    usual = {"out": None, "license": "unknown", "overwrite": False, "checkpoint": "best"}
    given = [name for name, value in usual.items() if getattr(options, name) != value]
    if given:
        raise UserError(
            f"--{given[0]}: {options.run} is a folder that share made, and goes to the Hub as it stands; edit its "
            "README.md, or share the run again"
        )
    return {}


def make(run: Path, options: Namespace) -> dict[str, Any]:
    """The folder, and what to say of it."""
    from ..sharing.folder import share as share_run

    made = share_run(
        run,
        options.out or run / "shared",
        which=options.checkpoint,
        license_id=options.license,
        repo=options.push,
        overwrite=options.overwrite,
        say=lambda line: print(line, file=sys.stderr),
    )
    if options.license == "unknown":
        print("the card says license: unknown; name one by --license, or write it there", file=sys.stderr)
    return {"folder": str(made.folder), "files": made.files, "bytes": made.size, "holds": made.holds}


def push(folder: Path, options: Namespace) -> str:
    """Its address on the Hub."""
    from ..sharing.hub import push_to_hub

    return push_to_hub(folder, options.push, private=options.private)


def show(values: dict[str, Any]) -> None:
    """The folder, what of the training data is in it, and where it went."""
    if "folder" in values:
        print(f"{values['folder']}: {', '.join(values['files'])} ({values['bytes'] / 1e6:.3g} MB)")
        print("of the training data it holds: " + "; ".join(values["holds"]))
    if "address" in values:
        print(values["address"])
