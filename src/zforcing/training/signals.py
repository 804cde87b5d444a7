"""Ctrl-C, and the signals of schedulers, during training: SIGTERM of most, SIGUSR1 of SLURM (--signal=USR1@120)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ..runtime.ctrl_c import raise_lost

ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Stop:
    """Whether this process was asked to stop after the current update, and whether by a person: by Ctrl-C."""

    def __init__(self) -> None:
        self.requested = self.by_person = False


@contextmanager
def stop_on(signals: Sequence[signal.Signals], *, say: Callable[[str], None]) -> Iterator[Stop]:
    """Within the block the first of these signals asks to stop, and Ctrl-C after it raises KeyboardInterrupt at once.

    Schedulers send several, SIGUSR1 and then SIGTERM: those after the first change nothing.
    Only a program's main thread gets signals; in another one they stay what they were. So do those that a program in
    another language listens to, which Python couldn't give back. Raises KeyboardInterrupt for a Ctrl-C that came before
    the block and was lost.
    """
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        asked, stop.requested = stop.requested, True
        stop.by_person = stop.by_person or number == signal.SIGINT
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            say("stopping after this update (Ctrl-C once more: at once) ...")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, request) for s in signals if signal.getsignal(s) is not None}
    try:
        raise_lost(before.get(signal.SIGINT))
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
