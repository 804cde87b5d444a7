"""Bounds and estimates of the log-likelihood: exact, ELBO, IWAE, FIVO, importance sampling, annealed or not.

`BOUNDS` holds them by the name that recipes and the command line use.
"""

from __future__ import annotations

from ..registry import Family
from .ais import AIS
from .base import Bound, BoundKind, BoundResult, Weights
from .chib import Chib
from .chunked import ChunkedELBO
from .elbo import ELBO
from .exact import Exact
from .fivo import FIVO
from .importance import Importance
from .iwae import IWAE
from .orders import Orders

BOUNDS: Family[Bound] = Family("bound", Bound, classes=(AIS, Chib, ELBO, Exact, FIVO, Importance, IWAE, Orders))
__all__ = [
    "AIS",
    "BOUNDS",
    "ELBO",
    "FIVO",
    "IWAE",
    "Bound",
    "BoundKind",
    "BoundResult",
    "Chib",
    "ChunkedELBO",
    "Exact",
    "Importance",
    "Orders",
    "Weights",
]
