"""Scores in a few lines: the number, its error, kind and unit, then what is worth knowing."""

from __future__ import annotations

from ..evaluation.summary import SIGNS
from ..tasks.scores import Scores, Threshold


def score_summary(scores: Scores, threshold: Threshold | None, *, alarms: int, of: str) -> list[str]:
    """Lines of text, without what doesn't apply.

    Args:
        scores: What they say.
        threshold: Below which a step is an alarm.
        alarms: How many steps are.
        of: What was scored.
    """
    lines = [_likelihood(scores, of), f"{scores.nats_per_step:.4g} nats per step; {scores.stands_on}"]
    if threshold is not None:
        rate = f"of {threshold.steps} usual steps {threshold.alarms} are"
        lines.append(f"alarms: {alarms} of {scores.steps_scored} steps, below {threshold.nats:.4f} nats ({rate})")
    return lines


def _likelihood(scores: Scores, of: str) -> str:
    """The one line: log p(x) ≈ -11.86 ± 8.20 nats per sequence in the data's own units (estimate, causal; ...)."""
    error = "" if scores.standard_error is None else f" ± {scores.standard_error:.2f}"
    units = " in the data's own units" if scores.unit == "density" else ""
    nats = f"{scores.nats_per_sequence:.2f}{error} nats per sequence{units}"
    sequences = f"{len(scores)} sequence{'s' * (len(scores) != 1)} of {of}"
    return f"log p(x) {SIGNS[scores.relation]} {nats} ({scores.relation}, {scores.kind}; {scores.model} on {sequences})"
