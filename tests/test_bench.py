"""What `zforcing bench` measures, at tiny sizes. No test looks at how long anything takes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from zforcing import MODELS, ObservationSpec, UserError
from zforcing.benchmark import SIZES, Protocol, Result, Size, measure
from zforcing.benchmark.floor import Floor
from zforcing.benchmark.memory import peak_bytes
from zforcing.benchmark.report import to_json, to_markdown, to_terminal
from zforcing.benchmark.timing import Ratio, Timing, in_turn
from zforcing.runtime.threads import RecurrentNetwork, recurrent_networks
from zforcing.training.update import autocast

CPU = torch.device("cpu")
TINY = Size(
    "tiny",
    "a test",
    steps=6,
    sequences=3,
    spec=ObservationSpec("binary", 2),
    settings={"hidden_size": 5, "embedding_size": 4, "latent_size": 2, "mlp_size": 3},
    grows_from=2,
)
MACHINE = {"processor": "P", "device": "cpu", "versions": {"torch": "2"}, "started": "2000-01-01"}


def settings(model: str = "zforcing", size: Size = TINY, **more: Any) -> Any:
    config = MODELS[model].Config
    return config(**size.known_settings(config), **more)


@pytest.fixture(scope="module")
def result() -> Result:
    return measure(TINY, settings(), Protocol(repeats=4))


# The sizes.


def test_the_named_sizes_are_those_that_are_compared() -> None:
    expected = {
        "pixels": (784, 32, "binary", 1, 128, 32, 64, 64, 196),
        "keys": (100, 16, "binary", 88, 256, 64, 128, 128, None),
        "frames": (40, 32, "real", 200, 1024, 256, 512, 512, None),
    }
    names = ("hidden_size", "latent_size", "embedding_size", "mlp_size")
    found = {
        name: (s.steps, s.sequences, s.spec.kind, s.spec.size, *(s.settings[n] for n in names), s.grows_from)
        for name, s in SIZES.items()
    }
    assert found == expected
    assert all(
        (s.settings["feature_size"], s.settings["mlp_layers"]) == (s.settings["embedding_size"], 1)
        for s in SIZES.values()
    )


def test_a_model_gets_the_settings_that_it_has() -> None:
    assert TINY.known_settings(MODELS["rnn"].Config) == {"hidden_size": 5, "embedding_size": 4}


@pytest.mark.parametrize("kind", ["binary", "real"])
def test_a_sizes_batch_is_full_and_follows_from_the_seed(kind: Any) -> None:
    size = replace(TINY, spec=ObservationSpec(kind, 2))
    batch = size.batch(seed=0)
    assert batch.x.shape == (3, 6, 2)
    assert batch.x.dtype == torch.float32
    assert batch.lengths.tolist() == [6, 6, 6]
    assert size.batch(seed=0, steps=2).x.shape == (3, 2, 2)
    assert torch.equal(batch.x, size.batch(seed=0).x)
    assert not torch.equal(batch.x, size.batch(seed=1).x)
    assert not torch.equal(batch.x[0], batch.x[1])
    if kind == "binary":
        assert set(batch.x.unique().tolist()) == {0.0, 1.0}


# The floor.


def test_the_floor_has_torchs_networks_of_the_models_sizes() -> None:
    networks = [RecurrentNetwork("LSTM", 4, 5, layers=2), RecurrentNetwork("GRU", 3, 6, directions=2)]
    floor = Floor(networks, sequences=2, steps=7)
    assert recurrent_networks(floor) == networks
    assert [type(network) for network in floor.networks] == [nn.LSTM, nn.GRU]
    assert [tuple(x.shape) for x in floor.inputs] == [(2, 7, 4), (2, 7, 3)]


def test_the_floor_takes_the_gradient_for_its_inputs_and_weights_once() -> None:
    floor = Floor([RecurrentNetwork("LSTM", 4, 5)], sequences=2, steps=7).on(CPU)
    floor.run(autocast(CPU, "float32"))
    first = [floor.inputs[0].grad, *(p.grad for p in floor.parameters())]
    assert all(g is not None and g.dtype == torch.float32 and g.abs().sum() > 0 for g in first)
    floor.run(autocast(CPU, "float32"))
    again = [floor.inputs[0].grad, *(p.grad for p in floor.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))  # not added up


# Times.


def test_tasks_run_in_turn_after_one_warm_up() -> None:
    ran: list[str] = []
    tasks: dict[str, Callable[[], object]] = {name: lambda name=name: ran.append(name) for name in "abc"}  # type: ignore[misc]
    times = in_turn(tasks, repeats=4, device=CPU, every={"c": 3})
    assert "".join(ran) == "abc" + "abc" + "ab" + "ab" + "abc"
    assert {name: list(timing.seconds) for name, timing in times.items()} == {
        "a": [0, 1, 2, 3],
        "b": [0, 1, 2, 3],
        "c": [0, 3],
    }


def test_a_ratio_is_of_the_repeats_that_took_both() -> None:
    over, under = Timing({0: 4.0, 3: 12.0, 6: 9.0}), Timing({0: 2.0, 1: 100.0, 3: 3.0, 6: 3.0})
    assert Ratio.between(over, under) == Ratio(of_medians=3.0, least=2.0, most=4.0)
    assert under.median == 3.0


# Memory.


def test_peak_memory_of_known_tensors() -> None:
    def work() -> None:
        a = torch.zeros(250_000, dtype=torch.float32)  # 1 MB
        b = torch.zeros(500_000, dtype=torch.float32)  # 2 MB, 3 with a
        del a
        c = torch.zeros(250_000, dtype=torch.float32)  # 3 MB with b
        del b, c
        torch.zeros(625_000, dtype=torch.float32)  # 2.5 MB alone

    assert peak_bytes(work, CPU) == 3_000_000


def test_peak_memory_counts_what_the_backward_pass_keeps_and_makes() -> None:
    def work() -> None:
        x = torch.zeros(250_000, dtype=torch.float32, requires_grad=True)  # 1 MB, as are the result and both gradients
        x.exp().backward(torch.zeros_like(x))

    assert peak_bytes(work, CPU) == 4_000_000


def test_measuring_memory_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    peak_bytes(lambda: torch.zeros(10), CPU)
    assert capfd.readouterr() == ("", "")


def test_an_updates_memory_holds_weights_gradients_and_moments(result: Result) -> None:
    numbers = 4 * 4 * result.parameters  # float32: weights, gradients, Adam's two
    assert result.peaks["update"] > numbers
    assert result.peaks["shorter"] < result.peaks["update"]
    assert set(result.peaks) == {"floor", "update", "shorter"}


def test_peak_memory_is_the_same_every_time(result: Result) -> None:
    assert measure(TINY, settings(), Protocol(repeats=1)).peaks == result.peaks


# All of it.


def test_what_is_measured_says_what_it_is(result: Result) -> None:
    assert result.parameters == sum(p.numel() for p in MODELS["zforcing"](TINY.spec, settings()).parameters())
    assert result.networks == 2 * (RecurrentNetwork("LSTM", 4, 5),)
    assert result.threads == 1
    assert {name: len(timing.seconds) for name, timing in result.times.items()} == {
        "floor": 4,
        "update": 4,
        "reference": 2,
        "shorter": 4,
    }
    assert (result.time_steps("update"), result.time_steps("shorter")) == (18, 6)


def test_each_timed_run_is_announced() -> None:
    protocol, calls = Protocol(repeats=2), []
    measure(replace(TINY, grows_from=None), settings(), protocol, done=lambda: calls.append(1))
    assert len(calls) == 3 + 3 + 2  # floor, update, reference
    assert len(calls) <= protocol.runs


def test_a_size_without_growth_and_a_model_without_latents(result: Result) -> None:
    size = replace(TINY, grows_from=None, spec=ObservationSpec("real", 2))
    found = measure(size, settings("rnn", num_layers=2), Protocol(model="rnn", repeats=1, precision="bfloat16"))
    assert found.networks == (RecurrentNetwork("LSTM", 4, 5, layers=2),)
    values = to_json([found, result], Protocol(), MACHINE)
    assert values["sizes"][0]["growth"] is None
    assert values["sizes"][1]["growth"] is not None


@pytest.mark.parametrize(
    ("model", "networks"),
    [
        ("vrnn", (RecurrentNetwork("LSTM", 7, 5),)),
        ("srnn", (RecurrentNetwork("GRU", 4, 5), RecurrentNetwork("GRU", 9, 5))),
    ],
)
def test_other_models_are_measured_at_the_same_sizes(model: str, networks: tuple[RecurrentNetwork, ...]) -> None:
    size = replace(TINY, grows_from=None, settings=TINY.settings | {"feature_size": 4, "mlp_layers": 1})
    found = measure(size, settings(model, size), Protocol(model=model, repeats=1))
    assert found.networks == networks
    assert found.settings["mlp_layers"] == 1


def test_a_model_without_recurrent_networks_has_no_floor() -> None:
    size = replace(TINY, spec=ObservationSpec("real", 2))
    with pytest.raises(UserError, match="no floor"):
        measure(size, MODELS["linear_gaussian"].Config(latent_size=2), Protocol(model="linear_gaussian", repeats=1))


@pytest.mark.parametrize("threads", [None, 1])
def test_measuring_leaves_the_generator_and_the_threads_alone(threads: int | None) -> None:
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    measure(TINY, settings(), Protocol(repeats=1, threads=threads))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2


# What is said of it.


def test_the_json_has_every_number_with_its_unit(result: Result) -> None:
    values = json.loads(json.dumps(to_json([result], Protocol(repeats=4), MACHINE)))
    assert set(values) == {"machine", "protocol", "sizes"}
    assert values["protocol"] == {
        "model": "zforcing",
        "backend": "fast",
        "repeats": 4,
        "threads": None,
        "precision": "float32",
        "device": "cpu",
        "seed": 0,
        "reference_every": 3,
    }
    (size,) = values["sizes"]
    assert set(size) == {
        "name",
        "steps",
        "sequences",
        "observations",
        "settings",
        "parameters",
        "threads",
        "networks",
        "walks",
        "updates",
        "growth",
        "loading",
        "sampling",
    }
    timed = {"median_seconds", "min_seconds", "max_seconds", "repeats"}
    rates = {"updates_per_second", "time_steps_per_second", "peak_bytes", "ratio_to_floor"}
    assert {name: set(row) for name, row in size["updates"].items()} == dict.fromkeys(
        ("floor", "update", "reference"), timed | rates
    )
    assert set(size["growth"]) == {"from_steps", "to_steps", "seconds", "peak_bytes", "shorter"}
    assert set(size["loading"]) == timed | {"sequences_per_second", "share_of_update"}
    assert set(size["sampling"]) == timed | {"sequences", "steps", "steps_per_second", "time_steps_per_second"}


def test_rates_and_growth_follow_from_the_times_by_hand(result: Result) -> None:
    times = {
        "floor": Timing({0: 0.5, 1: 0.5}),
        "update": Timing({0: 1.0, 1: 2.0}),
        "reference": Timing({0: 6.0}),
        "shorter": Timing({0: 0.25, 1: 0.5}),
    }
    made = replace(
        result,
        times=times,
        peaks={"floor": 100, "update": 900, "shorter": 300},
        loading=Timing({0: 0.003}),
        sampling=Timing({0: 2.0}),
    )
    (size,) = to_json([made], Protocol(), MACHINE)["sizes"]
    update = size["updates"]["update"]
    assert update["median_seconds"] == 1.5
    assert update["updates_per_second"] == 1 / 1.5
    assert update["time_steps_per_second"] == 3 * 6 / 1.5
    assert update["ratio_to_floor"] == {"of_medians": 3.0, "min": 2.0, "max": 4.0}
    assert size["updates"]["reference"]["ratio_to_floor"]["of_medians"] == 12.0
    assert size["growth"]["seconds"]["of_medians"] == 4.0
    assert size["growth"]["peak_bytes"] == 3.0
    assert size["loading"]["sequences_per_second"] == 1000
    assert size["loading"]["share_of_update"] == 0.002
    assert size["sampling"]["steps_per_second"] == 3
    assert size["sampling"]["time_steps_per_second"] == 64 * 3


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((2.5e-05, 2e-05, 2e-03), "25.0 µs (20.0-2000.0)"),
        ((0.0123, 0.012, 0.02), "12.3 ms (12.0-20.0)"),
        ((0.9996, 0.5, 1.5), "1000 ms (500-1500)"),
        ((1.234, 1.2, 12.0), "1.23 s (1.20-12.00)"),
        ((123.4, 99.0, 200.0), "123 s (99-200)"),
    ],
)
def test_times_are_said_in_their_unit_with_three_digits(seconds: tuple[float, ...], said: str, result: Result) -> None:
    made = replace(result, sampling=Timing(dict(enumerate(seconds))))
    assert said in to_markdown([made], Protocol(), MACHINE, command="")


def test_the_tables_fit_into_100_columns(result: Result) -> None:
    slow = {name: Timing({0: 98.765, 1: 97.654, 2: 99.876}) for name in result.times}
    slow["floor"] = Timing({0: 9.8765, 1: 9.8765, 2: 9.8765})
    large = replace(
        result, size=replace(TINY, name="pixels"), times=slow, peaks=dict.fromkeys(result.peaks, 98_765_432_100)
    )
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(to_terminal([large], Protocol(), MACHINE))
    lines = out.getvalue().splitlines()
    assert sum("98.8 s (97.7-99.9)   10.00 (9.89-10.11)" in line and "98,765.4" in line for line in lines) == 1


def test_brackets_in_what_is_said_are_no_styles(result: Result) -> None:
    out = io.StringIO()
    machine = {**MACHINE, "processor": "a CPU [bold]"}
    Console(file=out, width=100, highlight=False).print(to_terminal([result], Protocol(), machine))
    assert out.getvalue().startswith("a CPU [bold], ")


def test_the_page_names_its_command_the_machine_and_the_chosen_settings(result: Result) -> None:
    other = replace(result, settings={**result.settings, "cell": "layer_norm"})
    text = to_markdown([other], Protocol(repeats=4), MACHINE, command="zforcing bench tiny --markdown")
    assert "`zforcing bench tiny --markdown`" in text
    assert "P, cpu, torch 2, float32, threads by size, 2000-01-01" in text
    assert "cell layer_norm" in text
    assert "auxiliary" not in text  # left at its default
    assert "floor: LSTM 4→5, LSTM 4→5" in text
    assert text.count("| tiny | ") == 3 + 1 + 1 + 1


def test_a_model_that_walks_is_told_of_in_a_line(result: Result) -> None:
    assert result.walks is None
    assert "step by step" not in to_markdown([result], Protocol(), MACHINE, command="")
    walking = replace(result, walks="it reads numbers: if z > 0 (mine.py, line 7)")
    said = to_markdown([walking, walking], Protocol(), MACHINE, command="")
    assert said.count("the update runs step by step, which is slow: it reads numbers: if z > 0 (mine.py, line 7)") == 1
    assert to_json([walking], Protocol(), MACHINE)["sizes"][0]["walks"] == walking.walks
