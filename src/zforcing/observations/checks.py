"""What numbers in a description must be; a file may hold anything."""

from __future__ import annotations

import math

from ..errors import UserError


def is_number(value: object) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_size(value: object) -> bool:
    """Whether it is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def must_be_finite(value: object, name: str, *, above: float = -math.inf) -> None:
    """Raise UserError about what is no finite number, or not above the least one."""
    if not is_number(value) or not above < float(value) < math.inf:  # type: ignore[arg-type]  # a number
        more = "" if above == -math.inf else f" above {above:g}"
        raise UserError(f"{name} is {value!r}; it must be a finite number{more}")
