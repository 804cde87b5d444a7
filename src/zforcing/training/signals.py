"""Ctrl-C and termination signals during training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether this process was asked to stop after the current update."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def stop_on(signals: Sequence[signal.Signals], *, say: Callable[[str], None]) -> Iterator[Stop]:
    """Within the block the first of these signals asks to stop; the second one raises KeyboardInterrupt at once.

    Only a program's main thread gets signals; in another one they stay what they were.
    """
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        say("stopping after this update (once more: at once) ...")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, request) for s in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
