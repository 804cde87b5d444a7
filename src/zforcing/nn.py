"""The networks that the models are put together from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from .feedforward import MLP as MLP
from .feedforward import ClampedLeakyReLU, HiddenLayers, tensor_of
from .feedforward import GaussianHead as GaussianHead
from .feedforward import bound as bound
from .recurrence import Loop, Value, equations
from .sequences import ObservationSpec, is_missing, reverse_time_first


class Linear(NamedTuple):
    """W u + b of u [..., F], not computed; without W it is u."""

    u: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """W u + b."""
        return self.u if self.weight is None else F.linear(self.u, self.weight, self.bias)

    def times(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight and the bias by which u gives weight (W u + b) + bias."""
        if self.weight is None or self.bias is None:
            return weight, bias
        return weight @ self.weight, weight @ self.bias + bias

    def at(self, steps: slice) -> Linear:
        """Of some of the first dimension."""
        return self._replace(u=self.u[steps])


class Embedder(nn.Module):
    """e(x): one linear layer for vectors, a table for categories (with a row for the start symbol), then dropout.

    With `layers` 1 or more it is a net: the activation of that, `layers` - 1 more layers with theirs, before dropout
    (SRNN's code has two layers on music).

    Where the spec allows missing values, a missing number is read as a learned fill and the mask is read beside it
    (e = W [x or fill] + V mask + bias); a missing category is a symbol of its own. Elsewhere a missing number, should
    one come, is read as 0, the mean of normalized data, and a missing category as the start symbol.
    """

    def __init__(
        self,
        spec: ObservationSpec,
        size: int,
        *,
        dropout: float = 0.0,
        layers: int = 0,
        activation_limit: float | None = 3.0,
    ):
        super().__init__()
        self.layer: nn.Linear | nn.Embedding
        self.hidden = HiddenLayers(size, layers=layers, activation_limit=activation_limit) if layers else None
        self.unknown = spec.size + 1 if spec.missing else spec.size  # the row that a missing category is read as
        if spec.kind == "categorical":
            self.layer = nn.Embedding(self.unknown + 1, size)
        else:
            self.layer = nn.Linear(spec.size, size)
        self.reads_mask = spec.missing and spec.kind != "categorical"
        if self.reads_mask:
            self.fill = nn.Parameter(torch.zeros(spec.size))
            self.mask_layer = nn.Linear(spec.size, size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] or [...] -> [..., E]."""
        if isinstance(self.layer, nn.Embedding):
            embedded = self.layer(torch.where(is_missing(x), self.unknown, x))
        else:
            embedded = F.linear(self._read(x), *self._weights())
        dropped: Tensor = self.dropout(embedded if self.hidden is None else self.hidden(embedded))
        return dropped

    def linear_of(self, x: Tensor) -> Linear:
        """e(x) as a linear map of something smaller than e(x), where it is one: who multiplies it by a matrix then
        multiplies the two matrices instead. Else e(x) itself.
        """
        is_linear = not isinstance(self.layer, nn.Embedding) and self.hidden is None
        if is_linear and not (self.training and self.dropout.p):
            read = self._read(x)
            if read.shape[-1] < self.layer.weight.shape[0]:
                return Linear(read, *self._weights())
        return Linear(self(x))

    def _read(self, x: Tensor) -> Tensor:
        """What the linear layer reads, [..., D], or [..., 2 D] with the mask."""
        missing = is_missing(x)
        if self.reads_mask:
            return torch.cat([torch.where(missing, self.fill, x), (~missing).to(x.dtype)], dim=-1)
        return torch.where(missing, 0.0, x)

    def _weights(self) -> tuple[Tensor, Tensor]:
        weight, bias = (tensor_of(self.layer, name) for name in ("weight", "bias"))
        return torch.cat([weight, self.mask_layer.weight], dim=1) if self.reads_mask else weight, bias


class Readout(nn.Module):
    """Features of (h_t, e(x_{t-1})) for the emission.

    With `skip`, lrelu(W_h h_t + W_x e(x_{t-1})) of size H, as in the authors' Theano code; without, h_t itself, as in
    their PyTorch release. Dropout on the result.
    """

    def __init__(
        self, hidden: int, embedding: int, *, skip: bool, dropout: float = 0.0, activation_limit: float | None = 3.0
    ):
        super().__init__()
        self.skip = skip
        if skip:
            self.from_hidden = nn.Linear(hidden, hidden)
            self.from_input = nn.Linear(embedding, hidden, bias=False)
            self.activation = ClampedLeakyReLU(activation_limit)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:
        """[..., H] and [..., E] -> [..., H]."""
        return self.of_parts(h, self.input_part(Linear(embedded)))

    def of_parts(self, h: Tensor, input_part: Tensor | None) -> Tensor:
        """The same, with what it reads of e(x_{t-1}) given."""
        features = h if input_part is None else self.activation(F.linear(h, self.from_hidden.weight) + input_part)
        out: Tensor = self.dropout(features)
        return out

    def input_part(self, embedded: Linear) -> Tensor | None:
        """W_x e(x_{t-1}) and the bias, [..., H]; None where it isn't read."""
        return (
            F.linear(embedded.u, *embedded.times(self.from_input.weight, self.from_hidden.bias)) if self.skip else None
        )


