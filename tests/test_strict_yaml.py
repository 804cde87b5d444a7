"""Recipes are YAML without its traps."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Command
from zforcing import UserError
from zforcing.files.strict_yaml import read_yaml

REFUSED = {
    "a section twice": (
        "training: {max_steps: 3}\nmodel: {name: rnn}\ntraining: {threads: 1}\n",
        "x.yaml, line 3: training is given twice, first in line 1; leave one of them out",
    ),
    "a setting twice": ("a:\n  b: 1\n  b: 1\n", "x.yaml, line 3: a.b is given twice, first in line 2"),
    "a setting twice in braces": ("a: {b: 1, b: 1}\n", "x.yaml, line 1: a.b is given twice"),
    "on": ("a: {b: [on, off]}\n", 'x.yaml, line 1: a.b is on, which is true in YAML 1.1 .* write "on" in quotes'),
    "no": ("a:\n  - no\n", "x.yaml, line 2: a is no, which is false in YAML 1.1"),
    "Yes": ("a: Yes\n", "line 1: a is Yes"),
    "a key": ("a: {on: 1}\n", "line 1: a.on is on, which is true"),
    "octal": ("a: 010\n", "line 1: a is 010, which is 8 in YAML 1.1 and text in YAML 1.2.* else 8"),
    "sexagesimal": ("a: 1:30\n", "line 1: a is 1:30, which is 90 in YAML 1.1"),
    "hexadecimal": ("a: 0x10\n", "a is 0x10, which is 16 in YAML 1.1"),
    "underscores": ("a: 1_000\n", "a is 1_000, which is 1000 in YAML 1.1"),
    "itself": ("a: &a [*a]\n", "a holds itself"),
    "another language": ("a: !!python/name:os.system\n", "x.yaml is no YAML"),
    "no YAML": ("a: [\n", "x.yaml is no YAML"),
}
READ = {
    "1e-3": 1e-3,
    "-2.5E+4": -25000.0,
    ".5": 0.5,
    "0": 0,
    "-3": -3,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    '"on"': "on",
    "'010'": "010",
    "2020-01-01": "2020-01-01",
    "x y": "x y",
    "[a, y, n]": ["a", "y", "n"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_reads_otherwise_elsewhere_is_refused_by_line(case: str) -> None:
    text, said = REFUSED[case]
    with pytest.raises(UserError, match=said) as caught:
        read_yaml(text, "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_the_rest_is_read_as_yaml_is(text: str, value: Any) -> None:
    found = read_yaml(f"a: {text}\n", "x.yaml").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_are_those_of_the_keys() -> None:
    lines = read_yaml("# x\na: {b: 1}\n\nc:\n  d: &x\n    e: 1\n  f: *x\n", "x.yaml").lines
    assert lines == {"a": 2, "a.b": 2, "c": 4, "c.d": 5, "c.d.e": 6, "c.f": 7}


def references(names: str) -> str:
    """Each name nine times the one before."""
    lines = [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in itertools.pairwise(names)]
    return "a: &a [1]\n" + "".join(lines)


def test_references_may_repeat_but_not_without_end() -> None:
    assert list(read_yaml(references("abcd"), "x.yaml").value) == list("abcd")
    with pytest.raises(
        UserError, match=r"x\.yaml holds \d+ values with those that references \(\*\) repeat, more than"
    ):
        read_yaml(references("abcdefghi"), "x.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp x",
        "!!timestamp 2020-13-45",
        '!!int ""',
        '!!int "_"',
        "!!bool maybe",
        "!!int x",
        "!!map x",
        "!!set x",
        "9" * 5000,
        "0x" + "f" * 5000,
        r'"\UFFFFFFFF"',
        "[" * 3000,
        "[" * 101 + "]" * 101,
        "{a: " * 3000,
    ],
)
def test_what_yaml_cannot_be_is_one_short_line(text: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_yaml(f"a: {text}\n", "x.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.process_time() - began < 10  # not without end: what it takes is no matter of a test


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {max_steps: 3}\ntraining: {threads: 1}\n", "mine.yaml, line 4: training is given twice"),
        ("training:\n  epochs: few\n", r"mine.yaml: training.epochs \(line 4\) is 'few'; it must be a whole number"),
        ("training: {epochs: 0}\n", r"mine.yaml: training.epochs \(line 3\) is 0; it must be 1 or more"),
        ("weights: {kl: -0.5}\n", r"mine.yaml: weights.kl.start \(line 3\) is -0.5; it must be 0 or more"),
        ("training: {learning_rate: .nan}\n", r"training.learning_rate \(line 3\) is nan; it must be a finite number"),
        ("training: {learning_rate: .inf}\n", r"training.learning_rate \(line 3\) is inf; it must be a finite number"),
        ("training: {epochs: 010}\n", "mine.yaml, line 3: training.epochs is 010, which is 8"),
        ("training: {max_minutes: 1:30}\n", "mine.yaml, line 3: training.max_minutes is 1:30, which is 90"),
        ("training: {epoch: 3}\n", r"mine.yaml: unknown setting training.epoch \(did you mean training.epochs\?\)"),
        ("model.name: vrnn\n", r"mine.yaml, line 3: model.name is written with a dot; write model: \{name: ...\}"),
        (
            "weights: {kl: {start: 1}, kl.start: 0}\n",
            "line 3: weights.kl.start is written with a dot; write kl: {start",
        ),
        ("training: {epochs: 1" + "0" * 5000 + "}\n", "mine.yaml is no YAML: Exceeds the limit"),
        (
            "training: " + "[" * 3000 + "]" * 3000 + "\n",
            "mine.yaml is no YAML that can be read: it is nested too deeply",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_by_its_line(text: str, said: str, tmp_path: Path, zf: Command) -> None:
    (tmp_path / "mine.yaml").write_text("data: {name: digits}\nmodel: {name: rnn}\n" + text)
    result = zf("train", tmp_path / "mine.yaml", "--run-dir", tmp_path / "run")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert re.search(said, result.err), result.err
