"""What a launcher of several processes (torchrun, SLURM) says to each in its environment."""

from __future__ import annotations

import os


def is_one_of_several() -> bool:
    """Whether a launcher has started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def rank() -> int:
    """The number of this process among them, from 0; 0 of a single one."""
    return int(os.environ.get("RANK", "0"))
