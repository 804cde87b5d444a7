"""Where a run is, and how that is written in a checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import UserError


@dataclass
class Progress:
    """Where a run is: all that its checkpoint must hold besides tensors.

    step counts updates (skipped ones included), batch the batches done in this epoch; `since_row` sums over the
    updates since the last row of metrics.jsonl.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    learning_rate: float = 0.0
    best: float = -math.inf
    best_epoch: int = -1
    previous: float = -math.inf
    validations_without_best: int = 0
    nonfinite: int = 0
    nonfinite_in_a_row: int = 0
    rows: int = 0
    seconds: float = 0.0
    finished: str = ""
    since_row: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; JSON has no infinity, so minus infinity becomes null."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `to_json`. Raises UserError when a field is missing."""
        try:
            known = {f.name: values[f.name] for f in fields(cls)}
        except KeyError as error:
            raise UserError(f"training.json of the checkpoint has no {error}") from None
        restored: dict[str, Any] = {k: -math.inf if v is None else v for k, v in known.items()}
        return cls(**restored)
