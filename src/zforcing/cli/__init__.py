"""The commands. Results go to stdout (one JSON object with --json), progress and errors to stderr.

Exit code 0; 2 with one line for a user's mistake, and for a file that can't be written; 1 when training diverged, or
another process of a run ended; 130 after Ctrl-C; 75 after another signal, once the run is saved: start the same command
with --resume.
"""

from __future__ import annotations

import errno
import re
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version

from ..errors import LostProcess, UserError, shortened
from ..runtime.ctrl_c import CtrlC, raise_lost
from ..runtime.launched import is_one_of_several, rank
from ..runtime.memory import keep_freed_memory
from ..runtime.output import discard, standard_streams
from .commands import COMMANDS

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a disk


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with standard_streams(), CtrlC():
        try:
            return _with_its_output(words)
        except KeyboardInterrupt:
            print("zforcing: stopped", file=sys.stderr)
            return 130


def _with_its_output(words: Sequence[str]) -> int:
    """Run one command, and have written what it printed; returns the exit code, also for what a user can mend."""
    try:
        code = _to_the_end(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has read enough
        discard(sys.stdout)
        return 0
    except UserError as error:
        return print_error(str(error))
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            discard(sys.stdout)
            return print_error(f"standard output, or a file beside it, can't be written: {error.strerror}")
        return print_error(str(error))
    except LostProcess as error:
        print_error(str(error))
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("alloc|out of memory|Storage size", str(error)):
            raise
        said = "".join(f": {line[:200]}" for line in str(error).splitlines()[:1])
        return print_error(f"not enough memory{said}; {COMMANDS[words[0]].less}")


def _to_the_end(words: Sequence[str]) -> int:
    """Run one command; one that ends Python itself, as --help does, has its output written before."""
    try:
        return _run(words)
    except SystemExit:
        sys.stdout.flush()
        raise
    except Exception:  # packages that Ctrl-C meets while they are imported make any other error of it
        raise_lost(signal.getsignal(signal.SIGINT))
        raise


def _run(words: Sequence[str]) -> int:
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

    check(words[0], list(words[1:]))
    keep_freed_memory()
    return COMMANDS[words[0]].load()(list(words[1:]))


def print_error(message: str) -> int:
    """One line on stderr; the exit code of a user's mistake. Of several processes each says which it is."""
    which = f" (process {rank()})" if is_one_of_several() else ""
    print(f"zforcing{which}: {shortened(message)}", file=sys.stderr)
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
