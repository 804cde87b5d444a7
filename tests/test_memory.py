"""Memory that is freed and asked for again, in a process of its own: what is set there stays set."""

from __future__ import annotations

import platform
import subprocess
import sys

PROGRAM = "from zforcing.runtime.memory import keep_freed_memory; print(keep_freed_memory())"


def test_freed_memory_is_kept_where_the_c_library_is_glibc() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == f"{platform.libc_ver()[0] == 'glibc'}\n"
