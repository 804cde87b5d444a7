"""Ctrl-C, wherever it meets a command.

Python raises KeyboardInterrupt between two of its instructions, and some can't let it through: torch imports NumPy from
C, and goes on without it where that import fails; others end Python by a signal, or make an error of their own of it;
what a finalizer raises is printed and dropped. Then a command would go on as if nothing had been pressed.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Self

IMPORTING = "importlib._bootstrap"  # the module whose functions import others
AGAIN = 0.05  # seconds


class CtrlC:
    """Within the block Ctrl-C raises KeyboardInterrupt, as always, and `came` says afterwards that it came.

    During an import it waits until that is done, unless it is pressed once more; where what it raises is dropped, it
    comes again.
    """

    def __init__(self) -> None:
        self.came = self.waits = self.listening = False
        self.thread = 0
        self.block: FrameType | None = None  # what is above it may be an import too, which ends after it

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()  # no other one gets signals
        self.listening = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.listening:
            signal.signal(signal.SIGINT, self)
            self.report, sys.unraisablehook = sys.unraisablehook, self._dropped
            self.thread, self.block = threading.get_ident(), sys._getframe(1)
        return self

    def __exit__(self, *_: object) -> None:
        if self.listening:
            self.listening, self.block, sys.unraisablehook = False, None, self.report
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal."""
        self.came = True
        if self.waits or not self._is_importing(frame):
            raise KeyboardInterrupt
        self._later()

    def _dropped(self, what: Any) -> None:
        """What Python calls with an exception that nothing can catch."""
        if issubclass(what.exc_type, KeyboardInterrupt):
            self._later()
        else:
            self.report(what)

    def _later(self) -> None:
        self.waits = True
        _thread.start_new_thread(self._press, ())  # `threading` takes locks, which the main thread may hold

    def _press(self) -> None:
        time.sleep(AGAIN)
        self.waits = False
        if not self.listening:
            return
        if hasattr(signal, "pthread_kill"):  # ends a wait for a pipe too, unlike a signal to this thread
            signal.pthread_kill(self.thread, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)

    def _is_importing(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self.block:
            if frame.f_globals.get("__name__") == IMPORTING:
                return True
            frame = frame.f_back
        return False


def raise_lost(handler: object) -> None:
    """Raise KeyboardInterrupt where the handler of SIGINT is a `CtrlC` to which Ctrl-C came, and the work went on."""
    if isinstance(handler, CtrlC) and handler.came:
        raise KeyboardInterrupt
