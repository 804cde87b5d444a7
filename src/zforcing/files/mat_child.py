"""Run by itself: mat_child.py FILE OUT BYTES. Writes a MATLAB file's arrays as .npz, those of a cell array as NAME/0...

SciPy's reader may end Python by a signal on a damaged file, so that it runs in a process of its own, which imports
nothing of zforcing. What is wrong is the last line on stderr.
"""

from __future__ import annotations

import sys
from typing import Any

SECONDS = 120  # of computing


def arrays_of(file: str) -> dict[str, Any]:
    """By name, without the file's header."""
    import numpy as np
    from scipy.io import loadmat  # type: ignore[import-untyped]  # it ships no types

    found: dict[str, Any] = {}
    for name, value in loadmat(file).items():
        if isinstance(value, np.ndarray) and value.dtype == object:
            found[f"{name}/"] = np.array(value.size)
            found |= {f"{name}/{number}": cell for number, cell in enumerate(value.ravel())}
        elif not name.startswith("__"):
            found[name] = value
    return found


def limit(memory: int) -> None:
    """Bound the memory (bytes of address space) and the time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, SECONDS)):
        _, allowed = resource.getrlimit(what)  # the system may allow less
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (most, allowed))


if __name__ == "__main__":
    import numpy as np

    limit(int(sys.argv[3]))
    np.savez(sys.argv[2], allow_pickle=False, **arrays_of(sys.argv[1]))
