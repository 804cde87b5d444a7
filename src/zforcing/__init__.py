"""zforcing: stochastic recurrent networks, trained, measured and used.

import zforcing
model = zforcing.load("runs/digits-zforcing-aux")      # a trained model, in eval mode
images = zforcing.sample(model, 16, steps=64, seed=0).x  # [16, 64, 1]
"""

from __future__ import annotations

from importlib.metadata import version

from .bounds import ELBO, BoundResult, Weights
from .data import Sequences
from .errors import UserError
from .models import MODELS, RNN, SRNN, VRNN, RNNConfig, SequenceModel, SRNNConfig, VRNNConfig, ZForcing, ZForcingConfig
from .observations import ObservationSpec, SequenceBatch
from .registry import register
from .saving.model import load
from .tasks.sample import Generated, continue_from, sample
from .training.schedules import Schedule

__version__ = version("zforcing")
__all__ = [
    "ELBO",
    "MODELS",
    "RNN",
    "SRNN",
    "VRNN",
    "BoundResult",
    "Generated",
    "ObservationSpec",
    "RNNConfig",
    "SRNNConfig",
    "Schedule",
    "SequenceBatch",
    "SequenceModel",
    "Sequences",
    "UserError",
    "VRNNConfig",
    "Weights",
    "ZForcing",
    "ZForcingConfig",
    "__version__",
    "continue_from",
    "load",
    "register",
    "sample",
]
