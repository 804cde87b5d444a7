"""Stochastic recurrent networks and their baselines.

`MODELS` holds them by the name that recipes and the command line use; `SequenceModel` is their base class.
"""

from __future__ import annotations

from ..registry import Family
from .linear_gaussian import LinearGaussian, LinearGaussianConfig
from .rnn import RNN, RNNConfig
from .sequence import Resample, SequenceModel
from .srnn import SRNN, SRNNConfig
from .state import State, map_state, where_rows
from .unroll import Unroll
from .vrnn import VRNN, VRNNConfig
from .zforcing import ZForcing, ZForcingConfig

MODELS: Family[SequenceModel] = Family(
    "model", SequenceModel, classes=(RNN, ZForcing, VRNN, SRNN, LinearGaussian), settings="Config"
)
__all__ = [
    "MODELS",
    "RNN",
    "SRNN",
    "VRNN",
    "LinearGaussian",
    "LinearGaussianConfig",
    "RNNConfig",
    "Resample",
    "SRNNConfig",
    "SequenceModel",
    "State",
    "Unroll",
    "VRNNConfig",
    "ZForcing",
    "ZForcingConfig",
    "map_state",
    "where_rows",
]
