"""Score rows as they come, with a model that `zforcing export` wrote; neither torch nor zforcing is needed.

    pip install numpy onnxruntime
    tail -f readings.csv | python stream_onnx.py model.onnx

The header names the columns, as in the training data; an empty cell is missing. Each row gets a line of JSON: log p of
the row given those before it, in nats, and what had been expected of it. The random numbers are those of `zforcing
stream --seed 0`, and so are the scores.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64}
SEED = 0


@lru_cache(maxsize=64)
def noise(block: int, particles: int, size: int) -> tuple[Any, Any]:
    """The random numbers of 32 steps: uniform ones [32] and normal ones [32, K, Z]."""
    rng = np.random.default_rng([SEED, block])
    return rng.random(32), rng.standard_normal((32, particles, size), dtype=np.float32)


def number(cell: str, labels: list[str] | None) -> float:
    """A cell as the model reads it: a category's code by its name."""
    return float(labels.index(cell)) if labels and cell else float(cell or "nan")


def shown(values: Any, names: list[str]) -> Any:
    """Numbers for JSON, which has no NaN and no infinity; D of them by the columns' names."""
    plain = [None if v != v else v if abs(v) < np.inf else str(v) for v in np.ravel(values).tolist()]
    return plain[0] if values.ndim == 0 else dict(zip(names, plain, strict=True)) if len(plain) == len(names) else plain


def scores(session: Any, rows: Iterator[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """What is said of each row; each sequence has a state of its own, zeros before its first row."""
    about = json.loads(session.get_modelmeta().custom_metadata_map["zforcing"])
    names, found = [column["name"] for column in about["columns"]], [o.name for o in session.get_outputs()]
    blank = {i.name: np.zeros([1, *i.shape[1:]], TYPES[i.type]) for i in session.get_inputs()}
    states: dict[str | None, dict[str, Any]] = {}
    for row in rows:
        sequence = row.get(about["sequence"])
        given = states.setdefault(sequence, dict(blank))
        step = int(given["state.steps"][0])
        block, place = divmod(max(0, step - about["unscored_steps"]), 32)
        uniform, normal = noise(block, about["particles"], about["latent_size"])
        given["x"] = np.array([[number(row[c["name"]], c["labels"]) for c in about["columns"]]])
        known = {"uniform": uniform[[place]], "normal": normal[[place]]}
        known["inputs"] = np.array([[float(row[name]) for name in about["inputs"]]])
        given |= {name: values.astype(blank[name].dtype) for name, values in known.items() if name in blank}
        results = dict(zip(found, session.run(found, given), strict=True))
        given |= {f"state.{name[5:]}": v for name, v in results.items() if name.startswith("next.")}
        told = {name: shown(v[0], names) for name, v in results.items() if not name.startswith("next.")}
        yield {"sequence": sequence, "step": step} | told


def main() -> None:
    """Read rows from stdin, and write a line of JSON for each."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # a step is little work
    session = ort.InferenceSession(sys.argv[1], options)
    for told in scores(session, csv.DictReader(iter(sys.stdin.readline, ""))):
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
