"""Ctrl-C, wherever it meets a command."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class CtrlC:
    """Within the block Ctrl-C raises KeyboardInterrupt, as always, and `came` says afterwards that it came."""

    def __init__(self) -> None:
        self.came = self.listening = False

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()  # no other one gets signals
        self.listening = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.listening:
            signal.signal(signal.SIGINT, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        if self.listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt
