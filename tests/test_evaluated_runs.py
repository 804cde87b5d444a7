"""Evaluating runs from Python: what the command writes, the names of bounds in files, and a paper's runs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch

from conftest import Command
from test_table import EVALUATION
from zforcing import UserError
from zforcing.bounds import AIS, BOUNDS, ELBO, FIVO, IWAE, Bound, ChunkedELBO, Exact
from zforcing.evaluation.evaluation import Evaluation
from zforcing.evaluation.measures import MEASURES, Measure
from zforcing.evaluation.paper import KnownData, PaperTable
from zforcing.evaluation.paper_runs import evaluate_runs, is_evaluated, is_finished, plan_runs, select_runs, train_runs
from zforcing.evaluation.runs import evaluate_run, name_of_own
from zforcing.evaluation.saved import evaluation_file, name_in_files, read_bound, read_evaluation, save_evaluation
from zforcing.saving.digests import digest_of
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.lock import locked
from zforcing.training.runs.recipes import merge_settings, read_recipe

TABLE = PaperTable(
    name="own", about="", sizes={"digits": "sequence"}, published_data={}, rows={"zforcing": "Z-Forcing"}, notes=()
)
SMALL = {
    "model": {"hidden_size": 4, "embedding_size": 3, "latent_size": 2, "mlp_size": 3},
    "training": {"max_steps": 2},
}


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def configure(recipe: str, *, learning_rate: float = 0.001) -> RunConfig:
    values = merge_settings(read_recipe(recipe), SMALL)
    return parse_config(values | {"training": values["training"] | {"learning_rate": learning_rate}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table's runs, of one row and two seeds: trained and evaluated, not to be changed."""
    torch.set_default_dtype(torch.float32)
    runs = tmp_path_factory.mktemp("runs")
    planned = plan_runs(TABLE, "digits", rows=["zforcing"], seeds=[0, 1], folder=runs, configure=configure)
    assert train_runs(planned, device="cpu", say=lambda line: None) == []
    return runs


# ---- one run


def test_a_run_is_evaluated_as_the_command_does(folder: Path, zf: Command) -> None:
    run = folder / "digits-zforcing-seed0"
    before = sorted(run.iterdir())
    bound = ChunkedELBO(20, 3)
    found = evaluate_run(run, bound=bound, split="valid", checkpoint="last", repeats=2, seed=5, device="cpu")
    assert sorted(run.iterdir()) == before  # nothing is written
    words = ["--chunk-steps", 20, "--look-ahead", 3, "--split", "valid", "--checkpoint", "last", "--repeats", 2]
    printed = zf("evaluate", run, *words, "--seed", 5, "--device", "cpu", "--json").json
    weights = digest_of(run / "checkpoints" / "last" / "model.safetensors")
    assert printed == found.to_json() | {"checkpoint": "last", "weights": weights}
    path = evaluation_file(run, split="valid", bound=name_in_files(bound), checkpoint="last")
    assert path.name == "evaluation-valid-elbo-chunks-of-20-ahead-3-last.json"
    assert json.loads(path.read_text()) == printed | {"sha256": ANY}
    assert read_evaluation(path, remedy="") == found


def test_progress_counts_every_sequence_of_every_repeat(folder: Path) -> None:
    totals, done = [], []

    class Counting:
        def __init__(self, what: str, total: int):
            totals.append((what, total))

        def __enter__(self) -> object:
            return done.append

        def __exit__(self, *_: object) -> None:
            pass

    run = folder / "digits-zforcing-seed0"
    found = evaluate_run(run, bound=IWAE(3), repeats=2, batch_size=300, device="cpu", counting=Counting)  # type: ignore[arg-type]  # a context manager
    assert totals == [(f"iwae3 of {run}", 2 * found.num_sequences)]
    assert len(done) > 2
    assert sum(done) == 2 * found.num_sequences


