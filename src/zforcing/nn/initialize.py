"""Where recurrent weights begin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .mlp import tensor_of


def weights_of(network: nn.LSTM | nn.GRU) -> list[Tensor]:
    """Of its one layer: input to gates, hidden to gates, the two biases."""
    return [tensor_of(network, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]


@torch.no_grad()
def initialize_hidden_to_gates(weight: Tensor) -> None:
    """Each gate's hidden-to-hidden matrix [H, H], a part of [4H, H] or [3H, H], becomes orthogonal."""
    for gate in weight.split(weight.shape[1]):
        nn.init.orthogonal_(gate)


@torch.no_grad()
def initialize_gate_bias(bias: Tensor, *, forget_bias: float) -> None:
    """Zeros, and `forget_bias` for the forget gate (the second quarter of [4H])."""
    bias.zero_()
    bias.chunk(4)[1].fill_(forget_bias)


def initialize_lstm(lstm: nn.LSTM, *, forget_bias: float) -> None:
    """Orthogonal hidden-to-hidden matrices, biases 0 and `forget_bias`, in every layer."""
    for layer in range(lstm.num_layers):
        initialize_hidden_to_gates(getattr(lstm, f"weight_hh_l{layer}"))
        initialize_gate_bias(getattr(lstm, f"bias_ih_l{layer}"), forget_bias=forget_bias)
        initialize_gate_bias(getattr(lstm, f"bias_hh_l{layer}"), forget_bias=0.0)


def initialize_gru(gru: nn.GRU) -> None:
    """Orthogonal hidden-to-hidden matrices, biases 0, of its one layer."""
    _, of_hidden, *biases = weights_of(gru)
    initialize_hidden_to_gates(of_hidden)
    for bias in biases:
        nn.init.zeros_(bias)
