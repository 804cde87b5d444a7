"""A loop as one layer of torch's LSTM or GRU, run by torch's operation for all steps where that takes less time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .plan import Loop
from .program import Value, evaluate

MOST_ON_CPU = 2**13
"""Rows times units up to which `torch.lstm` takes less time than a loop on a CPU: there it is oneDNN's, in float32.

Measured with 1 and 2 threads, forward and backward, over 4 to 256 rows and 16 to 1024 units: 0.1 to 0.9 of the loop's
time up to this size, 0.8 to 1.25 beyond. In float64, and for a GRU, torch runs a loop of its own: 0.95 to 1.6 of ours.
"""


class Kind(NamedTuple):
    """A network of torch's.

    Attributes:
        name: For people.
        fields: Its state.
        gates: The number of gates.
        cell: A step: x, the fields, w_ih, w_hh, b_ih and b_hh -> the fields.
        network: All steps: x [T, n, F], the fields before the first step [1, n, H], the four weights -> h [T, n, H] and
            the fields after the last step, [1, n, H].
    """

    name: str
    fields: tuple[str, ...]
    gates: int
    cell: Callable[..., tuple[Tensor, ...]]
    network: Callable[[Tensor, list[Tensor], list[Tensor]], tuple[Tensor, ...]]


def _lstm(x: Tensor, first: list[Tensor], weights: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.lstm(x, first, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)


def _gru(x: Tensor, first: list[Tensor], weights: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.gru(x, first[0], weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)


KINDS = (
    Kind("torch.lstm", ("h", "c"), 4, lambda x, h, c, *weights: torch.lstm_cell(x, (h, c), *weights), _lstm),
    Kind("torch.gru", ("h",), 3, lambda x, h, *weights: (torch.gru_cell(x, h, *weights),), _gru),
)


@dataclass(frozen=True)
class Fused:
    """A loop as a network of torch's.

    Attributes:
        kind: Which one.
        loop: The loop.
        order: For each field of the network its number in the loop.
        after: The network's fields after a step, [n, H] each.
        products: (x, w): what the network reads is all x side by side, [n, F].
        biases: Those that are added to the products, [gates H] each.
        recurrent: The weight of h, [H, gates H].
        hidden_biases: Those that are added to its product, if they are apart.
    """

    kind: Kind
    loop: Loop
    order: tuple[int, ...]
    after: tuple[Value, ...]
    products: tuple[tuple[Value, Value], ...]
    biases: tuple[Value, ...]
    recurrent: Value
    hidden_biases: tuple[Value, ...]

    @property
    def units(self) -> int:
        """H."""
        return self.after[0].length(1)

    @property
    def where(self) -> str:
        """Where it is faster, in words."""
        most = MOST_ON_CPU // self.units if self.kind.name == "torch.lstm" else 0
        on_cpu = f"in float32 on a CPU with up to {most} rows, and " if most else ""
        return f"given to {self.kind.name}: {on_cpu}on CUDA; not under autocast"

    def pays(self, first: Tensor) -> bool:
        """Whether the network takes less time than the loop, and computes in the same precision.

        Args:
            first: What a field holds before the first step, [n, ...].
        """
        if torch.is_autocast_enabled(first.device.type):
            return False  # it would also keep its state in the lower precision
        if first.device.type == "cuda":
            return True
        is_onednn = first.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        return is_onednn and self.kind.name == "torch.lstm" and first.numel() <= MOST_ON_CPU

    def run(self, known: Mapping[Value, Any], *, steps: int) -> tuple[dict[Value, Tensor], dict[Value, Tensor]]:
        """Run the network.

        Args:
            known: Tensors of what the loop needs, as `Runner` has them.
            steps: T.

        Returns:
            The loop's results that are h, of all steps, [T n, ...]; the fields after the last step, [n, H] each.
        """
        found = dict(known)
        wanted = (*itertools.chain(*self.products), *self.biases, *self.hidden_biases, self.recurrent)
        evaluate(wanted, found, rows=len(known[self.loop.sources[0]]))
        first = [known[self.loop.first[i]].reshape(1, -1, self.units) for i in self.order]
        x = torch.cat([found[x].unflatten(0, (steps, -1)) for x, _ in self.products], dim=-1)
        x = x.repeat(1, first[0].shape[1] // x.shape[1], 1)  # it may be the same for all copies of a row
        with warnings.catch_warnings():  # cuDNN would have weights in one piece; these are made anew at each call
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
            h, *last = self.kind.network(x, first, self._weights(found))
        before = self.loop.before[self.order[0]]
        h_before = torch.cat([first[0], h[:-1]]).reshape(-1, *(before.length(i) for i in range(1, len(before.shape))))
        after = {value: tensor[0] for value, tensor in zip(self.after, last, strict=True)}
        return {before: h_before, self.after[0]: h.flatten(0, 1)}, after

    def _weights(self, found: Mapping[Value, Any]) -> list[Tensor]:
        """w_ih, w_hh, b_ih and b_hh."""
        w = torch.cat([found[w] for _, w in self.products]).t()
        u = found[self.recurrent].t()
        return [w.contiguous(), u.contiguous(), self._sum(self.biases, found), self._sum(self.hidden_biases, found)]

    def _sum(self, biases: Sequence[Value], found: Mapping[Value, Any]) -> Tensor:
        zero: Tensor = found[self.recurrent].new_zeros(self.recurrent.length(1))
        return sum((found[bias] for bias in biases), zero)
