"""How fast training is: our update beside the reference backend and beside the floor, torch's own LSTMs."""

from __future__ import annotations

from .measure import Protocol, Result, measure
from .sizes import SIZES, Size

__all__ = ["SIZES", "Protocol", "Result", "Size", "measure"]
