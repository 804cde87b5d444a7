"""The checks that every model's settings share, by what the settings are called."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..errors import UserError


def check_settings(config: Any) -> None:
    """Refuse sizes below 1, probabilities outside [0, 1), clamps that are not positive and negative floors.

    Raises UserError, one line that holds every problem.
    """
    problems = []
    for field in fields(config):
        value = getattr(config, field.name)
        if (field.name.endswith("_size") or field.name == "num_layers") and value < 1:
            problems.append(f"model.{field.name} is {value}; it must be 1 or more")
        elif field.name == "dropout" and not 0 <= value < 1:
            problems.append(f"model.{field.name} is {value}; it must be 0 or more and less than 1")
        elif field.name.endswith("_clamp") and value is not None and value <= 0:
            problems.append(f"model.{field.name} is {value}; it must be positive, or null for no clamp")
        elif field.name.startswith("min_") and value < 0:
            problems.append(f"model.{field.name} is {value}; it must be 0 or more")
    if problems:
        raise UserError("; ".join(problems))
