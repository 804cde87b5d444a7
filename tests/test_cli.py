"""The commands as a user runs them: what they print, what they write, and one line with exit code 2 for a mistake."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import zforcing
from conftest import Command, metrics_of
from zforcing.cli import main
from zforcing.saving.atomic import parse_json, with_digest

EVALUATION = [
    "model",
    "data",
    "split",
    "bound",
    "kind",
    "particles",
    "nats_per_sequence",
    "standard_error",
    "nats_per_step",
    "bits_per_dim",
    "kl_per_sequence",
    "num_sequences",
    "num_steps",
    "seed",
]
SMALL = ["--model.hidden_size", "8", "--model.embedding_size", "4", "--training.epochs", "1", "--device", "cpu"]
SMALL_ZFORCING = [*SMALL, "--model.latent_size", "2", "--model.mlp_size", "4"]


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs on digits, evaluated: what the other tests read."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_default_dtype(torch.float32)
    assert main(["train", "digits-rnn", "--run-dir", str(folder / "rnn"), *SMALL]) == 0
    assert main(["train", "digits-zforcing-aux", "--run-dir", str(folder / "zf"), *SMALL_ZFORCING]) == 0
    assert main(["evaluate", str(folder / "rnn")]) == 0
    assert main(["evaluate", str(folder / "zf")]) == 0
    return folder


def test_train_writes_a_run_folder_that_repeats_the_run(runs: Path) -> None:
    names = {str(p.relative_to(runs / "zf")) for p in (runs / "zf").rglob("*") if p.is_file()}
    model, training = {"model.safetensors", "config.json"}, {"training.safetensors", "training.json", "splits.json"}
    checkpoint = model | training | {"SHA256SUMS"}
    expected = {"config.yaml", "metrics.jsonl", "environment.json", "evaluation-test-elbo.json"}
    assert names == expected | {f"checkpoints/{which}/{file}" for which in ("best", "last") for file in checkpoint}
    versions = json.loads((runs / "zf" / "environment.json").read_text())["versions"]
    assert versions["torch"].startswith(torch.__version__.split("+")[0])


def test_a_runs_config_repeats_it_bit_for_bit(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("train", runs / "zf" / "config.yaml", "--run-dir", tmp_path / "again", "--json", "--device", "cpu")
    assert result.code == 0
    one, other = (zforcing.load(path).state_dict() for path in (runs / "zf", tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics_of(runs / "zf") == metrics_of(tmp_path / "again")


def test_a_recipes_name_is_enough(tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(
        "data: {name: digits}\nmodel: {name: rnn, hidden_size: 4, embedding_size: 2}\ntraining: {max_steps: 1}\n"
    )
    assert zf("train", "tiny.yaml").code == 0
    assert (tmp_path / "runs" / "tiny" / "config.yaml").is_file()


def test_train_json_is_one_object_on_stdout(tmp_path: Path, zf: Command) -> None:
    result = zf("train", "digits-rnn", "--run-dir", tmp_path / "run", "--json", *SMALL, "--training.max_steps=2")
    assert result.code == 0
    assert result.json["updates"] == 2
    assert result.json["finished"] == "max_steps 2"
    assert "validation" in result.err


@pytest.mark.parametrize(("run", "model", "kind"), [("rnn", "rnn", "exact"), ("zf", "zforcing", "lower bound")])
def test_evaluate_json_has_what_the_design_names(runs: Path, zf: Command, run: str, model: str, kind: str) -> None:
    values = zf("evaluate", runs / run, "--json").json
    assert set(EVALUATION) <= set(values)
    assert (values["model"], values["kind"], values["data"], values["split"]) == (model, kind, "digits", "test")
    assert (values["num_sequences"], values["num_steps"], values["num_dims"]) == (300, 19200, 19200)
    assert math.isclose(values["bits_per_dim"], -values["nats_per_sequence"] / 64 / math.log(2))
    assert math.isclose(values["nats_per_step"], values["nats_per_sequence"] / 64)
    assert -64 * math.log(2) * 1.1 < values["nats_per_sequence"] < -15
    assert (values["kl_per_sequence"] == 0) == (model == "rnn")


def test_evaluate_repeats_itself_and_its_noise_follows_the_seed(runs: Path, zf: Command) -> None:
    values = [zf("evaluate", runs / "zf", "--json", "--seed", seed).json["nats_per_sequence"] for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_evaluate_doesnt_depend_on_the_batch_size_for_exact_models(runs: Path, zf: Command) -> None:
    one, other = (zf("evaluate", runs / "rnn", "--json", "--batch-size", size).json for size in (7, 300))
    assert math.isclose(one["nats_per_sequence"], other["nats_per_sequence"], rel_tol=1e-6)


def test_evaluates_valid_split_is_what_training_logged(runs: Path, zf: Command) -> None:
    rows = [json.loads(line) for line in (runs / "rnn" / "metrics.jsonl").read_text().splitlines()]
    best = max(row["nats_per_sequence"] for row in rows if row["event"] == "validation")
    measured = zf("evaluate", runs / "rnn", "--split", "valid", "--json").json["nats_per_sequence"]
    assert math.isclose(best, measured, rel_tol=1e-6)


def test_sample_writes_arrays_and_a_picture(runs: Path, tmp_path: Path, zf: Command) -> None:
    result = zf("sample", runs / "zf", "--num", 9, "--out", tmp_path, "--seed", 3, "--json")
    arrays, picture = map(Path, result.json["files"])
    with np.load(arrays) as drawn:
        assert drawn["x"].shape == (9, 64, 1)
        assert set(np.unique(drawn["x"])) <= {0.0, 1.0}
        assert drawn["latents"].shape == (9, 64, 2)
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    from matplotlib.image import imread

    assert imread(picture).shape[:2] == ((3 * 9 + 1) * 8, (3 * 9 + 1) * 8)  # 3 x 3 images of 8 pixels, enlarged 8 times


def test_sample_repeats_itself_and_follows_the_seed(runs: Path, tmp_path: Path, zf: Command) -> None:
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        files = zf("sample", runs / "zf", "--out", tmp_path / name, "--seed", seed, "--num", 4, "--json").json["files"]
        with np.load(files[0]) as arrays:
            drawn.append(arrays["x"])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_table_compares_evaluated_runs_with_their_kind(runs: Path, zf: Command) -> None:
    text = zf("table", runs / "zf", runs / "rnn").out
    assert "exact" in text
    assert "≥" in text
    assert "300 sequences" in text
    rows = zf("table", runs / "zf", runs / "rnn", "--json").json["rows"]
    assert [row["run"] for row in rows] == ["zf", "rnn"]
    assert rows[0]["seconds"] > 0


def test_table_refuses_runs_measured_on_different_things(runs: Path, tmp_path: Path, zf: Command) -> None:
    shutil.copytree(runs / "rnn", tmp_path / "other")
    path = tmp_path / "other" / "evaluation-test-elbo.json"
    path.write_text(with_digest(parse_json(path.read_text()) | {"num_steps": 5}))
    result = zf("table", runs / "rnn", tmp_path / "other")
    assert result.code == 2
    assert "num_steps 19200 and 5" in result.err


def test_info_says_what_a_run_holds(runs: Path, zf: Command) -> None:
    values = zf("info", runs / "zf", "--json").json
    assert values["model"] == "zforcing"
    assert values["latent_size"] == 2
    assert values["evaluations"] == ["evaluation-test-elbo.json"]
    assert "parameters" in zf("info", runs / "rnn").out


def test_info_shows_how_a_runs_model_runs(runs: Path, zf: Command) -> None:
    shown = zf("info", runs / "zf", "--plan")
    assert shown.code == 0
    assert "loop over h, c; a step is" in shown.out
    assert "backward_lstm" not in shown.out  # the context is given
    assert zf("info", runs / "zf", "--plan", "--json").json == {"plan": shown.out.removesuffix("\n")}


def test_recipes_are_listed_with_what_they_are_about(zf: Command) -> None:
    known = zf("recipes", "--json").json
    assert {"digits-zforcing-aux", "digits-zforcing", "digits-rnn"} <= set(known)
    text = zf("recipes").out
    assert all(name in text and recipe["about"] in text for name, recipe in known.items())


def test_print_config_shows_the_whole_configuration_and_reads_back(tmp_path: Path, zf: Command) -> None:
    printed = zf("train", "digits-zforcing-aux", "--print_config", "--weights.kl.start", "0.5", "--seed", "7").out
    values = yaml.safe_load(printed)
    assert values["weights"]["kl"]["start"] == 0.5
    assert values["seed"] == 7
    assert values["model"]["latent_clamp"] == 8.0  # defaults too
    (tmp_path / "mine.yaml").write_text(printed)
    assert zf("train", tmp_path / "mine.yaml", "--print_config").out == printed


@pytest.mark.parametrize("words", [["--weights.kl", "0.5"], ["--weights.kl=0.5"]])
def test_a_number_stands_for_a_constant_schedule(words: list[str], tmp_path: Path, zf: Command) -> None:
    expected = {"start": 0.5, "end": None, "per_step": 0.0, "period": None}
    on_the_line = yaml.safe_load(zf("train", "arrays-zforcing-aux", *words, "--print_config").out)
    assert on_the_line["weights"]["kl"] == expected
    (tmp_path / "mine.yaml").write_text("data: {name: digits}\nmodel: {name: rnn}\nweights: {kl: 0.5}\n")
    in_the_file = yaml.safe_load(zf("train", tmp_path / "mine.yaml", "--print_config").out)
    assert in_the_file["weights"]["kl"] == expected


def test_another_model_can_be_named_for_a_recipe(zf: Command) -> None:
    result = zf("train", "digits-zforcing-aux", "--model.name", "rnn", "--print_config")
    values = yaml.safe_load(result.out)["model"]
    assert values["name"] == "rnn"
    assert values["hidden_size"] == 128
    assert "latent_size" in result.err  # what the RNN has no use for is said


def test_help_names_settings_with_the_recipes_values(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "digits-zforcing", "--help"])
    text = " ".join(capfd.readouterr().out.split())
    assert caught.value.code == 0
    assert "--model.hidden_size N units of the forward and of the backward LSTM (default: 128)" in text
    assert "--model.latent_clamp" not in text


def test_help_lists_no_option_that_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "digits-zforcing", "--help-all"], ["bench", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        text = " ".join(capfd.readouterr().out.split())
        assert "CONFIG" not in text.replace("--print-config", "")
    with pytest.raises(SystemExit):
        main(["train", "digits-zforcing", "--help-all"])
    assert "--weights.kl NUMBER the same at every step" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    "words", [["--threads", "2", "--backend", "reference"], ["--threads=2", "--backend=reference"]]
)
def test_threads_and_backend_are_short_for_settings_of_training(words: list[str], zf: Command) -> None:
    training = zf("train", "digits-rnn", *words, "--print_config", "--json").json["training"]
    assert (training["threads"], training["backend"]) == (2, "reference")


def test_evaluate_and_sample_use_the_threads_asked_for(
    runs: Path, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    set_threads = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda n: (used.append(n), set_threads(n)))
    before = torch.get_num_threads()
    assert zf("evaluate", runs / "zf", "--threads", 3, "--split", "valid").code == 0
    assert zf("sample", runs / "zf", "--threads", 3, "--num", 1, "--out", tmp_path).code == 0
    assert used == [3, before, 3, before]


def test_both_backends_evaluate_to_the_same_number(runs: Path, zf: Command) -> None:
    fast, slow = (
        zf("evaluate", runs / "zf", "--split", "valid", "--backend", backend, "--json").json
        for backend in ("fast", "reference")
    )
    assert math.isclose(fast["nats_per_sequence"], slow["nats_per_sequence"], rel_tol=1e-6)


BENCH = ["bench", "frames", "--repeats", "1", "--device", "cpu", "--model.hidden_size", "4"]


def test_bench_json_is_one_object_on_stdout(zf: Command) -> None:
    result = zf(*BENCH, "--model.latent_size=2", "--model.posterior", "parallel", "--threads", "1", "--json")
    assert result.code == 0
    assert result.err == ""
    (size,) = result.json["sizes"]
    assert (size["name"], size["threads"]) == ("frames", 1)
    assert size["settings"]["hidden_size"] == 4  # as asked for
    assert size["settings"]["mlp_size"] == 512  # as the size says
    assert size["settings"]["posterior"] == "parallel"
    assert "threads" not in result.json["machine"]


@pytest.mark.slow
def test_bench_takes_another_model_and_tells_how_it_was_measured(zf: Command) -> None:
    words = [*BENCH, "--model", "rnn", "--model.embedding_size", "2", "--precision", "bfloat16", "--seed", "3"]
    said = zf(*words)
    assert said.code == 0
    assert "bfloat16" in said.out
    assert "rnn, backend fast, seed 3, 1 repeats" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    assert f"Made by `zforcing {' '.join(words)} --markdown`." in zf(*words, "--markdown").out


def test_who_reads_no_further_ends_the_command_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "zforcing", "recipes"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_misspelt_table_is_named(zf: Command) -> None:
    said = zf("table", "musik").mistake
    assert "no such run folder: musik; neither musik nor runs/musik is in " in said
    assert said.endswith("; the tables of papers are imdb, mnist, music, speech (did you mean music?)")


def test_no_command_and_help_list_the_commands(zf: Command) -> None:
    for words in ([], ["--help"]):
        result = zf(*words)
        assert result.code == 0
        assert all(name in result.out for name in ("train", "evaluate", "sample", "recipes", "info", "table", "bench"))
    assert zf("--version").out.startswith("zforcing ")


# what was given, and what the line must name: the setting, the file or the word that was meant, however it says so
MISTAKES = [
    (["nothing"], "nothing"),
    (["train"], "recipe"),
    (["train", "digits-rn"], "digits-rnn"),
    (["train", "nowhere.yaml"], "nowhere.yaml"),
    (["train", "digits-rnn", "--model.name", "rn"], "model.name"),
    (["train", "digits-rnn", "--data.name", "digit"], "data.name"),
    (["train", "digits-rnn", "--model.hiden_size", "3"], "model.hidden_size"),
    (["train", "digits-rnn", "--model.latent_size", "3"], "model.latent_size"),
    (["train", "digits-rnn", "--model.hidden_size", "x"], "--model.hidden_size"),
    (["train", "digits-rnn", "--model.hidden_size", "0"], "model.hidden_size"),
    (["train", "digits-rnn", "--model.dropout", "1"], "model.dropout"),
    (["train", "digits-rnn", "--training.learning_rate", "-1"], "training.learning_rate"),
    (["train", "digits-rnn", "--training.epochs", "0"], "training.epochs"),
    (["train", "digits-rnn", "--training.learning_rate", "nan"], "training.learning_rate"),
    (["train", "digits-rnn", "--model.dropout", "nan"], "model.dropout"),
    (["train", "digits-rnn", "--training.min_learning_rate", "-1"], "training.min_learning_rate"),
    (["train", "digits-rnn", "--training.threads", "1000000000000"], "training.threads"),
    (["train", "digits-rnn", "--bound.free_nats", "inf"], "bound.free_nats"),
    (["train", "digits-rnn", "--model.hidden_size", "10000000000"], "a smaller --training.batch_size; of long"),
    (["sample", "RUNS/rnn", "--num", "10000000000000"], "take a smaller --num, or fewer --steps"),
    (["evaluate", "RUNS/rnn", "--seed", "99999999999999999999999"], "--seed"),
    (["train", "digits-rnn", "--data.threshold", "17"], "data.threshold"),
    (["train", "digits-rnn", "--seed", "-1"], "seed"),
    (["train", "digits-rnn", "--weights.kl.end", "0.5"], "per_step"),
    (["train", "digits-rnn", "--device", "tpu"], "device"),
    (["train", "digits-rnn", "--threads", "0"], "training.threads"),
    (["train", "digits-rnn", "--threads=some"], "training.threads"),
    (["train", "digits-rnn", "--backend", "slow"], "training.backend"),
    (["train", "digits-rnn", "--backend", "graph", "--device", "cpu"], "CUDA"),
    (["evaluate", "RUNS/rnn", "--backend", "graph"], "--backend"),
    (["evaluate", "RUNS/rnn", "--threads", "0"], "--threads"),
    (["sample", "RUNS/rnn", "--threads", "1025"], "--threads"),
    (["bench", "pixel"], "pixels"),
    (["bench", "--model", "rn"], "--model"),
    (["bench", "--model.hiden_size", "3"], "model.hiden_size"),
    (["bench", "--model.hidden_size", "0"], "model.hidden_size"),
    (["bench", "--model", "rnn", "--model.latent_size", "3"], "model.latent_size"),
    (["bench", "--backend", "reference"], "--backend"),
    (["bench", "--backend", "graph", "--device", "cpu"], "--backend"),
    (["bench", "--precision", "float16"], "--precision"),
    (["bench", "--repeats", "0"], "--repeats"),
    (["bench", "--threads", "0"], "--threads"),
    (["bench", "--seed", "-1"], "--seed"),
    (["bench", "--device", "tpu"], "device"),
    (["bench", "frames", "--model", "linear_gaussian"], "floor"),
    (["train", "digits-rnn", "--resume"], "--resume"),
    (["train", "digits-rnn", "surplus"], "surplus"),
    (["evaluate", "nowhere"], "nowhere"),
    (["evaluate", "RUNS"], "run folder"),
    (["evaluate", "RUNS/rnn", "--split", "tests"], "--split"),
    (["evaluate", "RUNS/rnn", "--bound", "elb"], "elbo"),
    (["evaluate", "RUNS/rnn", "--batch-size", "0"], "--batch-size"),
    (["evaluate", "RUNS/rnn", "--checkpoint", "first"], "--checkpoint"),
    (["evaluate", "RUNS/rnn", "--device", "gpu"], "device"),
    (["evaluate"], "run"),
    (["evaluate", "RUNS/rnn", "--seed", "-1"], "--seed"),
    (["sample", "RUNS/rnn", "--num", "0"], "--num"),
    (["sample", "RUNS/rnn", "--steps", "0"], "--steps"),
    (["sample", "RUNS/rnn", "--num", "many"], "num"),
    (["sample", "RUNS/rnn", "--nm", "2"], "--nm"),
    (["info", "nowhere"], "nowhere"),
    (["info", "--plan"], "--plan"),
    (["table"], "runs"),
    (["table", "nowhere"], "nowhere"),
    (["table", "RUNS/rnn", "--split", "valid"], "evaluation-valid-elbo.json"),
]


@pytest.mark.parametrize(("words", "named"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    words: list[str], named: str, runs: Path, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (runs / "rnn" / "evaluation-valid-elbo.json").unlink(missing_ok=True)
    result = zf(*(word.replace("RUNS", str(runs)) for word in words))
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert named in result.err
    assert list(tmp_path.iterdir()) == []  # nothing half-written


NULLS = ["seed: null", "model: {name: rnn, hidden_size: null}", "training: {epochs: null}", "weights: {kl: null}"]


@pytest.mark.parametrize("line", NULLS)
def test_a_null_that_means_nothing_is_one_line(line: str, tmp_path: Path, zf: Command) -> None:
    values = yaml.safe_load("{data: {name: digits}, model: {name: rnn}}") | yaml.safe_load(line)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    result = zf("train", tmp_path / "mine.yaml", "--run-dir", tmp_path / "run")
    assert result.code == 2
    assert re.search(r"(seed|model\.hidden_size|training\.epochs|weights\.kl) must not be null", result.err)
    assert result.err.count("\n") == 1


def test_an_empty_section_is_its_defaults(tmp_path: Path, zf: Command) -> None:
    (tmp_path / "mine.yaml").write_text("data: {name: digits}\nmodel: {name: rnn}\ntraining:\nbound:\nweights:\n")
    printed = zf("train", tmp_path / "mine.yaml", "--print_config", "--json")
    assert printed.json["training"]["epochs"] == 100


RECIPES = [
    ("data: {name: digits}\nmodel: [1]\n", "model is"),
    ("data: {name: digits}\nmodel: {hidden_size: 3}\n", "model.name is missing"),
    ("data: {name: digits}\nmodel: {name: rnn, hiden: 3}\n", "model.hiden"),
    ("data: {name: digits}\nmodel: {name: rnn}\ntrainng: {epochs: 3}\n", "trainng.epochs"),
    ("data: {name: digits}\nmodel: {name: rnn}\ntraining: {epochs: few}\n", "training.epochs"),
    ("- 1\n", "is not a recipe"),
    ("a: [\n", "is no YAML"),
    ("", "is not a recipe"),
]


@pytest.mark.parametrize(("text", "said"), RECIPES, ids=[said for _, said in RECIPES])
def test_a_wrong_recipe_file_is_one_line(text: str, said: str, tmp_path: Path, zf: Command) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    result = zf("train", path, "--run-dir", tmp_path / "run")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert said in result.err
    assert not (tmp_path / "run").exists()


def test_an_existing_run_folder_is_not_overwritten(runs: Path, zf: Command) -> None:
    result = zf("train", "digits-rnn", "--run-dir", runs / "rnn")
    assert result.code == 2
    assert "exists already" in result.err
    assert "--resume" in result.err


def test_a_mistake_in_the_data_writes_nothing(tmp_path: Path, zf: Command) -> None:
    np.savez(tmp_path / "x.npz", x=np.full((30, 5, 2), np.nan))
    result = zf("train", "arrays-rnn", "--data.path", tmp_path / "x.npz", "--run-dir", tmp_path / "run", *SMALL)
    assert result.code == 2
    assert "x.npz" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # tests/test_writes.py has signals within a process
def test_ctrl_c_saves_says_how_to_resume_and_the_run_goes_on(tmp_path: Path, zf: Command) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "zforcing", "train", "digits-rnn", "--run-dir", str(run), *SMALL]
    command[command.index("--training.epochs") + 1] = "500"
    metrics = run / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not (metrics.exists() and len(metrics.read_text().splitlines()) > 2):
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    resume = re.search(r"go on with: zforcing (train .* --resume)", err)
    assert resume is not None
    step = json.loads((run / "checkpoints" / "last" / "training.json").read_text())["step"]
    ended = zf(*resume.group(1).split(), "--training.max_steps", step + 3, "--json")
    assert ended.json["updates"] == step + 3


@pytest.mark.parametrize("kind", ["real", "binary", "categorical"])
def test_own_arrays_from_train_to_sample(kind: str, tmp_path: Path, zf: Command) -> None:
    rng = np.random.default_rng(0)
    x = {
        "real": 100 + 5 * rng.normal(size=(40, 6, 2)).cumsum(1),
        "binary": (rng.random((40, 6, 3)) > 0.5).astype(int),
        "categorical": rng.integers(0, 4, size=(40, 6)),
    }[kind]
    np.savez(tmp_path / "mine.npz", x=x, lengths=rng.integers(2, 7, size=40))
    run = tmp_path / "run"
    assert zf(
        "train", "arrays-zforcing-aux", "--data.path", tmp_path / "mine.npz", "--data.kind", kind,
        "--run-dir", run, *SMALL_ZFORCING,
    ).code == 0  # fmt: skip
    values = zf("evaluate", run, "--json").json
    assert values["num_sequences"] == 4
    assert (values["perplexity"] is None) == (kind != "categorical")
    assert (values["raw_nats_per_sequence"] is None) == (kind != "real")
    files = zf("sample", run, "--num", 5, "--json").json["files"]
    with np.load(files[0]) as drawn:
        assert drawn["x"].shape[:2] == (5, 6)
        if kind == "real":
            assert abs(drawn["x"].mean() - 100) < 50  # in the data's units
        else:
            assert drawn["x"].max() <= x.max()


def test_normalized_and_raw_nats_differ_by_the_log_determinant(tmp_path: Path, zf: Command) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=7 * rng.normal(size=(40, 6, 2)))
    run = tmp_path / "run"
    zf("train", "arrays-rnn", "--data.path", tmp_path / "mine.npz", "--run-dir", run, *SMALL)
    values = zf("evaluate", run, "--json").json
    stds = zf("info", run, "--json").json["data"]["normalization"]["std"]
    expected = values["nats_per_sequence"] - 6 * sum(math.log(std) for std in stds)
    assert math.isclose(values["raw_nats_per_sequence"], expected, rel_tol=1e-9)
    assert 5 < stds[0] < 9


def test_sampling_conditions_on_first_observations_of_the_data(tmp_path: Path, zf: Command) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(40, 6, 2)))
    run = tmp_path / "run"
    options = ["--data.path", tmp_path / "mine.npz", "--data.first_observation", "conditioned"]
    assert zf("train", "arrays-rnn", *options, "--run-dir", run, *SMALL).code == 0
    assert zf("evaluate", run, "--json").json["num_steps"] == 4 * 5
    result = zf("sample", run, "--num", 3, "--json")
    assert "x_1 is that of one of 32 training sequences" in result.err
    with np.load(result.json["files"][0]) as drawn:
        assert drawn["x"].shape == (3, 5, 2)
