"""Initialization: orthogonal hidden-to-hidden matrices, biases 0; other weights uniform, as by VRNN's authors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def initialize_hidden_to_gates(weight: Tensor) -> None:
    """Make each gate's hidden-to-hidden matrix [H, H] orthogonal, in a weight [4H, H] or [3H, H]."""
    for gate in weight.split(weight.shape[1]):
        nn.init.orthogonal_(gate)


@torch.no_grad()
def initialize_gate_bias(bias: Tensor, *, forget_bias: float) -> None:
    """Set a bias [4H] to 0, and to `forget_bias` for the forget gate (the second quarter)."""
    bias.zero_()
    bias.chunk(4)[1].fill_(forget_bias)


def initialize_lstm(lstm: nn.LSTM, *, forget_bias: float) -> None:
    """Initialize every layer: orthogonal hidden-to-hidden matrices, biases 0, and `forget_bias` for forget gates."""
    for layer in range(lstm.num_layers):
        initialize_hidden_to_gates(getattr(lstm, f"weight_hh_l{layer}"))
        initialize_gate_bias(getattr(lstm, f"bias_ih_l{layer}"), forget_bias=forget_bias)
        initialize_gate_bias(getattr(lstm, f"bias_hh_l{layer}"), forget_bias=0.0)


def initialize_gru(gru: nn.GRU) -> None:
    """Initialize the one layer of a GRU: orthogonal hidden-to-hidden matrices, biases 0."""
    _, hidden_to_gates, *biases = gru.all_weights[0]
    initialize_hidden_to_gates(hidden_to_gates)
    for bias in biases:
        nn.init.zeros_(bias)


@torch.no_grad()
def initialize_uniform(network: nn.Module, within: float) -> None:
    """Let all weights but recurrent ones begin uniform between plus and minus `within`, and all biases at 0.

    VRNN's authors take 0.08: layers of 600 ReLUs then make what they read 0.8 times as large, by PyTorch's usual
    weights 0.4 times, so that after eight of them all sequences have the same posterior. What `initialize_lstm` sets
    stays.
    """
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.dim() > 1 and "weight_hh" not in name:
            parameter.uniform_(-within, within)
