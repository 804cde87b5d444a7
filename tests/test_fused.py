"""Loops that are one layer of torch's LSTM or GRU: which ones are, and that torch's operation computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case
from situations import Situation, assert_backends_agree, dropout_of_values
from zforcing.benchmark.sizes import SIZES
from zforcing.models import MODELS, of_sequences
from zforcing.models.explain import derived_in, explain
from zforcing.models.planned_step import Derived
from zforcing.nn.cells import lstm_update
from zforcing.recurrence.eager import Runner
from zforcing.recurrence.fused import MOST_ON_CPU, Fused
from zforcing.recurrence.loops import Recurrence, make_plan
from zforcing.recurrence.program import Value
from zforcing.recurrence.recognize import recognize
from zforcing.recurrence.trace import trace
from zforcing.testing import random_batch

H, D = 4, 3
RNN = Case("rnn", RNN_SIZE)
SRNN = Case("srnn", SRNN_SIZE)
PARALLEL = Case("zforcing", ZF_SIZE | {"posterior": "parallel"})
Cell = Callable[..., Any]


def names_of(case: Case, spec: str = "real") -> list[str | None]:
    """For each loop of a model, torch's network that it is."""
    found = derived_in(case.build(SPECS[spec]))
    runners = [runner for one in found if isinstance(one, Derived) for runner in one.runners]
    return [runner.fused.kind.name if runner.fused else None for runner in runners]


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (RNN, ["torch.lstm"]),
        (Case("rnn", RNN_SIZE | {"num_layers": 2}), [None]),
        (SRNN, ["torch.gru", None]),  # d_t alone; z_t
        (PARALLEL, ["torch.lstm", "torch.lstm"]),  # all latents are drawn before the decoder runs
        (Case("zforcing", ZF_SIZE), [None]),
        (Case("vrnn", VRNN_SIZE), [None]),  # the LSTM reads a latent that depends on its state
    ],
    ids=str,
)
def test_the_networks_of_a_model(case: Case, names: list[str | None]) -> None:
    assert names_of(case) == names


@pytest.mark.parametrize("spec", ["categorical with gaps", "with inputs"])
def test_what_is_read_may_be_a_table_or_several_things(spec: str) -> None:
    assert names_of(RNN, spec) == ["torch.lstm"]


# ---- exactly one


