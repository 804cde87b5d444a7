"""How many CPU threads torch should use: it depends on the work of one time step.

A recurrent network takes its steps one after the other, and each is a few matrix products. Threads share a product and
then wait for each other, spinning; where a product takes microseconds they mostly wait, and on a machine that is busy
with something else they wait long. A step's work is counted in multiply-adds,

    rows * (weights of the largest hidden-to-gates matrix),

and from `LARGE` on torch's own number of threads is used, below it one. It is a function of sizes alone, never of a
timing: the same run must give the same numbers again, bit for bit, and the order of sums depends on the threads.

Measured with Z-Forcing's update on two cores (AMD EPYC, torch 2.13, float32): ms per time step with one thread and with
two, on an idle machine, beside one and beside two busy processes; medians of 3, and last the worst with two threads.

       H     rows   work, 10^6     idle: 1    2     1 busy: 1    2     2 busy: 1    2   worst of 2
      64       32          0.5        0.6   0.6         0.8   1.7         1.6   3.5          104
     128       32          2.1        1.4   1.1         1.4   3.3         2.0   4.8          158
     256       32          8.4        3.9   2.9         4.3    10         8.6    12           14
     512       32           34         15   8.3          15    33          22    42          265
     128     1024           67         41    25          40    95          79   120          120
     256      256           67         36    22          37    70          68    91          145
    1024       16           67         59    37          57   105         100   128          133
    1024       32          134         62    37          65   130         112   428          435

A second thread gains up to 1.8 times on an idle machine and costs 2 times beside a busy process. What decides is the
worst case: dozens of times for small products, 2 to 4 times for large ones. Threads that sleep while they wait
(OMP_WAIT_POLICY=passive in the environment, before Python starts) made the last line 82 and 61, 80 and 86, 136 and 118:
worth having on a shared machine, where --threads is more than 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch
from torch import nn

LARGE = 64_000_000  # multiply-adds of a time step from which torch's own choice of threads pays
ROWS = 32  # sequences at a time, for a caller who doesn't say
_asked_for: ContextVar[int | None] = ContextVar("threads_asked_for", default=None)


class RecurrentNetwork(NamedTuple):
    """One recurrent network that a model holds: what `torch.nn.LSTM` or `GRU` would need to be as large."""

    kind: Literal["LSTM", "GRU"]
    input_size: int
    hidden_size: int
    layers: int = 1
    directions: int = 1

    @property
    def hidden_weights(self) -> int:
        """Numbers in a layer's hidden-to-gates matrix."""
        return (4 if self.kind == "LSTM" else 3) * self.hidden_size**2


def recurrent_networks(model: nn.Module) -> list[RecurrentNetwork]:
    """The model's recurrent networks, in its order: torch's LSTMs and GRUs and their cells, and cells of our own.

    A cell of our own is a module with two linear maps `from_input` and `from_hidden`, the latter from [H] to four gates
    [4H] (it counts as an LSTM) or to three (a GRU). What it reads besides its input, a latent say, doesn't count.
    """
    found = (_recurrent_network(module) for module in model.modules())
    return [network for network in found if network is not None]


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
    """Multiply-adds of a time step's largest product, for this many sequences (times particles) at a time.

    Of a model without a recurrent network it is the product with its largest matrix.
    """
    weights = [network.hidden_weights for network in recurrent_networks(model)]
    return rows * max(weights or [p.numel() for p in model.parameters() if p.dim() == 2], default=0)


@contextmanager
def cpu_threads(model: nn.Module, threads: int | None = None, *, rows: int | None = None) -> Iterator[None]:
    """Within the block torch uses this many threads. None: those that `threads_asked_for` says, or else by the work of
    a step of `rows` sequences (32 where the caller doesn't know).
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
    """Within the block every `cpu_threads` that isn't given a number takes this one: a command's --threads."""
    token = _asked_for.set(threads)
    try:
        yield
    finally:
        _asked_for.reset(token)
