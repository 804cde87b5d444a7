"""A shared model on a machine that has nothing else: an environment of its own with the wheel, no extra, no data.

torch and the other requirements are those of the tests' environment; the packages of the extras can't be imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from check_install import OPTIONAL
from test_without_data import KINDS, SMALL, STEPS
from zforcing import RNN, Sequences, load, save, score, share
from zforcing.cli import main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
NO_EXTRAS = f"""
import sys
from importlib.machinery import PathFinder

class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {OPTIONAL!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
"""
USE = """
import json, sys
from pathlib import Path
import numpy as np
import zforcing as zf
from zforcing.observations import collate

assert Path(zf.api.__file__).is_relative_to(sys.prefix), zf.api.__file__
model = zf.load("model")
data = zf.Sequences([np.load("sequence.npy")], like=model.description)
drawn = zf.sample(model, 2, steps=4, seed=0)
scores = zf.score(model, data, kind="smoothed", particles=8)
after = zf.continue_from(model, collate([data[0].cut(0, 3)], model.spec), steps=4, num_samples=2)
loaded = [name for name in sys.modules if name.partition(".")[0] in %r]
print(json.dumps([list(drawn.x.shape), scores.per_sequence.tolist(), list(after.x.shape), loaded]))
"""
READS = {"table": "mine.csv", "image": "mine.npy", "music": "mine.npz", "text": "mine.txt"}  # without an extra
WRITES = {"table": ".csv", "image": ".png", "audio": ".wav", "music": ".png", "text": ".txt"}


@dataclass(frozen=True)
class Machine:
    """An environment, and a folder that is home and the working folder."""

    python: Path
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python there, with nothing of this environment's settings."""
        environment = {"HOME": str(self.home), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
        command = [str(self.python), "-W", "error", *words]
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def commands(self, *commands: list[str]) -> list[tuple[int, str]]:
        """What commands of zforcing end with, in one process: the exit code and what was said on stderr."""
        code = f"""
        import contextlib, io, json
        from zforcing.cli import main
        results = []
        for words in {commands!r}:
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                code = main(list(words))
            results.append([code, said.getvalue()])
        print(json.dumps(results))
        """
        done = self.run("-c", textwrap.dedent(code))
        assert done.returncode == 0, done.stderr
        return [(code, said) for code, said in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with this checkout's wheel."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    interpreter = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(interpreter)]
    call(*pip, "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "sitecustomize.py").write_text(NO_EXTRAS)
    return interpreter


def call(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=KINDS)
def moved(
    request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Machine, float]:
    """A kind of data, the machine with a model of it in `model` and files of the user's own, and the score that a
    sequence had where the model was trained, which is gone.
    """
    kind: str = request.param
    there, home = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("home")
    torch.set_default_dtype(torch.float32)
    (there / "data").mkdir()
    recipe, *words = KINDS[kind](there / "data", home)
    assert main(["train", recipe, *words, "--run-dir", str(there / "run"), *SMALL, *STEPS]) == 0
    share(there / "run", there / "shared")
    shutil.move(there / "shared", home / "model")
    shutil.rmtree(there)
    x = sequence(kind)
    np.save(home / "sequence.npy", x)
    model = load(home / "model")
    before = score(model, Sequences([x], like=model.description), kind="smoothed", particles=8).per_sequence
    return kind, Machine(python, home), float(before[0])


def sequence(kind: str) -> np.ndarray[Any, Any]:
    """A sequence of 6 steps in the data's units."""
    rng = np.random.default_rng(3)
    if kind == "text":
        return np.array([3, 4, 5, 2, 3, 4])
    size = {"table": 2, "image": 28, "audio": 20, "music": 88}[kind]
    return rng.normal(0, 9, (6, size)) if kind in ("table", "audio") else rng.integers(0, 2, (6, size)).astype(float)


def test_a_model_samples_scores_and_continues(moved: tuple[str, Machine, float]) -> None:
    _, machine, before = moved
    done = machine.run("-c", USE % (OPTIONAL,))
    assert done.returncode == 0, done.stderr
    drawn, scores, after, loaded = json.loads(done.stdout)
    assert drawn[:2] == after[:2] == [2, 4]
    assert scores == pytest.approx([before], rel=1e-6)
    assert loaded == []
    assert sorted(path.name for path in (machine.home / "model").iterdir() if path.suffix != ".safetensors") == [
        "README.md",
        "SHA256SUMS",
        "config.json",
    ]


def test_commands_read_and_write_files_or_say_which_extra_they_need(moved: tuple[str, Machine, float]) -> None:
    kind, machine, _ = moved
    own, out = READS.get(kind, "mine.wav"), ["--out", "drawn"]
    commands = [
        ["sample", "model", "--num", "2", *out],
        ["score", "model", own, "--particles", "4"],
        ["continue", "model", own.replace("mine", "one"), "--num", "1", "--given", "2", "--steps", "3", *out],
    ]
    (sampled, said), *others = machine.commands(*commands)
    assert sampled == 0, said
    assert any(path.suffix == WRITES[kind] for path in (machine.home / "drawn").iterdir())
    if kind == "music":
        assert said.endswith("MIDI needs symusic; pip install 'zforcing[midi]'\n")
    if kind in READS:
        assert [code for code, _ in others] == [0, 0], others
        return
    for code, said in others:
        assert code == 2
        assert said.endswith("audio needs soundfile; pip install 'zforcing[audio]'\n")
        assert said.count("\n") == 1


def test_the_hub_needs_its_extra_and_says_so(python: Path, tmp_path: Path) -> None:
    save(tmp_path / "model", RNN.for_data(Sequences(np.ones((2, 3, 1))), hidden_size=4))
    ((code, said),) = Machine(python, tmp_path).commands(["share", "model", "--out", "mine", "--push", "user/name"])
    assert code == 2
    assert said.endswith("zforcing: the Hugging Face Hub needs huggingface_hub; pip install 'zforcing[hub]'\n")
