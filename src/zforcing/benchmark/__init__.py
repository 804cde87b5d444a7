"""Training speed: an update compared with the reference backend and with a lower bound (floor), torch's LSTMs."""

from __future__ import annotations

from .measure import Protocol, Result, measure
from .sizes import SIZES, Size

__all__ = ["SIZES", "Protocol", "Result", "Size", "measure"]
