"""Anomalies, forecasts and filled gaps of real sensors' series, beside simple baselines.

    pip download --no-deps aeon==1.6.0 && unzip aeon-1.6.0-py3-none-any.whl 'aeon/datasets/data/*'
    python benchmarks/sensors.py aeon/datasets/data [NAME ...]

The package aeon (BSD) ships them:

- daphnet: record S06R02E0, three accelerometers on a walking patient with Parkinson's disease, 64 times a second
  (M. Bachlin et al., 2010)
- motions: BasicMotions, a smart watch's accelerometer and gyroscope, 10 times a second, in four activities
- badminton: the same; trained on the other three activities, all steps of badminton are the anomaly
- pressure: the UCR anomaly archive's 135, a blood pressure with one anomaly of 12 steps (E. Keogh et al., 2021)

Writes docs/results/sensors-NAME.json, and docs/results/sensors.md from all there are.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zforcing as zf

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SEEDS = (0, 1, 2)
UPDATES = 500  # of training
SIZES = {"hidden_size": 64, "latent_size": 8, "feature_size": 48, "mlp_size": 48, "mlp_layers": 1, "min_std": 0.02}
LENGTH, SHARE = 10, 0.1  # steps of a gap, and how much is missing
PARTICLES, MOVES = 64, 50
AHEAD = 20  # steps of a forecast
Row = dict[str, Any]


@dataclass(frozen=True)
class Data:
    """Sequences of one set."""

    train: zf.Sequences
    valid: zf.Sequences
    test: list[np.ndarray]  # [T, D] each
    labels: list[np.ndarray] | None = None  # [T] each, 1 at anomalous steps


def daphnet(folder: Path) -> Data:
    """One record, in time: windows of 100 steps in mg."""
    rows = _csv(folder / "Daphnet_S06R02E0" / "S06R02E0.csv", slice(1, 10))
    train = zf.Sequences([rows[:4200]]).windows(100, stride=50)
    return Data(train, zf.Sequences([rows[4200:5200]]).windows(100), [*rows[5200:6200].reshape(10, 100, 9)])


def motions(folder: Path) -> Data:
    """The archive's own splits: 32 and 8 of its training sequences, and every fourth of its test, [100, 6] each."""
    (train, _), (test, _) = _motions(folder)
    every = np.arange(len(train)) % 5 != 0
    return Data(zf.Sequences(train[every]), zf.Sequences(train[~every]), [*test[::4]])


def badminton(folder: Path) -> Data:
    """All of the archive's test; 24 and 6 of its training sequences, those of the other activities."""
    (train, what), (test, of_test) = _motions(folder)
    usual = train[what != "badminton"]
    every = np.arange(len(usual)) % 5 != 0
    labels = [np.full(len(x), int(name == "badminton")) for x, name in zip(test, of_test, strict=True)]
    return Data(zf.Sequences(usual[every]), zf.Sequences(usual[~every]), [*test], labels)


def pressure(folder: Path) -> Data:
    """1200 usual steps in windows of 200, and the 7501 of the test, which begin with them."""
    train, test = (
        _csv(folder / "KDD-TSAD_135" / f"135_UCR_Anomaly_InternalBleeding16_{split}.csv", slice(1, 3))
        for split in ("TRAIN", "TEST")
    )
    usual = zf.Sequences([train[:900, :1]]).windows(200, stride=10)
    left = test[len(train) :]
    return Data(usual, zf.Sequences([train[900:, :1]]).windows(150), [left[:, :1]], [left[:, 1].astype(int)])


def _csv(file: Path, columns: slice) -> np.ndarray:
    with file.open() as lines:
        return np.array([[float(v) for v in row[columns]] for row in list(csv.reader(lines))[1:]])


