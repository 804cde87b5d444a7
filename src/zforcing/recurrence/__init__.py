"""A fast loop over time: a model records its step's equations once, and the loop runs and differentiates them."""

from __future__ import annotations

from . import equations
from .loop import Loop, Value

__all__ = ["Loop", "Value", "equations"]
