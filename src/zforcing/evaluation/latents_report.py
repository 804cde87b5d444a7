"""What `latents_report` returns: whether a model uses its latents, and what to try where it doesn't."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..files.reading import Array
from ..tasks.posterior import COLLAPSED, IN_WORDS, Reads

ACTIVE = 0.01  # variance from which a unit counts as active (Burda et al., 2016)
EARLY, MOST = 0.1, 0.9  # the first tenth of the steps, and what share of the KL is most of it


@dataclass(frozen=True, repr=False, eq=False)
class LatentsReport:
    """How much the latents of a model carry of N sequences; `evaluation.latents` says how it is measured.

    The KL and log p(x | z) are estimates by K draws. Nats are means over sequences where nothing else is said.

    Attributes:
        model: name of the model.
        data: name of the data.
        reads: what the posterior reads of a sequence: "future", "present" or "past"; see `encode`.
        num_sequences: N.
        num_steps: of all sequences, those that have a latent.
        num_samples: K.
        seed: of the draws.
        kl_per_sequence: KL(q || p) in nats: an upper bound on the information in z about what is to come.
        kl_by_step: [T], mean over the sequences that have this step.
        sequences_by_step: [T], how many these are.
        kl_by_dimension: [Z], nats per sequence, between marginals.
        variances: [Z], over all steps of all sequences, of (posterior mean - prior mean) / prior standard deviation.
        variances_of_means: [Z], of the posterior mean itself: Burda et al.'s number, also of a prior that moves.
        log_px_posterior: log p(x | z), z from the posterior, in what the model reads.
        log_px_prior: the same with z from the prior: a lower bound on log p(x).
        gain: log_px_posterior - log_px_prior.
        gain_error: its standard error over sequences; None for one sequence.
        hints: what a model of this kind can be trained with so that its latents matter.
    """

    model: str
    data: str
    reads: Reads
    num_sequences: int
    num_steps: int
    num_samples: int
    seed: int
    kl_per_sequence: float
    kl_by_step: Array
    sequences_by_step: Array
    kl_by_dimension: Array
    variances: Array
    variances_of_means: Array
    log_px_posterior: float
    log_px_prior: float
    gain: float
    gain_error: float | None
    hints: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<LatentsReport: {self.lines()[0]}; {self.model}, {self.num_sequences} sequences of {self.data}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    @property
    def kl_per_step(self) -> float:
        """In nats, over all steps."""
        return self.kl_per_sequence * self.num_sequences / self.num_steps

    @property
    def collapsed(self) -> bool:
        """Whether the latents carry nothing: less than 0.01 nats per step."""
        return self.kl_per_step < COLLAPSED

    @property
    def latent_size(self) -> int:
        """Z."""
        return len(self.variances)

    @property
    def active(self) -> Array:
        """[Z] bool: which dimensions are active."""
        return self.variances > ACTIVE

    @property
    def active_units(self) -> int:
        """How many are."""
        return int(self.active.sum())

    @property
    def elbo(self) -> float:
        """log_px_posterior - KL: a lower bound on log p(x)."""
        return self.log_px_posterior - self.kl_per_sequence

    # ---- in words

    def lines(self) -> list[str]:
        """What was found."""
        error = "" if self.gain_error is None else f" ± {self.gain_error:.2g}"
        share = self.early_share
        return [
            (
                f"latents: KL {self.kl_per_sequence:.4g} nats per sequence, {self.kl_per_step:.3g} per step; "
                f"{self.active_units} of {self.latent_size} units active (variance > {ACTIVE})"
            ),
            (
                f"log p(x | z): {self.log_px_posterior:.2f} nats per sequence with z from the posterior, "
                f"{self.log_px_prior:.2f} from the prior: {self.gain:+.2f}{error}"
            ),
            (
                f"KL by dimension: {_span(self.kl_by_dimension)} nats per sequence; by step: {_span(self.kl_by_step)}"
                + ("" if share is None else f", {share:.0%} of it in the first tenth of the steps")
            ),
            IN_WORDS[self.reads],
        ]

    @property
    def early_share(self) -> float | None:
        """Share of the KL in the first tenth of the longest sequence's steps; None below ten steps, or without KL."""
        steps = int(EARLY * len(self.kl_by_step))
        totals = self.kl_by_step * self.sequences_by_step
        return float(totals[:steps].sum() / totals.sum()) if steps and totals.sum() > 0 else None

    @property
    def advice(self) -> list[str]:
        """What is wrong, and what to try; empty where nothing is."""
        if self.reads == "past":
            return ["the posterior doesn't read x_t, so that z can't carry anything of it: choose another one"]
        if self.collapsed:
            return [f"the latents carry nothing (posterior collapse). Try {'; '.join(self.hints)}"]
        if not self._gains:
            return [self._useless()]
        return [line for line in (self._dear(), self._dead(), self._early()) if line]

    @property
    def _gains(self) -> bool:
        """Whether z from the posterior explains x better, beyond the noise."""
        return self.gain > 2 * (self.gain_error or 0)

    def _useless(self) -> str:
        return (
            "x is explained no better with z from the posterior than from the prior: the KL is paid for nothing yet. "
            f"Train longer, or try {'; '.join(self.hints)}"
        )

    def _dear(self) -> str | None:
        if self.elbo >= self.log_px_prior:
            return None
        return (
            f"the KL ({self.kl_per_sequence:.4g} nats) costs more than z gains ({self.gain:.4g}): the ELBO "
            f"{self.elbo:.2f} is below {self.log_px_prior:.2f}, what z from the prior gives. Train longer, with the "
            "weight of the KL at 1 and without free bits at the end; fivo or iwae give tighter bounds"
        )

    def _dead(self) -> str | None:
        dead = self.latent_size - self.active_units
        if not dead:
            return None
        if not self.active_units:
            return f"no unit is active: what the posterior adds to the prior hardly varies. Try {'; '.join(self.hints)}"
        return (
            f"{dead} of {self.latent_size} units are not active: a model.latent_size of {self.active_units} "
            "would do as well, or free bits (bound.free_nats) may wake them"
        )

    def _early(self) -> str | None:
        share = self.early_share
        if share is None or share <= MOST:
            return None
        return (
            f"{share:.0%} of the KL is in the first tenth of the steps: later latents carry next to nothing. Try "
            f"{'; '.join(self.hints)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with what follows from them."""
        values = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}
        values["hints"] = list(self.hints)
        follows = ("kl_per_step", "collapsed", "latent_size", "active_units", "elbo", "early_share", "advice")
        return values | {"kind": IN_WORDS[self.reads]} | {name: getattr(self, name) for name in follows}


def mean_and_error(values: Array) -> tuple[float, float | None]:
    """The mean of [N] numbers, and its standard error; None of one."""
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), error


def _span(values: Array) -> str:
    return f"{values.min():.2g} to {values.max():.2g}, median {np.median(values):.2g}"
