"""Times of several tasks on one machine, measured in turn, so that a slow moment of the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """The times of one task, in seconds, by the number of the repeat."""

    seconds: Mapping[int, float]

    @property
    def median(self) -> float:
        """The median over all repeats, in seconds."""
        return median(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        """Median, minimum and maximum in seconds, and the number of repeats."""
        values = self.seconds.values()
        return {
            "median_seconds": self.median,
            "min_seconds": min(values),
            "max_seconds": max(values),
            "repeats": len(values),
        }


@dataclass(frozen=True)
class Ratio:
    """How many times longer one task takes than another: the ratio of medians, and the repeats' minimum and maximum.

    Only repeats that timed both count, as a slow machine in a repeat slows both.
    """

    of_medians: float
    least: float
    most: float

    @classmethod
    def between(cls, over: Timing, under: Timing) -> Ratio:
        """Compute over / under. At least one repeat must have timed both."""
        pairs = [(over.seconds[repeat], under.seconds[repeat]) for repeat in over.seconds if repeat in under.seconds]
        each = [a / b for a, b in pairs]
        return cls(median(a for a, _ in pairs) / median(b for _, b in pairs), min(each), max(each))

    def to_json(self) -> dict[str, float]:
        """The three ratios, by name."""
        return {"of_medians": self.of_medians, "min": self.least, "max": self.most}


def in_turn(
    tasks: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    device: torch.device,
    every: Mapping[str, int] | None = None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Run all tasks once to warm up, then time each of them in every repeat.

    Args:
        tasks: Functions by name.
        repeats: Number of repeats.
        device: The device that they use.
        every: By name, run this task only in every n-th repeat.
        done: Called after each task.

    Returns:
        The times by name.
    """
    seconds: dict[str, dict[int, float]] = {name: {} for name in tasks}
    for repeat in range(-1, repeats):
        for name, task in tasks.items():
            if repeat % (every or {}).get(name, 1) and repeat != -1:
                continue
            elapsed = clock(task, device)
            if repeat >= 0:
                seconds[name][repeat] = elapsed
            done()
    return {name: Timing(of_task) for name, of_task in seconds.items()}


def clock(task: Callable[[], object], device: torch.device) -> float:
    """Time a task in seconds, including the work that it started on a GPU."""
    synchronize(device)
    start = time.perf_counter()
    task()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for the device, if it is a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
