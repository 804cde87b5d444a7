"""The fast loop over time: a model writes down its step's equations once, and the loop does the rest."""

from __future__ import annotations

from . import equations
from .loop import Loop, Value

__all__ = ["Loop", "Value", "equations"]
