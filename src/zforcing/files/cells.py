"""Cells of tables: which are numbers, and which name no sequence."""

from __future__ import annotations

NO_NAME = ("", "nan")  # the second as other programs write what they lack


def is_number(cell: str) -> bool:
    """Whether a cell is a number. 1_5, which Python's float takes for 15, is text."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def names_nothing(cell: str) -> bool:
    """Whether a cell can't be the name of a sequence."""
    return cell.strip().lower() in NO_NAME