def test_data_that_is_always_readable_has_nothing_to_skip(folder: Path) -> None:
    with pytest.raises(UserError, match="for recordings and MIDI files"):
        evaluate_run(folder / "digits-zforcing-seed0", bound=ELBO(), skip_unreadable=True)


# ---- names and files


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (ELBO(), "elbo"),
        (Exact(), "exact"),
        (IWAE(25), "iwae25"),
        (FIVO(1), "fivo1"),
        (ChunkedELBO(10), "elbo"),  # the same number, in less memory
        (ChunkedELBO(10, 0), "elbo-chunks-of-10-ahead-0"),
        (AIS(), "ais100"),
        (AIS(2, validation_temperatures=3), "ais2"),  # the same number
        (AIS(chains=5), "ais100-5-chains-14500-temperatures"),
    ],
)
def test_a_bound_has_a_name_in_files_for_each_number_that_it_is(bound: Bound, name: str) -> None:
    assert name_in_files(bound) == name


def test_a_name_in_files_is_the_bound_that_was_trained_by_with_other_particles() -> None:
    trained_by = FIVO(4, threshold=0.25)
    assert read_bound("fivo16", trained_by=trained_by) == FIVO(16, threshold=0.25)
    assert read_bound("fivo", trained_by=trained_by) == trained_by
    assert read_bound("iwae2", trained_by=trained_by) == IWAE(2)
    annealed = AIS(temperatures=9)
    assert read_bound(name_in_files(annealed), trained_by=annealed) == annealed
    with pytest.raises(UserError, match="unknown bound 'fiwo16'; it is one of ais, chib, elbo"):
        read_bound("fiwo16", trained_by=trained_by)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    evaluation = Evaluation.from_json(EVALUATION)
    save_evaluation(evaluation, tmp_path / "e.json", checkpoint="last", weights="0" * 64)
    assert json.loads((tmp_path / "e.json").read_text())["checkpoint"] == "last"
    assert read_evaluation(tmp_path / "e.json", remedy="") == evaluation
    text = (tmp_path / "e.json").read_text()
    (tmp_path / "e.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match=r"e\.json can't be read \(it isn't as it was written"):
        read_evaluation(tmp_path / "e.json", remedy="")


def test_a_measure_of_no_field_is_a_mistake_of_ours() -> None:
    assert {"nats_per_sequence", "perplexity"} < {measure.field for measure in MEASURES.values()}
    with pytest.raises(AssertionError, match="names no field of Evaluation"):
        Measure("nats", "nats")


def test_known_data_says_in_what_an_evaluation_differs() -> None:
    evaluation = Evaluation.from_json(EVALUATION)
    assert KnownData(data="digits", num_steps=12).differences(evaluation) == []
    assert KnownData(data="mnist", num_dims=7).differences(evaluation) == [
        "data digits, not mnist",
        "num_dims 12, not 7",
    ]


# ---- the runs of a paper's table


def test_the_runs_of_a_table_are_trained_evaluated_and_then_left_alone(folder: Path) -> None:
    runs = [folder / f"digits-zforcing-seed{seed}" for seed in (0, 1)]
    assert [is_finished(run) for run in runs] == [True, True]
    lines: list[str] = []
    found = evaluate_runs(runs, bounds=["elbo", "iwae2"], device="cpu", say=lines.append)
    assert lines == [f"{run}: evaluating {bound}" for bound in ("elbo", "iwae2") for run in runs]
    assert [row.evaluation.particles for row in found["iwae2"]] == [2, 2]
    assert all(is_evaluated(run, "iwae2") for run in runs)
    evaluate_runs(runs, bounds=["elbo", "iwae2"], device="cpu", say=lines.append)
    assert len(lines) == 4
    of_none = evaluate_runs(runs, bounds=["elbo", "iwae3"], device="cpu", say=lines.append, recipes={"iwae3": ["a"]})
    assert [len(rows) for rows in of_none.values()] == [2, 0]


def test_a_plan_says_which_runs_go_on_and_refuses_other_settings(folder: Path) -> None:
    def plan(seeds: list[int], learning_rate: float) -> list[tuple[str, bool]]:
        chosen = partial(configure, learning_rate=learning_rate)
        planned = plan_runs(TABLE, "digits", rows=["zforcing"], seeds=seeds, folder=folder, configure=chosen)
        return [(run.folder.name, run.begun) for run in planned]

    assert plan([1, 2], 0.001) == [("digits-zforcing-seed1", True), ("digits-zforcing-seed2", False)]
    with pytest.raises(UserError, match=r"training.learning_rate was 0.001, is 0.5: give the same settings"):
        plan([1], 0.5)
    with pytest.raises(UserError, match=r"can't differ in training.learning_rate 0.5 and 0.001 \(digits-zforcing\)"):
        plan([2], 0.5)


def test_a_seed_that_no_generator_takes_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="seed is -1"):
        plan_runs(TABLE, "digits", rows=["zforcing"], seeds=[-1], folder=folder, configure=configure)


