"""Imports go one way. The rules are the table below; the made-up sources at the end show that each of them can fail."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from check_install import OPTIONAL, REFUSED, loaded_by_import

SRC = Path(__file__).parents[1] / "src" / "zforcing"

ANY = "*"
FRONT_DOOR = "."  # what zforcing exports comes from everywhere: `from .. import VRNN` would go round the rules
USERS = (".training", ".benchmark", ".evaluation", ".generation", ".samples", ".cli", ".testing", FRONT_DOOR)
FOUNDATIONS = (".sequences", ".distributions", ".emissions", ".nn", ".recurrence", ".schedules", ".errors")
LIGHTNING = ("lightning", "lightning_fabric", "pytorch_lightning")


@dataclass(frozen=True)
class Rule:
    """No module of `who` imports what is in `never`, but for `but`. `.models` is ours, with all that is inside it."""

    why: str
    who: tuple[str, ...]
    never: tuple[str, ...]
    but: tuple[str, ...] = ()  # imports that are allowed all the same
    besides: tuple[str, ...] = ()  # modules of `who` that are free of the rule
    anywhere: bool = True  # False: imports inside functions are allowed, and those for type checkers


RULES = (
    Rule("the foundations know nothing above them", FOUNDATIONS, never=(".models", ".bounds", ".data", *USERS)),
    Rule("a model doesn't know how it is fitted, nor to what", (".models",), never=(".bounds", ".data", *USERS)),
    Rule("a bound doesn't know the data", (".bounds",), never=(".data", *USERS)),
    Rule("a bound knows the contract, no model by name", (".bounds",), never=(".models",), but=(".models.base",)),
    Rule("data doesn't know who reads it", (".data",), never=(".models", ".bounds", *USERS)),
    Rule("nothing needs the command line", (ANY,), never=(".cli",), besides=(".cli", ".__main__")),
    Rule("these pull in another torch", (ANY,), never=REFUSED),
    Rule("loading a pickle runs its code", (ANY,), never=("pickle",)),
    Rule("the training loop is ours", (ANY,), never=LIGHTNING),
    Rule("an optional package may be missing", (ANY,), never=OPTIONAL, anywhere=False),
    Rule("slow to import, seldom needed", (ANY,), never=("matplotlib", "sklearn"), anywhere=False),
    Rule("slow to import, needed to train", (ANY,), never=("accelerate",), besides=(".training",), anywhere=False),
)

SAYS_NOTHING = {"common", "helper", "helpers", "misc", "util", "utils"}


@dataclass(frozen=True)
class Import:
    """`target` is a module: ours begin with a dot. `at_import`: it happens when the importing module is imported."""

    target: str
    line: int
    at_import: bool


def covers(pattern: str, module: str) -> bool:
    if pattern in (ANY, FRONT_DOOR):
        return pattern in (ANY, module)
    return module == pattern or module.startswith(pattern + ".")


def resolve(target: str, package: str) -> str:
    """A module as `import_module(target, package)` would find it, with our own package written as the leading dot."""
    dots = len(target) - len(target.lstrip("."))
    absolute = target
    if dots:
        parent = package.split(".")[: package.count(".") + 2 - dots]
        absolute = ".".join([*parent, target[dots:]]).rstrip(".")
    if absolute == "zforcing":
        return FRONT_DOOR
    return absolute.removeprefix("zforcing") if absolute.startswith("zforcing.") else absolute


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(node: ast.AST, *, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below this one, with whether importing the module runs it."""
    for child in ast.iter_child_nodes(node):
        yield child, at_import
        if is_type_checking(child):
            assert isinstance(child, ast.If), "is_type_checking is true of `if` alone"
            yield from nodes(ast.Module(child.body, []), at_import=False)
            yield from nodes(ast.Module(child.orelse, []), at_import=at_import)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from nodes(child, at_import=at_import and not deferred)


