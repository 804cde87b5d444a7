"""What all tests share: float64, torch's argument checks on, small models of every kind, batches with known holes."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from pairs import pairwise
from table_runs import train_runs
from zforcing import MODELS, Generated, ObservationSpec, SequenceBatch, SequenceModel
from zforcing.cli import main
from zforcing.models import trace_cache
from zforcing.observations import DataDescription, Drawn, Example, Written
from zforcing.testing import SPECS as SPECS
from zforcing.testing import batches


@dataclass(frozen=True)
class Case:
    """A model at a size for tests, with settings that differ from the defaults. kinds: what it is tested on."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("real", "binary", "categorical")

    def build(self, spec: ObservationSpec, seed: int = 0, **more: Any) -> SequenceModel:
        torch.manual_seed(seed)
        cls = MODELS[self.model]
        return cls(spec, cls.Config(**(self.settings | more))).double().eval()

    def __str__(self) -> str:
        return "-".join([self.model, *(str(v) for k, v in self.settings.items() if not k.endswith("_size"))])


RNN_SIZE = {"hidden_size": 6, "embedding_size": 4}
ZF_SIZE = {"hidden_size": 6, "embedding_size": 4, "latent_size": 3, "mlp_size": 5}
ZF_OPTIONS: list[dict[str, Any]] = [
    {},
    {"auxiliary_reads_state": True},
    {"auxiliary": "squared_error"},
    {"latents_see_input": True},
    {"output_skip": False, "embedding_layers": 1},
    {"output_latent": True, "output_layers": 2},
    {"cell": "layer_norm"},
    {"posterior": "parallel"},
    {"posterior": "parallel", "cell": "layer_norm"},
    {"posterior": "parallel", "latents_see_input": True},
    {"latent_clamp": None, "auxiliary_clamp": None, "activation_clamp": None},
]
# few ReLUs may all be off at once
VRNN_SIZE = {"hidden_size": 6, "latent_size": 3, "feature_size": 9, "mlp_size": 9, "mlp_layers": 1}
SRNN_SIZE = {"hidden_size": 6, "latent_size": 3, "embedding_size": 4, "mlp_size": 5, "mlp_layers": 1}
ALL_KINDS = ("real", "binary", "categorical", "mixed")
CASES = [
    Case("rnn", RNN_SIZE, kinds=ALL_KINDS),
    Case("rnn", RNN_SIZE | {"num_layers": 2}),
    Case("rnn", RNN_SIZE | {"output_skip": False}),
    Case("rnn", {"hidden_size": 6, "embedding_size": 12, "feature_layers": 2}, kinds=("real",)),
]
CASES += [Case("zforcing", ZF_SIZE, kinds=ALL_KINDS)]
CASES += [Case("zforcing", ZF_SIZE | options) for options in ZF_OPTIONS[1:]]
CASES += [
    Case("vrnn", VRNN_SIZE, kinds=ALL_KINDS),
    Case("srnn", SRNN_SIZE | {"mlp_layers": 2}, kinds=ALL_KINDS),
    # other kinds than real differ from the models' first cases in nothing that these options touch
    Case("vrnn", VRNN_SIZE | {"prior": "standard", "mlp_layers": 2}, kinds=("real",)),
    Case("srnn", SRNN_SIZE | {"residual_posterior": False, "embedding_layers": 2}, kinds=("real",)),
    Case("srnn", SRNN_SIZE | {"posterior": "filtering"}, kinds=("real",)),
    Case("srnn", SRNN_SIZE | {"posterior": "filtering", "residual_posterior": False}, kinds=("real",)),
]
CASES += [
    Case("linear_gaussian", {"latent_size": 2, "mlp_size": 4, "proposal": proposal}, kinds=("real",))
    for proposal in ("smoothing", "filtering", "learned", "prior")
]


@dataclass
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its one object; it was no mistake (1: training diverged, the rest is told)."""
        assert self.code in (0, 1), self.err
        return json.loads(self.out)

    @property
    def mistake(self) -> str:
        """The one line about a user's mistake; progress and warnings may stand before it."""
        assert (self.code, self.out) == (2, ""), self.out + self.err
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("zforcing: ")]
        assert self.err.endswith(f"{lines[-1]}\n")
        assert len(lines) == 1, self.err
        return lines[0]