def test_runs_are_selected_by_whole_names_of_recipes_and_seeds() -> None:
    names = ["a-seed1", "a-seed11", "a-b-seed1", "c-seed1"]
    runs = [Path(name) for name in names]
    assert [run.name for run in select_runs(runs, recipes=["a", "c"], seeds=[1])] == ["a-seed1", "c-seed1"]
    assert [run.name for run in select_runs(runs, recipes=["a"], seeds=[])] == ["a-seed1", "a-seed11"]


def test_a_diverged_run_is_told_and_the_next_one_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zforcing.training.runs import run as training

    trained: list[int] = []

    def train(config: RunConfig, run: Path, **_: object) -> None:
        if config.seed == 7:
            raise training.Diverged("no finite loss")
        trained.append(config.seed)

    monkeypatch.setattr(training, "train", train)
    planned = plan_runs(TABLE, "digits", rows=["zforcing"], seeds=[7, 8], folder=folder, configure=configure)
    lines: list[str] = []
    assert train_runs(planned, device="cpu", say=lines.append) == [folder / "digits-zforcing-seed7"]
    assert trained == [8]
    assert lines[1] == "zforcing: no finite loss"


def test_the_name_of_a_bound_of_ones_own_may_end_in_a_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Second(IWAE):
        name = "iwae2b2"

    monkeypatch.setattr(BOUNDS, "_classes", dict(BOUNDS._classes))
    BOUNDS.add(Second)
    assert read_bound("iwae2b2", trained_by=ELBO()) == Second()
    assert read_bound("iwae2b216", trained_by=ELBO()) == Second(16)
    assert read_bound("iwae216", trained_by=ELBO()) == IWAE(216)


# ---- several processes


def test_a_run_that_another_process_trains_is_passed_over_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zforcing.training.runs import run as training

    trained: list[int] = []
    others = ExitStack()

    def train(config: RunConfig, run: Path, **_: object) -> None:
        with locked(run):
            trained.append(config.seed)
            if config.seed == 3:
                others.close()  # the other process ends meanwhile

    monkeypatch.setattr(training, "train", train)
    others.enter_context(locked(tmp_path / "digits-zforcing-seed1"))
    planned = plan_runs(TABLE, "digits", rows=["zforcing"], seeds=[1, 2, 3], folder=tmp_path, configure=configure)
    lines: list[str] = []
    assert train_runs(planned[:2], device="cpu", say=lines.append) == []
    assert trained == [2]
    assert lines[-1] == "other processes still train digits-zforcing-seed1; the last one ends with all"
    assert train_runs(planned, device="cpu", say=lines.append) == []
    assert trained == [2, 2, 3, 1]


def test_a_table_isnt_trained_by_processes_together(zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert "without torchrun" in zf("table", "speech").err


@pytest.mark.parametrize(
    ("file", "name"), [("recordings/test", "recordings/test"), ("a/b/test.csv", "test.csv"), ("a/others", "others")]
)
def test_a_folder_called_as_a_split_is_not_taken_for_it(file: str, name: str) -> None:
    assert name_of_own(file) == name
