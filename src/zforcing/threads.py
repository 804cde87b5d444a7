"""How many CPU threads torch should use: small recurrent networks are slower with more than one.

Their matrix products take microseconds, so that threads mostly wait for each other, and on a machine that is busy with
something else they wait long: measured, 20 times slower with two threads than with one (an LSTM of 128 units, two
cores, another process running).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LARGE = 2_000_000  # parameters from which torch's own choice of threads pays


@contextmanager
def cpu_threads(model: nn.Module, threads: int | None = None) -> Iterator[None]:
    """Within the block torch uses this many threads; None is one for a small model and torch's choice for a large."""
    before = torch.get_num_threads()
    if threads is None and sum(p.numel() for p in model.parameters()) < LARGE:
        threads = 1
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
