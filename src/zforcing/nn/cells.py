"""LSTM cells that also read a latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .initialize import initialize_gate_bias, initialize_hidden_to_gates
from .mlp import MLP, clamp


def lstm_update(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Compute h_t and c_t of an LSTM.

    Args:
        gates: [n, 4H], input, forget, cell and output gates before their activations.
        c: [n, H], c_{t-1}.

    Returns:
        h_t and c_t, [n, H] each.
    """
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class LatentLSTMCell(nn.Module):
    """h_t, c_t = LSTM([g(z_t), e(x_{t-1})], h_{t-1}, c_{t-1}), g linear.

    As in the Z-Forcing authors' release, input weights start uniform in +-1/sqrt(H), each gate's hidden-to-hidden
    matrix orthogonal, and biases at 0, except for `forget_bias`.
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
        """Take one step: [n, E], [n, Z], [n, H], [n, H] -> h_t, c_t [n, H]."""
        return lstm_update(self.from_input(embedded) + self.from_hidden(h) + self.from_latent(self.latent_net(z)), c)


class LayerNormLatentLSTMCell(nn.Module):
    """An LSTM cell whose latent sets gain and bias of its layer norm (`cond_ln` in the Z-Forcing authors' release).

        gates = norm(W_x e(x_{t-1})) * input_gain + input_bias + gain(z_t) * norm(W_h h_{t-1}) + bias(z_t)

    with (gain - 1, bias) = MLP(z_t), clamped to plus or minus `limit`, and norm = `standardize`. The latent enters
    through the layer norm only, not as an input.
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

    def forward(self, embedded: Tensor, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step: [n, E], [n, Z], [n, H], [n, H] -> h_t, c_t [n, H]."""
        gain_minus_one, bias = clamp(self.latent_net(z), self.limit).chunk(2, dim=-1)
        given = standardize(self.from_input(embedded)) * self.input_gain + self.input_bias
        return lstm_update(given + (1 + gain_minus_one) * standardize(self.from_hidden(h)) + bias, c)


def standardize(x: Tensor) -> Tensor:
    """Compute (x - mean) / sqrt(unbiased variance + 1e-5) over the last dimension."""
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)