Command = Callable[..., Result]


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, but for their times: functions of the seed."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        assert row.pop("seconds") >= 0
        assert row.pop("cpu_seconds") >= 0
    return rows


def write_samples(folder: Path, stem: str, drawn: Generated, description: DataDescription, **given: Any) -> Written:
    """What the commands do with what was drawn. before: [T_i, ...] each."""
    if "before" in given:
        given["before"] = [Example(x) for x in given["before"]]
    return description.format.write(folder, stem, Drawn.of(drawn.x, drawn.latents, **given), description)


@pytest.fixture
def zf(capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""

    def call(*words: object) -> Result:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capfd.readouterr())

    return call


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported and collected: it stays, and to look through it takes half a second,
    each time that memory is measured, and many times on its own.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test can see whether a file would outlast a power failure; tests/test_writes.py lets `fsync` fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def steps_are_derived_once_for_all_tests() -> Iterator[None]:
    """Tracing takes a third of a second; the models here are small, and many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_cache, "MOST_KEPT", 10_000)
        yield


@pytest.fixture(scope="session")
def table_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small runs, trained once for all tests; see `train_runs`."""
    folder = tmp_path_factory.mktemp("table-runs")
    train_runs(folder)
    return folder


@pytest.fixture
def never_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that isn't derived fails the test."""

    def refuse(*_: Any) -> None:
        pytest.fail("the model walks")

    monkeypatch.setattr("zforcing.models.trace_cache.logger.warning", refuse)


@pytest.fixture(autouse=True)
def float64_and_one_thread() -> Any:
    """Closed forms deserve double precision; small nets are faster with one thread."""
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`case`: all models with all options; `spec`: all observations. Of several arguments, pairs are covered
    (tests/pairs.py): each model meets each kind that it emits, and with `@pytest.mark.pairs(check=CHECKS)` each check
    meets each case and each kind. The mark can also name the `case`s to take.
    """
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    marked = {name: of for mark in metafunc.definition.iter_markers("pairs") for name, of in mark.kwargs.items()}
    given = {"case": CASES, "spec": list(SPECS)} | marked
    factors = {name: list(of) for name, of in given.items() if name in metafunc.fixturenames and name not in own}
    if factors:
        rows = pairwise(list(rows_of(factors)), apart={("case", "spec")})
        arguments = [[SPECS[row[name]] if name == "spec" else row[name] for name in factors] for row in rows]
        ids = ["-".join(_id(row[name]) for name in factors) for row in rows]
        metafunc.parametrize(list(factors), arguments, ids=ids)


def rows_of(factors: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """All arguments of a test that fit together, and the `model` of a case, which meets what its cases needn't all."""
    for values in product(*factors.values()):
        row = dict(zip(factors, values, strict=True))
        if "case" in row:
            row["model"] = row["case"].model
        if not {"case", "spec"} <= set(row) or SPECS[row["spec"]].kind in row["case"].kinds:
            yield row


def _names(argnames: str | Sequence[str]) -> Sequence[str]:
    return argnames.replace(" ", "").split(",") if isinstance(argnames, str) else argnames


def _id(value: Any) -> str:
    return str(getattr(value, "__name__", value)).removeprefix("check_")


def random_batch(
    spec: ObservationSpec, lengths: tuple[int, ...] = (7, 4, 1, 7), *, missing: bool = False, seed: int = 1
) -> SequenceBatch:
    """That of `zforcing.testing`, of four sequences."""
    return batches.random_batch(spec, lengths, missing=missing, seed=seed)


def observations(spec: ObservationSpec, *shape: int) -> torch.Tensor:
    """Random observations [*shape, D], or [*shape] for categories, from torch's global generator."""
    if spec.kind == "categorical":
        return torch.randint(spec.size, shape)
    if spec.columns is not None:
        return batches._observations(spec, *shape, generator=torch.default_generator)
    x = torch.randn(*shape, spec.size)
    return (x > 0).to(x.dtype) if spec.kind == "binary" else x


def walking(model: SequenceModel) -> SequenceModel:
    """The model, run by its contract, where the path isn't the point: tests/test_backends.py compares both."""
    model.backend = "reference"
    return model


def draw_noise(model: SequenceModel, batch: SequenceBatch, seed: int = 2) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(*batch.x.shape[:2], model.latent_size)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return Path(__file__).parent / "data"
