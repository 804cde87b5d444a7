"""Times of several things on one machine: taken in turn, so that a slow moment of the machine hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing, by the number of the repeat."""

    seconds: Mapping[int, float]

    @property
    def median(self) -> float:
        """Of all repeats."""
        return median(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        """Seconds: median, least and most, of how many repeats."""
        values = self.seconds.values()
        return {
            "median_seconds": self.median,
            "min_seconds": min(values),
            "max_seconds": max(values),
            "repeats": len(values),
        }


@dataclass(frozen=True)
class Ratio:
    """How many times longer one thing takes than another: the ratio of medians, and the repeats' least and most.

    Only repeats that took both count: what slowed the machine in one of them slowed both.
    """

    of_medians: float
    least: float
    most: float

    @classmethod
    def between(cls, over: Timing, under: Timing) -> Ratio:
        """over / under. Some repeat must have taken both."""
        pairs = [(over.seconds[repeat], under.seconds[repeat]) for repeat in over.seconds if repeat in under.seconds]
        each = [a / b for a, b in pairs]
        return cls(median(a for a, _ in pairs) / median(b for _, b in pairs), min(each), max(each))

    def to_json(self) -> dict[str, float]:
        """As plain JSON values."""
        return {"of_medians": self.of_medians, "min": self.least, "max": self.most}


def in_turn(
    tasks: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    device: torch.device,
    every: Mapping[str, int] | None = None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Run all tasks once to warm up, then each in every repeat, timed. every: a task's share, 3 is each third repeat.

    `done` is called after each task.
    """
    seconds: dict[str, dict[int, float]] = {name: {} for name in tasks}
    for repeat in range(-1, repeats):
        for name, task in tasks.items():
            if repeat % (every or {}).get(name, 1) and repeat != -1:
                continue
            taken = clock(task, device)
            if repeat >= 0:
                seconds[name][repeat] = taken
            done()
    return {name: Timing(taken) for name, taken in seconds.items()}


def clock(task: Callable[[], object], device: torch.device) -> float:
    """Seconds that a task takes, what it started on a GPU included."""
    synchronize(device)
    start = time.perf_counter()
    task()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for the GPU, if it is one."""
    if device.type == "cuda":
        torch.cuda.synchronize()
