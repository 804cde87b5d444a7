"""What reads an observation, and what reads a state to emit one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..observations import ObservationSpec, is_missing
from .affine import Affine
from .mlp import ClampedLeakyReLU, HiddenLayers, tensor_of


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

    def linear_of(self, x: Tensor) -> Affine:
        """e(x) as a linear map of something smaller than e(x), where it is one: who multiplies it by a matrix then
        multiplies the two matrices instead. Else e(x) itself.
        """
        is_linear = not isinstance(self.layer, nn.Embedding) and self.hidden is None
        if is_linear and not (self.training and self.dropout.p):
            read = self._read(x)
            if read.shape[-1] < self.layer.weight.shape[0]:
                return Affine(read, *self._weights())
        return Affine(self(x))

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
        return self.of_parts(h, self.input_part(Affine(embedded)))

    def of_parts(self, h: Tensor, input_part: Tensor | None) -> Tensor:
        """The same, with what it reads of e(x_{t-1}) given."""
        features = h if input_part is None else self.activation(F.linear(h, self.from_hidden.weight) + input_part)
        out: Tensor = self.dropout(features)
        return out

    def input_part(self, embedded: Affine) -> Tensor | None:
        """W_x e(x_{t-1}) and the bias, [..., H]; None where it isn't read."""
        return (
            F.linear(embedded.u, *embedded.times(self.from_input.weight, self.from_hidden.bias)) if self.skip else None
        )
