"""How well a model explains a split: its bound on every sequence, summed in float64, in the units people compare."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..bounds import Bound
from ..data import DataDescription, SequenceDataset, collate
from ..data.batches import evaluation_batches
from ..errors import UserError
from ..models import SequenceModel
from ..threads import cpu_threads

COLLAPSED = 0.01  # nats per step under which the latents say next to nothing


@dataclass(frozen=True)
class Evaluation:
    """log p(x), or a bound on it: higher is better. KL weight 1, no free bits, no auxiliary cost.

    model, data, split, bound: names
    kind:                "exact", "lower bound" (in expectation) or "estimate": what the nats are of log p(x)
    particles:           K of the bound
    nats_per_sequence:   mean over sequences
    standard_error:      of that mean, over sequences (not over the noise of the bound); null for one sequence
    nats_per_step:       total nats / scored steps
    bits_per_dim:        -total nats / (scored numbers * ln 2): lower is better
    perplexity:          exp(-total nats / scored symbols) for categories, else null
    kl_per_sequence:     mean KL(posterior || prior), nats; 0 without latents
    raw_nats_per_sequence: of log p(raw data) = log p(x) - sum of ln std; null where the data wasn't normalized
    num_sequences, num_steps, num_dims: what the means were taken over: sequences, scored steps, scored numbers
    first_observation:   "scored", or "conditioned" when x_1 is read and not scored
    seed:                of the latents' noise
    """

    model: str
    data: str
    split: str
    bound: str
    kind: str
    particles: int
    nats_per_sequence: float
    standard_error: float | None
    nats_per_step: float
    bits_per_dim: float
    perplexity: float | None
    kl_per_sequence: float
    raw_nats_per_sequence: float | None
    num_sequences: int
    num_steps: int
    num_dims: int
    first_observation: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def collapsed(self) -> bool:
        """Whether a model with latents doesn't use them."""
        return self.kind != "exact" and self.kl_per_sequence * self.num_sequences < COLLAPSED * self.num_steps


@torch.no_grad()
def evaluate(
    model: SequenceModel,
    data: SequenceDataset,
    description: DataDescription,
    *,
    bound: Bound,
    bound_name: str,
    split: str,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """The bound on each sequence of `data`. `progress` is told how many sequences are done after each batch.

    Raises UserError when a bound is not finite: it names the sequence. Torch's global generator is left as it was.
    """
    model = model.to(device).eval()
    values, kl = np.zeros(len(data)), np.zeros(len(data))
    steps = dims = 0
    log_std = 0.0
    stds = (
        None
        if description.normalization is None
        else torch.tensor(description.normalization.std, dtype=torch.float64).log()
    )
    with torch.random.fork_rng(), cpu_threads(model):
        torch.manual_seed(seed)
        for indices in evaluation_batches(data.lengths, batch_size):
            batch = collate([data[i] for i in indices], description.spec)
            result = bound(model, batch.to(device))
            values[indices] = result.value.cpu().numpy()
            kl[indices] = result.terms["kl"].cpu().numpy()
            steps += int(batch.lengths.sum())
            dims += int(batch.scored.sum())
            if stds is not None:
                log_std += float((batch.scored.sum(dim=(0, 1)) * stds).sum())
            progress(len(indices))
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise UserError(
            f"the {bound_name} of sequence {wrong[0]} of the {split} split is {values[wrong[0]]} ({len(wrong)} of "
            f"{len(values)} are not finite): look at the sequence, or train with a model.min_std above 0"
        )
    total = math.fsum(values)
    return Evaluation(
        model=model.name,
        data=description.name,
        split=split,
        bound=bound_name,
        kind=result.kind,
        particles=bound.particles,
        nats_per_sequence=total / len(values),
        standard_error=float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None,
        nats_per_step=total / steps,
        bits_per_dim=-total / (dims * math.log(2)),
        perplexity=math.exp(-total / dims) if description.spec.kind == "categorical" else None,
        kl_per_sequence=math.fsum(kl) / len(values),
        raw_nats_per_sequence=None if stds is None else (total - log_std) / len(values),
        num_sequences=len(values),
        num_steps=steps,
        num_dims=dims,
        first_observation=description.spec.first_observation,
        seed=seed,
    )
