"""Build the package, install it into an environment of its own without extras, and try it there, three times.

python tools/check_package.py [TORCH]

1. the wheel, with the versions of constraints.txt
2. the wheel that the source distribution makes
3. the wheel with the lowest versions that pyproject.toml allows (constraints-oldest.txt), and TORCH, if it is given

Everything lies in build/package, but for the folder that it is tried in.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "package"
PYTHON = FOLDER / "venv" / "bin" / "python"
TRY = ROOT / "tools" / "try_package.py"


def main(oldest_torch: str | None) -> None:
    """All three, each said on a line with what it took of the CPUs."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER / "venv")
    step("built", build)
    step("installed", lambda: install("-c", ROOT / "constraints.txt", wheel_in("dist")))
    step("tried the wheel, versions as pinned", try_it)
    step("built the source distribution", build_from_source)
    step("installed", lambda: install("--no-deps", "--force-reinstall", wheel_in("from-source")))
    step("tried what the source distribution gives", try_it)
    torch = f"torch=={oldest_torch}" if oldest_torch else "torch"
    lowest = ROOT / "constraints-oldest.txt"
    step("installed the lowest versions", lambda: install("-r", lowest, torch, wheel_in("dist")))
    step("tried the wheel, lowest versions", try_it)


def step(done: str, do: Callable[[], None]) -> None:
    """Do it, and say that it is done."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    do()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"package: {done} ({spent:.0f} CPU seconds)", flush=True)


def build() -> None:
    """Wheel and source distribution, without network."""
    call(sys.executable, "-m", "hatchling", "build", "-d", FOLDER / "dist")


def build_from_source() -> None:
    """The wheel of the source distribution, unpacked: of what is in it alone."""
    (archive,) = (FOLDER / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(FOLDER / "source", filter="data")
    (source,) = (FOLDER / "source").iterdir()
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", FOLDER / "from-source", folder=source)


def wheel_in(folder: str) -> Path:
    """The one wheel of a folder."""
    (wheel,) = (FOLDER / folder).glob("*.whl")
    return wheel


def install(*words: str | Path) -> None:
    """By this environment's pip, into the other one; bytecode is made where it is needed."""
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", PYTHON]
    call(*pip, "install", "-qq", "--no-compile", *words)
    call(*pip, "check")


def try_it() -> None:
    """In an empty folder outside of the checkout, with nothing of this environment's settings."""
    with TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
        print(call(PYTHON, "-P", TRY, folder=Path(home), environment=environment), end="")


def call(*words: str | Path, folder: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """What a command prints; where it fails, say what it said and end."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"package: {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), None))
