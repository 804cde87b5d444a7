"""The networks that models are built from: embeddings, MLPs, LSTM cells that read a latent, recurrent layers."""

from .cells import LatentLSTMCell, LayerNormLatentLSTMCell, lstm_update, standardize
from .embedding import Embedder, Readout
from .initialize import initialize_gru, initialize_lstm, initialize_uniform
from .mlp import MLP, FeatureNet, GaussianHead, HiddenLayers, clamp, join
from .recurrent import BackwardLSTM, gru_step, lstm_step, run_backward

__all__ = [
    "MLP",
    "BackwardLSTM",
    "Embedder",
    "FeatureNet",
    "GaussianHead",
    "HiddenLayers",
    "LatentLSTMCell",
    "LayerNormLatentLSTMCell",
    "Readout",
    "clamp",
    "gru_step",
    "initialize_gru",
    "initialize_lstm",
    "initialize_uniform",
    "join",
    "lstm_step",
    "lstm_update",
    "run_backward",
    "standardize",
]
