"""Checks of dataclass settings: the types that the fields declare, and their ranges."""

from .check import check_settings, check_types

__all__ = [
    "check_settings",
    "check_types",
]
