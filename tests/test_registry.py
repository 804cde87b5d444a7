"""Models, bounds and data sets of one's own, registered from outside: found by name wherever the package's are."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import zforcing as zf
from test_docs import PAGE, blocks
from zforcing import registry
from zforcing.bounds import BOUNDS, ELBO, Bound
from zforcing.cli import main
from zforcing.data import DATA, DataModule, InMemory, Split
from zforcing.models import VRNN, SequenceModel
from zforcing.observations import DataDescription
from zforcing.training.runs.config import parse_config

SRC = Path(zf.__file__).parents[1]
TRAINED = {"epochs": 1, "batch_size": 10}
DATA_SET = {"name": "lgssm", "train": 20, "valid": 10, "test": 10, "steps": 5}

BOUND = '''
from dataclasses import dataclass
from typing import ClassVar
import zforcing
from zforcing.bounds import ELBO, Bound

@zforcing.register
@dataclass(frozen=True)
class Mean(Bound):
    """The mean of several ELBOs."""

    name: ClassVar[str] = "mean_elbo"
    particles: ClassVar[int] = 1
    draws: int = 2
    """how many"""

    def __call__(self, model, batch, *, weights=zforcing.Weights()):
        return [ELBO()(model, batch, weights=weights) for _ in range(self.draws)][-1]
'''
DATA_OF_OWN = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import zforcing
from zforcing.data import DataModule, InMemory
from zforcing.observations import DataDescription, Example

@zforcing.register
@dataclass(frozen=True)
class Ramps(DataModule):
    """Straight lines."""

    name: ClassVar[str] = "ramps"
    steps: int = 6
    """length of each"""

    def describe(self):
        return DataDescription("ramps", zforcing.ObservationSpec("real", 1), self.steps)

    def load(self, split, description):
        lines = [np.linspace(0, slope, self.steps, dtype=np.float32)[:, None] for slope in range(8)]
        return InMemory([Example(line) for line in lines])
'''


@contextmanager
def as_it_was() -> Iterator[None]:
    """What is registered within the block isn't afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for family in registry._families:
            patch.setattr(family, "_classes", dict(family._classes))
        yield


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Each test registers what it likes; the families are those of the package afterwards."""
    with as_it_was():
        yield


def python(code: str, folder: Path, *, path: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    return outside([sys.executable, "-c", code], folder, path=path)


def command(folder: Path, *words: object, path: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    return outside([sys.executable, "-m", "zforcing", *map(str, words)], folder, path=path)


def outside(words: list[str], folder: Path, *, path: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """A fresh process that works in `folder` and finds the package and `path`, nothing else of the checkout."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [SRC, *path]))}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def here(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which knows afterwards no more than before: importing torch takes seconds."""
    out, err, modules = io.StringIO(), io.StringIO(), set(sys.modules)
    with as_it_was(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # --help
            code = int(end.code or 0)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(tempfile.gettempdir()):
            del sys.modules[name]
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def worked(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def mistake(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def installed(folder: Path, **points: str) -> Path:
    """A folder that Python takes for the place of an installed package with these entry points."""
    about = folder / "plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[zforcing]\n{lines}\n")
    return folder


@pytest.fixture(scope="module")
def deep_markov(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of docs/extending.md in a file of its own, as the page says."""
    folder = tmp_path_factory.mktemp("elsewhere")
    model = next(blocks(PAGE)).strip()
    assert "@zforcing.register" in model
    (folder / "deep_markov.py").write_text(model)
    recipe = re.search(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert recipe is not None
    (folder / "mine.yaml").write_text(recipe[1])
    return folder


@pytest.fixture(scope="module")
def trained(deep_markov: Path) -> Path:
    small = [f"--data.{key}={value}" for key, value in DATA_SET.items() if key != "name"]
    short = [f"--training.{key}={value}" for key, value in TRAINED.items()]
    worked(here(deep_markov, "train", "mine.yaml", "--run-dir", "run", *small, *short))
    return deep_markov / "run"


@pytest.mark.slow
def test_a_model_of_ones_own_trains_from_a_recipe_and_is_evaluated_sampled_and_described(
    trained: Path, tmp_path: Path
) -> None:
    """From another folder too: the run remembers where the model's file is."""
    assert json.loads(worked(command(tmp_path, "evaluate", trained, "--json")))["model"] == "deep_markov"
    worked(here(tmp_path, "sample", trained, "--num", 2, "--out", tmp_path / "out"))
    assert json.loads(worked(here(tmp_path, "info", trained, "--json")))["model"] == "deep_markov"
    longer = ["train", trained / "config.yaml", "--run-dir", trained, "--resume", "--training.epochs", 2, "--json"]
    assert json.loads(worked(here(tmp_path, *longer)))["updates"] == 4


def test_a_saved_model_of_ones_own_loads_in_a_fresh_process(trained: Path) -> None:
    code = "import zforcing, deep_markov; print(type(zforcing.load('run')).__name__)"
    assert worked(python(code, trained.parent)) == "DeepMarkov\n"


def test_a_saved_model_that_is_not_registered_says_what_to_do(trained: Path) -> None:
    with pytest.raises(zf.UserError) as caught:
        zf.load(trained)
    for part in ("config.json names model 'deep_markov', which isn't registered", "import the module", "known are"):
        assert part in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_a_run_whose_file_has_gone_names_it(trained: Path, tmp_path: Path) -> None:
    config = trained / "config.yaml"
    before = config.read_text()
    config.write_text(before.replace("deep_markov.py", "gone.py"))
    said = mistake(here(tmp_path, "evaluate", trained))
    config.write_text(before)
    assert f"config.yaml, imports: can't import {trained.parent / 'gone.py'}: no such file" in said


def test_train_imports_a_file_that_the_command_line_names(deep_markov: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("data: {name: lgssm}\nmodel: {name: deep_markov}\n")
    words = ["recipe.yaml", "--import", deep_markov / "deep_markov.py", "--model.latent_size", 3]
    printed = json.loads(worked(here(tmp_path, "train", *words, "--print_config", "--json")))
    assert printed["imports"] == [str(deep_markov / "deep_markov.py")]
    assert printed["model"] == {"name": "deep_markov", "latent_size": 3, "hidden_size": 32}
    text = worked(here(tmp_path, "train", *words, "--help"))
    assert "size of z_t" in text  # the string under the field
    assert "unknown model.name 'deep_markov'" in mistake(here(tmp_path, "train", "recipe.yaml"))


def test_a_base_recipes_imports_are_kept_before_ones_own(tmp_path: Path) -> None:
    (tmp_path / "one_bound.py").write_text(BOUND)
    (tmp_path / "ramps.py").write_text(DATA_OF_OWN)
    (tmp_path / "base.yaml").write_text("imports: [one_bound.py]\nbound: {name: mean_elbo}\n")
    (tmp_path / "top.yaml").write_text(
        "base: base.yaml\nimports: [ramps.py]\ndata: {name: ramps}\nmodel: {name: rnn}\n"
    )
    result = here(Path("/"), "train", tmp_path / "top.yaml", "--print_config", "--json")
    printed = json.loads(worked(result))
    assert printed["imports"] == [str(tmp_path / "one_bound.py"), str(tmp_path / "ramps.py")]
    assert (printed["data"], printed["bound"]) == ({"name": "ramps", "steps": 6}, {"name": "mean_elbo", "draws": 2})


def test_a_data_set_and_a_bound_of_ones_own_train_and_measure(tmp_path: Path) -> None:
    (tmp_path / "one_bound.py").write_text(BOUND)
    (tmp_path / "ramps.py").write_text(DATA_OF_OWN)
    recipe = {
        "imports": ["ramps.py"],
        "data": {"name": "ramps"},
        "model": {"name": "rnn", "hidden_size": 4},
        "training": TRAINED,
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    worked(here(tmp_path, "train", "recipe.yaml", "--run-dir", "run"))
    measured = ["evaluate", "run", "--bound", "mean_elbo", "--json"]
    assert "unknown --bound 'mean_elbo'" in mistake(here(tmp_path, *measured))
    found = json.loads(worked(here(tmp_path, *measured, "--import", "one_bound.py")))
    assert (found["data"], found["bound"]) == ("ramps", "mean_elbo")


CALLBACK = """
from dataclasses import dataclass
from typing import ClassVar
import zforcing

@zforcing.register
@dataclass
class Steps(zforcing.Callback):
    name: ClassVar[str] = "steps"
    file: str
    every: int = 1

    def on_update(self, at, updated, model):
        if at.step % self.every == 0:
            with open(self.file, "a") as file:
                file.write(f"{at.step} ")
"""


def test_a_callback_of_ones_own_is_told_what_happens(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(CALLBACK)
    recipe = {
        "imports": ["steps.py"],
        "callbacks": [{"name": "steps", "file": "steps.txt", "every": 2}],
        "data": DATA_SET,
        "model": {"name": "rnn", "hidden_size": 4},
        "training": TRAINED | {"batch_size": 4},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    worked(here(tmp_path, "train", "recipe.yaml", "--run-dir", "run"))
    assert (tmp_path / "steps.txt").read_text() == "2 4 "
    printed = json.loads(worked(here(tmp_path, "train", "run/config.yaml", "--print-config", "--json")))
    assert printed["callbacks"] == recipe["callbacks"]
    for wrong, message in (
        ([{"name": "steps", "file": "x", "evry": 2}], "unknown setting steps.evry (did you mean steps.every?)"),
        ([{"name": "steps", "file": "x", "every": "x"}], "steps.every is 'x'; it must be a whole number"),
        (["steps"], "steps.file must be given"),
        (["step"], "unknown callbacks.name 'step' (did you mean steps?)"),
        ("steps", "callbacks is 'steps'; it must be a list"),
    ):
        (tmp_path / "wrong.yaml").write_text(json.dumps(recipe | {"callbacks": wrong}))
        assert message in mistake(here(tmp_path, "train", "wrong.yaml"))


def test_a_name_of_a_kind_of_which_none_is_registered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_families", [])
    none: registry.Family[Any] = registry.Family("callback", Bound)
    with pytest.raises(zf.UserError, match=r"unknown callbacks.name 'mine'; no callback is registered"):
        none.find("mine", setting="callbacks.name")


def test_info_lists_what_is_registered(deep_markov: Path) -> None:
    listed = json.loads(worked(here(deep_markov, "info", "--import", "deep_markov.py", "--json")))
    assert "deep_markov" in listed["models"].split(", ")
    assert set(listed["bounds"].split(", ")) == {"ais", "chib", "elbo", "exact", "fivo", "importance", "iwae", "orders"}


@pytest.mark.slow
def test_an_installed_package_registers_by_entry_points(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = installed(tmp_path / "site", ramps="ramps:Ramps", bound="one_bound")
    (site / "ramps.py").write_text(DATA_OF_OWN.replace("@zforcing.register\n", ""))
    (site / "one_bound.py").write_text(BOUND)  # a module, which registers
    code = (
        "import sys, zforcing; from zforcing.data import DATA; from zforcing.bounds import BOUNDS\n"
        "assert DATA['lgssm'] and 'ramps' not in sys.modules  # not before it is needed\n"
        "print(DATA['ramps'].__name__, list(BOUNDS)[-1])"
    )
    assert worked(python(code, tmp_path, path=[site])) == "Ramps mean_elbo\n"
    listed = json.loads(worked(command(tmp_path, "info", "--json", path=[site])))
    assert "ramps" in listed["data"]


def test_a_broken_entry_point_is_named_and_breaks_no_other(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = installed(
        tmp_path / "site", a_broken="broken", b_ramps="ramps:Ramps", c_none="ramps:Nothing", d_int="ramps:n"
    )
    (site / "broken.py").write_text("raise ImportError('needs another zforcing')")
    (site / "ramps.py").write_text(DATA_OF_OWN + "\nn = 3\n")
    result = python("from zforcing.data import DATA; print('ramps' in DATA)", tmp_path, path=[site])
    assert worked(result) == "True\n"
    for said in (
        "entry point a_broken = broken of plugin can't be loaded: ImportError: needs another zforcing",
        "entry point c_none = ramps:Nothing of plugin can't be loaded: AttributeError",
        "entry point d_int = ramps:n of plugin can't be loaded: UserError: this int can't be registered",
    ):
        assert result.stderr.count(said) == 1


def small_model(**more: Any) -> type[SequenceModel]:
    """A VRNN by another name, or without one."""
    return type("Mine", (VRNN,), {"name": "mine", "__qualname__": "Mine", **more})


def test_register_gives_the_class_back_and_all_lookups_find_it() -> None:
    model = small_model()
    assert zf.register(model) is model
    assert zf.MODELS["mine"] is model
    assert list(zf.MODELS)[-1] == "mine"
    config = parse_config({"data": DATA_SET, "model": {"name": "mine", "latent_size": 2}})
    assert isinstance(config.build_model(config.data.describe().spec), model)


def test_a_model_that_shares_another_ones_settings_keeps_its_name() -> None:
    zf.register(small_model())
    values = {"data": {"name": "lgssm"}, "model": {"name": "mine"}}
    assert parse_config(parse_config(values).to_dict()).to_dict()["model"]["name"] == "mine"


def test_a_class_that_is_defined_anew_takes_the_old_ones_place() -> None:
    zf.register(small_model())
    again = zf.register(small_model())
    assert zf.MODELS["mine"] is again


@dataclass(frozen=True)
class NoName(ELBO):
    pass


class NoDataclass(DataModule):
    name: ClassVar[str] = "no_dataclass"

    def describe(self) -> DataDescription:
        raise AssertionError

    def load(self, split: Split, description: DataDescription) -> InMemory:
        raise AssertionError


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (small_model(name="rnn"), r"Mine can't be registered as a model: the name 'rnn' is taken by zforcing\.models"),
        (NoName, r"NoName can't be registered as a bound: the name 'elbo' is taken by zforcing\.bounds\.elbo\.ELBO"),
        (small_model(name=None), r"its `name` is None; give the class one"),
        (small_model(name="a/b"), r"its `name` is 'a/b'"),
        (small_model(Config=None), r"its `Config` must be a dataclass"),
        (SequenceModel, r"can't be registered as a model: it is abstract; define after_latent, after_observation"),
        (Bound, r"can't be registered as a bound: it is abstract; define __call__"),
        (NoDataclass, r"can't be registered as a data set: it must be a dataclass"),
        (int, r"builtins.int can't be registered: it must be a class derived from one of .*DensityModel"),
        (ELBO(), "this ELBO can't be registered"),
    ],
)
def test_what_cannot_be_registered_is_refused(cls: Any, said: str) -> None:
    with pytest.raises(zf.UserError, match=said):
        zf.register(cls)
    assert [*BOUNDS, *DATA].count("elbo") == 1


def test_a_file_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import zforcing\n\nx = 1 / 0\n")
    (tmp_path / "recipe.yaml").write_text("imports: [wrong.py]\ndata: {name: lgssm}\nmodel: {name: rnn}\n")
    said = mistake(here(tmp_path, "train", "recipe.yaml"))
    assert (
        f"can't import {tmp_path / 'wrong.py'}: ZeroDivisionError: division by zero ({tmp_path / 'wrong.py'}, line 3)"
        in said
    )


@pytest.mark.parametrize("source", ["gone.py", "no_such_module"])
def test_what_is_not_there_to_import_is_named(source: str, tmp_path: Path) -> None:
    said = mistake(here(tmp_path, "train", "digits-rnn", "--import", source))
    assert f"{source}: " in said


def test_imports_that_are_no_list_are_refused() -> None:
    with pytest.raises(zf.UserError, match="imports is 'mine'; it must be a list"):
        parse_config({"imports": "mine", "data": {"name": "lgssm"}, "model": {"name": "rnn"}})


def test_a_file_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counted.py").write_text("import builtins\nbuiltins.times = getattr(builtins, 'times', 0) + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.times", 0, raising=False)
    monkeypatch.setitem(sys.modules, "counted", importlib.import_module("counted"))
    registry.import_source(str(tmp_path / "counted.py"))
    assert importlib.import_module("builtins").times == 1


def test_a_family_says_what_it_has() -> None:
    assert repr(BOUNDS) == "<registered as bound: ais, chib, elbo, exact, fivo, importance, iwae, orders>"
