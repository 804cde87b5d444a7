"""What all tests share: float64, torch's argument checks on, small models of every kind, batches with known holes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from zforcing import MODELS, Generated, ObservationSpec, SequenceBatch, SequenceModel
from zforcing.cli import main
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
    {"cell": "layer_norm"},
    {"posterior": "parallel"},
    {"posterior": "parallel", "cell": "layer_norm"},
    {"posterior": "parallel", "latents_see_input": True},
    {"latent_clamp": None, "auxiliary_clamp": None, "activation_clamp": None},
]
# few ReLUs may all be off at once
VRNN_SIZE = {"hidden_size": 6, "latent_size": 3, "feature_size": 9, "mlp_size": 9, "mlp_layers": 1}
SRNN_SIZE = {"hidden_size": 6, "latent_size": 3, "embedding_size": 4, "mlp_size": 5, "mlp_layers": 1}
CASES = [
    Case("rnn", RNN_SIZE),
    Case("rnn", RNN_SIZE | {"num_layers": 2}),
    Case("rnn", RNN_SIZE | {"output_skip": False}),
    Case("rnn", {"hidden_size": 6, "embedding_size": 12, "feature_layers": 2}, kinds=("real",)),
]
CASES += [Case("zforcing", ZF_SIZE | options) for options in ZF_OPTIONS]
CASES += [
    Case("vrnn", VRNN_SIZE),
    Case("srnn", SRNN_SIZE | {"mlp_layers": 2}),
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


OF_OPTIONS = ("real", "conditioned with gaps", "categorical with gaps")


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
    """`case`: all models; `case` and `spec`: each model's first case with all observations that it emits; the others,
    which differ in an option, with plain ones and those that have everything (gaps, a first one conditioned on).
    """
    if "case" not in metafunc.fixturenames:
        return
    if "spec" in metafunc.fixturenames:
        first = {case.model: case for case in reversed(CASES)}
        fitting = [
            (case, spec)
            for case in CASES
            for spec in (SPECS if case is first[case.model] else OF_OPTIONS)
            if SPECS[spec].kind in case.kinds
        ]
        ids = [f"{case}-{spec}" for case, spec in fitting]
        metafunc.parametrize(("case", "spec"), [(case, SPECS[spec]) for case, spec in fitting], ids=ids)
    elif not any(mark.args[0] == "case" for mark in metafunc.definition.iter_markers("parametrize")):
        metafunc.parametrize("case", CASES, ids=str)


def random_batch(
    spec: ObservationSpec, lengths: tuple[int, ...] = (7, 4, 1, 7), *, missing: bool = False, seed: int = 1
) -> SequenceBatch:
    """That of `zforcing.testing`, of four sequences."""
    return batches.random_batch(spec, lengths, missing=missing, seed=seed)


def observations(spec: ObservationSpec, *shape: int) -> torch.Tensor:
    """Random observations [*shape, D], or [*shape] for categories, from torch's global generator."""
    if spec.kind == "categorical":
        return torch.randint(spec.size, shape)
    x = torch.randn(*shape, spec.size)
    return (x > 0).to(x.dtype) if spec.kind == "binary" else x


def draw_noise(model: SequenceModel, batch: SequenceBatch, seed: int = 2) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(*batch.x.shape[:2], model.latent_size)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return Path(__file__).parent / "data"
