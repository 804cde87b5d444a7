"""Values as text of JSON, which has no NaN and no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(values: Any, *, indent: int | None = None) -> str:
    """The values as JSON: NaN, which nothing came of, is null, and an infinite number the text "inf" or "-inf"."""
    return json.dumps(finite(values), indent=indent, allow_nan=False)


def finite(values: Any) -> Any:
    """The same values as JSON has them, see `json_text`."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    if not isinstance(values, float) or math.isfinite(values):
        return values
    return None if values != values else str(float(values))
