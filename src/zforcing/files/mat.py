"""Read .mat files, by SciPy in a process of its own: on a damaged file its reader may end Python by a signal."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..errors import UserError
from .paths import refuse_special
from .reading import REASON, Array, readable
from .size_limit import VARIABLE, most_bytes

CHILD = Path(__file__).with_name("mat_child.py")
NEEDED = 4 << 30  # bytes of address space that SciPy takes before it reads
SECONDS = 300  # on a busy machine; the process itself may compute for less


def read_mat(file: Path, source: str) -> dict[str, Array | list[Array]]:
    """Its variables by name; of a cell array the list of its arrays.

    Raises:
        UserError: The file can't be read, or needs more than two minutes, or more memory than may be (size_limit.py).
    """
    refuse_special(file, source)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "content.npz"
        memory = NEEDED + most_bytes()
        command = [sys.executable, "-I", str(CHILD), str(file.absolute()), str(made), str(memory)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"{source}: cannot be read in {SECONDS} seconds; save it again") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if done.returncode > 0 and said else f"it stops the reader by signal {-done.returncode}"
            if "MemoryError" in reason:
                reason = f"{reason}: it unpacks to too much; {VARIABLE} in the environment allows more"
            raise UserError(
                f"{source}: cannot be read ({reason[:REASON]}); if it is damaged, save or download it again"
            )
        with readable(source), np.load(made, allow_pickle=False) as archive:
            return _with_cells({name: archive[name] for name in archive.files})


def _with_cells(found: dict[str, Array]) -> dict[str, Array | list[Array]]:
    """NAME/ holds how many cells there are, and NAME/0, NAME/1, ... hold them."""
    plain: dict[str, Array | list[Array]] = {name: value for name, value in found.items() if "/" not in name}
    counts = {name[:-1]: int(value) for name, value in found.items() if name.endswith("/")}
    return plain | {name: [found[f"{name}/{number}"] for number in range(count)] for name, count in counts.items()}
