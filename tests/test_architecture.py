"""Imports go one way: `ROOMS` (tools/rooms.py) is the order; each room imports only itself and those before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from check_install import OPTIONAL, REFUSED, loaded_by_import
from rooms import FILES, ROOMS, SRC, imported, imports, ours, reduced, room

NEVER = {  # packages that no module imports, and why
    **dict.fromkeys(REFUSED, "pulls in another torch"),
    "pickle": "loading a pickle runs its code",
    **dict.fromkeys(("lightning", "lightning_fabric", "pytorch_lightning"), "the training loop is ours"),
}
LATE = {  # packages that are imported in the functions that need them, but for these rooms
    **dict.fromkeys((*OPTIONAL, "matplotlib", "sklearn", "scipy"), ()),
    "accelerate": (),
}
SAYS_NOTHING = {"common", "helper", "helpers", "misc", "util", "utils"}


def test_the_list_of_rooms_is_complete() -> None:
    assert {room(module) for module in FILES} == set(ROOMS)
    assert len(set(ROOMS)) == len(ROOMS)


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_its_own_room_and_those_before_it(module: str) -> None:
    targets = [ours(target) for target, _ in imported(module)]
    wrong = [t for t in targets if t is not None and ROOMS.index(room(t)) > ROOMS.index(room(module))]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Through whatever way round, and whether at import or in a function; a package's `__init__` is a module too."""
    graph = {module: {ours(t) for t, _ in imported(module)} - {None, module} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_no_package_that_is_refused_and_slow_ones_only_where_they_are_needed(module: str) -> None:
    for target, at_import in imported(module):
        package = target.split(".")[0]
        assert package not in NEVER, NEVER[package]
        assert not at_import or room(module) in LATE.get(package, (room(module),)), package


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_named_after_its_idea(module: str) -> None:
    assert not SAYS_NOTHING & set(module.split("."))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ..bounds.elbo import ELBO", [("zforcing.bounds.elbo", True)]),
        ("from .. import nn", [("zforcing.nn", True)]),
        ("from . import sequence", [("zforcing.models.sequence", True)]),
        ("from .. import ELBO", [("zforcing", True)]),
        ("def f():\n    from ..training import begin", [("zforcing.training", False)]),
        ("import zforcing.data as d", [("zforcing.data", True)]),
        ("if TYPE_CHECKING:\n    import pyarrow", [("pyarrow", False)]),
        ("try:\n    import pyarrow\nexcept ImportError:\n    pass", [("pyarrow", True)]),
        ("class A:\n    import pyarrow.parquet as pq", [("pyarrow.parquet", True)]),
    ],
)
def test_imports_of_every_form_are_found(source: str, found: list[tuple[str, bool]]) -> None:
    assert list(imports(source, "models.vrnn", is_package=False)) == found


def test_arrows_that_others_imply_are_left_out() -> None:
    assert reduced({"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": {"c"}}) == {
        "a": {"b", "d"},
        "b": {"c"},
        "c": set(),
        "d": {"c"},
    }


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
    assert globals_changed_by("zforcing.api", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_globals_can_fail(tmp_path: Path) -> None:
    offender = "import torch\ntorch.manual_seed(0)\ntorch.distributions.Distribution.set_default_validate_args(False)\n"
    (tmp_path / "offender.py").write_text(offender + "torch.set_default_dtype(torch.float64)\n", "utf-8")
    changed = globals_changed_by("offender", tmp_path)
    assert changed == ["default dtype", "checks of distributions", "torch's generator"]
