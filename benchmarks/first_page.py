"""Run the programs of docs/start/sensors.md as they are written, one after the other, and say how long each takes.

python benchmarks/first_page.py
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "start" / "sensors.md"


def programs() -> list[str]:
    """The page's blocks of Python; each goes on from the one before."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


def main() -> None:
    """Print the seconds of each, in a folder that goes away."""
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for program in programs():
            wall, cpu = time.perf_counter(), time.process_time()
            exec(program, names)
            print(f"{time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} CPU s\n{program}")


if __name__ == "__main__":
    main()
