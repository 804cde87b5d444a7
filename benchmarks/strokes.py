"""Pen strokes by a model of mixed columns beside a Gaussian one: what the nats of each column are, and what they draw.

    python benchmarks/strokes.py PICTURE.png MIXED_RUN GAUSSIAN_RUN

Both runs are of strokes with the columns dx, dy and pen (1 where the pen is lifted after the step), as recipe
strokes-zforcing reads them. A Gaussian's density of the pen is no probability, so the two likelihoods can't be
compared. What can be is the same model read as one of a pen that is 0 or 1: P(pen) = N(pen) / (N(0) + N(1)), with the
other columns and the latents as they are, which gives a lower bound too. Prints a page in Markdown.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, Independent

from zforcing import SequenceModel, sample
from zforcing.data import SequenceDataset
from zforcing.distributions import ColumnProduct
from zforcing.errors import UserError
from zforcing.models import of_sequences
from zforcing.observations import DataDescription, collate
from zforcing.training.runs.trained import Trained

PEN = 2
BATCH, SHOWN, STEPS, SEED = 100, 14, 31, 0


@dataclass(frozen=True)
class Nats:
    """Means over drawings, in nats of the data's own units: terms of the ELBO with one draw of the posterior.

    moves: log p(dx, dy | z, past); pen: log p of the pen, for a Gaussian a density; bits: the same as a probability of
    0 and 1; kl: of the posterior from the prior.
    """

    moves: float
    pen: float
    bits: float
    kl: float


@torch.no_grad()
def measure(model: SequenceModel, data: SequenceDataset, description: DataDescription) -> Nats:
    """The terms of a split."""
    torch.manual_seed(SEED)
    sums = np.zeros(4)
    scaling = description.normalization
    log_std = torch.zeros(3) if scaling is None else torch.tensor(scaling.std).log().float()
    for begin in range(0, len(data), BATCH):
        batch = collate([data[i] for i in range(begin, min(begin + BATCH, len(data)))], description.spec)
        run = model.unroll(batch, noise=model.draw_noise(batch))
        each = of_each_column(run.emission, batch.x) - log_std
        bits = each[..., PEN] - log_total(run.emission, batch.x, description, log_std)
        terms = (each[..., :PEN].sum(-1), each[..., PEN], bits, run.kl)
        sums += [float(torch.where(batch.mask, term, 0.0).sum(dtype=torch.float64)) for term in terms]
    return Nats(*(sums / len(data)).tolist())


def of_each_column(emission: Distribution, x: Tensor) -> Tensor:
    """log p of each column, [B, T, 3], of the normalized numbers."""
    if isinstance(emission, ColumnProduct):
        return emission.log_prob_of_each(x)
    if isinstance(emission, Independent):
        each: Tensor = emission.base_dist.log_prob(x)
        return each
    raise UserError("the emission doesn't give the nats of each column; take components 1")


def log_total(emission: Distribution, x: Tensor, description: DataDescription, log_std: Tensor) -> Tensor:
    """log (p(pen = 0) + p(pen = 1)), [B, T]: 0 where that is a probability."""
    both = []
    for pen in (0.0, 1.0):
        raw = np.array([0.0, 0.0, pen])
        value = x.clone()
        value[..., PEN] = float(description.format.from_units(raw, description)[PEN])
        both.append((of_each_column(emission, value) - log_std)[..., PEN])
    return torch.logaddexp(*both)


def drawn(model: SequenceModel, description: DataDescription) -> NDArray[Any]:
    """Samples [n, T, 3] in the data's units."""
    x = sample(model, SHOWN, steps=STEPS, seed=SEED).x
    units: NDArray[Any] = description.format.to_units(x.numpy(), description)
    return units


def draw(axis: Any, strokes: NDArray[Any]) -> None:
    """The pen's path [T, 3]; a pen of more than a half is lifted."""
    at, lifted = np.cumsum(strokes[:, :2], axis=0), strokes[:, PEN] > 0.5
    edges = [0, *(np.flatnonzero(lifted) + 1).tolist(), len(at)]
    for start, stop in pairwise(edges):
        axis.plot(at[start:stop, 0], -at[start:stop, 1], color="black", linewidth=1)
    axis.set_aspect("equal", adjustable="datalim")
    axis.axis("off")


