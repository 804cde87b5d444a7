"""What is around the package: lowest versions, targets that CI calls, and the pages of contributors, which say both."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from check_install import pins
from room_tests import TESTS, files_of, main, room_of, used
from rooms import ROOMS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOWEST = pins((ROOT / "constraints-oldest.txt").read_text("utf-8"))
PINNED = pins((ROOT / "constraints.txt").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = sorted((ROOT / "docs" / "contribute").glob("*.md"))
NAMED = [ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *PAGES, *WORKFLOWS]


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    return Version(bound.version)


@pytest.mark.parametrize("line", PROJECT["dependencies"])
def test_the_lowest_version_of_each_requirement_is_the_one_that_is_tried(line: str) -> None:
    requirement = Requirement(line)
    bound = lower_bound(requirement)
    if requirement.name == "torch":  # in a workflow alone: gigabytes
        workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
        assert Version(workflow["jobs"]["package"]["strategy"]["matrix"]["torch"][1]) == bound
    else:
        assert Version(LOWEST[requirement.name]) == bound
    assert Version(PINNED[requirement.name]) >= bound


def test_what_is_built_with_is_pinned_too() -> None:
    assert Version(PINNED["hatchling"]) >= Version("1.27")


@pytest.mark.parametrize("path", NAMED, ids=[path.name for path in NAMED])
def test_targets_that_are_named_are_in_the_makefile(path: Path) -> None:
    text = path.read_text("utf-8")
    called = re.findall(r"(?:`|^ *(?:- run: )?)make ([a-z][a-z -]*[a-z])", text, re.MULTILINE)
    named = {word for words in called for word in words.split()}
    assert named <= TARGETS | {""}, named - TARGETS


def test_ci_on_github_calls_what_ci_here_calls() -> None:
    here = set(re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)) - {"install"}
    there = set(re.findall(r"run: make ([a-z-]+)", (ROOT / ".github/workflows/ci.yml").read_text("utf-8")))
    assert here == there == {"lint", "types", "docs", "test", "package"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])
def test_a_workflow_is_whole(path: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["name"] == path.stem
    assert workflow[True]  # `on`, which YAML 1.1 takes for a yes
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest"
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))


def test_pythons_that_are_tested_begin_with_the_one_that_is_required() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert f">={workflow['jobs']['test']['strategy']['matrix']['python'][0]}" == PROJECT["requires-python"]


def test_every_file_of_tests_is_of_a_room_and_every_room_has_some() -> None:
    assert {room_of(path) for path in TESTS.glob("test_*.py")} <= set(ROOMS)
    assert [name for name in ROOMS if name and not files_of(name)] == ["__main__"]


@pytest.mark.parametrize(
    ("file", "room"),
    [
        ("test_bounds.py", "bounds"),  # called after it
        ("test_data_mnist.py", "data"),
        ("test_srnn.py", "models"),  # the last one that it uses
        ("test_each_verb.py", "cli"),  # takes `zf`
    ],
)
def test_a_file_is_of_the_room_that_it_is_called_after_or_the_last_that_it_uses(file: str, room: str) -> None:
    assert room_of(TESTS / file) == room


def test_public_names_count_as_their_room() -> None:
    assert used("from zforcing import ELBO\nimport zforcing as zf\nzf.fit(1)\n") == {"bounds", "training"}
    assert used("import zforcing\nzforcing.models.rnn\n") == {"models"}
    assert used("def test_x(zf): ...\n") == {"cli"}
    assert used("import numpy\n") == set()


def test_a_room_that_there_is_not_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound") == 1
    assert capsys.readouterr().err.startswith("no tests are of a room 'bound'; there are errors, ")
