"""The bounds, by the name that recipes and the command line use."""

from __future__ import annotations

from .base import Bound, BoundKind, BoundResult, Weights
from .chunked import ChunkedELBO
from .elbo import ELBO
from .exact import Exact
from .fivo import FIVO
from .importance import Importance
from .iwae import IWAE

BOUNDS: dict[str, type[Bound]] = {
    "elbo": ELBO,
    "exact": Exact,
    "fivo": FIVO,
    "importance": Importance,
    "iwae": IWAE,
}
__all__ = [
    "BOUNDS",
    "ELBO",
    "FIVO",
    "IWAE",
    "Bound",
    "BoundKind",
    "BoundResult",
    "ChunkedELBO",
    "Exact",
    "Importance",
    "Weights",
]
