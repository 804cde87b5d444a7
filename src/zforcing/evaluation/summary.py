"""An evaluation in a few lines: the number, its error, kind and unit, then what is worth knowing."""

from __future__ import annotations

from .evaluation import Evaluation

SIGNS = {"exact": "=", "lower bound": "≥", "estimate": "≈"}
MUCH_UNKNOWN = 0.25  # of the symbols
SPLITS = ("train", "valid", "test")


def summary(e: Evaluation, *, number: str = "dim") -> list[str]:
    """Lines of text, without what doesn't apply. number: what one number of an observation is called."""
    lines = [_likelihood(e), _in_other_units(e, number)]
    if e.raw_nats_per_sequence is not None:
        lines.append(f"in the data's own units: {e.raw_nats_per_sequence:.2f} nats per sequence{_audio(e, raw=True)}")
    if e.has_latents:
        lines.append(f"KL: {e.kl_per_sequence:.4g} nats per sequence, which the latents carry")
    if e.true_nats_per_sequence is not None:
        lines.append(f"the process that made the data: {e.true_nats_per_sequence:.2f} nats per sequence, exact")
    if e.baselines:
        scores = ", ".join(f"{score.name} {score.nats_per_sequence:.2f}" for score in e.baselines)
        lines.append(f"baselines: {scores} nats per sequence, exact")
    if e.num_unknown:
        lines.append(f"unknown to the vocabulary: {e.num_unknown} of {e.num_dims} symbols")
    if e.num_skipped:
        lines.append(f"left out: {e.num_skipped} files that can't be used")
    return lines + ([f"the data: {e.remark}"] if e.remark else [])


def warnings(e: Evaluation) -> list[str]:
    """What makes the number mean little, and what to try."""
    found = []
    if e.num_unknown is not None and e.num_unknown > MUCH_UNKNOWN * e.num_dims:
        found.append(
            f"{e.num_unknown / e.num_dims:.0%} of the symbols are unknown to the vocabulary, and easy to predict: is "
            "this text in the language, and split into words, as that it was trained on?"
        )
    if e.collapsed:
        found.append(
            f"the latents carry {e.kl_per_sequence:.3g} nats per sequence: the model hardly uses them (posterior "
            "collapse). Try a KL weight that rises (weights.kl.start 0.2, end 1, per_step 2e-4), or, of zforcing, "
            "larger weights.auxiliary and weights.backward"
        )
    if e.better_baselines:
        best = e.better_baselines[0]
        loose = (e.bound, e.kind) == ("elbo", "lower bound")
        tighter = ", and --bound iwae --particles 100, which is tighter" if loose else ""
        found.append(
            f"{best.name}, a simple baseline, explains this data better: {best.nats_per_sequence:.2f} nats per "
            f"sequence, exact; the model {SIGNS[e.kind]} {e.nats_per_sequence:.2f}. Try longer training, another "
            f"learning rate or size{tighter}"
        )
    return found


def _likelihood(e: Evaluation) -> str:
    """The one line: log p(x) ≥ -16.57 ± 0.26 nats per sequence (lower bound, iwae 25; zforcing on ...)."""
    error = "" if e.standard_error is None else f" ± {e.standard_error:.2f}"
    shared = "" if e.shared_error is None else f", log Z ± {e.shared_error:.2g}"
    noise = "" if e.noise_error is None else f", its noise ± {e.noise_error:.2g} over {e.repeats} repeats"
    of = f"{e.data}, {e.split} split" if e.split in SPLITS else e.split or e.data
    measured = f"{e.how}{shared}{noise}; {e.model} on {e.num_sequences} sequences of {of}"
    return f"log p(x) {SIGNS[e.kind]} {e.nats_per_sequence:.2f}{error} nats per sequence ({measured})"


def _in_other_units(e: Evaluation, number: str) -> str:
    units = [f"{e.nats_per_step:.4g} nats per step{_audio(e, raw=False)}", f"{e.bits_per_dim:.4g} bits per {number}"]
    if e.perplexity is not None:
        units.append(f"perplexity {e.perplexity:.4g}")
    return "; ".join(units)


def _audio(e: Evaluation, *, raw: bool) -> str:
    """Of audio, the same for half a second, as it is published."""
    nats = e.raw_nats_per_half_second if raw else e.nats_per_half_second
    return "" if nats is None else f", {nats:.2f} per half second"
