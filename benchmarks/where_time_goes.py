"""Where one update of Z-Forcing spends its time, on a CPU.

    python benchmarks/where_time_goes.py [--threads N] [--markdown]

For each of the sizes of `zforcing bench`: the whole update, and of it torch's backward LSTM (timed alone) and what is
left. Medians of 5 updates. The last columns count multiply-adds, twice each, in 10^9: of the whole update and of the
floor.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import torch
from torch import nn

from zforcing.benchmark.measure import Bench, Protocol
from zforcing.benchmark.sizes import SIZES, Size
from zforcing.models import ZForcing, ZForcingConfig
from zforcing.runtime.threads import cpu_threads

REPEATS = 5


def backward_lstm(size: Size) -> float:
    """Seconds of the backward network alone, forwards and backwards."""
    spec, settings = size.spec, size.settings
    network = nn.LSTM(min(spec.size, settings["embedding_size"]), settings["hidden_size"])
    x = torch.randn(size.steps, size.sequences, network.input_size)
    taken = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        network(x)[0].sum().backward()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def multiply_adds(size: Size) -> tuple[float, float]:
    """2 x multiply-adds of the matrix products, forwards and backwards, of an update and of the floor, in 10^9."""
    D = size.spec.size
    H, Z, E, M = (size.settings[name] for name in ("hidden_size", "latent_size", "embedding_size", "mlp_size"))
    u = min(D, E)  # what reads e(x) reads x, if that is smaller
    out = D * (2 if size.spec.kind == "real" else 1) * H
    networks = 4 * H * (H + u) + 4 * H * (H + Z) + M * 2 * H + 2 * Z * M  # backward, cell, posterior
    heads = M * H + 2 * Z * M + M * Z + 2 * H * M + H * H + 2 * out  # prior, auxiliary, read-out, both emissions
    rows = 3 * 2 * size.steps * size.sequences
    # inputs need no gradient: 4 instead of 6 of their products
    given = rows * (4 * H + H) * u * 2 / 3
    return (rows * (networks + heads) + given) / 1e9, rows * 2 * 4 * H * (H + E) / 1e9


def main() -> None:
    """One row a size."""
    threads = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else None
    rows = []
    for size in SIZES.values():
        config: Any = ZForcingConfig
        bench = Bench(size, config(**size.known_settings(config)), Protocol(threads=threads))
        with cpu_threads(ZForcing(size.spec, bench.settings), threads, rows=size.sequences):
            update, totals = bench.update("fast"), []
            for _ in range(REPEATS + 1):
                start = time.perf_counter()
                update()
                totals.append(time.perf_counter() - start)
            total, backward = statistics.median(totals[1:]), backward_lstm(size)
            seconds = (total, backward, total - backward)
            rows.append([size.name, *(f"{1e3 * s:.0f}" for s in seconds), *(f"{w:.1f}" for w in multiply_adds(size))])
            used = torch.get_num_threads()
    heads = ["ms", "update", "backward LSTM", "rest", "work", "floor's work"]
    if "--markdown" in sys.argv:
        print(f"`python {' '.join(['benchmarks/where_time_goes.py', *sys.argv[1:]])}`, {used} threads\n")
        for row in [heads, ["---"] * len(heads), *rows]:
            print(f"| {' | '.join(row)} |")
    else:
        for row in [heads, *rows]:
            print("".join(f"{cell:>21s}" for cell in row))


if __name__ == "__main__":
    main()
