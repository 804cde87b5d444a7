"""The networks that models are built from: embeddings, MLPs, LSTM cells that read a latent, recurrent layers."""

from .affine import Affine
from .cells import LatentLSTMCell, LayerNormLatentLSTMCell, lstm_update, standardize
from .embedding import Embedder, Readout
from .initialize import initialize_gru, initialize_lstm, weights_of
from .mlp import MLP, FeatureNet, GaussianHead, HiddenLayers, clamp
from .recurrent import BackwardLSTM, LastState, last_step, last_steps, repeat_particles, run_gru, run_lstm

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
    "clamp",
    "initialize_gru",
    "initialize_lstm",
    "last_step",
    "last_steps",
    "lstm_update",
    "repeat_particles",
    "run_gru",
    "run_lstm",
    "standardize",
    "weights_of",
]
