"""How well a model explains a split: its bound on every sequence, summed in float64, in common units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..bounds import ELBO, Bound, BoundResult, ChunkedELBO
from ..data import SequenceDataset
from ..data.batches import evaluation_batches
from ..data.dataset import check_dataset, description_of
from ..data.fingerprint import Fingerprint
from ..distributions import row_seeds, seed_for
from ..errors import UserError
from ..files.json_text import finite
from ..models import DensityModel
from ..observations import DataDescription, Example, SequenceBatch, collate
from ..runtime.device import as_device, place_of
from ..runtime.threads import cpu_threads
from ..settings import Count, Seed, must_be, must_fit, plain
from .baselines import Scores, fit_baselines
from .evaluation import PLAIN, Evaluation

SENSIBLE = 1e100  # nats per sequence; sums and squares of smaller ones stay finite


def evaluate(
    model: DensityModel,
    data: SequenceDataset,
    *,
    bound: Bound = ELBO(),
    repeats: int = 1,
    seed: int = 0,
    split: str = "",
    description: DataDescription | None = None,
    true_log_likelihood: Callable[[Example], float | None] = lambda example: None,
    baselines: SequenceDataset | None = None,
    max_rows: int = 256,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] = lambda done: None,
    each: Callable[[NDArray[np.float64]], None] = lambda nats: None,
) -> Evaluation:
    """Measure how well a model explains data: its bound on log p(x), averaged over sequences and `repeats`.

    The model is put in eval mode. Torch's global generator is left unchanged.

    Args:
        model: a trained model.
        data: sequences, each read once; `Sequences` are normalized by the description.
        bound: what to measure: `ELBO()`, `IWAE(64)`, `FIVO(64)`, `Exact()` and so on.
        repeats: how often to measure it, with new noise each time.
        seed: seed of the noise, which is a function of it, the repeat and the sequence's index in `data`: the same
            whatever `max_rows` is.
        split: name of the data in the result, such as "test".
        description: description of the data; by default the model's own, or else the data's.
        true_log_likelihood: log p(x) of a sequence in nats, under the process that generated it, where that is known.
        baselines: the training data, to which simple models are fitted in closed form (independent Gaussian, VAR(1)
            and so on); the result has what they make of `data`. None: no baselines.
        max_rows: sequences times particles in one batch (at least one sequence).
        device: where to compute (`auto`: on a GPU if there is one); by default the model's device.
        progress: called after each batch and repeat with the number of sequences done in it.
        each: called in the end with [N], the nats of each sequence, mean over repeats.

    Returns:
        The evaluation: nats per sequence, their standard error, and the same in other units.

    Raises:
        UserError: nothing in `data` is observed, or a bound is not finite (or beyond 1e100 in size); it names the
            sequence.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.LinearGaussian.for_data(data, latent_size=2, proposal="smoothing")
        >>> exact = zf.evaluate(model, data, bound=zf.Exact())
        >>> exact.kind, exact.num_sequences, exact.num_steps
        ('exact', 2, 5)
        >>> bound = zf.evaluate(model, data, bound=zf.IWAE(8))  # by the exact posterior: no gap
        >>> bound.kind, abs(bound.nats_per_sequence - exact.nats_per_sequence) < 1e-3
        ('lower bound', True)
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    check_dataset(data, "data")
    must_be(bound, Bound, "bound", "a bound, such as ELBO() or IWAE(64)")
    must_fit(repeats, Count, "repeats")
    must_fit(seed, Seed, "seed")
    described = description or description_of(model, data)
    sequences = data.described_as(described)
    simple = _fitted(baselines, described, sequences)
    model = (model if device is None else model.to(as_device(device))).eval()
    totals = _Totals.empty(repeats, sequences)
    with torch.random.fork_rng(), torch.no_grad(), cpu_threads(model, rows=max_rows):
        torch.manual_seed(seed)
        ready = bound.prepared(model)
        for indices, examples in _batches(sequences, max(1, max_rows // bound.particles)):
            totals.read(indices, examples, true_log_likelihood)
            simple.add(indices, examples)
            batch = collate(examples, described.spec)
            totals.count(batch, indices)
            batch = batch.to(*place_of(model))
            for repeat in range(repeats):
                noise = row_seeds(seed_for(seed, "evaluation", repeat), indices)
                totals.add(ready(model, batch.seeded(noise)), indices, repeat)
                progress(len(indices))
    totals.check(bound_name(bound), f"the {split} split" if split else "the data")
    each(totals.values.mean(0))
    return Evaluation(
        model=model.label,
        data=described.name,
        split=split,
        **_protocol(bound, described),
        **totals.in_units(described),
        num_skipped=sequences.skipped,
        num_unknown=sequences.unknown,
        remark=sequences.remark,
        repeats=repeats,
        data_fingerprint=totals.fingerprint.digits(sequences.__getitem__),
        seed=seed,
        parameters=sum(p.numel() for p in model.parameters()),
        shared_error=ready.shared_error,
        infers_latents=model.infers_latents,
        baselines=simple.results(log_std=_log_std(described, totals.scored)),
    )


def bound_name(bound: Bound) -> str:
    """The bound's registered name, or else its class's name."""
    return getattr(bound, "name", type(bound).__name__)


def _fitted(train: SequenceDataset | None, description: DataDescription, scored: SequenceDataset) -> Scores:
    """Baselines fitted to training data, or none."""
    spec, found = description.spec, []
    if train is not None:
        check_dataset(train, "baselines")
        found = fit_baselines(train.described_as(description), spec, scored=scored.lengths)
    return Scores(found, len(scored), unscored=spec.unscored_steps)


def _batches(data: SequenceDataset, size: int) -> Iterator[tuple[list[int], list[Example]]]:
    for indices in evaluation_batches(data.lengths, size):
        yield indices, [data[i] for i in indices]


def _protocol(bound: Bound, description: DataDescription) -> dict[str, Any]:
    """What the number was measured with."""
    chunked = bound if isinstance(bound, ChunkedELBO) else None
    return {
        "bound": bound_name(bound),
        "particles": bound.particles,
        "bound_settings": settings_of(bound),
        "first_observation": description.spec.first_observation,
        "chunk_steps": None if chunked is None else chunked.steps,
        "look_ahead": None if chunked is None else chunked.look_ahead,
    }


def settings_of(bound: Bound) -> dict[str, Any]:
    """What a bound was told, by name, as plain values; what is none, as its text."""
    told: Any = bound  # a dataclass with slots has no values in vars()
    named = {field.name: getattr(told, field.name) for field in fields(told)} if is_dataclass(told) else vars(told)
    values = {name: plain(value) for name, value in named.items()}
    return {name: finite(value) if isinstance(value, PLAIN) else str(value) for name, value in values.items()}


@dataclass
class _Totals:
    """Sums over batches: values [repeats, N] and KL [N] in nats, and what they were measured on."""

    values: NDArray[np.float64]
    kl: NDArray[np.float64]
    scored: NDArray[np.int64]  # [D], how often each number of an observation was scored ([1] for categories)
    true: dict[int, float | None]
    steps: NDArray[np.int64]  # [N], scored ones
    fingerprint: Fingerprint
    kind: str = ""

    @classmethod
    def empty(cls, repeats: int, data: SequenceDataset) -> _Totals:
        """No batch yet."""
        n = len(data)
        values, kl, steps = np.zeros((repeats, n)), np.zeros(n), np.zeros(n, dtype=np.int64)
        return cls(values, kl, np.zeros(1, dtype=np.int64), {}, steps, Fingerprint(data.lengths))

    def read(
        self, indices: list[int], examples: list[Example], true_log_likelihood: Callable[[Example], float | None]
    ) -> None:
        """These sequences, before they are a batch."""
        for index, example in zip(indices, examples, strict=True):
            self.true[index] = true_log_likelihood(example)
            self.fingerprint.add(index, example)

    def count(self, batch: SequenceBatch, indices: list[int]) -> None:
        """The steps and numbers of a batch of these sequences."""
        scored = batch.scored if batch.x.dim() == 3 else batch.scored[:, :, None]
        self.steps[indices] = batch.lengths.numpy()
        self.scored = self.scored + scored.sum(dim=(0, 1)).numpy()

    def add(self, result: BoundResult, indices: list[int], repeat: int) -> None:
        """The bound of these sequences."""
        self.kind = result.kind
        self.values[repeat, indices] = result.value.cpu().numpy()
        self.kl[indices] += result.terms["kl"].cpu().numpy() / len(self.values)

    def check(self, bound: str, data: str) -> None:
        """Refuse what has no mean."""
        if not self.scored.sum():
            raise UserError(
                f"{data} has nothing to score: no number in its {len(self.kl)} sequences is observed; look at the "
                "data's gaps, or take another split"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            _check_finite(self.values.mean(0), what=bound, data=data)
        _check_finite(self.kl, what="KL", data=data)

    def in_units(self, description: DataDescription) -> dict[str, Any]:
        """The totals, in the units of `Evaluation`."""
        each, dims = self.values.mean(0), int(self.scored.sum())
        total, sequences = math.fsum(each), len(each)
        log_std = _log_std(description, self.scored)
        raw = None if log_std is None else total - log_std
        bits = -total / (dims * math.log(2))
        rate, kind = description.format.samples_per_second, description.spec.kind
        half_seconds = None if rate is None else 2 * dims / rate
        return {
            "nats_per_sequence": total / sequences,
            "standard_error": _standard_error(each),
            "noise_error": _standard_error(self.values.mean(1)),
            "nats_per_step": total / self.steps.sum(),
            "nats_per_step_of_sequences": math.fsum(each / self.steps) / sequences,
            "bits_per_dim": bits,
            "perplexity": _perplexity(total / dims) if kind == "categorical" else None,
            "kind": self.kind,
            "kl_per_sequence": math.fsum(self.kl) / sequences,
            "raw_nats_per_sequence": None if raw is None else raw / sequences,
            "normalization_std": None if log_std is None else math.exp(log_std / dims),
            "nats_per_half_second": None if half_seconds is None else total / half_seconds,
            "raw_nats_per_half_second": None if half_seconds is None or raw is None else raw / half_seconds,
            "bits_per_sample": bits if rate is not None and kind == "quantized" else None,
            "true_nats_per_sequence": self._true_mean(),
            "num_sequences": sequences,
            "num_steps": int(self.steps.sum()),
            "num_dims": dims,
            "sample_rate": rate,
        }

    def _true_mean(self) -> float | None:
        """Of log p(x) under the process that made the data, where it is known of all sequences, and finite."""
        known = [self.true[i] for i in sorted(self.true)]
        total = math.fsum(v for v in known if v is not None)
        return None if None in known or not math.isfinite(total) else total / len(known)


def _log_std(description: DataDescription, scored: NDArray[np.int64]) -> float | None:
    """Sum over the scored numbers of ln std: a function of counts, whatever the batches were."""
    if description.normalization is None:
        return None
    return math.fsum(scored * np.log(description.normalization.std))


def _check_finite(each: NDArray[np.float64], *, what: str, data: str) -> None:
    wrong = np.flatnonzero(~(np.abs(each) < SENSIBLE))
    if len(wrong):
        raise UserError(
            f"the {what} of sequence {wrong[0]} of {data} is {each[wrong[0]]} ({len(wrong)} of {len(each)} "
            f"are not finite, or beyond {SENSIBLE:.0e}): look at the sequence, or train with a model.min_std above 0"
        )


def _perplexity(nats_per_symbol: float) -> float | None:
    try:
        return math.exp(-nats_per_symbol)
    except OverflowError:
        return None


def _standard_error(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
