"""Tables of runs: known rows, what may stand side by side, and files that are damaged."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml
from rich.console import Console

from zforcing import UserError
from zforcing.bounds import Bound
from zforcing.evaluation.evaluation import Evaluation
from zforcing.evaluation.likelihood import settings_of
from zforcing.evaluation.rows import RunRow, read_rows
from zforcing.evaluation.side_by_side import to_markdown, to_terminal
from zforcing.report.sections.likelihood import HERE, evaluations
from zforcing.report.subject import Subject
from zforcing.saving.digests import SUMS

EVALUATION = Evaluation(
    model="zforcing",
    data="digits",
    split="test",
    bound="elbo",
    kind="lower bound",
    particles=1,
    repeats=1,
    nats_per_sequence=-10.0,
    standard_error=0.256,
    noise_error=None,
    nats_per_step=-2.5,
    nats_per_step_of_sequences=-2.4,
    bits_per_dim=3.60674,
    perplexity=None,
    kl_per_sequence=1.5,
    raw_nats_per_sequence=None,
    normalization_std=None,
    nats_per_half_second=None,
    raw_nats_per_half_second=None,
    bits_per_sample=None,
    true_nats_per_sequence=None,
    num_sequences=3,
    num_steps=12,
    num_dims=12,
    num_skipped=0,
    num_unknown=None,
    remark="",
    first_observation="scored",
    sample_rate=None,
    chunk_steps=None,
    look_ahead=None,
    data_fingerprint="0123456789ab",
    seed=0,
).to_json()
STARTED = "2026-01-01T00:00:00+0000"
ENVIRONMENT = {
    "started": STARTED,
    "command": ["zforcing", "train", "my recipe.yaml"],
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "processor": "EPYC",
    "device": "cpu",
    "threads": 1,
}


def write(folder: Path, name: str, *, recipe: str = "a", seconds: float = 60.4, **changes: Any) -> Path:
    """A run's folder, as far as tables read it."""
    run = folder / name
    last = run / "checkpoints" / "last"
    last.mkdir(parents=True)
    (run / "evaluation-test-elbo.json").write_text(json.dumps(EVALUATION | changes))
    (last / "training.json").write_text(json.dumps({"seconds": seconds, "step": 120, "epoch": 3}))
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (run / "config.yaml").write_text(yaml.safe_dump({"recipe": recipe}))
    return run


def rows(*runs: Path) -> list[RunRow]:
    return read_rows(runs, split="test", bound="elbo")


def refused(*runs: Path, bound: str = "elbo") -> str:
    with pytest.raises(UserError) as error:
        read_rows(runs, split="test", bound=bound)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- known rows


def test_a_page_of_known_rows(tmp_path: Path) -> None:
    exact = {"model": "rnn", "kind": "exact", "kl_per_sequence": 0, "standard_error": None}
    found = rows(
        write(tmp_path, "a0"),
        write(tmp_path, "a1", nats_per_sequence=-13.0, kl_per_sequence=2.5, seconds=20.0),
        write(tmp_path, "b0", recipe="b", particles=8, kind="estimate", bound="importance"),
        write(tmp_path, "c0", recipe="c", **exact),
        write(tmp_path, "c1", recipe="c", nats_per_sequence=-11, **exact),
    )
    page = to_markdown(found, dim="pixel", command="zforcing table 'a 0'").split("\n")
    assert page[:5] == [
        "# digits, test split: 3 sequences, 12 steps",
        "",
        "Made by `zforcing table 'a 0'`.",
        "log p(x) of the data in nats: higher is better; ± is the standard error over sequences.",
        "",
    ]
    assert page[5:12] == [
        "| run | model | kind | log p(x), nats per sequence | bits per pixel | KL, nats | seconds |",
        "|---|---|---|---:|---:|---:|---:|",
        "| a0 | zforcing | ≥ elbo | -10.00 ± 0.26 | 3.6067 | 1.50 | 60 |",
        "| a1 | zforcing | ≥ elbo | -13.00 ± 0.26 | 3.6067 | 2.50 | 20 |",
        "| b0 | zforcing | ≈ importance 8 | -10.00 ± 0.26 | 3.6067 | 1.50 | 60 |",
        "| c0 | rnn | exact | -10.00 | 3.6067 | - | 60 |",
        "| c1 | rnn | exact | -11.00 | 3.6067 | - | 60 |",
    ]
    assert page[12:17] == [  # the standard deviation of -10 and -13 is 3 / sqrt 2; b has one run
        "",
        "| recipe | kind | runs | log p(x), mean over runs ± their standard deviation | KL, nats | seconds |",
        "|---|---|---:|---:|---:|---:|",
        "| a | ≥ elbo | 2 | -11.50 ± 2.12 | 2.00 | 40 |",
        "| c | exact | 2 | -10.50 ± 0.71 | - | 60 |",
    ]
    assert page[17:21] == [
        "",
        "| run | trained by | on | started | versions |",
        "|---|---|---|---|---|",
        f"| a0 | `zforcing train 'my recipe.yaml'` | EPYC, cpu, threads 1 | {STARTED} | python 3.11.7, torch 2.13.0 |",
    ]
    assert len(page) == 25


