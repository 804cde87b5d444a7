"""The floor: the time of a model's recurrent networks when torch's kernels run them and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..nn.recurrent import run_network
from ..runtime.threads import RecurrentNetwork


class Floor(nn.Module):
    """One `torch.nn.LSTM` (or GRU) for each recurrent network of a model, each with its own random input [B, T, E].

    Args:
        networks: Sizes of the networks, one or more.
        sequences: B.
        steps: T.

    Raises:
        UserError: There is no network.
    """

    def __init__(self, networks: Sequence[RecurrentNetwork], *, sequences: int, steps: int):
        super().__init__()
        if not networks:
            raise UserError("the model holds no recurrent network, so there is no floor to compare it with")
        self.networks = nn.ModuleList(map(make_network, networks))
        self.inputs = [torch.randn(sequences, steps, network.input_size) for network in networks]

    def on(self, device: torch.device) -> Floor:
        """Move networks and inputs to a device, in float32."""
        self.float().to(device)
        self.inputs = [x.float().to(device).requires_grad_() for x in self.inputs]
        return self

    def run(self, autocast: torch.autocast) -> None:
        """Run each network forward and backward: gradients of the outputs' sum for inputs and weights."""
        self.zero_grad()
        for network, x in zip(self.networks, self.inputs, strict=True):
            x.grad = None
            with autocast:
                total: Tensor = run_network(network, x)[0].sum()
            total.backward()


def make_network(network: RecurrentNetwork) -> nn.LSTM | nn.GRU:
    """Make torch's network of this size, batch first."""
    cls: type[nn.LSTM | nn.GRU] = nn.LSTM if network.kind == "LSTM" else nn.GRU
    return cls(
        network.input_size,
        network.hidden_size,
        network.layers,
        batch_first=True,
        bidirectional=network.directions == 2,
    )