def picture(path: Path, rows: dict[str, list[NDArray[Any]]]) -> None:
    """A row of drawings for each name."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(SHOWN * 0.75, len(rows) * 0.95))
    for row, (name, drawings) in zip(axes, rows.items(), strict=True):
        for axis, strokes in zip(row, drawings, strict=True):
            draw(axis, strokes)
        row[0].set_title(name, loc="left", fontsize=8)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def line(name: str, nats: Nats, *, is_probability: bool) -> str:
    """A row of the table."""
    density = "-" if is_probability else f"{nats.pen:.2f}"
    total = nats.moves + nats.bits - nats.kl
    return f"| {name} | {nats.moves:.2f} | {nats.bits:.2f} | {nats.kl:.2f} | **{total:.2f}** | {density} |"


def pen_by_itself(train: SequenceDataset, test: SequenceDataset, description: DataDescription) -> float:
    """Nats of the pen in a drawing under independent bits of the training split's frequency, the same at each step."""
    pens = [
        np.concatenate([description.format.to_units(data[i].x, description)[:, PEN] for i in range(len(data))])
        for data in (train, test)
    ]
    rate = pens[0].mean()
    return float((pens[1] * np.log(rate) + (1 - pens[1]) * np.log1p(-rate)).sum() / len(test))


def main() -> None:
    """Print the page."""
    if len(sys.argv) != 4:
        sys.exit("usage: python benchmarks/strokes.py PICTURE.png MIXED_RUN GAUSSIAN_RUN")
    torch.set_num_threads(1)
    try:
        runs = [Trained.load(run, which="best") for run in sys.argv[2:]]
        page(Path(sys.argv[1]), runs)
    except UserError as error:
        sys.exit(str(error))


PAGE = """# Pen strokes: a column of 0 and 1 beside two of real numbers

Made by `python benchmarks/strokes.py {command}`, from two runs of {epochs} epochs,
minutes each: `zforcing train strokes-zforcing --data.path train.npz ...`, and the same with `--data.kinds null`, which
is a Gaussian of all three numbers. {count} drawings of Omniglot's test split.

Nats per drawing in the data's units, terms of the ELBO with one draw of the posterior at seed {seed}:

| model | dx, dy: density | pen: probability | KL | bound | pen: density |
|---|---:|---:|---:|---:|---:|
{mixed}
{gaussian}

The pen alone, as independent bits of the training split's frequency: {alone:.2f}.

Left as a density the Gaussian's bound is {whole:.2f}, which is neither better nor worse than the mixed model's: the pen
is exactly 0 or 1, and a density there grows as the standard deviation shrinks, down to what `min_std` allows. As a
probability, N(pen) / (N(0) + N(1)), it can be compared, and so can the bounds in bold.

![drawings]({picture})

The first {shown} drawings of the test split, and {shown} samples of each model at seed {seed}, all of {steps} steps at
most. The mixed model's pen is 0 or 1; {between:.0%} of the Gaussian's numbers are farther than 0.05 from both, and are
drawn as lifted above a half."""


def page(path: Path, runs: list[Trained]) -> None:
    """The table, and the picture."""
    mixed, known = runs[0], runs[0].description
    models = [of_sequences(run.model, needed_by="drawings") for run in runs]
    tests = [run.data.load("test", run.description) for run in runs]
    nats = [measure(m, data, run.description) for m, data, run in zip(models, tests, runs, strict=True)]
    samples = [drawn(model, run.description) for model, run in zip(models, runs, strict=True)]
    real = [known.format.to_units(tests[0][i].x, known)[:STEPS] for i in range(SHOWN)]
    picture(path, {"drawn by people": real, "mixed columns": list(samples[0]), "Gaussian": list(samples[1])})
    pen = samples[1][..., PEN]
    text = PAGE.format(
        command=shlex.join([str(path), *(Path(run).name for run in sys.argv[2:])]),
        epochs=mixed.config.training.epochs if mixed.config is not None else "?",
        count=len(tests[0]),
        seed=SEED,
        mixed=line("mixed columns", nats[0], is_probability=True),
        gaussian=line("Gaussian", nats[1], is_probability=False),
        alone=pen_by_itself(mixed.data.load("train", known), tests[0], known),
        whole=nats[1].moves + nats[1].pen - nats[1].kl,
        picture=Path(os.path.relpath(path, "docs/results")).as_posix(),
        shown=SHOWN,
        steps=STEPS,
        between=np.mean(np.abs(pen - np.clip(np.round(pen), 0, 1)) > 0.05),
    )
    print(text)


if __name__ == "__main__":
    main()
