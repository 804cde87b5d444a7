"""The number of CPU threads for torch, chosen by the work of one time step.

A recurrent network computes its steps one after the other, and each is a few matrix products. Threads share a product
and then spin until all are done. If a product takes microseconds they mostly wait, and on a busy machine they wait
long. A step's work is counted in multiply-adds,

    rows * (weights of the largest hidden-to-gates matrix).

From `LARGE` on, torch's default number of threads is used, below it one. The rule only depends on sizes, never on a
timing: a run must be repeatable bit for bit, and the order of sums depends on the number of threads.

Measured with Z-Forcing's update on two cores (AMD EPYC, torch 2.13, float32): ms per time step with one and with two
threads, on an idle machine and with one or two other busy processes; medians of 3, and the worst with two threads.

       H     rows   work, 10^6     idle: 1    2     1 busy: 1    2     2 busy: 1    2   worst of 2
      64       32          0.5        0.6   0.6         0.8   1.7         1.6   3.5          104
     128       32          2.1        1.4   1.1         1.4   3.3         2.0   4.8          158
     256       32          8.4        3.9   2.9         4.3    10         8.6    12           14
     512       32           34         15   8.3          15    33          22    42          265
     128     1024           67         41    25          40    95          79   120          120
     256      256           67         36    22          37    70          68    91          145
    1024       16           67         59    37          57   105         100   128          133
    1024       32          134         62    37          65   130         112   428          435

A second thread is up to 1.8 times faster on an idle machine and 2 times slower next to a busy process. The worst case
decides: dozens of times slower for small products, 2 to 4 times for large ones. With threads that sleep while they wait
(OMP_WAIT_POLICY=passive in the environment, before Python starts) the last line becomes 82 and 61, 80 and 86, 136 and
118, which is useful on a shared machine with --threads above 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch
from torch import nn

LARGE = 64_000_000  # multiply-adds of a time step from which torch's default number of threads is used
ROWS = 32  # sequences at a time, if the caller gives no number
_asked_for: ContextVar[int | None] = ContextVar("threads_asked_for", default=None)


class RecurrentNetwork(NamedTuple):
    """The size of a recurrent network, as arguments of `torch.nn.LSTM` or `GRU`."""

    kind: Literal["LSTM", "GRU"]
    input_size: int
    hidden_size: int
    layers: int = 1
    directions: int = 1

    @property
    def hidden_weights(self) -> int:
        """The number of weights in a layer's hidden-to-gates matrix."""
        return (4 if self.kind == "LSTM" else 3) * self.hidden_size**2


def recurrent_networks(model: nn.Module) -> list[RecurrentNetwork]:
    """Find the recurrent networks of a model: torch's LSTMs and GRUs and their cells, and custom cells.

    A custom cell is a module with two linear maps, `from_input` and `from_hidden`; the latter maps [H] to four gates
    [4H] (counted as an LSTM) or to three (a GRU). Other inputs, such as a latent, aren't counted.

    Args:
        model: Any module.

    Returns:
        Their sizes, in the order of `model.modules()`.
    """
    networks = (_recurrent_network(module) for module in model.modules())
    return [network for network in networks if network is not None]


def _recurrent_network(module: nn.Module) -> RecurrentNetwork | None:
    match module:
        case nn.LSTM() | nn.GRU():
            kind: Literal["LSTM", "GRU"] = "LSTM" if isinstance(module, nn.LSTM) else "GRU"
            directions = 2 if module.bidirectional else 1
            return RecurrentNetwork(kind, module.input_size, module.hidden_size, module.num_layers, directions)
        case nn.LSTMCell() | nn.GRUCell():
            kind = "LSTM" if isinstance(module, nn.LSTMCell) else "GRU"
            return RecurrentNetwork(kind, module.input_size, module.hidden_size)
    from_input, from_hidden = getattr(module, "from_input", None), getattr(module, "from_hidden", None)
    if isinstance(from_input, nn.Linear) and isinstance(from_hidden, nn.Linear):
        gates = from_hidden.out_features / from_hidden.in_features
        if gates in (3, 4):
            return RecurrentNetwork("LSTM" if gates == 4 else "GRU", from_input.in_features, from_hidden.in_features)
    return None


def work_of_a_step(model: nn.Module, rows: int) -> int:
    """Count the multiply-adds of a time step's largest matrix product.

    Args:
        model: Any module. Without a recurrent network, the product with its largest matrix counts.
        rows: Sequences (times particles) at a time.

    Returns:
        The number of multiply-adds.
    """
    weights = [network.hidden_weights for network in recurrent_networks(model)]
    return rows * max(weights or [p.numel() for p in model.parameters() if p.dim() == 2], default=0)


@contextmanager
def cpu_threads(model: nn.Module, threads: int | None = None, *, rows: int | None = None) -> Iterator[None]:
    """Set the number of CPU threads of torch within a `with` block.

    Args:
        model: The model that runs.
        threads: The number; None is that of an enclosing `threads_asked_for`, or else by the work of a time step.
        rows: Sequences (times particles) at a time; None is 32.
    """
    before, asked = torch.get_num_threads(), threads or _asked_for.get()
    small = work_of_a_step(model, rows or ROWS) < LARGE
    torch.set_num_threads(asked or (1 if small else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_asked_for(threads: int | None) -> Iterator[None]:
    """Set the number of threads for every `cpu_threads` without a number within a `with` block (option --threads)."""
    token = _asked_for.set(threads)
    try:
        yield
    finally:
        _asked_for.reset(token)
