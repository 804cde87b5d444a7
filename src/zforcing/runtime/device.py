"""The device that a model runs on, and its floating type."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import UserError


def pick_device(device: str) -> str:
    """Choose `cpu` or `cuda`.

    Args:
        device: `cpu`, `cuda`, or `auto`: cuda if torch has a GPU, else cpu.

    Returns:
        `cpu` or `cuda`.

    Raises:
        UserError: Another name, or `cuda` without a GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device is {device!r}; it must be auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: torch finds no GPU here; use device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def as_device(device: str | torch.device) -> torch.device:
    """The device of this name: `auto`, or any of torch's that is here.

    Raises:
        UserError: torch knows no such device, or there is no GPU.
    """
    if device == "auto":
        return torch.device(pick_device("auto"))
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(
            f"device is {device!r}; it must be auto, or one of torch's, such as cpu, cuda or cuda:1"
        ) from None
    if found.type == "cuda":
        pick_device("cuda")
    return found


def place_of(model: nn.Module) -> tuple[torch.device, torch.dtype | None]:
    """The device and the floating type of a model's parameters; the CPU and None for one that has none."""
    first = next(model.parameters(), None)
    return (torch.device("cpu"), None) if first is None else (first.device, first.dtype)
