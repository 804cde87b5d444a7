"""Run the README's short programs as they are written, on made-up data, and say how long each takes.

    python benchmarks/readme_paths.py

Ten machines' temperature and load, which rise and fall together, with gaps in them for the program that fills gaps.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import zforcing as zf

README = Path(__file__).parents[1] / "README.md"


def readings(machines: int, steps: int, *, seed: int) -> pd.DataFrame:
    """Temperature and load of machines, a row for each machine and time."""
    rng, frames = np.random.default_rng(seed), []
    for machine in range(machines):
        load = 50 + 20 * np.sin(np.arange(steps) / 8 + rng.uniform(0, 6)) + rng.normal(0, 2, steps)
        temperature = 20 + 0.5 * load + rng.normal(0, 1, steps)
        columns = {"machine": machine, "time": np.arange(steps), "temperature": temperature, "load": load}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames)


def programs() -> list[str]:
    """The README's blocks of Python after the first one."""
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), flags=re.DOTALL)[1:]


def given(steps: int) -> dict[str, Any]:
    """What the programs start from, of so many steps."""
    df, today = readings(10, steps, seed=0), readings(10, 100, seed=1)
    today.iloc[50:55, 2] += 8  # a temperature that doesn't go with the load
    x = readings(20, 200, seed=2)[["temperature", "load"]].to_numpy().reshape(20, 200, 2).copy()
    for sequence, first in zip(x, np.random.default_rng(3).integers(5, 180, len(x)), strict=True):
        sequence[first : first + 10] = np.nan
    return {"zf": zf, "df": df, "today": today, "x": x, "series": readings(1, steps, seed=4).iloc[:, 2:].to_numpy()}


def run(program: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """All names after a program."""
    after = dict(names)
    exec(program, after)
    return after


def main() -> None:
    """Print the seconds of each."""
    names = given(1000)
    for program in programs():
        began = time.perf_counter()
        run(program, names)
        print(f"{time.perf_counter() - began:.0f} s\n{program}")


if __name__ == "__main__":
    main()
