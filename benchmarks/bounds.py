"""Bounds beside the exact log-likelihood of a linear-Gaussian model.

    python benchmarks/bounds.py [--markdown]

A 4-dimensional system, 20 steps, 20 sequences; two proposals: the locally optimal one, and the prior. For each bound
the mean over sequences and repeats, its standard error over repeats, and the time for one pass over the 20 sequences.
"""

from __future__ import annotations

import platform
import sys
import time

import numpy as np
import torch

from zforcing import ELBO, ObservationSpec, SequenceBatch
from zforcing.bounds import FIVO, IWAE, Bound, Exact
from zforcing.models import LinearGaussian, LinearGaussianConfig
from zforcing.processes import LinearGaussianSystem

STEPS, SEQUENCES, REPEATS = 20, 20, 30
BOUNDS: dict[str, Bound] = {"exact": Exact(), "ELBO": ELBO()}
BOUNDS |= {f"IWAE {k}": IWAE(particles=k) for k in (1, 8, 64, 1000)}
BOUNDS |= {f"FIVO {k}": FIVO(particles=k) for k in (8, 64, 1000)}


@torch.no_grad()
def measure(bound: Bound, model: LinearGaussian, batch: SequenceBatch) -> tuple[float, float, float]:
    """Mean, standard error over repeats (nats per sequence), seconds."""
    torch.manual_seed(0)
    bound(model, batch)
    start = time.perf_counter()
    values = [bound(model, batch).value.mean().item() for _ in range(REPEATS)]
    seconds = (time.perf_counter() - start) / REPEATS
    return float(np.mean(values)), float(np.std(values, ddof=1) / REPEATS**0.5), seconds


def main() -> None:
    """Print the table."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    system, rng = LinearGaussianSystem.random(4, 4, seed=1), np.random.default_rng(0)
    x = torch.tensor(np.array([system.simulate(STEPS, rng=rng)[1] for _ in range(SEQUENCES)]))
    batch = SequenceBatch(x, torch.full((SEQUENCES,), STEPS), torch.zeros(SEQUENCES, 4))
    rows = []
    for name, bound in BOUNDS.items():
        row = [name]
        for proposal in ("filtering", "prior"):
            config = LinearGaussianConfig(4, proposal, system_seed=1)
            mean, error, seconds = measure(bound, LinearGaussian(ObservationSpec("real", 4), config), batch)
            row += [f"{mean:.3f} ± {error:.3f}", f"{1000 * seconds:.1f}"]
        rows.append(row)
    header = ["bound", "locally optimal proposal, nats", "ms", "prior as proposal, nats", "ms"]
    if "--markdown" in sys.argv:
        print("# Bounds beside the exact log-likelihood\n")
        print(f"Made by `python benchmarks/bounds.py --markdown`. Linear-Gaussian system, Z = D = 4, {STEPS} steps, ")
        print(
            f"mean over {SEQUENCES} sequences and {REPEATS} repeats ± standard error over repeats, nats per sequence;"
        )
        print(f"time of one pass, float64, one thread, torch {torch.__version__}, {platform.machine()}.\n")
        print("| " + " | ".join(header) + " |\n|---|---:|---:|---:|---:|")
        print("\n".join("| " + " | ".join(row) + " |" for row in rows))
    else:
        for row in [header, *rows]:
            print(f"{row[0]:10s} {row[1]:>32s} {row[2]:>8s} {row[3]:>26s} {row[4]:>8s}")


if __name__ == "__main__":
    main()
