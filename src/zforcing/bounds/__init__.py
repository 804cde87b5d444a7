"""The bounds, by the name that recipes and the command line use."""

from .base import Bound, BoundKind, BoundResult, Weights, WeightSchedules
from .elbo import ELBO

BOUNDS: dict[str, type[Bound]] = {"elbo": ELBO}

__all__ = ["BOUNDS", "ELBO", "Bound", "BoundKind", "BoundResult", "WeightSchedules", "Weights"]
