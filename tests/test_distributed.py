"""Training by several processes: it gives the run of one, and ends when one of them does.

`tests/test_row_noise.py` has the same with threads for processes, in less time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zforcing import UserError
from zforcing.training.parallel import processes

FEW = ["--device", "cpu", "--json", "--training.threads", "1", "--training.max_steps", "6"]
DIGITS = [*FEW, "--model.dropout", "0", "--model.hidden_size", "16", "--training.batch_size", "5"]
RUNS = {
    "zforcing": ["digits-zforcing", *DIGITS],  # parameters that no loss uses
    "chunks": ["digits-zforcing", *DIGITS, "--training.truncated_bptt_steps", "20"],
    "iwae": ["lgssm-iwae", *FEW],
    "fivo": ["lgssm-fivo", *FEW],
}
DIES = """
import os, sys
import zforcing.cli.train_runs as commands
from zforcing import Callback, UserError
from zforcing.cli import main

class Dies(Callback):
    def on_update(self, at, updated, model):
        if at.step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), 9) if sys.argv[1] == "killed" else None
            raise UserError("enough")

train = commands.run_training
commands.run_training = lambda *given, **named: train(*given, **named, callbacks=[Dies()])
sys.exit(main(sys.argv[2:]))
"""

FITS = """
import os, sys
import torch
import zforcing as zf
torch.manual_seed(0)
data = zf.Sequences([torch.randn(6, 2) for _ in range(8)])
torch.manual_seed(int(os.environ["RANK"]))
model = zf.RNN.for_data(data, hidden_size=4)
model.register_buffer("mask", torch.tensor([os.environ["RANK"] == "0"]))
zf.fit(model, data, max_steps=2, batch_size=4, progress=False, device="cpu")
torch.save(model.state_dict(), os.path.join(sys.argv[1], os.environ["RANK"]))
"""


def launch(processes: int, *words: str) -> list[str]:
    """The command, with one process or more."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *(several if processes > 1 else []), *words]


def trained(folder: Path, processes: int, *words: str) -> Path:
    """The folder, after training into it; one JSON object is printed."""
    command = launch(processes, "-m", "zforcing", "train", *words, "--run-dir", str(folder))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=400)
    assert json.loads(done.stdout)["run"] == str(folder)
    return folder


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def assert_same(one: Path, other: Path) -> None:
    first, second = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (one, other))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6)
    for a, b in zip(rows(one), rows(other), strict=True):
        assert a["nats_per_sequence"] == pytest.approx(b["nats_per_sequence"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "several"), [("zforcing", 2), ("chunks", 3), ("iwae", 2), ("fivo", 3)])
def test_several_processes_give_the_run_of_one(tmp_path: Path, run: str, several: int) -> None:
    one = trained(tmp_path / "one", 1, *RUNS[run])
    assert_same(one, trained(tmp_path / "several", several, *RUNS[run]))


@pytest.mark.slow
def test_a_player_trains_in_several_processes(tmp_path: Path) -> None:
    """Its draws are each process's own: the run isn't that of one process, but its first row is, before it is heard."""
    words = ["digits-rnn", *DIGITS, "--training.log_every", "2", "--player.name", "professor", "--player.channels", "2"]
    one, several = (trained(tmp_path / str(n), n, *words) for n in (1, 2))
    first, second = (rows(run)[1] for run in (one, several))
    assert first["nats_per_sequence"] == pytest.approx(second["nats_per_sequence"], rel=1e-6)
    assert (second["player_moved"], second["player_counted"]) == (1, 0)
    kept = load_file(several / "checkpoints" / "last" / "training.safetensors")
    assert int(kept["player.updates"]) == 6


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    """Within an epoch of chunks, whose carried states are of the processes that there were."""
    one = trained(tmp_path / "one", 1, *RUNS["chunks"])
    words = [word if word != "6" else "3" for word in RUNS["chunks"]]
    other = trained(tmp_path / "other", 2, *words)
    assert len(load_file(other / "checkpoints" / "last" / "training.safetensors")["carried.rows"]) == 5
    trained(other, 3, *RUNS["chunks"], "--resume")
    first, second = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (one, other))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raises", "killed"])
def test_a_process_that_ends_ends_the_others_in_one_line(tmp_path: Path, how: str) -> None:
    script = tmp_path / "dies.py"
    script.write_text(DIES)
    words = ["train", *RUNS["iwae"], "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(launch(2, str(script), how, *words), capture_output=True, text=True, timeout=400)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "zforcing (process 0): lost the other processes: one has ended" in done.stderr
    assert ("zforcing (process 1): enough" in done.stderr) == (how == "raises")
    assert (tmp_path / "run" / "checkpoints" / "last" / "model.safetensors").is_file()


@pytest.mark.slow
def test_fit_trains_one_model_in_several_processes(tmp_path: Path) -> None:
    """Each has made weights and buffers of its own: those of the first are trained."""
    script = tmp_path / "fits.py"
    script.write_text(FITS)
    subprocess.run(launch(2, str(script), str(tmp_path)), check=True, timeout=400)
    first, second = (torch.load(tmp_path / rank) for rank in "01")
    assert first["mask"].item()
    for name in first:
        assert torch.equal(first[name], second[name])


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        there = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in there.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"MASTER_ADDR 127.0.0.1, MASTER_PORT {port}: .*in use") as caught:
            processes("cpu")
    assert "\n" not in str(caught.value)
