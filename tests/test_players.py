"""Players beside the bound: whose parameters move, when, and by how much."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zforcing.training.players import Gate, PlayerSettings, PlayerUpdate


def two_players() -> tuple[nn.Parameter, nn.Parameter, torch.Tensor]:
    a, b = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0, -1.0]))
    return a, b, (a * b).sum()


def test_only_the_players_own_parameters_get_a_gradient_and_move() -> None:
    a, b, loss = two_players()
    updated = PlayerUpdate("b", [b], PlayerSettings(learning_rate=0.1, max_grad_norm=None))([(loss, 1.0)], measure=0.0)
    assert updated.moved
    assert updated.gradient_norm == pytest.approx(math.sqrt(5))
    assert a.grad is None
    assert a.tolist() == [1.0, 2.0]
    assert b.tolist() == pytest.approx([2.9, -1.1])  # Adam's first step is the sign


@pytest.mark.parametrize(
    ("accuracy", "who"), [(0.5, {"d"}), (0.75, {"d"}), (0.8, {"d", "g"}), (0.99, {"d", "g"}), (0.995, {"g"})]
)
def test_the_papers_thresholds(accuracy: float, who: set[str]) -> None:
    gates = {"d": Gate(at_most=0.99), "g": Gate(above=0.75)}
    assert {name for name, gate in gates.items() if gate(accuracy)} == who


@pytest.mark.parametrize("measure", [0.0, math.nan])
def test_a_shut_gate_changes_nothing(measure: float) -> None:
    _, b, loss = two_players()
    update = PlayerUpdate("b", [b], PlayerSettings(), Gate(above=0.75))
    assert not update([(loss, 1.0)], measure=measure).moved
    assert b.tolist() == [3.0, -1.0]
    assert not update.optimizer.state_dict()["state"]


def test_a_loss_that_is_not_finite_is_skipped() -> None:
    _, b, loss = two_players()
    update = PlayerUpdate("b", [b], PlayerSettings())
    assert not update([(loss * math.inf, 1.0)], measure=0.0).moved
    assert b.tolist() == [3.0, -1.0]
    assert not update.optimizer.state_dict()["state"]


def test_parts_add_up_to_the_whole() -> None:
    norms = []
    for shares in ([1.0], [0.25, 0.75]):
        _, b, _ = two_players()
        losses = [((torch.tensor([1.0, 2.0]) * b).sum(), share) for share in shares]
        norms.append(PlayerUpdate("b", [b], PlayerSettings())(losses, measure=0.0).gradient_norm)
    assert norms[0] == pytest.approx(norms[1])
