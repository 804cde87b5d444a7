"""A run folder is held by one training, and what it reads back is what it wrote, or it says so."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import metrics_of
from zforcing import ELBO, Sequences, UserError, load
from zforcing.cli.info import about_run
from zforcing.data.record import SplitRecord
from zforcing.evaluation.runs import evaluate_run
from zforcing.evaluation.saved import read_mapping
from zforcing.report.curves import Curves
from zforcing.saving.atomic import parse_json, read_json, with_digest
from zforcing.saving.digests import SUMS, write_digests
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.folder import check_free
from zforcing.training.runs.lock import LOCK, locked
from zforcing.training.runs.run import train


class Said(Reporter):
    """Keeps what would be printed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def config(place: Path, *, epochs: int) -> RunConfig:
    data = (place / "data").readlink()
    settings = {"epochs": epochs, "batch_size": 8, "backend": "reference"}
    model = {"name": "rnn", "hidden_size": 3, "embedding_size": 2}
    return parse_config({"data": {"name": "arrays", "path": str(data)}, "model": model, "training": settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, whose best checkpoint is of the first, and its data; to be copied."""
    place = tmp_path_factory.mktemp("runs")
    np.savez(place / "data.npz", x=np.random.default_rng(0).normal(size=(20, 4, 2)))
    (place / "data").symlink_to(place / "data.npz")
    train(config(place, epochs=1), place / "run", device="cpu", reporter=Reporter(quiet=True))
    first = place / "run" / "checkpoints" / "best"
    shutil.copytree(first, place / "first")
    resume(place, epochs=2)
    shutil.rmtree(first)
    shutil.copytree(place / "first", first)
    return place


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy", symlinks=True))


def resume(place: Path, *, epochs: int, run: str = "run") -> list[str]:
    said = Said()
    train(config(place, epochs=epochs), place / run, device="cpu", resume=True, reporter=said)
    return said.lines


def damage(file: Path, seed: int = 0) -> None:
    """Flip a bit."""
    content, draw = bytearray(file.read_bytes()), random.Random(seed)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(bytes(content))


def end_of(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    return (run / "checkpoints" / "last" / "model.safetensors").read_bytes(), metrics_of(run)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json", "config.json", SUMS])
def test_a_run_goes_on_from_its_newest_whole_checkpoint(name: str, copy: Path) -> None:
    for seed in range(3):
        run = Path(shutil.copytree(copy / "run", copy / f"run{seed}"))
        damage(run / "checkpoints" / "last" / name, seed)
        said = resume(copy, epochs=2, run=run.name)
        warning = next(line for line in said if "going on from" in line)
        assert warning.startswith(f"warning: {run / 'checkpoints' / 'last'}")
        assert warning.endswith(str(run / "checkpoints" / "best"))
        assert end_of(run) == end_of(copy / "run")  # as if nothing had happened


def test_without_a_whole_checkpoint_nothing_is_trained(copy: Path) -> None:
    for which in ("last", "best"):
        damage(copy / "run" / "checkpoints" / which / "training.safetensors")
    before = end_of(copy / "run")
    with pytest.raises(
        UserError, match=r"no checkpoint of .* is whole: .*training\.safetensors isn't as it was written"
    ):
        resume(copy, epochs=3)
    assert end_of(copy / "run") == before


def test_damaged_weights_arent_loaded(copy: Path) -> None:
    damage(copy / "run" / "checkpoints" / "best" / "model.safetensors")
    with pytest.raises(UserError, match=r"best/model\.safetensors isn't as it was written"):
        load(copy / "run")
    assert load(copy / "run", which="last").name == "rnn"


def test_a_damaged_record_of_training_isnt_believed(copy: Path) -> None:
    record = copy / "run" / "checkpoints" / "best" / "training.json"
    record.write_text(record.read_text().replace('"step": ', '"step": 1'))
    for read in (read_json, lambda file: read_mapping(file, parse_json, remedy="")):
        with pytest.raises(UserError, match=r"best/training\.json isn't as it was written"):
            read(record)


def test_moments_may_be_thrown_away_by_who_wants_only_the_model(copy: Path) -> None:
    (copy / "run" / "checkpoints" / "best" / "training.safetensors").unlink()
    assert load(copy / "run").name == "rnn"


@pytest.mark.parametrize("put", ["pipe", "folder", "link"])
def test_what_is_no_file_in_place_of_digests_isnt_taken_for_none(put: str, copy: Path) -> None:
    file = copy / "run" / "checkpoints" / "best" / SUMS
    if put == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no pipes with a name")
    file.unlink()
    {"pipe": lambda: os.mkfifo(file), "folder": file.mkdir, "link": lambda: file.symlink_to("nowhere")}[put]()
    with pytest.raises(UserError, match=r"best/SHA256SUMS is no regular file: restore a copy"):
        load(copy / "run")
    with pytest.raises(UserError, match="is no regular file"):
        read_json(file.with_name("training.json"))


@pytest.mark.parametrize("edit", [lambda rows: rows[1:], lambda rows: [rows[0].replace("1", "2"), *rows[1:]]])
def test_rows_that_are_missing_or_others_are_said(edit: object, copy: Path) -> None:
    file = copy / "run" / "metrics.jsonl"
    rows = file.read_text().splitlines()
    assert callable(edit)
    Curves.read(copy / "run")
    file.write_text("".join(f"{row}\n" for row in edit(rows)))
    with pytest.raises(UserError, match=r"run/metrics\.jsonl lacks rows of before .*/last, or has others: restore"):
        Curves.read(copy / "run")
    assert any("metrics.jsonl lacks rows of before the checkpoint" in line for line in resume(copy, epochs=3))


def test_rows_as_they_were_say_nothing(copy: Path) -> None:
    assert not any("warning" in line for line in resume(copy, epochs=3))
    Curves.read(copy / "run")


def test_rows_behind_the_checkpoint_are_read_too(copy: Path) -> None:
    """Of a run that is being trained."""
    row = {"event": "training", "step": 99}
    with (copy / "run" / "metrics.jsonl").open("a") as file:
        file.write(f"{json.dumps(row)}\n")
    assert Curves.read(copy / "run").rows[-1] == row


@pytest.mark.parametrize("edit", [(b"1", b"2"), (b"2", b"3"), (b"cpu", b"cpv")])
def test_a_digit_that_flipped_in_numbers_that_tables_show_is_noticed(edit: tuple[bytes, bytes]) -> None:
    values = {"nats_per_sequence": -12.25, "kl": None, "device": "cpu", "baselines": [{"name": "é", "x": 1e-30}]}
    written = with_digest(values)
    assert {name: value for name, value in parse_json(written).items() if name != "sha256"} == values
    with pytest.raises(ValueError, match="isn't as it was written"):
        parse_json(written.encode().replace(*edit, 1).decode())


def test_json_of_before_has_no_digest() -> None:
    assert parse_json('{"nats_per_sequence": -12.25}') == {"nats_per_sequence": -12.25}


# ---- other data than it was


def test_a_split_knows_its_sequences() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(6, 3, 2)).astype(np.float32)
    before, now = SplitRecord.of(Sequences([*x[:4]])), SplitRecord.of(Sequences([*x[:4]]))
    assert before == now == SplitRecord.from_json(json.loads(json.dumps(before.to_json())))
    assert before.change(now) == ""
    assert (before.sequences, before.steps, before.by) == (4, 12, "numbers")


def test_a_record_counts_what_it_has_seen() -> None:
    def record(digests: str) -> SplitRecord:
        return SplitRecord(len(digests), 9, digests, tuple(digests), "numbers")

    assert record("abcd").change(record("abcde")) == "had 4 sequences and has 5"
    assert "(3 of 4 were in it)" in record("abcd").change(record("abcx"))
    assert record("cx").same(record("abcd")) == 1


def test_other_sequences_are_refused_when_a_run_goes_on(copy: Path) -> None:
    """Also where nothing that a model keeps of the data has changed."""
    place = copy / "run" / "checkpoints" / "last"
    known = json.loads((place / "splits.json").read_text())
    known["train"] |= {"fingerprint": "0" * 12, "sequences": 15}
    (place / "splits.json").write_text(json.dumps(known))
    write_digests(place, {file.name for file in place.iterdir()} - {SUMS})
    with pytest.raises(UserError, match="the train split had 15 sequences and has 16"):
        resume(copy, epochs=3)


def evaluated(run: Path) -> str:
    return evaluate_run(run, bound=ELBO(), backend="reference", baselines=False).remark


def test_a_test_split_that_was_trained_on_is_counted(copy: Path, tmp_path: Path) -> None:
    file = (copy / "data").readlink()
    assert evaluated(copy / "run") == ""
    mine = tmp_path / "mine.npz"
    shutil.copy(file, mine)
    text = (copy / "run" / "config.yaml").read_text()
    (copy / "run" / "config.yaml").write_text(text.replace(str(file), str(mine)))
    assert evaluated(copy / "run") == ""
    x = np.load(file)["x"]
    np.savez(mine, x=np.concatenate([x, x[:2] + 1]))
    said = evaluated(copy / "run")
    assert "mine.npz isn't what the run was trained on" in said
    assert "the train split had 16 sequences and has 18" in said
    assert re.search(r"the run was trained on \d of the 2 sequences of the test split", said)


def test_a_configuration_that_isnt_the_runs_is_doubted(copy: Path) -> None:
    file = copy / "run" / "config.yaml"
    file.write_text(
        file.read_text().replace("split_seed: 0", "split_seed: 4").replace("free_nats: 0.0", "free_nats: 7.0")
    )
    said = evaluated(copy / "run")
    assert "config.yaml has been edited, or is damaged: " in said
    assert "data.split_seed was 0, is 4" in said
    assert "bound.free_nats was 0.0, is 7.0" in said
    assert about_run(str(copy / "run"))["warning"] in said


# ---- held by one


HOLD = """import pathlib, sys
from zforcing.training.runs.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holds(run: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_folder_whose_run_was_killed_at_its_first_file_is_free(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    (tmp_path / "config.yaml.partial").write_text("recipe: ")
    check_free(tmp_path)
    check_free(tmp_path, overwrite=True)
    (tmp_path / "film.partial").touch()
    with pytest.raises(UserError, match="exists already"):
        check_free(tmp_path)


def test_what_share_and_export_put_into_a_run_is_thrown_away_with_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {}\nmodel: {}\ntraining: {}\n")
    (tmp_path / "shared").mkdir()
    for name in ("environment.json", "step.pt2"):
        (tmp_path / name).touch()
    check_free(tmp_path, overwrite=True)


def test_a_run_that_is_being_trained_is_left_alone(copy: Path) -> None:
    before = end_of(copy / "run")
    with another_process_holds(copy / "run"):
        with pytest.raises(UserError, match="another process trains in"):
            resume(copy, epochs=3)
        assert end_of(copy / "run") == before
    resume(copy, epochs=3)  # the process was killed: what it held is free
    assert not (copy / "run" / LOCK).exists()


def test_two_runs_dont_begin_in_one_folder(copy: Path) -> None:
    with another_process_holds(copy / "new"), pytest.raises(UserError, match="another process trains in"):
        train(config(copy, epochs=1), copy / "new", device="cpu", reporter=Reporter(quiet=True))
    # of that run nothing but its lock is left, since it was killed: the folder is free
    assert [file.name for file in (copy / "new").iterdir()] == [LOCK]
    train(config(copy, epochs=1), copy / "new", device="cpu", reporter=Reporter(quiet=True))


def test_a_run_that_cant_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "nowhere.npz")
    with pytest.raises(UserError, match=r"nowhere\.npz"):
        train(config(tmp_path, epochs=1), tmp_path / "run", device="cpu", reporter=Reporter(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_lock_is_released(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