def test_the_process_that_made_the_data_stands_last(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a0", true_nats_per_sequence=-6.0))
    lines = to_markdown(found, dim="pixel", command="").split("\n")
    bits = 6 * 3 / (12 * math.log(2))
    assert f"| truth | the process | exact | -6.00 | {bits:.4f} | - | - |" in lines
    assert "truth" not in to_markdown(rows(write(tmp_path, "b0")), dim="pixel", command="")


def test_runs_of_one_recipe_with_other_settings_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    runs = [write(tmp_path, name) for name in ("a0", "a1", "b0", "b1")]
    for seed, run in enumerate(runs):
        model = {"name": "zforcing", "posterior": "parallel" if seed > 1 else "recurrent", "hidden_size": 8}
        (run / "config.yaml").write_text(
            yaml.safe_dump({"recipe": "a", "seed": seed, "about": run.name, "model": model})
        )
    page = to_markdown(rows(*runs), dim="dim", command="")
    assert "| a, model.posterior recurrent | ≥ elbo | 2 |" in page
    assert "| a, model.posterior parallel | ≥ elbo | 2 |" in page


def test_recipes_with_one_run_have_no_mean(tmp_path: Path) -> None:
    page = to_markdown(rows(write(tmp_path, "a0"), write(tmp_path, "b0", recipe="b")), dim="dim", command="")
    assert "| recipe |" not in page


def test_names_of_runs_are_no_markup(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a[b]|c"))
    out = io.StringIO()
    Console(file=out, width=120).print(to_terminal(found))
    assert "a[b]|c" in out.getvalue()
    assert "| a[b]\\|c | zforcing |" in to_markdown(found, dim="dim", command="")


def test_a_run_that_is_named_by_a_dot_has_its_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, "a0"))
    assert rows(Path())[0].run == "a0"


def test_json_has_the_evaluation_and_where_it_ran(tmp_path: Path) -> None:
    (row,) = rows(write(tmp_path, "a0"))
    run = {"run": "a0", "recipe": "a", "seconds": 60.4, "cpu_seconds": 0.0, "updates": 120, "epochs": 3}
    run |= {"environment": ENVIRONMENT, "settings": {}, "curve": []}
    assert row.to_json() == run | EVALUATION | {"checkpoint": "best"}
    assert RunRow.from_json(json.loads(json.dumps(row.to_json()))) == row


# ---- what may stand side by side


def test_runs_on_other_sequences_or_in_other_units_are_refused(tmp_path: Path) -> None:
    said = refused(write(tmp_path, "a0"), write(tmp_path, "a1", data_fingerprint="ba9876543210"))
    for fragment in ("a0 and a1", "different sequences or in different units", "0123456789ab and ba9876543210"):
        assert fragment in said


@pytest.mark.parametrize("name", ["num_sequences", "num_steps", "num_dims"])
def test_other_counts_are_named_alone(tmp_path: Path, name: str) -> None:
    said = refused(write(tmp_path, "a0"), write(tmp_path, "a1", data_fingerprint="ba9876543210", **{name: 7}))
    assert said.endswith(f"{name} {EVALUATION[name]} and 7")


# ---- files


def test_an_evaluation_without_a_fingerprint_must_be_made_again(tmp_path: Path) -> None:
    run = write(tmp_path, "a 0")
    old = {k: v for k, v in EVALUATION.items() if k != "data_fingerprint"}
    (run / "evaluation-test-elbo.json").write_text(json.dumps(old))
    said = refused(run)
    for fragment in (
        "evaluation-test-elbo.json is damaged or of an older zforcing (the evaluation has no data_fingerprint)",
        f"run `zforcing evaluate '{run}' --split test --bound elbo`",
    ):
        assert fragment in said


ADDED = {"baselines", "bound_settings", "shared_error", "parameters", "infers_latents"}  # files of before lack them


@pytest.mark.parametrize("name", sorted(set(EVALUATION) - ADDED))
def test_an_evaluation_without_a_field_names_file_and_field(tmp_path: Path, name: str) -> None:
    run = write(tmp_path, "a0")
    without, wrong = {k: v for k, v in EVALUATION.items() if k != name}, EVALUATION | {name: ["x"]}
    for values, problem in ((without, f"has no {name})"), (wrong, f"evaluation.{name} is ['x']; it must be ")):
        (run / "evaluation-test-elbo.json").write_text(json.dumps(values))
        message = refused(run)
        assert message.startswith(f"{run / 'evaluation-test-elbo.json'} is damaged or of an older zforcing (")
        assert problem in message
        assert "zforcing evaluate" in message


