"""The networks that models are made of."""

from .affine import Affine
from .cells import LatentLSTMCell, LayerNormLatentLSTMCell, lstm_update, standardize
from .embedding import Embedder, Readout
from .initialize import initialize_gru, initialize_lstm, weights_of
from .mlp import MLP, FeatureNet, GaussianHead, HiddenLayers, clamp
from .recurrent import BackwardLSTM, LastState, at_last, at_last_of_both, copies, run_gru, run_lstm

__all__ = [
    "MLP",
    "Affine",
    "BackwardLSTM",
    "Embedder",
    "FeatureNet",
    "GaussianHead",
    "HiddenLayers",
    "LastState",
    "LatentLSTMCell",
    "LayerNormLatentLSTMCell",
    "Readout",
    "at_last",
    "at_last_of_both",
    "clamp",
    "copies",
    "initialize_gru",
    "initialize_lstm",
    "lstm_update",
    "run_gru",
    "run_lstm",
    "standardize",
    "weights_of",
]
