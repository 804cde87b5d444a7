"""The command `zforcing`, and python -m zforcing."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    """Run the command that the words behind the program's name say; returns the exit code."""
    try:
        from .cli import main  # takes a moment, in which Ctrl-C may come

        return main()
    except KeyboardInterrupt:
        return 130
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more while Python ends: at once, and without a word


if __name__ == "__main__":
    sys.exit(run())
