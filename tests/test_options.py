"""Options of the commands: read as settings are, given once, listed in help and behind the Tab key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest

import zforcing
from conftest import Command
from zforcing import UserError, api
from zforcing.cli.commands import COMMANDS
from zforcing.cli.completion import completed
from zforcing.cli.index import read_index
from zforcing.cli.parser import Parser
from zforcing.settings import Range

SRC = Path(zforcing.__file__).parents[1]


def parser() -> Parser:
    made = Parser("zforcing test")
    made.add_argument("run", type=str)
    made.add_argument("file", type=str | None, nargs="?", default=None)
    made.add_argument("--num", "-n", type=Annotated[int, Range(at_least=1)], default=3, help="100 % of them")
    made.add_argument("--given", type=float | None, default=None, help="a share")
    made.add_argument("--import", dest="imports", action="append", default=[])
    made.add_argument("--json", action="store_true")
    return made


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["a"], {"run": "a", "num": 3, "given": None, "imports": [], "json": False}),
        (["a", "--num=4", "--json"], {"num": 4, "json": True}),
        (["--num", "4", "a"], {"run": "a", "num": 4}),
        (["a", "--given", "-1e-3"], {"given": -0.001}),
        (["a", "--given", "-.5"], {"given": -0.5}),
        (["a", "--given", "null"], {"given": None}),
        (["a", "--import", "x.py", "--import", "y.py"], {"imports": ["x.py", "y.py"]}),
        (["--", "--num"], {"run": "--num"}),
        (["a", "- the cat"], {"run": "a", "file": "- the cat"}),
        (["a", "-3.5", "--json"], {"run": "a", "file": "-3.5", "json": True}),
        (["a", "--json", "x.csv"], {"run": "a", "file": "x.csv", "json": True}),
        (["--num", "4", "a", "--given", "1", "--", "-x.csv"], {"num": 4, "run": "a", "file": "-x.csv"}),
    ],
)
def test_options_are_read(words: list[str], values: dict[str, Any]) -> None:
    found = vars(parser().parse_args(words))
    assert {name: found[name] for name in values} == values


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "--num", "x"], "--num is x; it must be a whole number"),
        (["a", "--num", "0"], "--num is 0; it must be 1 or more"),
        (["a", "--num", "010"], "--num is 010; it must be a whole number"),
        (["a", "--num", "1", "--num", "1"], "--num is given twice"),
        (["a", "--num", "1", "--num=2"], "--num is given twice"),
        (["a", "--json", "--json"], "--json is given twice"),
        (["a", "--num"], "--num expected one argument"),
        (["a", "--nun", "3"], r"test: unknown option --nun \(did you mean --num\?\)"),
        (["a", "--js"], "unknown option --js"),
        (["a", "b", "c"], "test: unrecognized arguments: c"),
        ([], "test: the following arguments are required: run"),
    ],
)
def test_a_mistake_names_its_option(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parser().parse_args(words)


def test_help_says_type_and_default() -> None:
    text = parser().format_help()
    assert "--num N" in text
    assert "100 % of them (default: 3)" in text
    assert "--given NUMBER|null" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--training.epochs", "3", "--training.epochs", "4"], "--training.epochs is given twice"),
        (["--threads", "1", "--training.threads=2"], "--training.threads is given twice"),
        (["--training.epochs", "010"], "--training.epochs is 010; it must be a whole number"),
        (["--training.max_minutes", "1:30"], "--training.max_minutes is 1:30; it must be a finite number or null"),
        (["--weights.kl", "-0.5"], "--weights.kl is -0.5; it must be 0 or more"),
        (["--weights.kl.start", "-1"], "--weights.kl.start is -1; it must be 0 or more"),
        (["--weights.kl.per_step", "-1"], "--weights.kl.per_step is -1; it must be 0 or more"),
        (["--weights.kl", "0.5", "--weights.kl.start", "0.2"], "--weights.kl is the same at every step, .*leave one"),
        (["--weights.kl.end", "1", "--weights.kl", "0.5"], "--weights.kl is the same at every step, .*weights.kl.end"),
        (["--training.epochs", "9" * 5000], "--training.epochs is 99.*; it must be a whole number"),
        (
            ["--model.hidden_size", "99999999999999999999"],
            "size is 99999999999999999999; it must be a whole number, and of 64 bits",
        ),
        (["--training.learning_rate", "-inf"], "--training.learning_rate is -inf; it must be a finite number"),
        (["--model.output_skip", "on"], "--model.output_skip is on; it must be true or false"),
        (["--training", "{epochs: 3}"], r"unknown setting training \(it has training.accumulate, "),
        (["--training.epoch", "3"], r"unknown setting training.epoch \(did you mean --training.epochs\?\)"),
        (["--epochs", "3"], r"unknown setting epochs \(did you mean --training.epochs\?\)"),
        (["--epoch", "3"], r"unknown setting epoch \(did you mean --training.epochs\?\)"),
        (["--hidden-size=3"], r"unknown setting hidden-size \(did you mean --model.hidden_size\?\)"),
        (["--model.epochs", "3"], r"unknown setting model.epochs \(did you mean --training.epochs\?\)"),
        (["--name", "x"], r"\(did you mean --data.name or --model.name or --bound.name or --player.name\?\)"),
        (["--resum"], r"train: unknown option --resum \(did you mean --resume\?\)"),
        (["--weights", "1"], r"unknown setting weights \(it has weights.kl\)"),
        (["--skip-unreadable"], "unknown setting data.skip_unreadable .with data digits"),
    ],
)
def test_a_wrong_setting_is_named(words: list[str], said: str, zf: Command) -> None:
    assert re.search(said, zf("train", "digits-rnn", *words).mistake)


def test_settings_lie_over_the_recipes(zf: Command) -> None:
    words = ["--weights.kl", "0.5", "--data.threshold=9", "--training.patience", "null", "--seed", "3", "--about", "-x"]
    found = zf("train", "digits-zforcing-aux", *words, "--print-config", "--json").json
    assert found["weights"]["kl"] == {"start": 0.5, "end": None, "per_step": 0.0, "period": None}
    assert (found["data"]["threshold"], found["training"]["patience"]) == (9, None)
    assert (found["seed"], found["about"]) == (3, "-x")


def test_columns_are_a_list(tmp_path: Path, zf: Command) -> None:
    found = zf("train", "table-rnn", "--data.columns", "[on, 'a b']", "--print_config", "--json").json
    assert found["data"]["columns"] == ["on", "a b"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_what_the_commands_say(name: str) -> None:
    assert (COMMANDS[name].load().__doc__ or "").splitlines()[0] == COMMANDS[name].about


def test_every_public_name_is_there() -> None:
    assert dir(zforcing) == sorted(api.__all__)
    assert [name for name in api.__all__ if getattr(zforcing, name) is not getattr(api, name)] == []
    with pytest.raises(AttributeError, match="module 'zforcing' has no attribute 'ELBOW'"):
        zforcing.ELBOW  # noqa: B018  # looking it up is the test


def test_packages_of_ours_can_be_named_without_importing_them() -> None:
    code = "import zforcing as zf; print(zf.bounds.IWAE.name)"
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "iwae\n"


def test_completion_knows_commands_recipes_options_and_settings() -> None:
    found = completed(read_index())
    assert set(found) == set(COMMANDS)
    for word in ("digits-zforcing-aux", "--resume", "--model.latent_size", "--data.root", "--training.epochs"):
        assert word in found["train"]
    assert {"--split", "--bound", "--seed"} <= set(found["evaluate"])
    assert "--model.hidden_size" in found["bench"]


COMPLETED = {
    ("zforcing", "ev"): ["evaluate"],
    ("zforcing", "train", "digits-z"): ["digits-zforcing", "digits-zforcing-aux"],
    ("zforcing", "train", "digits-rnn", "--training.ep"): ["--training.epochs", "--training.eps"],
    ("zforcing", "completion", "f"): ["fish"],
}


@pytest.mark.parametrize("words", COMPLETED)
def test_bash_completes(words: tuple[str, ...], zf: Command, tmp_path: Path) -> None:
    (tmp_path / "completion.sh").write_text(zf("completion", "bash").out)
    line = " ".join(words)
    code = f"source completion.sh; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _zforcing; echo ${{COMPREPLY[@]}}"
    result = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(result.stdout.split()) == COMPLETED[words]
    assert result.stderr == ""


def test_another_shell_is_refused(zf: Command) -> None:
    assert zf("completion", "tcsh").mistake.endswith("shell is tcsh; it must be bash or zsh or fish")


@pytest.mark.parametrize(("shell", "said"), [("zsh", "bashcompinit"), ("fish", "complete -c zforcing -n __fish_use")])
def test_other_shells_have_theirs(shell: str, said: str, zf: Command) -> None:
    text = zf("completion", shell).out
    assert said in text
    assert "--training.epochs" in text
