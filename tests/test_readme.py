"""The commands and the Python of the README and of the site's first pages run as they are written."""

from __future__ import annotations

import re
import runpy
import shlex
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

import zforcing as zf
from zforcing.cli import main
from zforcing.files.midi import read_tempo
from zforcing.observations import MusicFormat

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
RECORDINGS = (ROOT / "docs" / "start" / "recordings.md").read_text("utf-8")
ARRAYS = (ROOT / "docs" / "tables.md").read_text("utf-8").partition("## ")[0]
OWN = {"my-music": ".wav", "my-speech": ".wav", "my-text": ".txt"}  # what is to be heard or read of one's own data
SMALL = "--model.hidden_size 8 --model.embedding_size 4 --model.latent_size 16 --model.mlp_size 4 --training.epochs 1"


def commands(text: str) -> list[str]:
    """What stands behind `zforcing`, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"^    (?:\.venv/bin/)?zforcing (.*)$", joined, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(30, 5, 2)), lengths=rng.integers(1, 6, size=30))
    rows = "\n".join(f"{i // 4},{speed},{course}" for i, (speed, course) in enumerate(rng.normal(size=(80, 2))))
    (tmp_path / "mine.csv").write_text("trip,speed,course\n" + rows + "\n")
    (tmp_path / "recordings").mkdir()
    for name in ("one", *"abcdefgh"):
        soundfile.write(tmp_path / "recordings" / f"{name}.wav", rng.normal(scale=0.1, size=2000), 8000)
    soundfile.write(tmp_path / "recordings" / "stereo.wav", rng.normal(scale=0.1, size=(4000, 2)), 44100)
    soundfile.write(tmp_path / "recordings" / "two.mp3", rng.normal(scale=0.1, size=(4000, 2)), 48000)
    (tmp_path / "recordings" / "memo.m4a").write_bytes(b"not for libsndfile")
    for name in ("binarized_mnist", "midi"):
        (tmp_path / name).mkdir()
    for name in ("tune", *"abc"):
        roll = rng.random((12, 88)) < 0.05
        roll[0, 40] = True
        MusicFormat(quarters_per_minute=90.0).write_midi(tmp_path / "midi" / f"{name}.mid", roll)
    (tmp_path / "sentences.txt").write_text(20 * "i loved it\nthe plot makes no sense\nit makes sense\n")
    for split in ("train", "valid", "test"):
        images = rng.integers(0, 2, size=(4, 784))
        np.savetxt(tmp_path / "binarized_mnist" / f"binarized_mnist_{split}.amat", images, fmt="%d")
    return tmp_path


def test_every_command_runs(folder: Path) -> None:
    for command in dict.fromkeys(commands(README + ARRAYS + RECORDINGS)):
        words = shlex.split(command)
        trains = words[0] == "train" and not {"--help", "--print_config"} & set(words)
        try:
            small = shlex.split(SMALL) if trains else []
            ours = ["--data.check_known", "false"] if "binarized_mnist" in words else []  # the images aren't MNIST's
            code = main(words + small + ours)
        except SystemExit as end:  # --help
            code = int(end.code or 0)
        assert code == 0, command
    made = {folder: sorted(file.name for file in Path("runs", folder, "samples").iterdir()) for folder in OWN}
    assert all(any(name.endswith(OWN[folder]) for name in files) for folder, files in made.items())
    (tune,) = [name for name in made["my-music"] if name.endswith("003.mid")]
    assert read_tempo(Path("runs/my-music/samples", tune)) == pytest.approx(90, rel=1e-4)


def test_the_python_runs(folder: Path) -> None:
    """With sequences of a user's, in a hundredth of the time."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    quick = code.replace("max_minutes=2", "max_minutes=0.02, progress=False")
    assert quick != code
    rng = np.random.default_rng(0)
    x = [rng.normal(20, 5, size=(steps, 2)) for steps in rng.integers(3, 9, size=40)]
    x[0][1, 0] = np.nan
    names: dict[str, Any] = {"x": x}
    exec(quick, names)
    drawn = zf.sample(names["model"], 4, steps=6)
    assert drawn.x.shape == (4, 6, 2)
    assert names["model"].description.format.names == ("temperature", "load")


@pytest.mark.filterwarnings("ignore:at .* steps with gaps the 4 draws:RuntimeWarning")
def test_the_page_for_sensors_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With three machines, a small model, two updates and few particles."""
    monkeypatch.chdir(tmp_path)
    small = {"range(10)": "range(4)", "size=64": "size=4", "max_minutes=0.5": "max_steps=2, progress=False"}
    small |= {
        "FIVO(64)": "FIVO(2)",
        "particles=64": "particles=4, moves=1",
        "score(model,": "score(particles=2, model=model, data=",
    }
    programs = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "first_page.py"))).programs()
    names: dict[str, Any] = {}
    for program in programs:
        exec(reduce(lambda text, pair: text.replace(*pair), small.items(), program), names)
    assert [alarms.shape for alarms in names["alarms"]] == 4 * [(100,)]
    assert list(names["table"].columns[-2:]) == ["nats_temperature", "nats_load"]
    assert all(np.isfinite(filled).all() for filled in names["filled"])
    assert names["low"].shape == names["high"].shape == (24, 2)
    assert (names["low"] < names["high"]).all()


def test_the_first_steps_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "known-likelihood.md").read_text("utf-8")
    found = re.findall(r"^    zforcing (.*)$", page, flags=re.MULTILINE)
    assert len(found) == 13
    small = "--data.train 20 --data.valid 10 --data.test 10 --training.epochs 1"
    for command in found:
        words = shlex.split(command)
        assert main(words + (shlex.split(small) if words[0] == "train" else [])) == 0, command
