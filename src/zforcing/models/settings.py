"""The checks that every model's settings share, by what the settings are called."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from ..errors import UserError
from ..settings import check_types

__all__ = ["check_settings", "check_types"]


def check_settings(config: Any, *, section: str = "model") -> None:
    """Refuse values of the wrong type, sizes below 1, probabilities outside [0, 1), clamps that are not positive, and
    negative floors and seeds.

    Raises UserError, one line that holds every problem.
    """
    problems = check_types(config, section)
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if not isinstance(value, int | float) or not abs(value) < math.inf:
            continue  # null, or of a wrong type and named already
        if name.endswith(("_size", "_layers")) and value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 1 or more")
        elif name == "dropout" and not 0 <= value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more and less than 1")
        elif name.endswith("_clamp") and value <= 0:
            problems.append(f"{section}.{name} is {value}; it must be positive, or null for no clamp")
        elif name == "min_scale" and value <= 0:
            problems.append(f"{section}.{name} is {value}; it must be positive")
        elif name == "components" and value < 1:
            problems.append(f"{section}.{name} is {value}; it must be 1 or more")
        elif name.startswith("min_") and value < 0:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more")
        elif name.endswith("_seed") and value < 0:
            problems.append(f"{section}.{name} is {value}; it must be 0 or more, or null")
    if problems:
        raise UserError("; ".join(problems))
