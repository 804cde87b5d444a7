"""Check an installation: the versions are the pinned ones, and `import zforcing.api` loads no package it can spare."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"

OPTIONAL = (  # packages of the extras
    "gradio",
    "huggingface_hub",
    "music21",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "optuna",
    "pandas",
    "polars",
    "pyarrow",
    "soundfile",
    "soxr",
    "symusic",
    "tensorboard",
    "tokenizers",
    "wandb",
)
# Required, but only by some of the commands and functions.
SLOW = ("accelerate", "matplotlib", "narwhals", "rich", "sklearn")
REFUSED = ("torchaudio", "torchvision")  # they pull in another torch


def pins(text: str) -> dict[str, str]:
    """The lines `name==version` of a constraints file; comments don't count."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {name: pinned for name, _, pinned in (line.partition("==") for line in lines if line)}


def installed(name: str) -> str | None:
    """The version of a distribution without its local label (2.13.0+cpu is 2.13.0); None if it isn't installed."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def wrong_versions(pinned: dict[str, str]) -> list[str]:
    """What is installed at another version than the pinned one, one line each. What isn't installed is not wrong."""
    found = {name: installed(name) for name in pinned}
    return [
        f"{name} {found[name]} is installed, {CONSTRAINTS.name} says {wanted}"
        for name, wanted in pinned.items()
        if found[name] not in (None, wanted)
    ]


def loaded_by_import(packages: tuple[str, ...] = OPTIONAL + SLOW, *, module: str = "zforcing.api") -> list[str]:
    """Those of the packages that importing the module in a fresh interpreter loads. Raises RuntimeError if it fails."""
    code = f"import sys, {module}; print(*(p for p in {packages!r} if p in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"`import {module}` failed:\n{result.stderr.strip()}")
    return result.stdout.split()


def problems() -> list[str]:
    """All that is wrong with this interpreter's packages, one line each."""
    pinned = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    found = wrong_versions(pinned)
    if "torch" not in pinned:
        found.append(f"{CONSTRAINTS.name} doesn't pin torch")
    if installed("torch") is None:
        found.append("torch is not installed")
    found += [f"{name} is installed; it pulls in another torch" for name in REFUSED if installed(name) is not None]
    try:
        found += [f"`import zforcing.api` loads {name}; import it where it is used" for name in loaded_by_import()]
    except RuntimeError as error:
        found.append(str(error))
    return found


def main() -> int:
    """Print what is wrong, or one line that says what is installed; 1 or 0."""
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"installed: zforcing {version('zforcing')}, torch {version('torch')}, every version as pinned")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