class BackwardLSTM(nn.Module):
    """b_t = LSTM(e(x_t), b_{t+1}), b_{T+1} = 0: what the future from x_t on says. Padding is never read."""

    def __init__(self, features: int, hidden: int, *, forget_bias: float = 0.0):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        initialize_lstm(self.lstm, forget_bias=forget_bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, E], [B] -> [B, T, H]."""
        return self.time_first(Linear(x.transpose(0, 1)), lengths).transpose(0, 1)

    def time_first(self, x: Linear, lengths: Tensor) -> Tensor:
        """[T, B, E], [B] -> [T, B, H]."""
        zeros = tensor_of(self.lstm, "weight_hh_l0").new_zeros(len(lengths), self.lstm.hidden_size)
        states, _ = run_lstm(self.lstm, x._replace(u=reverse_time_first(x.u, lengths)), zeros, zeros, lengths)
        return reverse_time_first(states, lengths)


LastState = Callable[[], tuple[Tensor, Tensor]]
"""Gives h and c [n, H] at each row's own last step."""


def run_lstm(
    lstm: nn.LSTM | list[Tensor], x: Tensor | Linear, h: Tensor, c: Tensor, lengths: Tensor
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


def run_gru(gru: nn.GRU, x: Tensor | Linear, h: Tensor) -> Tensor:
    """One layer of torch's GRU over x [T, n, F] from h [n, H]: h_1..h_T [T, n, H] (meaningless in the padding), of
    which `at_last` takes each row's own last one.
    """
    x, weights = _read_by(gru, x)
    hs, _ = torch.gru(x, h[None].contiguous(), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return hs


def weights_of(network: nn.LSTM | nn.GRU) -> list[Tensor]:
    """Of its one layer: input to gates, hidden to gates, the two biases."""
    return [tensor_of(network, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]


def _read_by(network: nn.LSTM | nn.GRU | list[Tensor], x: Tensor | Linear) -> tuple[Tensor, list[Tensor]]:
    """What one layer reads, not yet multiplied where it is `Linear`, and its weights and biases by which it does."""
    weights = network if isinstance(network, list) else weights_of(network)
    if isinstance(x, Linear):
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


def lstm_update(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """(h_t, c_t) of an LSTM from c_{t-1} and the gates [n, 4H] before activation: input, forget, cell, output."""
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class LatentLSTMCell(nn.Module):
    """h_t, c_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1}, c_{t-1}), g linear.

    W_x is uniform in +-1/sqrt(H), each gate's W_h orthogonal, biases 0 (but `forget_bias`), as released.
    """

    def __init__(self, embedding: int, latent: int, mlp: int, hidden: int, *, forget_bias: float = 0.0):
        super().__init__()
        self.from_input = nn.Linear(embedding, 4 * hidden)
        self.from_latent = nn.Linear(mlp, 4 * hidden, bias=False)
        self.from_hidden = nn.Linear(hidden, 4 * hidden, bias=False)
        self.latent_net = nn.Linear(latent, mlp)
        for linear in (self.from_input, self.from_latent):
            nn.init.uniform_(linear.weight, -(hidden**-0.5), hidden**-0.5)
        initialize_hidden_to_gates(self.from_hidden.weight)
        initialize_gate_bias(self.from_input.bias, forget_bias=forget_bias)

    def forward(self, embedded: Tensor, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step: [n, E], [n, Z], [n, H], [n, H] -> h_t, c_t [n, H]."""
        return lstm_update(self.from_input(embedded) + self.from_hidden(h) + self.from_latent(self.latent_net(z)), c)

    def latent_layer(self) -> tuple[Tensor, Tensor]:
        """The two linear maps from z to the gates as one: weight [4H, Z] and bias [4H]."""
        return self.from_latent.weight @ self.latent_net.weight, self.from_latent.weight @ self.latent_net.bias

    def run(self, embedded: Linear, z: Tensor, h: Tensor, c: Tensor, lengths: Tensor) -> tuple[Tensor, LastState]:
        """All steps with latents known beforehand, as torch's LSTM of [e(x_{t-1}), z_t]; see `run_lstm`."""
        of_z, bias = self.latent_layer()
        of_u, whole = embedded.times(self.from_input.weight, self.from_input.bias + bias)
        weights = [torch.cat([of_u, of_z], dim=1), self.from_hidden.weight, whole, torch.zeros_like(bias)]
        return run_lstm(weights, torch.cat([embedded.u, z], dim=-1), h, c, lengths)

    def record(self, loop: Loop, embedded: Linear, z: Value, h: Value, c: Value) -> tuple[Value, Value]:
        """The step's equations; embedded [T, B, E]. h_t, c_t."""
        weight, bias = self.latent_layer()
        of_u, whole = embedded.times(self.from_input.weight, self.from_input.bias + bias)
        gates = equations.linear(loop, h, self.from_hidden.weight, bias=whole, given=embedded.u, given_weight=of_u)
        equations.add_linear(loop, gates, z, weight)
        return equations.lstm(loop, gates, c)


class LayerNormLatentLSTMCell(nn.Module):
    """An LSTM cell whose latent sets the gain and the bias of its layer norm (`cond_ln` in the authors' release).

    gates = LN(W_x e(x_{t-1}); learned gain and bias) + gain(z_t) * norm(W_h h_{t-1}) + bias(z_t), where
    (gain - 1, bias) = MLP(z_t) clamped to [-3, 3] and norm(v) = (v - mean) / sqrt(unbiased variance + 1e-5).
    The cell reads e(x_{t-1}) alone.
    """

    def __init__(
        self,
        embedding: int,
        latent: int,
        mlp: int,
        hidden: int,
        *,
        forget_bias: float = 0.0,
        activation_limit: float | None = 3.0,
        limit: float | None = 3.0,
    ):
        super().__init__()
        self.from_input = nn.Linear(embedding, 4 * hidden, bias=False)
        self.from_hidden = nn.Linear(hidden, 4 * hidden, bias=False)
        self.input_gain = nn.Parameter(torch.ones(4 * hidden))
        self.input_bias = nn.Parameter(torch.empty(4 * hidden))
        self.latent_net = MLP(latent, mlp, 8 * hidden, activation_limit=activation_limit)
        self.limit = limit
        nn.init.uniform_(self.from_input.weight, -(hidden**-0.5), hidden**-0.5)
        initialize_hidden_to_gates(self.from_hidden.weight)
        initialize_gate_bias(self.input_bias, forget_bias=forget_bias)

    def inputs(self, embedded: Tensor) -> Tensor:
        """The part of the gates that no state and no latent enters, [..., E] -> [..., 4H]."""
        return standardize(self.from_input(embedded)) * self.input_gain + self.input_bias

    def forward(self, embedded: Tensor, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step: [n, E], [n, Z], [n, H], [n, H] -> h_t, c_t [n, H]."""
        gain_minus_one, bias = bound(self.latent_net(z), self.limit).chunk(2, dim=-1)
        return lstm_update(self.inputs(embedded) + (1 + gain_minus_one) * standardize(self.from_hidden(h)) + bias, c)

    def record(self, loop: Loop, embedded: Linear, z: Value, h: Value, c: Value) -> tuple[Value, Value]:
        """The step's equations; embedded [T, B, E]. h_t, c_t."""
        hidden = equations.linear(loop, h, self.from_hidden.weight)
        equations.standardize(loop, hidden)
        first = self.latent_net.first
        gain_and_bias = self.latent_net.record(loop, equations.linear(loop, z, first.weight, bias=first.bias))
        equations.clamp(loop, gain_and_bias, self.limit)
        return equations.lstm(loop, equations.modulate(loop, hidden, gain_and_bias, self.inputs(embedded.value)), c)


def standardize(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(unbiased variance + 1e-5) over the last dimension."""
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


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
