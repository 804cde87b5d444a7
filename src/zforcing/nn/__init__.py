"""The networks that models are made of."""

from .affine import Linear
from .cells import LatentLSTMCell, LayerNormLatentLSTMCell, lstm_update, standardize
from .embedding import Embedder, Readout
from .initialize import initialize_gru, initialize_lstm, weights_of
from .mlp import MLP, FeatureNet, GaussianHead, HiddenLayers, bound
from .recurrent import BackwardLSTM, LastState, at_last, at_last_of_both, copies, run_gru, run_lstm

__all__ = [
    "MLP",
    "BackwardLSTM",
    "Embedder",
    "FeatureNet",
    "GaussianHead",
    "HiddenLayers",
    "LastState",
    "LatentLSTMCell",
    "LayerNormLatentLSTMCell",
    "Linear",
    "Readout",
    "at_last",
    "at_last_of_both",
    "bound",
    "copies",
    "initialize_gru",
    "initialize_lstm",
    "lstm_update",
    "run_gru",
    "run_lstm",
    "standardize",
    "weights_of",
]
