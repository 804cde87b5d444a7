"""The floor: what the recurrent networks of a model would cost if torch's own kernels ran them and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..runtime.threads import RecurrentNetwork


class Floor(nn.Module):
    """One `torch.nn.LSTM` (or GRU) for each recurrent network, each with random inputs [B, T, E] of its own.

    Raises UserError when there is no network: without one there is no floor.
    """

    def __init__(self, networks: Sequence[RecurrentNetwork], *, sequences: int, steps: int):
        super().__init__()
        if not networks:
            raise UserError("the model holds no recurrent network, so there is no floor to compare it with")
        self.networks = nn.ModuleList(map(make_network, networks))
        self.inputs = [torch.randn(sequences, steps, network.input_size) for network in networks]

    def on(self, device: torch.device) -> Floor:
        """The same, networks and inputs in float32 on this device."""
        self.float().to(device)
        self.inputs = [x.float().to(device).requires_grad_() for x in self.inputs]
        return self

    def run(self, autocast: torch.autocast) -> None:
        """Forward and backward through each: gradients of the outputs' sum for the inputs and all weights."""
        self.zero_grad()
        for network, x in zip(self.networks, self.inputs, strict=True):
            x.grad = None
            with autocast:
                total: Tensor = network(x)[0].sum()
            total.backward()


def make_network(network: RecurrentNetwork) -> nn.LSTM | nn.GRU:
    """Torch's own, batch first."""
    cls: type[nn.LSTM | nn.GRU] = nn.LSTM if network.kind == "LSTM" else nn.GRU
    return cls(
        network.input_size,
        network.hidden_size,
        network.layers,
        batch_first=True,
        bidirectional=network.directions == 2,
    )
