"""Help, typos and completion are answered from an index, without torch, and as the commands' own code answers them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import zforcing
from conftest import Command
from zforcing.cli import index, main
from zforcing.cli.commands import COMMANDS
from zforcing.cli.settings import FIRST
from zforcing.settings import Setting, setting_from_json, setting_to_json
from zforcing.training.runs.config import SECTIONS, section_settings, settings_of
from zforcing.training.runs.recipes import GROUPS, listed

SRC = Path(zforcing.__file__).parents[1]
THEMSELVES = ("train", "recipes", "completion")  # commands whose own code imports no torch before it is needed


@pytest.fixture
def ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what other tests have registered."""
    for family in SECTIONS.values():
        ours = {name: cls for name, cls in family._classes.items() if cls.__module__.startswith("zforcing.")}
        monkeypatch.setattr(family, "_classes", ours)


def only_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported torch; what it can't answer fails the test."""

    def refuse(*words: object, **_: object) -> None:
        pytest.fail(f"not answered: {words}")

    refusing = SimpleNamespace(load=lambda: refuse)
    monkeypatch.setattr(index, "answers", lambda: True)
    known = {name: command if name in THEMSELVES else refusing for name, command in COMMANDS.items()}
    monkeypatch.setattr("zforcing.cli.COMMANDS", known)
    monkeypatch.setattr("zforcing.cli.train.read_settings", refuse)


def test_the_index_is_what_the_code_says(ours_alone: None) -> None:
    written = Path(index.__file__).with_name(index.FILE).read_text("utf-8")
    assert written == index.index_text(index.made_index()), "options or settings have changed: run `make index`"


def test_settings_read_back() -> None:
    for section, family in SECTIONS.items():
        for name in family:
            for setting in section_settings(section, name):
                assert setting_from_json(json.loads(json.dumps(setting_to_json(setting)))) == setting


def test_a_type_that_no_setting_has_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes'> is no type of a setting"):
        setting_to_json(Setting("data.x", bytes, b""))


TYPOS = [
    ["evaluate", "r", "--particle", "3"],
    ["evaluate", "r", "--particles", "0"],
    ["evaluate"],
    ["sample", "r", "--seed", "-1"],
    ["table", "speech", "--row", "x"],
    ["bench", "--hidden_size", "3"],
    ["train"],
    ["train", "digit-rnn"],
    ["train", "digits-rnn", "--epochs", "3"],
    ["train", "digits-rnn", "--training.epochs", "0"],
    ["train", "digits-rnn", "--overwrit"],
    ["train", "digits-rnn", "--model.name", "vrnn", "--model.latent", "3"],
    ["train", "timit-rnn-gmm", "--weights.auxiliary", "1"],
    ["train", "digits-rnn", "--model.name", "vrn"],
    ["train", "nameless.yaml"],
    ["recipes", "speach"],
    ["completion", "csh"],
    ["train", "wrong.yaml"],
]


def test_a_mistake_is_told_as_by_the_commands(zf: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nameless.yaml").write_text("data: {name: digits}\nmodel: {hidden_size: 3}\n")
    (tmp_path / "wrong.yaml").write_text("data: {name: digits}\nmodel: {name: rnn, hiddensize: 3}\n")
    by_the_commands = [zf(*words).mistake for words in TYPOS]
    only_the_index(monkeypatch)
    assert [zf(*words).mistake for words in TYPOS] == by_the_commands


def help_of(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit):
        main(words)
    return capfd.readouterr().out


HELP = [["train", "timit-zforcing-aux", "--help"], ["train", "table-rnn", "--help-all"], ["bench", "-h"]]


def test_help_is_that_of_the_commands(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ours_alone: None
) -> None:
    of_the_commands = [help_of(words, capfd) for words in HELP]
    only_the_index(monkeypatch)
    assert [help_of(words, capfd) for words in HELP] == of_the_commands


def test_help_and_typos_import_no_torch() -> None:
    asked = [[name, "--help"] for name in COMMANDS] + [words for words in TYPOS if not words[-1].endswith(".yaml")]
    asked += [["--version"], ["--help"], ["trian"], ["recipes", "z-forcing"], ["completion", "bash"]]
    code = (
        "import json, sys\nfrom zforcing.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "    assert not {'torch', 'numpy'} & set(sys.modules), words\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", code, json.dumps(asked)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


SOME = [next(name for name, one in listed().items() if one.group == group) for group in GROUPS]


@pytest.mark.parametrize("recipe", [*SOME, "table-zforcing-aux", "speech-small-zforcing-kla-aux"])
def test_help_fits_a_screen(recipe: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_index(monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(["train", recipe, "--help"], capfd)
    assert len(text.splitlines()) <= 40
    for option in ("--training.max_minutes", "--run-dir", "--seed ", "--help-all"):
        assert option in text


def test_settings_that_help_lists_first_are_some() -> None:
    of_all = [settings_of({"data": data, "model": "zforcing", "bound": "elbo"}).settings for data in SECTIONS["data"]]
    assert set(FIRST) <= {name for settings in of_all for name in settings}


OWN = """
from dataclasses import dataclass
import zforcing as zf
@dataclass(frozen=True)
class Config(zf.RNNConfig):
    extra: int = 1
@zf.register
class Own(zf.RNN):
    name = "quick_own"
    Config = Config
"""


def test_models_of_ones_own_answer_themselves(
    tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch, ours_alone: None
) -> None:
    monkeypatch.setattr(index, "answers", lambda: True)
    (tmp_path / "quick_own.py").write_text(OWN)
    words = ["train", "digits-rnn", "--model.name", "quick_own", "--import", tmp_path / "quick_own.py"]
    assert zf(*words, "--model.extra", "3", "--print-config", "--json").json["model"]["extra"] == 3
    assert "did you mean --model.extra?" in zf(*words, "--model.extr", "3").mistake
    (tmp_path / "mine.yaml").write_text("imports: [quick_own.py]\ndata: {name: digits}\nmodel: {name: quick_own}\n")
    found = zf("train", tmp_path / "mine.yaml", "--model.extra", "3", "--print-config", "--json").json
    assert found["model"]["extra"] == 3
    assert "--model.extra" in zf("completion", "bash", "--import", tmp_path / "quick_own.py").out
