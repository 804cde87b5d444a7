"""The networks that the models are put together from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ..observations import reverse_time_first
from .affine import Affine
from .initialize import initialize_lstm, weights_of
from .mlp import MLP as MLP
from .mlp import GaussianHead as GaussianHead
from .mlp import clamp as clamp
from .mlp import tensor_of


class BackwardLSTM(nn.Module):
    """b_t = LSTM(e(x_t), b_{t+1}), b_{T+1} = 0: what the future from x_t on says. Padding is never read."""

    def __init__(self, features: int, hidden: int, *, forget_bias: float = 0.0):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        initialize_lstm(self.lstm, forget_bias=forget_bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, E], [B] -> [B, T, H]."""
        return self.time_first(Affine(x.transpose(0, 1)), lengths).transpose(0, 1)

    def time_first(self, x: Affine, lengths: Tensor) -> Tensor:
        """[T, B, E], [B] -> [T, B, H]."""
        zeros = tensor_of(self.lstm, "weight_hh_l0").new_zeros(len(lengths), self.lstm.hidden_size)
        states, _ = run_lstm(self.lstm, x._replace(u=reverse_time_first(x.u, lengths)), zeros, zeros, lengths)
        return reverse_time_first(states, lengths)


LastState = Callable[[], tuple[Tensor, Tensor]]
"""Gives h and c [n, H] at each row's own last step."""


def run_lstm(
    lstm: nn.LSTM | list[Tensor], x: Tensor | Affine, h: Tensor, c: Tensor, lengths: Tensor
) -> tuple[Tensor, LastState]:
    """One layer of torch's LSTM over x [T, n, F] from h, c [n, H]: h_1..h_T [T, n, H] (meaningless in the padding),
    and a function that gives h and c [n, H] at each row's own last step.

    lstm: a module, or its weights and biases: input to gates, hidden to gates, the two biases. The whole call returns
    the last c of the longest rows alone; who asks for that of shorter ones pays for a second, packed call.
    """
    x, weights = _read_by(lstm, x)
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
    """One layer of torch's GRU over x [T, n, F] from h [n, H]: h_1..h_T [T, n, H] (meaningless in the padding), of
    which `at_last` takes each row's own last one.
    """
    x, weights = _read_by(gru, x)
    hs, _ = torch.gru(x, h[None].contiguous(), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return hs


def _read_by(network: nn.LSTM | nn.GRU | list[Tensor], x: Tensor | Affine) -> tuple[Tensor, list[Tensor]]:
    """What one layer reads, not yet multiplied where it is `Affine`, and its weights and biases by which it does."""
    weights = network if isinstance(network, list) else weights_of(network)
    if isinstance(x, Affine):
        of_u, bias = x.times(weights[0], weights[2])
        x, weights = x.u, [of_u, weights[1], bias, weights[3]]
    if x.is_cuda:  # cuDNN reads them from one piece of memory, or copies them together at every call, with a warning
        whole = torch.cat([w.flatten() for w in weights]).split([w.numel() for w in weights])
        weights = [part.view_as(w) for part, w in zip(whole, weights, strict=True)]
    return x, weights


def copies(tensor: Tensor, particles: int) -> Tensor:
    """[T, B, .] -> [T, K B, .], copy after copy of the batch."""
    return tensor if particles == 1 else tensor.repeat(1, particles, 1)


def at_last(values: Tensor, lengths: Tensor) -> Tensor:
    """[T, n, ...] -> [n, ...] at each row's own last step."""
    return values[lengths - 1, torch.arange(len(lengths), device=lengths.device)]


def at_last_of_both(hs: Tensor, cs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """`at_last` of h and of c, as `run_lstm` gives them."""
    return at_last(hs, lengths), at_last(cs, lengths)
