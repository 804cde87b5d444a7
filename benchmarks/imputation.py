"""Fill gaps in real sensors' series, beside linear interpolation, the last value and the mean.

    pip download --no-deps aeon==1.6.0 && unzip aeon-1.6.0-py3-none-any.whl 'aeon/datasets/data/*'
    python benchmarks/imputation.py aeon/datasets/data daphnet
    python benchmarks/imputation.py aeon/datasets/data motions

The package aeon (BSD) ships both: Daphnet's record S06R02E0, three accelerometers on a walking patient with Parkinson's
disease, 64 times a second (M. Bachlin et al., 2010), and BasicMotions, a smart watch's accelerometer and gyroscope, 10
times a second. Writes docs/results/imputation-NAME.json, and docs/results/imputation.md from all there are.
"""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zforcing as zf

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SEEDS = (0, 1, 2)
LENGTH, SHARE = 10, 0.1  # steps of a gap, and how much is missing
UPDATES = 500  # of training
SIZES = {"hidden_size": 64, "latent_size": 8, "feature_size": 48, "mlp_size": 48, "mlp_layers": 1, "min_std": 0.02}
PARTICLES, MOVES = 64, 50
GAPS = {"all": "all numbers of a step at once", "one": "each number by itself"}


def daphnet(folder: Path) -> tuple[zf.Sequences, zf.Sequences, np.ndarray]:
    """One record, in time: training windows, validation windows, and 10 test windows [10, 100, 9] in mg."""
    with (folder / "Daphnet_S06R02E0" / "S06R02E0.csv").open() as file:
        rows = np.array([[float(v) for v in row[1:10]] for row in list(csv.reader(file))[1:]])
    train = zf.Sequences([rows[:4200]]).windows(100, stride=50)
    return train, zf.Sequences([rows[4200:5200]]).windows(100), rows[5200:6200].reshape(10, 100, 9)


def motions(folder: Path) -> tuple[zf.Sequences, zf.Sequences, np.ndarray]:
    """The archive's own splits: 32 and 8 of its training sequences, and every fourth of its test, [10, 100, 6]."""
    train, test = (_ts(folder / "BasicMotions" / f"BasicMotions_{split}.ts") for split in ("TRAIN", "TEST"))
    every = np.arange(len(train)) % 5 != 0
    return zf.Sequences(train[every]), zf.Sequences(train[~every]), test[::4]


def _ts(file: Path) -> np.ndarray:
    lines = [line for line in file.read_text().splitlines() if line and line[0] not in "#@"]
    return np.stack([np.array([p.split(",") for p in line.split(":")[:-1]], dtype=float).T for line in lines])


SETS = {"daphnet": daphnet, "motions": motions}


def observed_of(x: np.ndarray, gaps: str, *, seed: int) -> np.ndarray:
    """Where x [N, T, D] stays observed: gaps of LENGTH steps, neither at the beginning nor at the end."""
    rng, seen = np.random.default_rng(seed), np.ones(x.shape, dtype=bool)
    for sequence in seen:
        for columns in [slice(None)] if gaps == "all" else [slice(d, d + 1) for d in range(x.shape[2])]:
            for _ in range(round(SHARE * len(sequence) / LENGTH)):
                first = rng.integers(2, len(sequence) - LENGTH - 2)
                sequence[first : first + LENGTH, columns] = False
    return seen


