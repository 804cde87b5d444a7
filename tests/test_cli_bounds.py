"""evaluate and train with every bound, as a user runs them, on data whose likelihood is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zforcing.cli import main

DATA = ["--data.train", "20", "--data.valid", "10", "--data.test", "30", "--data.steps", "5"]
TINY = [*DATA, "--training.epochs", "1", "--training.batch_size", "10", "--device", "cpu"]
NAMES = ["elbo", "iwae", "fivo", "importance", "exact"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def zf(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def lgssm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear-Gaussian model that is the process itself: no training could make its likelihood better."""
    torch.set_default_dtype(torch.float32)
    run = tmp_path_factory.mktemp("runs") / "lgssm"
    true = ["--model.system_seed", "1", "--training.learning_rate", "1e-9", "--training.min_learning_rate", "1e-9"]
    assert main(["train", "lgssm-exact", "--run-dir", str(run), *TINY, *true]) == 0
    return run


def measure(zf: Callable[..., tuple[int, str, str]], run: Path, *words: object) -> dict[str, Any]:
    code, out, err = zf("evaluate", run, "--json", *words)
    assert code == 0, err
    return json.loads(out)


def test_exact_is_the_true_likelihood_when_the_model_is_the_process(
    lgssm: Path, zf: Callable[..., tuple[int, str, str]]
) -> None:
    values = measure(zf, lgssm, "--bound", "exact")
    assert values["kind"] == "exact"
    assert abs(values["nats_per_sequence"] - values["true_nats_per_sequence"]) < 1e-3


def test_bounds_lie_below_exact_and_say_what_they_are(lgssm: Path, zf: Callable[..., tuple[int, str, str]]) -> None:
    exact = measure(zf, lgssm, "--bound", "exact")["nats_per_sequence"]
    found = {
        name: measure(zf, lgssm, "--bound", name, *(["--particles", 200] if name != "elbo" else []), "--repeats", 3)
        for name in ("elbo", "iwae", "fivo", "importance")
    }
    assert {name: values["kind"] for name, values in found.items()} == {
        "elbo": "lower bound",
        "iwae": "lower bound",
        "fivo": "lower bound",
        "importance": "estimate",
    }
    for name, values in found.items():
        assert values["repeats"] == 3
        assert values["nats_per_sequence"] < exact + 3 * values["noise_error"], name
        assert (values["nats_per_sequence"] > exact - 0.1) == (name != "elbo"), name


def test_files_of_evaluations_name_bound_and_particles(lgssm: Path, zf: Callable[..., tuple[int, str, str]]) -> None:
    measure(zf, lgssm, "--bound", "iwae", "--particles", 5)
    measure(zf, lgssm, "--bound", "fivo", "--split", "valid")
    assert (lgssm / "evaluation-test-iwae5.json").is_file()
    assert (lgssm / "evaluation-valid-fivo8.json").is_file()
    code, out, _ = zf("table", lgssm, "--bound", "iwae", "--particles", 5)
    assert code == 0
    assert "≥ iwae 5" in out


def test_particles_are_taken_in_parts_without_changing_the_mean(
    lgssm: Path, zf: Callable[..., tuple[int, str, str]]
) -> None:
    one, other = (
        measure(zf, lgssm, "--bound", "iwae", "--particles", 500, "--batch-size", size) for size in (1, 10**6)
    )
    assert abs(one["nats_per_sequence"] - other["nats_per_sequence"]) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_training_with_every_bound(name: str, tmp_path: Path, zf: Callable[..., tuple[int, str, str]]) -> None:
    learned = ["--model.proposal", "learned", "--model.mlp_size", "4"]
    code, _, err = zf("train", "lgssm-exact", "--bound.name", name, "--run-dir", tmp_path / "run", *TINY, *learned)
    assert code == 0, err
    values = measure(zf, tmp_path / "run", "--bound", name)
    assert values["bound"] == name


@pytest.mark.parametrize("missing", ["0", "0.3"])
@pytest.mark.parametrize("recipe", ["markov-rnn", "lgssm-fivo", "lgssm-iwae", "lgssm-exact"])
def test_recipes_on_known_processes_run_with_ragged_lengths_and_gaps(
    recipe: str, missing: str, tmp_path: Path, zf: Callable[..., tuple[int, str, str]]
) -> None:
    gaps = ["--data.shortest", "2", "--data.missing", missing]
    code, _, err = zf("train", recipe, "--run-dir", tmp_path / "run", *TINY, *gaps)
    assert code == 0, err
    values = measure(zf, tmp_path / "run", "--bound", "exact")
    assert values["true_nats_per_sequence"] < 0
    assert (values["num_dims"] < values["num_steps"] * (2 if values["data"] == "lgssm" else 1)) == (missing != "0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bound", "exact", "--particles", 3], "--particles: exact has none to choose"),
        (["--bound", "elbo", "--particles", 3], "--particles: elbo has none to choose"),
        (["--bound", "iwae", "--particles", 0], "--particles is 0"),
        (["--bound", "iwae", "--repeats", 0], "--repeats is 0"),
        (["--bound", "iwea"], "unknown --bound 'iwea'"),
    ],
)
def test_a_mistake_is_one_line(
    lgssm: Path, zf: Callable[..., tuple[int, str, str]], words: list[object], said: str
) -> None:
    code, out, err = zf("evaluate", lgssm, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_exact_for_a_model_that_has_none_is_one_line(tmp_path: Path, zf: Callable[..., tuple[int, str, str]]) -> None:
    small = ["--model.hidden_size", 4, "--model.embedding_size", 3, "--model.latent_size", 2, "--model.mlp_size", 3]
    words = ["train", "lgssm-exact", "--model.name", "zforcing", "--bound.name", "elbo", "--run-dir", tmp_path / "run"]
    assert zf(*words, *TINY, *small)[0] == 0
    code, _, err = zf("evaluate", tmp_path / "run", "--bound", "exact")
    assert code == 2
    assert "zforcing has no exact likelihood" in err
