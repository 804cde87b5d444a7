"""Recurrent layers: torch's LSTM and GRU, backward in time over padded sequences, and one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..observations import reverse
from .embedding import Embedder, does_only
from .initialize import initialize_lstm
from .mlp import join

LONG = 4096  # steps; longer sequences take the memory of a piece at a time where no gradient is wanted
PIECE = 1024  # steps


class BackwardLSTM(nn.Module):
    """An LSTM that runs backward in time, b_t = LSTM(e(x_t), b_{t+1}), b_{T+1} = 0. It never reads padding."""

    def __init__(self, features: int, hidden: int, *, forget_bias: float = 0.0):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        initialize_lstm(self.lstm, forget_bias=forget_bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Compute b_1..b_T, [B, T, E] and lengths [B] -> [B, T, H]."""
        return run_backward(self.lstm, x, lengths)

    def of_embedded(self, embed: Embedder, x: Tensor, lengths: Tensor, *, inputs: Tensor | None = None) -> Tensor:
        """Compute the same of [e(x), inputs], [B, T, D] or [B, T] -> [B, T, H].

        Where e is linear, its matrix and the LSTM's are multiplied first if that is less work, and if no hook or layer
        of somebody else would be passed over.
        """
        if not (does_only(self, BackwardLSTM) and does_only(self.lstm, nn.LSTM)):
            called: Tensor = self(join(embed(x), inputs), lengths)
            return called
        if not (torch.is_grad_enabled() or x.shape[1] <= LONG):
            return self._long(embed, x, lengths, inputs)
        weight, recurrent, bias, other_bias = self.lstm.all_weights[0]
        of_x, of_inputs = weight[:, : embed.size], weight[:, embed.size :]
        read, merged, merged_bias = embed.followed_by(x, of_x, bias)
        if merged is of_x:
            unmerged: Tensor = self(join(read, inputs), lengths)
            return unmerged
        read = reverse(join(read, inputs), lengths).transpose(0, 1)
        zeros = read.new_zeros(1, len(lengths), self.lstm.hidden_size)
        weights = (join(merged, of_inputs), recurrent, merged_bias, other_bias)
        states, *_ = in_float32_where_needed(_lstm, read, zeros, *weights)
        return reverse(states.transpose(0, 1), lengths)

    def _long(self, embed: Embedder, x: Tensor, lengths: Tensor, inputs: Tensor | None) -> Tensor:
        """The same in the memory of some steps, besides the result."""
        late, late_inputs = reverse(x, lengths), None if inputs is None else reverse(inputs, lengths)

        def read(start: int, stop: int) -> Tensor:
            """[s, B, F], of steps from each sequence's end."""
            known = None if late_inputs is None else late_inputs[:, start:stop]
            return join(embed(late[:, start:stop]), known).transpose(0, 1)

        return _in_pieces(self.lstm, read, lengths, steps=x.shape[1])


def run_network(network: nn.Module, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Run torch's LSTM or GRU: network(x, state), `in_float32_where_needed`."""
    with _differentiable(network):
        states, state = in_float32_where_needed(lambda read: network(read, state), x)
    return states, state


@contextmanager
def _differentiable(network: nn.Module) -> Iterator[None]:
    """Train mode within a `with` block where gradients are wanted, without which cuDNN has none. Without dropout the
    numbers are the same.
    """
    was = network.training
    network.training = was or (torch.is_grad_enabled() and not network.dropout)
    try:
        yield
    finally:
        network.training = was


def in_float32_where_needed(run: Callable[..., tuple[Any, ...]], *tensors: Tensor) -> tuple[Any, ...]:
    """run(*tensors), a network of torch's: in float32 where autocast asks for bfloat16 on a CPU without AVX-512, where
    torch has no such LSTM and raises.
    """
    if not _lacks_bfloat16(tensors[0].device.type):
        return run(*tensors)
    with torch.autocast("cpu", enabled=False):
        return run(*(tensor.float() for tensor in tensors))


def _lstm(x: Tensor, first: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """torch's LSTM of one layer, x [T, B, F] and its first state and cell [1, B, H]."""
    return torch.lstm(x, (first, first), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)


def _lacks_bfloat16(device: str) -> bool:
    asked_for = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return asked_for and device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _in_pieces(network: nn.LSTM | nn.GRU, read: Callable[[int, int], Tensor], lengths: Tensor, *, steps: int) -> Tensor:
    """`run_backward` a piece at a time, with the state carried; read gives what the network reads, from the ends."""
    rows, state = torch.arange(len(lengths), device=lengths.device), None
    found: Tensor | None = None
    for start in range(0, steps, PIECE):
        stop = min(start + PIECE, steps)
        states, state = run_network(network, read(start, stop), state)
        if found is None:
            found = states.new_empty(len(lengths), steps, states.shape[-1])
        late = torch.arange(start, stop, device=lengths.device)[:, None]
        found[rows, torch.where(late < lengths, lengths - 1 - late, late)] = states
    assert found is not None, "a sequence has a step"
    return found


def run_backward(network: nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a network, which is time first, backward from each sequence's end, where its state is 0.

    Args:
        network: One layer [F] -> [H].
        x: [B, T, F].
        lengths: [B], in steps.

    Returns:
        Tensor [B, T, H], meaningless in the padding.
    """
    if not (torch.is_grad_enabled() or x.shape[1] <= LONG):
        late = reverse(x, lengths).transpose(0, 1)
        return _in_pieces(network, lambda start, stop: late[start:stop], lengths, steps=len(late))
    states, _ = run_network(network, reverse(x, lengths).transpose(0, 1))
    return reverse(states.transpose(0, 1), lengths)


def lstm_step(lstm: nn.LSTM, x: Tensor, h: Tensor, c: Tensor, *, layer: int = 0) -> tuple[Tensor, Tensor]:
    """Take one step with one layer of an LSTM.

    Args:
        lstm: The module.
        x: [n, F].
        h: [n, H], h_{t-1}.
        c: [n, H], c_{t-1}.
        layer: Which layer, from 0.

    Returns:
        h_t and c_t, [n, H] each.
    """
    h, c = torch.lstm_cell(x, (h, c), *lstm.all_weights[layer])
    return h, c


def gru_step(gru: nn.GRU, x: Tensor, h: Tensor) -> Tensor:
    """Take one step with a GRU of one layer: [n, F] and h_{t-1} [n, H] -> h_t [n, H]."""
    return torch.gru_cell(x, h, *gru.all_weights[0])