def named_by(node: ast.AST, modules: set[str], package: str) -> list[str]:
    """The modules that one statement or call imports; none for most."""
    match node:
        case ast.Import(names=names):
            return [resolve(alias.name, package) for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = resolve("." * level + (module or ""), package)
            inside = [(FRONT_DOOR if origin == FRONT_DOOR else origin + ".") + alias.name for alias in names]
            return [name if name in modules else origin for name in inside]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [resolve(name, package)]
    return []


def imports(source: str, module: str, modules: set[str], *, is_package: bool = False) -> list[Import]:
    full_name = "zforcing" + module.rstrip(".")
    package = full_name if is_package else full_name.rpartition(".")[0]
    return [
        Import(target, getattr(node, "lineno", 0), at_import)
        for node, at_import in nodes(ast.parse(source))
        for target in named_by(node, modules, package)
    ]


def broken(rule: Rule, module: str, found: list[Import]) -> list[str]:
    """One line for each import of the module that breaks the rule."""
    if not any(covers(who, module) for who in rule.who) or any(covers(free, module) for free in rule.besides):
        return []
    return [
        f"{module}, line {i.line}, imports {i.target}: {rule.why}"
        for i in found
        if any(covers(never, i.target) for never in rule.never)
        and not any(covers(allowed, i.target) for allowed in rule.but)
        and (i.at_import or rule.anywhere)
    ]


def module_name(path: Path) -> str:
    """`.models.base` for models/base.py, `.models` for models/__init__.py, `.` for the package itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return "." + ".".join(part for part in parts if part != "__init__")


FILES = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}


def test_there_is_something_to_check() -> None:
    assert {".models", ".models.base", ".data", ".sequences"} <= set(FILES)


@pytest.mark.parametrize("module", FILES)
def test_imports_go_one_way(module: str) -> None:
    path = FILES[module]
    found = imports(path.read_text("utf-8"), module, set(FILES), is_package=path.name == "__init__.py")
    assert [line for rule in RULES for line in broken(rule, module, found)] == []


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_named_after_its_idea(module: str) -> None:
    assert not SAYS_NOTHING & set(module.split("."))


# Does the check itself work? Made-up modules, each of which breaks one rule.

MADE_UP = {".", ".cli", ".nn", ".models", ".models.base", ".models.vrnn", ".bounds", ".data", ".training"}

VIOLATIONS: dict[str, list[tuple[str, str]]] = {
    "the foundations know nothing above them": [
        (".nn", "from .models.base import Model"),
        (".sequences", "from . import data"),
        (".recurrence", "import zforcing.bounds"),
        (".schedules", "def f():\n    from .training import Config"),
    ],
    "a model doesn't know how it is fitted, nor to what": [
        (".models.vrnn", "from ..data import Digits"),
        (".models.vrnn", "from ..bounds.elbo import ELBO"),
        (".models.vrnn", "from .. import data"),
        (".models.vrnn", "from .. import ELBO"),
        (
            ".models.vrnn",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..training.loop import fit",
        ),
        (".models", "from ..evaluation import likelihood"),
        (".models.vrnn", "from importlib import import_module\nimport_module('zforcing.generation')"),
        (".models.vrnn", "import importlib\nimportlib.import_module('..bounds', __package__)"),
    ],
    "a bound doesn't know the data": [
        (".bounds.elbo", "from ..data.base import Example"),
        (".bounds.elbo", "def f():\n    import zforcing.evaluation as e"),
    ],
    "a bound knows the contract, no model by name": [
        (".bounds.elbo", "from ..models.vrnn import VRNN"),
        (".bounds.elbo", "from ..models import VRNN"),
        (".bounds.elbo", "from ..models import base, vrnn"),
        (".bounds.elbo", "from .. import models"),
    ],
    "data doesn't know who reads it": [
        (".data.digits", "from ..models.base import Model"),
        (".data", "from ..bounds import ELBO"),
        (".data.digits", "from ..generation import sample"),
    ],
    "nothing needs the command line": [
        (".training.loop", "def f():\n    from ..cli import main"),
        (".", "from .cli import main"),
        (".", "from . import cli"),
    ],
    "these pull in another torch": [(".data.mnist", "def f():\n    from torchvision.datasets import MNIST")],
    "loading a pickle runs its code": [(".training.checkpoint", "import pickle")],
    "the training loop is ours": [(".training.loop", "from pytorch_lightning import Trainer")],
    "an optional package may be missing": [
        (".data.arrays", "import pyarrow.parquet as pq"),
        (".data.arrays", "try:\n    import pyarrow\nexcept ImportError:\n    pyarrow = None"),
        (".data.arrays", "class Arrays:\n    import pyarrow"),
    ],
    "slow to import, seldom needed": [
        (".evaluation.report", "from matplotlib import pyplot as plt"),
        (".data.digits", "import sklearn.datasets"),
    ],
    "slow to import, needed to train": [(".evaluation.likelihood", "from accelerate import Accelerator")],
}

ALLOWED = [
    (".bounds.elbo", "from ..models.base import Model\nfrom ..models import base\nfrom ..schedules import Linear"),
    (".models.vrnn", "from ..sequences import SequenceBatch\nfrom .base import Model\nfrom .. import nn"),
    (".models", "from .base import Model\nfrom .vrnn import VRNN"),
    (".data.arrays", "def read(path):\n    import pyarrow.parquet as pq\n    return pq.read_table(path)"),
    (".data.arrays", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pyarrow"),
    (".data.digits", "def read():\n    from sklearn.datasets import load_digits\n    return load_digits()"),
    (".training.loop", "from accelerate import Accelerator\nfrom ..bounds import ELBO\nfrom ..data import DATA"),
    (".evaluation.likelihood", "def f():\n    from accelerate import Accelerator"),
    (".__main__", "from .cli import main"),
    (".cli", "from .training import fit\nimport rich\nimport jsonargparse"),
    (".emissions", "import torch\nfrom torch.utils import data\nfrom .nn import MLP"),
    (".models.vrnn", "import lightning_rod\nimport zforcing_extras.data"),
]


@pytest.mark.parametrize(
    ("why", "module", "source"), [(why, *case) for why, cases in VIOLATIONS.items() for case in cases]
)
def test_the_check_finds_a_violation_of_this_rule_and_of_no_other(why: str, module: str, source: str) -> None:
    found = imports(source, module, MADE_UP, is_package=module in (".", ".models", ".data"))
    assert [rule.why for rule in RULES if broken(rule, module, found)] == [why]


def test_each_rule_has_an_example_that_breaks_it() -> None:
    assert [rule.why for rule in RULES] == list(VIOLATIONS)


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_the_check_lets_allowed_imports_pass(module: str, source: str) -> None:
    found = imports(source, module, MADE_UP, is_package=module == ".models")
    assert [line for rule in RULES for line in broken(rule, module, found)] == []


# What importing the package does to the interpreter.

GLOBALS_CHANGED_BY = """
import json, os, random, sys
import numpy, torch

def everything():
    return {
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "threads between operations": torch.get_num_interop_threads(),
        "checks of distributions": torch.distributions.Distribution._validate_args,
        "torch's generator": torch.get_rng_state().tolist(),
        "numpy's generator": str(numpy.random.get_state()),
        "Python's generator": random.getstate(),
        "gradients": torch.is_grad_enabled(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of products": torch.get_float32_matmul_precision(),
        "tf32 in cuDNN": torch.backends.cudnn.allow_tf32,
        "cuDNN's search": torch.backends.cudnn.benchmark,
        "the environment": dict(os.environ),
        "the working folder": os.getcwd(),
    }

before = everything()
__import__(sys.argv[1])
after = everything()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def globals_changed_by(module: str, folder: Path) -> list[str]:
    """What importing a module changes, in a fresh interpreter that works in `folder` and calls it home."""
    command = [sys.executable, "-c", GLOBALS_CHANGED_BY, module]
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(SRC.parent)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    changed: list[str] = json.loads(result.stdout)
    return changed


def test_importing_zforcing_loads_no_optional_and_no_slow_package() -> None:
    assert loaded_by_import() == []


def test_the_check_of_loaded_packages_can_fail() -> None:
    assert loaded_by_import(("json", "wave"), module="json") == ["json"]


def test_importing_zforcing_changes_nothing_global_and_writes_no_file(tmp_path: Path) -> None:
    assert globals_changed_by("zforcing", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_globals_can_fail(tmp_path: Path) -> None:
    offender = "import torch\ntorch.manual_seed(0)\ntorch.distributions.Distribution.set_default_validate_args(False)\n"
    (tmp_path / "offender.py").write_text(offender + "torch.set_default_dtype(torch.float64)\n", "utf-8")
    changed = globals_changed_by("offender", tmp_path)
    assert changed == ["default dtype", "checks of distributions", "torch's generator"]