def recognized(cell: Cell, *, read: Callable[[Tensor, Tensor], Tensor] = lambda h, c: h) -> Fused | None:
    """The network that the loop h, c = cell(W x + U h + b, c) is, of which `read` is wanted."""

    def example(rows: int) -> list[Tensor]:
        return [torch.ones(*s) for s in ((rows, D), (rows, H), (rows, H), (4 * H, D), (4 * H, H), (4 * H,))]

    def f(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Any:
        new = cell(torch.nn.functional.linear(x, w, b) + h @ u.t(), c)
        return new, read(*new)

    inputs, (new, wanted) = trace(f, example, ["x", "h", "c", "w", "u", "b"])
    state = dict(zip("hc", inputs[1:3], strict=True))
    first = {name: Value(f"first {name}", shape=value.shape) for name, value in state.items()}
    plan = make_plan(Recurrence(state=state, new=dict(zip("hc", new, strict=True)), first=first, outputs=(wanted,)))
    (loop,) = plan.loops
    return recognize(loop, plan)


def coupled(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM that forgets as much as it writes."""
    i, _, g, o = gates.chunk(4, dim=-1)
    c = (1 - torch.sigmoid(i)) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def reordered(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM with the gates in another order than torch's."""
    i, f, g, o = gates.chunk(4, dim=-1)
    return lstm_update(torch.cat([f, i, g, o], dim=-1), c)


def clamped(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    h, c = lstm_update(gates, c)
    return h, c.clamp(-3, 3)


def test_an_lstm_in_ones_own_words_is_one() -> None:
    found = recognized(lstm_update)
    assert found is not None
    assert found.kind.name == "torch.lstm"


@pytest.mark.parametrize("cell", [coupled, reordered, clamped])
def test_what_differs_in_anything_is_none(cell: Cell) -> None:
    assert recognized(cell) is None


def test_its_hidden_states_may_be_read_and_its_cells_may_not() -> None:
    assert recognized(lstm_update, read=lambda h, c: h.exp()) is not None
    assert recognized(lstm_update, read=lambda h, c: c.exp()) is None


# ---- the same numbers


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Torch runs all loops that it can; the names of those that it has run."""
    ran: list[str] = []
    run = Fused.run

    def counted(self: Fused, *args: Any, **kwargs: Any) -> Any:
        ran.append(self.kind.name)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(Fused, "pays", lambda self, first: True)
    monkeypatch.setattr(Fused, "run", counted)
    return ran


SITUATIONS = [
    Situation(),  # sequences of several lengths, in float64
    Situation(carried=True),
    Situation(carried=True, particles=3),
    Situation("with inputs", particles=3),
    Situation("with gaps", fed=True, train=True),
    Situation(carried=True, dtype=torch.float32),
]


@pytest.mark.usefixtures("never_walks")
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
@pytest.mark.parametrize("case", [RNN, SRNN, PARALLEL], ids=str)
def test_values_and_gradients(
    case: Case, situation: Situation, always: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.functional.dropout", dropout_of_values)
    assert_backends_agree(situation.build(case), situation.batch(), situation)
    assert always == {"rnn": ["torch.lstm"], "srnn": ["torch.gru"], "zforcing": ["torch.lstm"] * 2}[case.model]


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 2)])
def test_the_last_state(lengths: tuple[int, ...], particles: int, always: list[str]) -> None:
    model, batch = RNN.build(SPECS["real"]).double(), random_batch(SPECS["real"], lengths)
    noise = torch.zeros(particles * len(batch), batch.x.shape[1], 0, dtype=torch.float64)
    found = model.unroll(batch, noise=noise, particles=particles).state
    expected = model.walk(batch, noise=noise, particles=particles).state
    assert always == ["torch.lstm"]
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def no_loop(*args: Any, **kwargs: Any) -> None:
    pytest.fail("the loop runs step by step")


def test_sequences_of_one_length_need_no_loop_for_their_last_state(
    always: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "run", no_loop)
    model, batch = RNN.build(SPECS["real"]).double(), random_batch(SPECS["real"], (5, 5))
    assert model.unroll(batch).state.c.shape == (2, 1, RNN_SIZE["hidden_size"])


# ---- where it is faster


def test_the_benchmarks_lstm_at_the_size_keys_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "run", no_loop)
    size, rnn = SIZES["keys"], MODELS["rnn"]
    model = of_sequences(rnn(size.spec, **size.known_settings(rnn.Config)), needed_by="this test").float()
    assert model.unroll(size.batch(seed=0, steps=3)).emission.batch_shape == (size.sequences, 3)
    assert "the loop over h, c is given to torch.lstm: in float32 on a CPU with up to 32 rows" in explain(model)


def fused_of(case: Case) -> Fused:
    found = derived_in(case.build(SPECS["real"]))
    return next(r.fused for one in found if isinstance(one, Derived) for r in one.runners if r.fused)


def test_torch_runs_small_lstms_in_float32() -> None:
    lstm, gru = fused_of(RNN), fused_of(SRNN)
    small, large = (torch.zeros(MOST_ON_CPU // H + more, H, dtype=torch.float32) for more in (0, 1))
    assert lstm.pays(small)
    assert not lstm.pays(large)
    assert not lstm.pays(small.double())
    assert not gru.pays(small)


def test_under_autocast_the_state_stays_in_float32() -> None:
    lstm = fused_of(RNN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not lstm.pays(torch.zeros(1, H, dtype=torch.float32))