def by_column(fill: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """x with the gaps of each column of each sequence filled by a function of its steps and values."""
    filled, steps = x.copy(), np.arange(x.shape[1])
    for i, d in np.ndindex(x.shape[0], x.shape[2]):
        known = seen[i, :, d]
        filled[i, ~known, d] = fill(steps[known], x[i, known, d])[~known] if (~known).any() else []
    return filled


def baselines(x: np.ndarray, seen: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Filled sequences by name."""
    steps = np.arange(x.shape[1])
    return {
        "linear interpolation": by_column(lambda t, v: np.interp(steps, t, v), x, seen),
        "last value": by_column(lambda t, v: v[np.searchsorted(t, steps, side="right").clip(1) - 1], x, seen),
        "mean of the training data": np.where(seen, x, mean),
    }


def measured(name: str, folder: Path) -> list[dict[str, Any]]:
    """A row for each seed, kind of gap and way to fill it; errors in the training data's standard deviations."""
    train, valid, x = SETS[name](folder)
    rows = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = zf.VRNN.for_data(train, **SIZES)
        zf.fit(model, train, valid, max_steps=UPDATES, epochs=1000, learning_rate=3e-3, batch_size=8, seed=seed)
        assert model.description is not None
        scaling = model.description.normalization
        assert scaling is not None
        for gaps in GAPS:
            seen = observed_of(x, gaps, seed=seed)
            of_all: dict[str, Any] = {"seed": seed, "gaps": gaps}
            for way, filled in baselines(x, seen, np.array(scaling.mean)).items():
                rows.append(of_all | {"way": way, "rmse": rms(filled - x, seen, scaling.std)})
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # it is in the table
                found = zf.impute(
                    model,
                    zf.Sequences(np.where(seen, x, np.nan)),
                    num_samples=1,
                    particles=PARTICLES,
                    moves=MOVES,
                    seed=seed,
                )
            lower, upper = (np.stack(v) for v in found.interval(0.9))
            rows.append(
                of_all
                | {
                    "way": "VRNN, zf.impute",
                    "rmse": rms(np.stack(found.filled) - x, seen, scaling.std),
                    "covered": float(((x >= lower) & (x <= upper))[~seen].mean()),
                    "worth": float(np.nanmedian(np.concatenate(found.effective))),
                    "seconds": time.process_time() - began,
                }
            )
            print(rows[-1], flush=True)
    return rows


def rms(error: np.ndarray, seen: np.ndarray, std: tuple[float, ...]) -> float:
    """The root of the mean square of what is missing, in standard deviations."""
    return float(np.sqrt(np.square(error / std)[~seen].mean()))


def page(results: dict[str, dict[str, Any]]) -> str:
    """The page of all results."""
    lines = [
        "# Filled gaps",
        "",
        f"Gaps of {LENGTH} steps, {SHARE:.0%} of real sensors' numbers, filled by what is observed before and after.",
        "Error: the root of the mean square over the missing numbers, in standard deviations of the training data;",
        f"mean (least to most) of {len(SEEDS)} seeds, each with its own training and gaps. `zf.impute` draws from a",
        f"VRNN that was trained on complete data for {UPDATES} updates; its mean is compared. Covered: the share of",
        "missing numbers in its 90% intervals. Worth: how many independent draws those of the median step are worth,",
        f"by its own account, of {PARTICLES} particles and {MOVES} moves.",
        "",
        "Both move quickly: in a gap there is much of a stride or a swing, so that the mean beats a line, which is",
        "harder to beat where a series is slow. Where less than 0.9 is covered the intervals are too narrow.",
        "",
    ]
    for name, result in results.items():
        for gaps, words in GAPS.items():
            rows = [row for row in result["rows"] if row["gaps"] == gaps]
            ways = {row["way"]: [r for r in rows if r["way"] == row["way"]] for row in rows}
            best_first = sorted(ways.items(), key=lambda item: float(np.mean([row["rmse"] for row in item[1]])))
            lines += [f"## {name}: {words}", "", "| | error | covered | worth | CPU seconds |"]
            lines += ["|---|---:|---:|---:|---:|", *(_line(way, of) for way, of in best_first), ""]
        lines += [f"{result['made']}", ""]
    return "\n".join([*lines, "Made by benchmarks/imputation.py, which says where the data is.", ""])


def _line(way: str, rows: list[dict[str, Any]]) -> str:
    def over_seeds(key: str, digits: int) -> str:
        values = [row[key] for row in rows if key in row]
        if not values:
            return ""
        return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"

    cells = [over_seeds("rmse", 3), over_seeds("covered", 2), over_seeds("worth", 0), over_seeds("seconds", 0)]
    return f"| {way} | {' | '.join(cells)} |"


def made() -> str:
    """Command, commit, hardware and date."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    models = [v for v in Path("/proc/cpuinfo").read_text().splitlines() if v.startswith("model name")]
    cpu = models[0].split(": ")[1] if models else platform.machine()
    return (
        f"`python benchmarks/imputation.py DATA {sys.argv[2]}`, seeds {', '.join(map(str, SEEDS))}, commit "
        f"{commit.strip()}, {cpu}, {torch.get_num_threads()} thread, torch {torch.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}; other work ran beside it"
    )


def main() -> None:
    """Measure one set, and write the page of all."""
    if len(sys.argv) != 3 or sys.argv[2] not in SETS:
        sys.exit(f"usage: python benchmarks/imputation.py DATA {'|'.join(SETS)}")
    torch.set_num_threads(1)
    result = {"made": made(), "rows": measured(sys.argv[2], Path(sys.argv[1]))}
    (RESULTS / f"imputation-{sys.argv[2]}.json").write_text(json.dumps(result, indent=1) + "\n")
    files = [RESULTS / f"imputation-{name}.json" for name in SETS]
    results = {f.stem.removeprefix("imputation-"): json.loads(f.read_text()) for f in files if f.exists()}
    (RESULTS / "imputation.md").write_text(page(results))


if __name__ == "__main__":
    main()
