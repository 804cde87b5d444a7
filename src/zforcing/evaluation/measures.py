"""In what the numbers of a paper's table are given."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import UserError
from .evaluation import Evaluation


@dataclass(frozen=True)
class Measure:
    """A number that an evaluation holds.

    title:            of its column
    field:            of `Evaluation`
    raw:              the same in the data's own units, where the data was normalized
    kl_per:           what the KL beside it is per: "sequence" or "step"
    higher_is_better: of perplexity it is lower; a lower bound on log p is an upper bound on that
    digits:           how a number is printed
    """

    title: str
    field: str
    raw: str | None = None
    kl_per: str = "sequence"
    higher_is_better: bool = True
    digits: str = ".1f"

    def __post_init__(self) -> None:
        names = {field.name for field in fields(Evaluation)}
        assert {self.field, self.raw or self.field} <= names, f"measure {self.title} names no field of Evaluation"

    def of(self, evaluation: Evaluation) -> float:
        """The number."""
        value: float | None = getattr(evaluation, self.field)
        if value is None:
            raise UserError(
                f"an evaluation of a {evaluation.model} on data {evaluation.data} has no {self.title}: it can't "
                "stand in this table"
            )
        return value

    def raw_of(self, evaluation: Evaluation) -> float | None:
        """In the data's own units; None where the data wasn't normalized."""
        return None if self.raw is None else getattr(evaluation, self.raw)

    def kl_of(self, evaluation: Evaluation) -> float:
        """KL(posterior || prior) in nats per sequence or step."""
        kl = evaluation.kl_per_sequence
        return kl if self.kl_per == "sequence" else kl * evaluation.num_sequences / evaluation.num_steps

    def sign(self, kind: str) -> str:
        """Of a number of this kind: "" where it is exact."""
        bound = "≥ " if self.higher_is_better else "≤ "
        return {"exact": "", "lower bound": bound, "estimate": "≈ "}[kind]


MEASURES = {
    "sequence": Measure("nats per sequence", "nats_per_sequence", "raw_nats_per_sequence"),
    "half_second": Measure("nats per half second", "nats_per_half_second", "raw_nats_per_half_second"),
    "step": Measure("nats per step", "nats_per_step", kl_per="step", digits=".3f"),
    "step_of_sequences": Measure(
        "nats per step, mean of sequences", "nats_per_step_of_sequences", kl_per="step", digits=".3f"
    ),
    "perplexity": Measure("perplexity", "perplexity", higher_is_better=False, digits=".2f"),
}
