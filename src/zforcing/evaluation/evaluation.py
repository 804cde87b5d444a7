"""The numbers that tell how well a model explains a split, and what they were measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, get_args

from ..bounds import BoundKind, Orders
from ..errors import UserError
from ..settings import brief, problems_of
from ..tasks.posterior import COLLAPSED
from .baselines import BaselineScore, scores_from_json, scores_to_json

PLAIN = (int, float, str, type(None))  # values of a bound's settings; and bool, which is an int


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What `evaluate` returns: log p(x) or a bound on it, higher is better, with KL weight 1 and no auxiliary cost.

    All numbers are finite. Numbers that don't apply are None.

    Attributes:
        model: name of the model.
        data: name of the data.
        split: name of the split, "" if none was given.
        bound: name of the bound.
        kind: relation of the nats to log p(x): "exact", "lower bound" (in expectation) or "estimate".
        particles: K of the bound.
        repeats: how often the bound was measured, with new noise each time; means are reported.
        nats_per_sequence: mean over sequences.
        standard_error: of that mean, over sequences (not over the bound's noise); None for one sequence.
        noise_error: of that mean, over repeats (the bound's noise); None for one repeat.
        shared_error: of that mean, from what the bound estimates once for all sequences, such as log Z (bound `ais`);
            None where it estimates nothing so, and in files of before.
        nats_per_step: total nats / num_steps.
        nats_per_step_of_sequences: mean over sequences of nats / steps of each, in which short sequences count as much
            as long ones; SRNN's code reports this on music.
        bits_per_dim: -total nats / (num_dims * ln 2), lower is better.
        perplexity: exp(-total nats / num_dims) of categories; None for other data, and beyond float64 (below -709
            nats per symbol, where bits_per_dim still has the number).
        kl_per_sequence: mean KL(posterior || prior) in nats; 0 without latents.
        raw_nats_per_sequence: log p(raw data) = log p(x) - sum of ln std; None for data that wasn't normalized.
        normalization_std: the std, in the data's units, that x was divided by (of several, their geometric mean over
            the scored numbers); densities can only be compared under the same one. None without normalization.
        nats_per_half_second: total nats for each half second of scored audio, as published for Blizzard.
        raw_nats_per_half_second: the same of the raw data.
        bits_per_sample: bits_per_dim of integer audio (of a probability); None for densities and other data.
        true_nats_per_sequence: exact, under the process that generated the data; None where unknown or infinite.
        num_sequences: number of sequences.
        num_steps: number of steps, without x_1 where it is conditioned on; steps without an observation count too.
        num_dims: number of observed numbers (or symbols) at these steps: those that were scored.
        num_skipped: files that were left out because they couldn't be read (`data.skip_unreadable`).
        num_unknown: symbols of text outside the vocabulary, scored as the unknown one; None for other data.
        remark: what was left out of the split, and why; may be empty.
        first_observation: "scored", or "conditioned" when x_1 is read but not scored.
        sample_rate: samples per second of audio; None for other data.
        chunk_steps: steps of the chunks that the bound was measured in, with the state carried; None: whole sequences.
        look_ahead: steps after a chunk that the posterior saw; None: all of them.
        data_fingerprint: hex digest of the scored, normalized sequences; equal digests mean equal numbers.
        seed: seed of the noise.
        parameters: numbers that the model has learned; None in files of before.
        bound_settings: of the bound, by name, such as the chains, temperatures and seed of `ais`; empty where it has
            none, and in files of before.
        infers_latents: whether the model has latents with a posterior; None in files of before.
        baselines: what simple models, fitted to training data in closed form, make of the same sequences; empty where
            none was given, and in files of before.
    """

    model: str
    data: str
    split: str
    bound: str
    kind: str
    particles: int
    repeats: int
    nats_per_sequence: float
    standard_error: float | None
    noise_error: float | None
    nats_per_step: float
    nats_per_step_of_sequences: float
    bits_per_dim: float
    perplexity: float | None
    kl_per_sequence: float
    raw_nats_per_sequence: float | None
    normalization_std: float | None
    nats_per_half_second: float | None
    raw_nats_per_half_second: float | None
    bits_per_sample: float | None
    true_nats_per_sequence: float | None
    num_sequences: int
    num_steps: int
    num_dims: int
    num_skipped: int
    num_unknown: int | None
    remark: str
    first_observation: str
    sample_rate: int | None
    chunk_steps: int | None
    look_ahead: int | None
    data_fingerprint: str
    seed: int
    parameters: int | None = None
    shared_error: float | None = None
    bound_settings: dict[str, Any] = field(default_factory=dict, hash=False)
    infers_latents: bool | None = None
    baselines: tuple[BaselineScore, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"baselines": scores_to_json(self.baselines)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`; other names are ignored.

        Raises:
            UserError: fields are missing, or values have a wrong type; one line with every problem.
        """
        given = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        missing = [f.name for f in fields(cls) if f.name not in given and f.default is f.default_factory is MISSING]
        if missing:
            raise UserError(f"the evaluation has no {', '.join(missing)}")
        evaluation = cls(**given | {"baselines": scores_from_json(given.get("baselines", ()))})
        problems = problems_of(evaluation, "evaluation")
        if evaluation.kind not in get_args(BoundKind):
            kinds = " or ".join(get_args(BoundKind))
            problems.append(f"evaluation.kind is {evaluation.kind!r}; it must be {kinds}")
        told: Any = evaluation.bound_settings  # of a file: anything
        if not isinstance(told, dict) or not all(isinstance(value, PLAIN) for value in told.values()):
            problems.append(f"evaluation.bound_settings is {brief(told)}; it must be numbers and words by name")
        if problems:
            raise UserError("; ".join(problems))
        return evaluation

    def __repr__(self) -> str:
        sign = {"exact": "=", "lower bound": ">=", "estimate": "~"}[self.kind]
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        bound = f"{self.bound}{self.particles}" if self.particles > 1 else self.bound
        of = " ".join(word for word in (f"{self.num_sequences} sequences of", self.data, self.split) if word)
        return (
            f"<Evaluation: log p(x) {sign} {self.nats_per_sequence:.2f}{error} nats per sequence ({self.kind}; "
            f"{self.model}, {bound}; {of})>"
        )

    @property
    def by(self) -> str:
        """The bound and its K, such as "iwae 64", where the number depends on them: "" of exact ones, but for a mixture
        over drawn orders, which is exact and another model with other orders.
        """
        if self.kind == "exact" and self.bound != Orders.name:
            return ""
        return self.bound if self.particles == 1 else f"{self.bound} {self.particles}"

    @property
    def how(self) -> str:
        """The kind of the number and what it is by, such as "lower bound, iwae 64"."""
        return f"{self.kind}, {self.by}" if self.by else self.kind

    @property
    def short_kind(self) -> str:
        """The same for tables, such as "≥ iwae 64"."""
        sign = {"exact": "exact", "lower bound": "≥", "estimate": "≈"}[self.kind]
        return f"{sign} {self.by}".rstrip()

    @property
    def has_latents(self) -> bool:
        """Whether the number is by latents that were inferred, so that the KL says what they carry."""
        inferred = self.kl_per_sequence != 0 if self.infers_latents is None else self.infers_latents
        return self.kind != "exact" and inferred

    @property
    def collapsed(self) -> bool:
        """Whether a model with latents doesn't use them."""
        return self.has_latents and self.kl_per_sequence * self.num_sequences < COLLAPSED * self.num_steps

    @property
    def better_baselines(self) -> tuple[BaselineScore, ...]:
        """The baselines that explain the data better than this number, the best first."""
        better = [score for score in self.baselines if score.nats_per_sequence > self.nats_per_sequence]
        return tuple(sorted(better, key=lambda score: -score.nats_per_sequence))
