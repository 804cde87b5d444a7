"""What each step of a sequence costs, from the first one on: how well a model begins.

    python benchmarks/first_steps.py SPLIT RUN [RUN ...]

For each run log p(x_t | ...) - KL_t in nats per step (without latents log p(x_t | x_<t)), one draw of the posterior at
seed 0, the mean over the sequences of a split that have such steps. Step 1 is the first that is scored. Prints a page
in Markdown.
"""

from __future__ import annotations

import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from zforcing.data import Split
from zforcing.errors import UserError
from zforcing.models import of_sequences
from zforcing.observations import collate
from zforcing.training.runs.trained import Trained

EDGES = (0, 1, 2, 3, 10, 30, 100, 10**9)
BATCH = 34


@torch.no_grad()
def by_step(run: Path, split: Split) -> list[float]:
    """The mean of the steps between each two EDGES."""
    found = Trained.load(str(run), which="best")
    model, description = of_sequences(found.model, needed_by="steps"), found.description
    data = found.data.load(split, description)
    total, count = np.zeros(int(data.lengths.max())), np.zeros(int(data.lengths.max()))
    torch.manual_seed(0)
    for begin in range(0, len(data), BATCH):
        batch = collate([data[i] for i in range(begin, min(begin + BATCH, len(data)))], description.spec)
        noise = model.draw_noise(batch) if model.latent_size else None
        unroll = model.unroll(batch, noise=noise)
        nats = (unroll.log_px - unroll.kl if model.latent_size else unroll.log_px).double().numpy()
        mask = batch.mask.numpy()
        total[: mask.shape[1]] += (nats * mask).sum(axis=0)
        count[: mask.shape[1]] += mask.sum(axis=0)
    return [float(total[a:b].sum() / count[a:b].sum()) for a, b in pairwise(EDGES) if count[a:].any()]


def main() -> None:
    """Print the page."""
    if len(sys.argv) < 3 or sys.argv[1] not in get_args(Split):
        sys.exit("usage: python benchmarks/first_steps.py train|valid|test RUN [RUN ...]")
    split, *runs = sys.argv[1:]
    torch.set_num_threads(1)
    try:
        rows = [(Path(run).name, by_step(Path(run), cast(Split, split))) for run in runs]
    except UserError as error:
        sys.exit(str(error))
    names = [f"step {a + 1}" if b == a + 1 else f"{a + 1}-{b}" for a, b in pairwise(EDGES)]
    names[-1] = f"after {EDGES[-2]}"
    names = names[: max(len(values) for _, values in rows)]
    print("# The first steps\n")
    print(f"Made by `python benchmarks/first_steps.py {shlex.join(sys.argv[1:])}`.\n")
    print(f"Nats at each step of the {split} split's sequences: the ELBO's, or exact ones of a model without latents.")
    print("Step 1 is the first that is scored.\n")
    print(f"| run | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for name, values in rows:
        cells = [f"{value:.2f}" for value in values] + ["-"] * (len(names) - len(values))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
