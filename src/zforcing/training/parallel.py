"""The processes that train one model together: one, or several by accelerate."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..runtime.device import pick_device


class Processes(ABC):
    """This process among those that train together. rank: 0..world-1; device: where this one computes."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    @abstractmethod
    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap the module and the optimizer, so that gradients are means over processes."""

    @abstractmethod
    def total(self, own: Tensor) -> Tensor:
        """The sum over processes."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """The gradient of a loss, added to the parameters'."""

    @abstractmethod
    def clip(self, module: nn.Module, max_norm: float) -> Tensor:
        """Scale the gradient down to this norm; returns what its norm was."""

    @abstractmethod
    def without_exchange(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Within the block `backward` doesn't exchange gradients: a later one does, for all of them."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for all processes."""


class SingleProcess(Processes):
    """The only process."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.rank, self.world, self.device = 0, 1, torch.device(device)

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        return module, optimizer

    def total(self, own: Tensor) -> Tensor:
        return own

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip(self, module: nn.Module, max_norm: float) -> Tensor:
        return nn.utils.clip_grad_norm_(module.parameters(), max_norm)

    def without_exchange(self, module: nn.Module) -> AbstractContextManager[Any]:
        return nullcontext()

    def wait(self) -> None:
        return


class AccelerateProcess(Processes):
    """One of several processes, started by `torchrun` or `accelerate launch`."""

    def __init__(self, device: str):
        from accelerate import Accelerator  # takes a second, and one process does without it

        self.accelerator = Accelerator(cpu=device == "cpu")
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        prepared: tuple[nn.Module, torch.optim.Optimizer] = self.accelerator.prepare(module, optimizer)
        return prepared

    def total(self, own: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(own, "sum")
        return total

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def clip(self, module: nn.Module, max_norm: float) -> Tensor:
        norm: Tensor = self.accelerator.clip_grad_norm_(module.parameters(), max_norm)
        return norm

    def without_exchange(self, module: nn.Module) -> AbstractContextManager[Any]:
        block: AbstractContextManager[Any] = self.accelerator.no_sync(module)
        return block

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def is_main_process() -> bool:
    """Whether this process writes files and messages; also before `processes` was called, and after."""
    return int(os.environ.get("RANK", "0")) == 0


def processes(device: str) -> Processes:
    """The processes that were started together, on device auto, cpu or cuda. Raises UserError for another device."""
    picked = pick_device(device)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ  # set by torchrun
    return AccelerateProcess(picked) if several else SingleProcess(picked)
