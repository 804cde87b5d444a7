"""The embedding of observations, and the readout of features for the emission."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..observations import ObservationSpec, is_missing
from .affine import Affine
from .mlp import ClampedLeakyReLU, HiddenLayers, tensor_of


class Embedder(nn.Module):
    """The embedding e(x) of an observation: a linear layer for vectors, a table for categories, then dropout.

    The table has a row for the start symbol. If the spec allows missing values, a missing number is replaced by a
    learned one and the mask is read too, e = W [x or fill] + V mask + bias, and a missing category has its own row.
    Otherwise a missing number is read as 0, the mean of normalized data, and a missing category as the start symbol.

    Args:
        spec: What one observation is.
        size: E, the size of e(x).
        dropout: Probability of dropping an entry of e(x) in training.
        layers: Hidden layers of `size` units, counting the first linear map, each with its activation (SRNN's code has
            2 on music). 0 leaves e(x) linear.
        activation_limit: The activations are clamped to plus or minus this; None doesn't clamp.
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
        """Compute e(x), [..., D] or [...] -> [..., E]."""
        if isinstance(self.layer, nn.Embedding):
            embedded = self.layer(torch.where(is_missing(x), self.unknown, x))
        else:
            embedded = F.linear(self._inputs(x), *self._weights())
        dropped: Tensor = self.dropout(embedded if self.hidden is None else self.hidden(embedded))
        return dropped

    def to_affine(self, x: Tensor) -> Affine:
        """e(x) as an `Affine`: not multiplied yet where e(x) is a linear map from a smaller size, else e(x) itself.

        A layer that reads it then multiplies the two matrices, which is cheaper than multiplying all steps by both.
        """
        is_linear = not isinstance(self.layer, nn.Embedding) and self.hidden is None
        if is_linear and not (self.training and self.dropout.p):
            inputs = self._inputs(x)
            if inputs.shape[-1] < self.layer.weight.shape[0]:
                return Affine(inputs, *self._weights())
        return Affine(self(x))

    def _inputs(self, x: Tensor) -> Tensor:
        """The input of the linear layer: x with missing values replaced, [..., D], or [..., 2 D] with the mask."""
        missing = is_missing(x)
        if self.reads_mask:
            return torch.cat([torch.where(missing, self.fill, x), (~missing).to(x.dtype)], dim=-1)
        return torch.where(missing, 0.0, x)

    def _weights(self) -> tuple[Tensor, Tensor]:
        weight, bias = (tensor_of(self.layer, name) for name in ("weight", "bias"))
        return torch.cat([weight, self.mask_layer.weight], dim=1) if self.reads_mask else weight, bias


class Readout(nn.Module):
    """The features of (h_t, e(x_{t-1})) that the emission reads, [..., H], with dropout.

    With `skip` they are lrelu(W_h h_t + W_x e(x_{t-1})), as in the Z-Forcing authors' Theano code; without, h_t, as in
    their PyTorch release.
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
        """Compute the features, [..., H] and [..., E] -> [..., H]."""
        return self.merge(h, self.project_input(Affine(embedded)))

    def merge(self, h: Tensor, projected_input: Tensor | None) -> Tensor:
        """Compute the features from h_t and what `project_input` returned."""
        features = (
            h if projected_input is None else self.activation(F.linear(h, self.from_hidden.weight) + projected_input)
        )
        out: Tensor = self.dropout(features)
        return out

    def project_input(self, embedded: Affine) -> Tensor | None:
        """Compute W_x e(x_{t-1}) + bias, [..., H]; None without `skip`."""
        return (
            F.linear(embedded.u, *embedded.times(self.from_input.weight, self.from_hidden.bias)) if self.skip else None
        )
