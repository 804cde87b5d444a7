"""The models, by the name that recipes and the command line use."""

from .base import SequenceModel, State, Unroll, map_state, where_rows
from .linear_gaussian import LinearGaussian, LinearGaussianConfig
from .rnn import RNN, RNNConfig
from .zforcing import ZForcing, ZForcingConfig

MODELS: dict[str, type[SequenceModel]] = {model.name: model for model in (RNN, ZForcing, LinearGaussian)}

__all__ = [
    "MODELS",
    "RNN",
    "LinearGaussian",
    "LinearGaussianConfig",
    "RNNConfig",
    "SequenceModel",
    "State",
    "Unroll",
    "ZForcing",
    "ZForcingConfig",
    "map_state",
    "where_rows",
]
