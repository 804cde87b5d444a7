"""The number of CPU threads follows from sizes; nothing here is timed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from conftest import SRNN_SIZE, VRNN_SIZE, Case
from zforcing import ObservationSpec, ZForcing, ZForcingConfig
from zforcing.runtime.threads import (
    LARGE,
    RecurrentNetwork,
    cpu_threads,
    recurrent_networks,
    threads_asked_for,
    work_of_a_step,
)

SPEC = ObservationSpec("binary", 2)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def zforcing(**settings: object) -> ZForcing:
    sizes = {"hidden_size": 6, "embedding_size": 4, "latent_size": 3, "mlp_size": 5}
    return ZForcing(SPEC, ZForcingConfig(**(sizes | settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["lstm", "layer_norm"])
def test_z_forcing_holds_a_backward_lstm_and_a_cell_of_the_same_size(cell: str) -> None:
    assert recurrent_networks(zforcing(cell=cell)) == 2 * [RecurrentNetwork("LSTM", 4, 6)]


def test_an_rnn_holds_its_layers() -> None:
    model = Case("rnn", {"hidden_size": 6, "embedding_size": 4, "num_layers": 2}).build(SPEC)
    assert recurrent_networks(model) == [RecurrentNetwork("LSTM", 4, 6, layers=2)]


def test_a_vrnn_holds_one_lstm_of_what_is_read_of_x_and_of_z() -> None:
    assert recurrent_networks(Case("vrnn", VRNN_SIZE).build(SPEC)) == [RecurrentNetwork("LSTM", 18, 6)]


def test_an_srnn_holds_a_gru_and_another_if_it_smooths() -> None:
    forward, backward = RecurrentNetwork("GRU", 4, 6), RecurrentNetwork("GRU", 10, 6)
    assert recurrent_networks(Case("srnn", SRNN_SIZE).build(SPEC)) == [forward, backward]
    assert recurrent_networks(Case("srnn", SRNN_SIZE | {"posterior": "filtering"}).build(SPEC)) == [forward]


def test_a_model_without_recurrent_networks_has_none() -> None:
    assert recurrent_networks(Case("linear_gaussian").build(ObservationSpec("real", 2))) == []


def test_torchs_networks_and_cells_are_found_with_their_sizes() -> None:
    gru, cells = nn.GRU(3, 5, bidirectional=True), [nn.LSTMCell(2, 4), nn.GRUCell(2, 7)]
    assert recurrent_networks(nn.ModuleList([gru, *cells])) == [
        RecurrentNetwork("GRU", 3, 5, directions=2),
        RecurrentNetwork("LSTM", 2, 4),
        RecurrentNetwork("GRU", 2, 7),
    ]


def test_a_cell_of_ones_own_counts_by_its_gates() -> None:
    cell = nn.Module()
    cell.from_input, cell.from_hidden = nn.Linear(2, 15), nn.Linear(5, 15)  # three gates
    readout = nn.Module()
    readout.from_input, readout.from_hidden = nn.Linear(2, 5), nn.Linear(5, 5)  # no gates: not recurrent
    assert recurrent_networks(nn.ModuleList([cell, readout])) == [RecurrentNetwork("GRU", 2, 5)]


def test_the_work_of_a_step_is_rows_times_the_largest_hidden_to_gates_matrix() -> None:
    networks = nn.ModuleList([nn.LSTM(50, 6), nn.GRU(50, 7), nn.Linear(100, 100)])
    assert work_of_a_step(networks, 3) == 3 * max(4 * 6 * 6, 3 * 7 * 7)
    assert work_of_a_step(nn.Linear(20, 30), 3) == 3 * 20 * 30
    assert work_of_a_step(nn.Identity(), 3) == 0


def test_one_thread_below_the_limit_and_torchs_choice_from_it_on() -> None:
    model = nn.Linear(1000, 1000)  # 1 million multiply-adds a row
    enough = LARGE // 1_000_000
    for rows, expected in ((1, 1), (enough - 1, 1), (enough, 2)):
        with cpu_threads(model, rows=rows):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2


def test_threads_asked_for_hold_within_their_block() -> None:
    with threads_asked_for(3), cpu_threads(nn.Identity()):
        assert torch.get_num_threads() == 3
        with cpu_threads(nn.Identity(), 1):
            assert torch.get_num_threads() == 1
    with threads_asked_for(None), cpu_threads(nn.Identity()):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
