"""The models, by the name that recipes and the command line use."""

from .base import SequenceModel, State, Unroll, map_state, where_rows
from .rnn import RNN, RNNConfig
from .zforcing import ZForcing, ZForcingConfig

MODELS: dict[str, type[SequenceModel]] = {model.name: model for model in (RNN, ZForcing)}

__all__ = [
    "MODELS",
    "RNN",
    "RNNConfig",
    "SequenceModel",
    "State",
    "Unroll",
    "ZForcing",
    "ZForcingConfig",
    "map_state",
    "where_rows",
]
