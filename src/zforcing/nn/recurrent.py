"""Recurrent layers: torch's LSTM and GRU over padded sequences, time first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ..observations import reverse_time_first
from .affine import Affine
from .initialize import initialize_lstm, weights_of
from .mlp import tensor_of


class BackwardLSTM(nn.Module):
    """An LSTM that runs backward in time, b_t = LSTM(e(x_t), b_{t+1}), b_{T+1} = 0. It never reads padding."""

    def __init__(self, features: int, hidden: int, *, forget_bias: float = 0.0):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        initialize_lstm(self.lstm, forget_bias=forget_bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Compute b_1..b_T, [B, T, E] and lengths [B] -> [B, T, H]."""
        return self.time_first(Affine(x.transpose(0, 1)), lengths).transpose(0, 1)

    def time_first(self, x: Affine, lengths: Tensor) -> Tensor:
        """Compute b_1..b_T time first, [T, B, E] and lengths [B] -> [T, B, H]."""
        zeros = tensor_of(self.lstm, "weight_hh_l0").new_zeros(len(lengths), self.lstm.hidden_size)
        states, _ = run_lstm(self.lstm, x._replace(u=reverse_time_first(x.u, lengths)), zeros, zeros, lengths)
        return reverse_time_first(states, lengths)


LastState = Callable[[], tuple[Tensor, Tensor]]
"""Returns h and c [n, H] after each row's last step."""


def run_lstm(
    lstm: nn.LSTM | list[Tensor], x: Tensor | Affine, h: Tensor, c: Tensor, lengths: Tensor
) -> tuple[Tensor, LastState]:
    """Run one layer of torch's LSTM over all steps.

    Args:
        lstm: The module, or its weights as `weights_of` returns them.
        x: [T, n, F].
        h: [n, H], h_0.
        c: [n, H], c_0.
        lengths: [n], in steps.

    Returns:
        h_1..h_T [T, n, H], meaningless in the padding, and a function that returns h and c [n, H] after each row's last
        step. For rows shorter than T the function needs a second run: torch returns no c but the last.
    """
    x, weights = _inputs_and_weights(lstm, x)
    first = (h[None].contiguous(), c[None].contiguous())
    hs, h_T, c_T = torch.lstm(x, first, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)

    def last() -> tuple[Tensor, Tensor]:
        if bool((lengths == len(x)).all()):
            return h_T[0], c_T[0]
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        order, back = packed.sorted_indices, packed.unsorted_indices
        sorted_first = (first[0][:, order], first[1][:, order])
        _, h_last, c_last = torch.lstm(
            packed.data, packed.batch_sizes, sorted_first, weights, True, 1, 0.0, torch.is_grad_enabled(), False
        )
        return h_last[0, back], c_last[0, back]

    return hs, last


def run_gru(gru: nn.GRU, x: Tensor | Affine, h: Tensor) -> Tensor:
    """Run one layer of torch's GRU over all steps.

    Args:
        gru: The module.
        x: [T, n, F].
        h: [n, H], h_0.

    Returns:
        h_1..h_T [T, n, H], meaningless in the padding; `last_step` selects each row's last one.
    """
    x, weights = _inputs_and_weights(gru, x)
    hs, _ = torch.gru(x, h[None].contiguous(), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return hs


def _inputs_and_weights(network: nn.LSTM | nn.GRU | list[Tensor], x: Tensor | Affine) -> tuple[Tensor, list[Tensor]]:
    """The input of one layer and its weights, into which the matrix of an `Affine` input is merged."""
    weights = network if isinstance(network, list) else weights_of(network)
    if isinstance(x, Affine):
        input_weight, bias = x.times(weights[0], weights[2])
        x, weights = x.u, [input_weight, weights[1], bias, weights[3]]
    if x.is_cuda:  # cuDNN needs them in one block of memory, or copies them at every call, with a warning
        whole = torch.cat([w.flatten() for w in weights]).split([w.numel() for w in weights])
        weights = [part.view_as(w) for part, w in zip(whole, weights, strict=True)]
    return x, weights


def repeat_particles(tensor: Tensor, particles: int) -> Tensor:
    """Repeat the rows for K particles, [T, B, .] -> [T, K B, .]: row i + j B is copy j of row i."""
    return tensor if particles == 1 else tensor.repeat(1, particles, 1)


def last_step(values: Tensor, lengths: Tensor) -> Tensor:
    """Select each row's last step, [T, n, ...] -> [n, ...]; `lengths` [n] in steps."""
    return values[lengths - 1, torch.arange(len(lengths), device=lengths.device)]


def last_steps(hs: Tensor, cs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Select each row's last h and c, as the function that `run_lstm` returns does."""
    return last_step(hs, lengths), last_step(cs, lengths)
