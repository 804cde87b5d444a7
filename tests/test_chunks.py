"""Work in chunks that fit the cache: the same numbers and the same gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zforcing.runtime import chunks


def f(a: Tensor, b: Tensor) -> Tensor:
    return (a * b.exp()).sum(-1)


def leaves() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(6, 3, 4, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("at_once", [1, 24, 10**9])
def test_what_is_taken_in_chunks_is_what_is_taken_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "AT_ONCE", at_once)
    at = leaves()
    found, expected = chunks.in_chunks(f, *at), f(*at)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    slopes, expected_slopes = (torch.autograd.grad(value.square().sum(), at) for value in (found, expected))
    torch.testing.assert_close(slopes, expected_slopes, rtol=0, atol=1e-11)


def test_what_needs_no_gradient_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "AT_ONCE", 1)
    a, b = leaves()
    (gradient,) = torch.autograd.grad(chunks.in_chunks(f, a, b.detach()).sum(), a)
    torch.testing.assert_close(gradient, b.exp())
