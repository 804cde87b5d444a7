"""The embedding of observations, and the readout of features for the emission."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from ..observations import ObservationSpec, Reading, is_missing
from .mlp import HiddenLayers


class Embedder(nn.Module):
    """The embedding e(x) of an observation: a linear layer for vectors, a table for categories, then dropout.

    Of a mixed observation the vector is what its columns say is read of it, a one-hot of a category for example.

    The table has a row for the start symbol. If the spec allows missing values, a missing number is replaced by a
    learned one and the mask is read too, e = W [x or fill] + V mask + bias, and a missing category has its own row.
    Otherwise a missing number is read as 0, the mean of normalized data (of a one-hot: no category), and a missing
    category as the start symbol.

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
        self.reading = None if spec.columns is None else Reading(spec.columns)
        numbers = spec.size if self.reading is None else self.reading.size
        self.hidden = HiddenLayers(size, layers=layers, activation_limit=activation_limit) if layers else None
        self.size = size
        self.unknown = spec.size + 1 if spec.missing else spec.size  # the row that a missing category is read as
        if spec.kind == "categorical":
            self.layer = nn.Embedding(self.unknown + 1, size)
        else:
            self.layer = nn.Linear(numbers, size)
        self.reads_mask = spec.missing and spec.kind != "categorical"
        if self.reads_mask:
            self.fill = nn.Parameter(torch.zeros(numbers))
            self.mask_layer = nn.Linear(spec.size, size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Compute e(x), [..., D] or [...] -> [..., E]."""
        if isinstance(self.layer, nn.Embedding):
            embedded = self.layer(torch.where(is_missing(x), self.unknown, x))
        else:
            embedded = self._numbers(x)
        dropped: Tensor = self.dropout(embedded if self.hidden is None else self.hidden(embedded))
        return dropped

    def followed_by(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u, W, b with W u + b = weight e(x) + bias: of x itself where e is linear and x is smaller, else of e(x)."""
        layer = self.layer
        if not self._is_linear() or not isinstance(layer, nn.Linear) or layer.in_features >= weight.shape[1]:
            return self(x), weight, bias
        return self._read(x, is_missing(x)), weight @ layer.weight, weight @ layer.bias + bias

    def _is_linear(self) -> bool:
        """Whether e(x) is what the weight and the bias of `layer` say, and nothing else hears of it."""
        has_more = self.hidden is not None or self.reads_mask or (self.training and self.dropout.p)
        parts = does_only(self, Embedder) and does_only(self.dropout, nn.Dropout) and does_only(self.layer, nn.Linear)
        return not has_more and parts and self.layer.bias is not None

    def _numbers(self, x: Tensor) -> Tensor:
        """The linear map of vectors, [..., D] -> [..., E], a missing number replaced."""
        missing = is_missing(x)
        out: Tensor = self.layer(self._read(x, missing))
        return out + self.mask_layer((~missing).to(x.dtype)) if self.reads_mask else out

    def _read(self, x: Tensor, missing: Tensor) -> Tensor:
        """What the layer reads of vectors, [..., D] -> [..., R], a missing number replaced."""
        fill = self.fill if self.reads_mask else 0.0
        if self.reading is None:
            return torch.where(missing, fill, x)
        return torch.where(self.reading.repeated(missing), fill, self.reading(torch.where(missing, 0.0, x)))


def does_only(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling a module is the `forward` of a class, without hooks."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module).forward is kind.forward and not any(hooks)


class Readout(nn.Module):
    """The features of (h_t, e(x_{t-1}), z_t) that the emission reads, [..., H], with dropout.

    With `skip` they are lrelu(W_h h_t + W_x e(x_{t-1})), as in the Z-Forcing authors' Theano code; without, h_t, as in
    their PyTorch release. A `latent` size adds W_z z_t to the sum, and `layers` above 1 so many hidden layers in all.
    """

    def __init__(
        self,
        hidden: int,
        embedding: int,
        *,
        skip: bool,
        latent: int = 0,
        layers: int = 1,
        dropout: float = 0.0,
        activation_limit: float | None = 3.0,
    ):
        super().__init__()
        self.from_hidden = nn.Linear(hidden, hidden) if skip or latent else None
        self.from_input = nn.Linear(embedding, hidden, bias=False) if skip else None
        self.from_latent = nn.Linear(latent, hidden, bias=False) if latent else None
        self.hidden = HiddenLayers(hidden, layers=layers, activation_limit=activation_limit)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, embedded: Tensor, z: Tensor | None = None) -> Tensor:
        """Compute the features, [..., H], [..., E] and [..., Z] -> [..., H]."""
        terms = ((self.from_hidden, h), (self.from_input, embedded), (self.from_latent, z))
        read = [layer(values) for layer, values in terms if layer is not None]
        features = self.hidden(reduce(torch.add, read)) if read else h
        out: Tensor = self.dropout(features)
        return out
