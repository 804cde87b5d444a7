"""The processes that train one model together: one, or several that `torchrun` or another launcher has started.

Each computes its part of a batch; gradients and sums are added up over all of them, and each takes the same step.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LostProcess, UserError
from ..runtime.device import pick_device
from ..runtime.launched import is_one_of_several, rank

STARTED_BY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what a launcher sets


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
    def begin_alike(self, module: nn.Module) -> None:
        """Give all processes the parameters and buffers of the first one."""

    @abstractmethod
    def total(self, own: Tensor) -> Tensor:
        """The sum over processes."""

    @abstractmethod
    def add_gradients(self, module: nn.Module) -> None:
        """Make each parameter's gradient the sum over processes; None stays where no process has one."""

    @abstractmethod
    def gather(self, own: Any) -> list[Any]:
        """What each process has, by rank: anything that can be pickled, tensors on the CPU."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for all processes."""


class SingleProcess(Processes):
    """The only process."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.rank, self.world, self.device = 0, 1, torch.device(device)

    def begin_alike(self, module: nn.Module) -> None:
        return

    def total(self, own: Tensor) -> Tensor:
        return own

    def add_gradients(self, module: nn.Module) -> None:
        return

    def gather(self, own: Any) -> list[Any]:
        return [own]

    def wait(self) -> None:
        return


class OneOfSeveral(Processes):
    """One of several processes, on one machine or more, each with a GPU of its own or on the CPU.

    Raises:
        UserError: There are more processes on this machine than GPUs, or the processes can't reach each other.
    """

    def __init__(self, device: str):
        import torch.distributed as dist  # one process does without it

        self.dist = dist
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.device = torch.device("cpu") if device == "cpu" else _own_gpu()
        if not dist.is_initialized():  # several runs in turn share a group
            self._meet("gloo" if device == "cpu" else "nccl")

    def begin_alike(self, module: nn.Module) -> None:
        for tensor in (*module.parameters(), *module.buffers()):
            whole = tensor.detach().contiguous()
            with self._together():
                self.dist.broadcast(whole, src=0)
            tensor.detach().copy_(whole)

    def total(self, own: Tensor) -> Tensor:
        sums = own.detach().clone()
        with self._together():
            self.dist.all_reduce(sums)
        return sums

    def add_gradients(self, module: nn.Module) -> None:
        parameters = [p for p in module.parameters() if p.requires_grad]
        has_one = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        *sums, counts = _split(self.total(torch.cat([g.flatten() for g in [*own, has_one]])), [*own, has_one])
        for parameter, gradient, count in zip(parameters, sums, counts.tolist(), strict=True):
            parameter.grad = gradient if count else None

    def gather(self, own: Any) -> list[Any]:
        everyone: list[Any] = [None] * self.world
        with self._together():
            self.dist.all_gather_object(everyone, own)
        return everyone

    def wait(self) -> None:
        self.total(torch.zeros(1, device=self.device)).tolist()

    def _meet(self, backend: str) -> None:
        """Find the other processes."""
        try:
            self.dist.init_process_group(backend)
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise UserError(
                f"can't meet the other processes at MASTER_ADDR {address}, MASTER_PORT {port}: {reason}; all of them "
                "need the first one's address and a free port of it"
            ) from error

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What all processes do together; an error of the network is that another one has ended."""
        try:
            yield
        except RuntimeError as error:  # gloo's, and torch's DistError
            if "out of memory" in str(error):
                raise
            raise LostProcess(
                "lost the other processes: one has ended, as its own message or the launcher's says; "
                "start them again with --resume"
            ) from error


def _own_gpu() -> torch.device:
    local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= there:
        raise UserError(
            f"process {local} (from 0) on this machine has no GPU of its own, of {there}: start as many processes as "
            "there are GPUs (torchrun --nproc_per_node), or train with --device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _split(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The pieces of a flat tensor, shaped like these."""
    pieces = flat.split([tensor.numel() for tensor in like])
    return [piece.reshape(tensor.shape).to(tensor.dtype) for piece, tensor in zip(pieces, like, strict=True)]


def is_main_process() -> bool:
    """Whether this process writes files and messages; also before `processes` was called, and after."""
    return rank() == 0


def processes(device: str) -> Processes:
    """The processes that were started together, on device auto, cpu or cuda. Raises UserError for another device, or
    where the environment doesn't say how to reach the others.
    """
    picked = pick_device(device)
    if not is_one_of_several():
        return SingleProcess(picked)
    missing = [name for name in STARTED_BY if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and {', '.join(missing)} isn't set: start the processes by "
            "torchrun, or set what it would (docs/several-machines.md)"
        )
    return OneOfSeveral(picked)
