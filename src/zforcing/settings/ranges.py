"""The numbers that a setting takes: `size: Annotated[int, Range(at_least=1)]`, in short `Count`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """The numbers between two ends, of which each may belong to them or not. No end is no limit."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """As in "it must be 0 or more and less than 1"."""
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least} and {self.at_most}"
        if self == Range(above=0):
            return "positive"
        ends = [
            f"{self.at_least} or more" if self.at_least is not None else "",
            f"more than {self.above}" if self.above is not None else "",
            f"{self.at_most} or less" if self.at_most is not None else "",
            f"less than {self.below}" if self.below is not None else "",
        ]
        return " and ".join(filter(None, ends))


Count = Annotated[int, Range(at_least=1)]  # how many of something that there must be
Seed = Annotated[int, Range(at_least=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Positive = Annotated[float, Range(above=0)]
Probability = Annotated[float, Range(at_least=0, below=1)]  # of an event that must not be certain
Share = Annotated[float, Range(above=0, below=1)]  # that leaves something
Factor = Annotated[float, Range(above=0, at_most=1)]  # that makes nothing larger
