"""Moments and durations as text."""

from __future__ import annotations

import numpy as np

from .reading import Array

FINE = ("ns", "us", "ms")


def text_of_times(times: Array) -> list[str]:
    """datetime64 as 2024-03-01 12:30:05, timedelta64 as 90 seconds; with as many digits as one of them needs."""
    unit = np.datetime_data(times.dtype)[0]
    if unit in FINE:
        units = [f"{times.dtype.kind}8[{name}]" for name in ("s", *reversed(FINE))]
        times = next((rounded for rounded in map(times.astype, units) if (rounded == times).all()), times)
    return [str(time).replace("T", " ") for time in times]
