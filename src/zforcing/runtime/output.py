"""Standard output and standard error, wherever they go: a closed pipe, a full disk, an encoding without our signs."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast


class _Unfailing:
    """A stream for words that the work can do without: those that can't be written are dropped."""

    def __init__(self, stream: TextIO | None):
        self.stream, self.gone = stream, False

    def write(self, text: str) -> int:
        self._do("write", text)
        return len(text)

    def flush(self) -> None:
        self._do("flush")

    def isatty(self) -> bool:
        return self.stream is not None and not self.stream.closed and self.stream.isatty()

    def _do(self, what: str, *arguments: str) -> None:
        if self.stream is None or self.gone:
            return
        try:
            getattr(self.stream, what)(*arguments)
        except BrokenPipeError:
            self.gone = True  # nobody reads there any more
        except (OSError, ValueError, RuntimeError):  # a full disk, closed, or in the midst of a write (of a signal)
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unfailing(stream: TextIO | None) -> TextIO:
    """A stream that drops what can't be written: its reader is gone, its disk is full, or (None) it is closed."""
    already: object = stream
    return cast(TextIO, already if isinstance(already, _Unfailing) else _Unfailing(stream))


@contextmanager
def standard_streams() -> Iterator[None]:
    """Within the block standard error is `unfailing`, and letters that an encoding lacks are escaped.

    Streams that are closed (`2>&-`) are opened, into nothing: the next file would take their numbers, and get what
    libraries write there.
    """
    _occupy()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _may_fail(stream):
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(sys.stdout or unfailing(None)), redirect_stderr(unfailing(sys.stderr)):
        yield
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)


def _may_fail(stream: io.TextIOWrapper) -> bool:
    """Whether it raises an error at a letter that its encoding lacks, as Python's own streams do, also in locale C."""
    kept = stream.errors == "surrogateescape" and codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors in ("strict", "surrogateescape") and not kept


def _occupy() -> None:
    """Take the numbers of the standard streams, where they are free."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)


def discard(stream: TextIO) -> None:
    """Forget what a stream couldn't write, which Python would try once more, and complain of, when it ends."""
    with suppress(OSError, ValueError, AttributeError):  # no file of the system, or closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
