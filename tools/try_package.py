"""Try an installed zforcing as a stranger would: its version, its recipes, a model in memory, and a run.

Run it by the Python that has the package, in an empty folder that isn't below a checkout. It takes seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import zforcing as zf
from zforcing.cli import main

RUN = ["--run-dir", "run", "--device", "cpu", "--training.max_steps", "2", "--training.batch_size", "16"]
SMALL = ["--model.hidden_size", "4", "--model.latent_size", "2", "--model.embedding_size", "2", "--model.mlp_size", "4"]


def where_it_is() -> None:
    """It is the installed package, with its types and its recipes."""
    package = Path(zf.__file__).parent
    assert package.is_relative_to(sys.prefix), f"{package} isn't below {sys.prefix}"
    assert (package / "py.typed").is_file()
    command = Path(sys.executable).with_name("zforcing")
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert version("zforcing") in printed, printed


def in_memory() -> None:
    """Fit, measure, save, load and draw."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(6, 2)).astype(np.float32) for _ in range(8)]
    train, valid = zf.Sequences(rows[:6]), zf.Sequences(rows[6:])
    model = zf.ZForcing.for_data(train, hidden_size=4, latent_size=2, embedding_size=2, mlp_size=4)
    zf.fit(model, train, valid, epochs=2, progress=False)
    measured = zf.evaluate(model, valid)
    assert np.isfinite(measured.nats_per_sequence), measured
    zf.save("saved", model)
    assert tuple(zf.sample(zf.load("saved"), 3, steps=5, seed=0).x.shape) == (3, 5, 2)


def commands() -> None:
    """Train a run, measure it, draw from it, and say what it is."""
    assert "digits-zforcing-aux" in said("recipes", "--json")
    assert json.loads(said("train", "digits-zforcing-aux", "--json", *RUN, *SMALL))["updates"] == 2
    assert np.isfinite(json.loads(said("evaluate", "run", "--json"))["nats_per_sequence"])
    for words in (["sample", "run", "--num", "4"], ["info", "run"], ["cite", "run"], ["plot", "run"]):
        said(*words)


def said(*words: str) -> str:
    """What a command prints. Raises AssertionError where it fails."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    assert code == 0, f"zforcing {' '.join(words)}: {code}\n{err.getvalue()}"
    return out.getvalue()


if __name__ == "__main__":
    warnings.filterwarnings("error", module=r"zforcing\.")  # old versions of other packages warn of newer ones
    torch.set_num_threads(1)
    where_it_is()
    in_memory()
    commands()
    print(f"tried: zforcing {version('zforcing')}, torch {torch.__version__}, numpy {np.__version__}")
