"""The commands. Results go to stdout (one JSON object with --json), progress and errors to stderr.

Exit code 0, or 2 with one line for a user's mistake, 1 when training diverged, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version

from ..errors import UserError, shortened
from ..runtime.memory import keep_freed_memory
from .commands import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(overview())
            return 0
        if words[0] == "--version":
            print(f"zforcing {version('zforcing')}")
            return 0
        if words[0] not in COMMANDS:
            close = get_close_matches(words[0], COMMANDS, n=1, cutoff=0.6)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"unknown command {words[0]!r}{hint}; it is one of {', '.join(COMMANDS)}")
        from .quick import check  # the overview does without

        check(words[0], words[1:])
        keep_freed_memory()
        code = COMMANDS[words[0]].load()(words[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has read enough; Python would complain again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        return print_error(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("alloc|out of memory|Storage size", str(error)):
            raise
        said = "".join(f": {line[:200]}" for line in str(error).splitlines()[:1])
        return print_error(f"not enough memory{said}; ask for less at a time")
    except KeyboardInterrupt:
        print("zforcing: stopped", file=sys.stderr)
        return 130


def print_error(message: str) -> int:
    """One line on stderr; the exit code of a user's mistake."""
    print(f"zforcing: {shortened(message)}", file=sys.stderr)
    return 2


def overview() -> str:
    """What there is, a line each."""
    lines = [f"  {name:11s} {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zforcing COMMAND ...",
            "",
            *lines,
            "",
            "zforcing COMMAND --help says more; `zforcing --version` which.",
        ]
    )
