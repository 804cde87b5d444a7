"""The commands. Results go to stdout (one JSON object with --json), progress and errors to stderr.

Exit code 0, or 2 with one line for a user's mistake, 1 when training diverged, 130 after Ctrl-C.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentError

from ..errors import UserError
from ..runtime.memory import keep_freed_memory
from .bench import bench
from .evaluate import evaluate
from .info import info, list_recipes
from .interpolate import interpolate
from .sample import continue_, sample
from .table import table
from .train import train


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    keep_freed_memory()
    try:
        if not words or words[0] in ("-h", "--help"):
            print(overview())
            return 0
        if words[0] == "--version":
            from .. import __version__

            print(f"zforcing {__version__}")
            return 0
        if words[0] not in COMMANDS:
            raise UserError(f"unknown command {words[0]!r}; it is one of {', '.join(COMMANDS)}")
        return COMMANDS[words[0]](words[1:])
    except ArgumentError as error:
        return complain(plain(" ".join(str(error).split())))
    except (UserError, OSError) as error:
        return complain(plain(str(error)))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("alloc|out of memory|Storage size", str(error)):
            raise
        return complain(f"not enough memory: {str(error).splitlines()[0][:200]}; ask for less at a time")
    except KeyboardInterrupt:
        print("zforcing: stopped", file=sys.stderr)
        return 130


TYPES = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "NoneType": "null"}
REFUSED = re.compile(
    r'(?P<where>.*?)Parser key "(?P<key>[^"]+)": '
    r"(?:Expected an? (?P<one>.+?)\. Got value:"
    r"|Does not validate against any of the Union subtypes Subtypes: \[(?P<several>.*)\] Errors: .*Given value:)"
    r" ?(?P<value>.*)"
)


def plain(message: str) -> str:
    """What jsonargparse says of a value of another type, in fewer words; `where` is a file, or nothing."""
    found = REFUSED.fullmatch(message)
    if found is None:
        return message
    key, types = found["key"], found["one"] or found["several"]
    kinds = re.findall(r"<class '(\w+)'>|Literal\[([^]]*)\]", types)
    if len(kinds) != len(re.findall(r"(?:[^,\[]|\[[^]]*\])+", types)):
        return message
    said = [TYPES.get(name, name) if name else choices.replace(", ", " or ") for name, choices in kinds]
    option = key if found["where"] else f"--{key if '.' in key else key.replace('_', '-')}"
    return f"{found['where']}{option} is {found['value'] or 'empty'}; it must be {' or '.join(said)}"


def complain(message: str) -> int:
    """One line on stderr; the exit code of a user's mistake."""
    print(f"zforcing: {message}", file=sys.stderr)
    return 2


def overview() -> str:
    """What there is, a line each."""
    lines = [f"  {name:11s} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zforcing COMMAND ...",
            "",
            *lines,
            "",
            "zforcing COMMAND --help says more; `zforcing --version` which.",
        ]
    )


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "continue": continue_,
    "interpolate": interpolate,
    "recipes": list_recipes,
    "info": info,
    "table": table,
    "bench": bench,
}