def _motions(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sequences [N, 100, 6] and activities of both splits."""
    found = []
    for split in ("TRAIN", "TEST"):
        file = folder / "BasicMotions" / f"BasicMotions_{split}.ts"
        lines = [line.split(":") for line in file.read_text().splitlines() if line and line[0] not in "#@"]
        x = np.stack([np.array([part.split(",") for part in line[:-1]], dtype=float).T for line in lines])
        found.append((x, np.array([line[-1].lower() for line in lines])))
    return found


# ---- tasks: rows of a table, of a trained model and of baselines


def anomalies(model: zf.SequenceModel, data: Data, *, seed: int) -> list[Row]:
    """How well causal scores find labelled steps."""
    test = zf.Sequences(data.test, normalize=False)
    began = time.process_time()
    scores = zf.score(model, test, particles=PARTICLES, seed=seed)
    seconds = time.process_time() - began
    found = zf.detection(scores, data.labels, data=test, clean=data.train, seed=seed)
    rows: list[Row] = [{"way": r.name, "AUROC": r.auroc, "AP": r.average_precision} for r in found.rows]
    rows[0] |= {"way": "VRNN, zf.score", "CPU seconds": seconds}
    return rows


def forecasts(model: zf.SequenceModel, data: Data, *, seed: int) -> list[Row]:
    """How good forecasts of the last steps of each sequence are; CRPS in the training data's standard deviations."""
    std, test = _scaling(model)[1], zf.Sequences(data.test, normalize=False)
    began = time.process_time()
    table = zf.evaluate_forecast(model, test, steps=AHEAD, train=data.train, num_samples=200, seed=seed)
    seconds = time.process_time() - began
    rows = []
    for row in table.overall:
        assert row.coverage is not None, "of real numbers"
        covered = dict(zip(table.levels, row.coverage, strict=True))[0.9]
        errors = {"CRPS": np.mean(row.crps / std), "median's error": np.mean(row.median_error / std)}
        rows.append({"way": row.name, **errors, "covered": covered})
    rows[0] |= {"way": "VRNN, zf.forecast", "CPU seconds": seconds}
    return rows


def gaps_of_steps(model: zf.SequenceModel, data: Data, *, seed: int) -> list[Row]:
    """How well gaps of all numbers of a step are filled."""
    return _filled(model, np.stack(data.test), by_column=False, seed=seed)


def gaps_of_numbers(model: zf.SequenceModel, data: Data, *, seed: int) -> list[Row]:
    """How well gaps of each number by itself are filled."""
    return _filled(model, np.stack(data.test), by_column=True, seed=seed)


def _filled(model: zf.SequenceModel, x: np.ndarray, *, by_column: bool, seed: int) -> list[Row]:
    seen = _observed(x, by_column=by_column, seed=seed)
    mean, std = _scaling(model)

    def error(filled: np.ndarray) -> float:
        return float(np.sqrt(np.square((filled - x) / std)[~seen].mean()))

    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it is in the table
        gappy = zf.Sequences(np.where(seen, x, np.nan))
        found = zf.impute(model, gappy, num_samples=1, particles=PARTICLES, moves=MOVES, seed=seed)
    seconds = time.process_time() - began
    lower, upper = (np.stack(v) for v in found.interval(0.9))
    steps = np.arange(x.shape[1])
    others = {
        "linear interpolation": _by_column(lambda t, v: np.interp(steps, t, v), x, seen),
        "last value": _by_column(lambda t, v: v[np.searchsorted(t, steps, side="right").clip(1) - 1], x, seen),
        "mean of the training data": np.where(seen, x, mean),
    }
    ours = {
        "way": "VRNN, zf.impute",
        "error": error(np.stack(found.filled)),
        "covered": float(((x >= lower) & (x <= upper))[~seen].mean()),
        "worth": float(np.nanmedian(np.concatenate(found.effective))),
        "CPU seconds": seconds,
    }
    return [ours, *({"way": way, "error": error(filled)} for way, filled in others.items())]


def _observed(x: np.ndarray, *, by_column: bool, seed: int) -> np.ndarray:
    """Where x [N, T, D] stays observed: gaps of LENGTH steps, neither at the beginning nor at the end."""
    rng, seen = np.random.default_rng(seed), np.ones(x.shape, dtype=bool)
    for sequence in seen:
        for columns in [slice(d, d + 1) for d in range(x.shape[2])] if by_column else [slice(None)]:
            for _ in range(round(SHARE * len(sequence) / LENGTH)):
                first = rng.integers(2, len(sequence) - LENGTH - 2)
                sequence[first : first + LENGTH, columns] = False
    return seen


def _by_column(fill: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """x with the gaps of each column of each sequence filled by a function of its steps and values."""
    filled, steps = x.copy(), np.arange(x.shape[1])
    for i, d in np.ndindex(x.shape[0], x.shape[2]):
        known = seen[i, :, d]
        filled[i, ~known, d] = fill(steps[known], x[i, known, d])[~known] if (~known).any() else []
    return filled


def _scaling(model: zf.SequenceModel) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the training data."""
    assert model.description is not None, "of a model that has been trained"
    scaling = model.description.normalization
    assert scaling is not None, "of real numbers"
    return np.array(scaling.mean), np.array(scaling.std)


SETS = {
    "daphnet": (daphnet, (forecasts, gaps_of_steps, gaps_of_numbers)),
    "motions": (motions, (forecasts, gaps_of_steps, gaps_of_numbers)),
    "badminton": (badminton, (anomalies,)),
    "pressure": (pressure, (anomalies,)),
}
SECTIONS = {  # of the page: the task, its title, what it is sorted by
    "anomalies": ("Anomalies", "AP"),
    "forecasts": ("Forecasts", "CRPS"),
    "gaps_of_steps": ("Gaps of all numbers of a step", "error"),
    "gaps_of_numbers": ("Gaps of each number by itself", "error"),
}
DIGITS = {"covered": 2, "worth": 0, "CPU seconds": 0}


def measured(name: str, folder: Path) -> list[Row]:
    """Rows of all tasks and seeds."""
    read, tasks = SETS[name]
    data, rows = read(folder), []
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = zf.VRNN.for_data(data.train, **SIZES)
        zf.fit(
            model,
            data.train,
            data.valid,
            max_steps=UPDATES,
            epochs=1000,
            learning_rate=3e-3,
            batch_size=8,
            seed=seed,
            progress=False,
        )
        for task in tasks:
            rows += [{"task": task.__name__, "seed": seed} | row for row in task(model, data, seed=seed)]
        print(f"{name}: seed {seed} is done", flush=True)
    return rows


# ---- the page

ABOUT = f"""\
# Real sensors

What a small VRNN, trained for {UPDATES} updates on the usual data, makes of series that it hasn't seen, beside what
takes no model: mean (least to most) of {len(SEEDS)} seeds, each with its own training. Where a baseline stands above
the model, it is better. Errors are in standard deviations of the training data.

- Anomalies: steps found by their causal score (`zf.score`), without point adjustment. AUROC: how probably an
  anomalous step is more surprising than a usual one. AP: average precision, which for random scores is the share of
  anomalies.
- Forecasts: {AHEAD} steps, the last of each sequence, from those before (`zf.evaluate_forecast`). CRPS: the mean
  absolute error of a forecast that takes its uncertainty into account; the median's absolute error beside it.
- Gaps: {LENGTH} steps each, {SHARE:.0%} of the numbers, filled by what comes before and after (`zf.impute`). Error: the
  root of the mean square over the missing numbers. Worth: how many independent draws those of the median step are
  worth, by its own account, of {PARTICLES} particles and {MOVES} moves.

Covered: the share of numbers within the 90% intervals. Where it is less than 0.9 they are too narrow.

The series, which the package aeon (BSD) ships:

"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The page of all results."""
    assert __doc__ is not None, "it says what the series are"
    lines = [ABOUT + __doc__[__doc__.index("- daphnet") : __doc__.index("\nWrites")]]
    for task, (title, key) in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name, result in results.items():
            rows = [row for row in result["rows"] if row["task"] == task]
            lines += [*_table(name, rows, key), ""] if rows else []
    return "\n".join([*lines, "## How", "", *(f"- {result['made']}" for result in results.values()), ""])


def _table(name: str, rows: Sequence[Row], key: str) -> list[str]:
    """A line for each way, the best first."""
    columns = [c for c in rows[0] if c not in ("task", "seed", "way")]
    ways: dict[str, list[Row]] = {}
    for row in rows:
        ways.setdefault(row["way"], []).append(row)
    order = sorted(ways, key=lambda way: np.mean([row[key] for row in ways[way]]), reverse=key == "AP")
    lines = [f"| {name} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    return lines + [f"| {way} | {' | '.join(_cell(ways[way], c) for c in columns)} |" for way in order]


def _cell(rows: Sequence[Row], column: str) -> str:
    values, digits = [row[column] for row in rows if column in row], DIGITS.get(column, 3)
    if not values:
        return ""
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def made(name: str) -> str:
    """Command, commit, hardware and date."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    models = [v for v in Path("/proc/cpuinfo").read_text().splitlines() if v.startswith("model name")]
    cpu = models[0].split(": ")[1] if models else platform.machine()
    return (
        f"`python benchmarks/sensors.py DATA {name}`, seeds {', '.join(map(str, SEEDS))}, commit {commit.strip()}, "
        f"{cpu}, {torch.get_num_threads()} thread, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}"
    )


def main() -> None:
    """Measure sets, and write the page of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=list(SETS), metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        result = {"made": made(name), "rows": measured(name, options.data)}
        (RESULTS / f"sensors-{name}.json").write_text(json.dumps(result, indent=1, default=float) + "\n")
    files = {name: RESULTS / f"sensors-{name}.json" for name in SETS}
    (RESULTS / "sensors.md").write_text(page({n: json.loads(f.read_text()) for n, f in files.items() if f.exists()}))


if __name__ == "__main__":
    main()