def test_an_evaluation_is_what_it_was_after_its_json() -> None:
    evaluation = Evaluation.from_json(EVALUATION | {"checkpoint": "best"})
    assert evaluation.to_json() == EVALUATION


@pytest.mark.parametrize("wrong", [None, ["chains"], "chains", 5, {"chains": [1]}])
def test_what_a_bound_was_told_is_numbers_and_words_by_name(wrong: object) -> None:
    with pytest.raises(UserError, match=r"^evaluation\.bound_settings is .*; it must be numbers and words by name$"):
        Evaluation.from_json(EVALUATION | {"bound_settings": wrong})


def test_what_any_bound_was_told_can_be_read_again() -> None:
    told = settings_of(cast(Bound, SimpleNamespace(limit=math.inf, count=np.int64(5), name="mine", of=[1, 2])))
    assert told == {"limit": "inf", "count": 5, "name": "mine", "of": "[1, 2]"}
    evaluation = Evaluation.from_json(EVALUATION | {"bound_settings": json.loads(json.dumps(told, allow_nan=False))})
    assert evaluation.bound_settings == told
    assert hash(evaluation) == hash(Evaluation.from_json(EVALUATION))


def test_every_problem_of_an_evaluation_is_named_at_once() -> None:
    with pytest.raises(UserError) as error:
        Evaluation.from_json(EVALUATION | {"seed": "0", "kind": "guess", "num_dims": True, "bits_per_dim": math.inf})
    for name in ("seed is '0'", "kind is 'guess'", "num_dims is True", "bits_per_dim is inf"):
        assert f"evaluation.{name}; it must be" in str(error.value)


def test_a_kind_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "kind is 'guess'" in refused(write(tmp_path, "a0", kind="guess"))


def test_a_missing_evaluation_says_how_to_make_it(tmp_path: Path) -> None:
    run = write(tmp_path, "a0")
    said = refused(run, bound="iwae5")
    assert said.startswith(f"{run / 'evaluation-test-iwae5.json'} is missing")
    assert "--bound iwae --particles 5`" in said


DAMAGED = ["", "{", "[1]", "null", "{}", '{"seconds": NaN, "processor": NaN, "model": NaN}', "\x80"]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize(
    "name", ["evaluation-test-elbo.json", "checkpoints/last/training.json", "environment.json", "config.yaml"]
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    run = write(tmp_path, "a0")
    (run / name).write_text(content, "latin-1")
    assert refused(run).startswith(str(run / name))


@pytest.mark.parametrize("name", ["checkpoints/last/training.json", "environment.json", "config.yaml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    run = write(tmp_path, "a0")
    (run / name).unlink()
    assert refused(run).startswith(f"{run / name} is missing")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "no such run folder" in refused(tmp_path / "nowhere")


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    assert "NaN is not JSON" in refused(write(tmp_path, "a0", perplexity=math.nan))


def test_settings_are_those_that_the_checkpoint_was_trained_with(tmp_path: Path) -> None:
    run = write(tmp_path, "a0", recipe="edited")
    assert rows(run)[0].recipe == "edited"  # of before checkpoints had them
    trained = run / "checkpoints" / "last" / "training.json"
    settings = {"recipe": "a", "training": {"batch_size": 7}}
    trained.write_text(json.dumps(json.loads(trained.read_text()) | {"settings": settings}))
    assert (rows(run)[0].recipe, rows(run)[0].settings["training.batch_size"]) == ("a", 7)


def test_numbers_of_weights_that_are_gone_are_in_no_table_and_no_report(tmp_path: Path) -> None:
    run = write(tmp_path, "a0", weights="0" * 64, checkpoint="best")
    best = run / "checkpoints" / "best"
    best.mkdir()
    (best / "model.safetensors").write_bytes(b"others")
    assert "evaluation-test-elbo.json is of weights that the run doesn't have any more" in refused(run)
    subject = cast(Subject, SimpleNamespace(trained=SimpleNamespace(folder=run)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[evaluations.__module__], "measured", lambda of: of)
        assert evaluations(subject) == [(subject, HERE)]
    (best / SUMS).write_text(f"{'0' * 64}  model.safetensors\n")
    assert [name for _, name in evaluations(subject)] == ["evaluation-test-elbo.json"]


def test_a_crash_between_two_checkpoints_leaves_the_old_one_to_read(tmp_path: Path) -> None:
    run = write(tmp_path, "a0", seconds=12.0)
    (run / "checkpoints" / "last").rename(run / "checkpoints" / "last.old")
    assert rows(run)[0].seconds == 12
