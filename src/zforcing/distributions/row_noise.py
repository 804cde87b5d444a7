"""Noise that belongs to a row of a batch: a function of the row's seed, whatever else is drawn with it.

    seeds = row_seeds(seed_for(0, "noise", step), indices)    # [B], of sequences
    normal(seeds, (T, Z), dtype=torch.float32)                # [B, T, Z]

Torch's generators give a row other numbers as soon as there are more rows, fewer steps or another process. Here number
i of a row is the i-th output of SplitMix64 begun at its seed, computed for all rows at once by integer operations that
are the same on every device.
G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Odd numbers of 64 bits, as torch's signed integers hold them.
STEP = 0x9E3779B97F4A7C15 - 2**64  # from one output to the next
FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64  # SplitMix64's mixing
APART = 0xD1342543DE82EF95 - 2**64  # from one derived seed to the next

# Words of `derived` for what else is drawn for a row than its latents. Copies have those from 1 on.
RESAMPLING, WORDS, LATER = -1, -2, -3


def seed_for(seed: int, *purpose: int | str) -> int:
    """A seed of 64 bits for one purpose: the same seed and purpose give the same, others as good as independent ones.

    A few purposes share a seed, for numpy's `SeedSequence` ignores zeros at the end, and takes a number of more than 32
    bits as several: (0,) and (0, 0) do, for example.
    """
    words = [seed, *(int.from_bytes(p.encode(), "big") if isinstance(p, str) else p for p in purpose)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def row_seeds(seed: int, indices: Sequence[int]) -> Tensor:
    """[B] int64: a seed for each index, by `seed`, of 64 bits."""
    return derived(torch.tensor(_signed(seed)), torch.tensor(indices, dtype=torch.int64))


def derived(seeds: Tensor, words: int | Tensor) -> Tensor:
    """Seeds of other noise: one for each seed and word (integers, which broadcast)."""
    apart = words * APART if isinstance(words, Tensor) else _signed(words * APART)
    return _mixed(_mixed(seeds + APART) + apart)


def copies(seeds: Tensor, k: int) -> Tensor:
    """[K B]: seeds of k copies of rows [B], copy after copy; the first copy has its row's own."""
    if k == 1:
        return seeds
    words = torch.arange(1, k, device=seeds.device)[:, None]
    return torch.cat([seeds, derived(seeds, words).flatten()])


def uniform(seeds: Tensor, shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [0, 1), [B, *shape]. A longer first dimension of `shape` has these numbers first."""
    return _symmetric(seeds, shape, dtype=dtype).add_(1).mul_(0.5).clamp_(max=_below_1(dtype))


def normal(seeds: Tensor, shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers, [B, *shape]. A longer first dimension of `shape` has these numbers first."""
    most = _below_1(dtype)
    return _symmetric(seeds, shape, dtype=dtype).clamp_(-most, most).erfinv_().mul_(math.sqrt(2))


def _symmetric(seeds: Tensor, shape: Sequence[int], *, dtype: torch.dtype) -> Tensor:
    """Uniform numbers between -1 and 1: 32 bits each, two of an output of SplitMix64."""
    size = math.prod(shape)
    counts = torch.arange(1, (size + 1) // 2 + 1, device=seeds.device) * STEP
    bits = _mixed(seeds[:, None] + counts).view(torch.int32)[:, :size]
    return bits.to(dtype).mul_(2.0**-31).reshape(len(seeds), *shape)


def _below_1(dtype: torch.dtype) -> float:
    """The last number before 1 that is drawn; its quantile of the normal distribution is finite."""
    return 1 - max(torch.finfo(dtype).eps / 2, 2.0**-32)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's mixing of 64 bits. x is left alone."""
    x = (x ^ _shifted(x, 30)).mul_(FIRST)
    x.bitwise_xor_(_shifted(x, 27)).mul_(SECOND)
    return x.bitwise_xor_(_shifted(x, 31))


def _shifted(x: Tensor, bits: int) -> Tensor:
    """x shifted to the right, zeros moving in: torch's own shift repeats the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(seed: int) -> int:
    """64 bits as the signed integer that a tensor holds."""
    return (seed + 2**63) % 2**64 - 2**63
