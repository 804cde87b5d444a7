"""A model's state: a NamedTuple of tensors [n, ...], one row for each sequence or particle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = Any  # a NamedTuple of tensors [n, ...], each model's own


def map_state(f: Callable[..., Tensor], *states: State) -> State:
    """Apply f to each tensor of a state, or to the corresponding tensors of several states.

    Args:
        f: A function of as many tensors as there are states.
        *states: States of the same type.

    Returns:
        A state of that type with the results.
    """
    return type(states[0])(*(f(*tensors) for tensors in zip(*states, strict=True)))


def where_rows(rows: Tensor, new: State, old: State) -> State:
    """Select the new state where `rows` [n] is True, and the old one elsewhere."""
    return map_state(lambda a, b: torch.where(rows.reshape(-1, *[1] * (a.dim() - 1)), a, b), new, old)


def copies(rows: Tensor, k: int) -> Tensor:
    """[B, ...] -> [K B, ...]: row i + j B is copy j of row i."""
    if len(rows) == 1:
        return rows.expand(k, *rows.shape[1:])  # without copying: a stream's
    return rows if k == 1 else rows.repeat(k, *[1] * (rows.dim() - 1))
