"""Score rows as they come, with a model that `zforcing export` wrote; neither torch nor zforcing is needed.

    pip install numpy onnxruntime
    tail -f readings.csv | python stream_onnx.py model.onnx

The header names the columns, as in the training data; an empty cell is missing. Each row gets a line of JSON: log p of
the row given those before it, in nats, and what had been expected of it, in the order of the model's columns (null:
not finite). The random numbers are those of `zforcing stream --seed 0`, and so are the scores.
"""

from __future__ import annotations

import csv
import json
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = 1  # a step is little work
session = ort.InferenceSession(sys.argv[1], options)
about = json.loads(session.get_modelmeta().custom_metadata_map["zforcing"])
blank = {i.name: np.zeros([1, *i.shape[1:]], i.type[7:-1].replace("float", "float32")) for i in session.get_inputs()}
outputs = [output.name for output in session.get_outputs()]
states: dict[Any, dict[str, Any]] = {}  # of each sequence: zeros before its first row


@lru_cache(maxsize=64)
def noise(block: int) -> tuple[Any, Any]:
    """The random numbers of 32 steps: uniform ones [32] and normal ones [32, K, Z]."""
    rng = np.random.default_rng([0, block])
    return rng.random(32), rng.standard_normal((32, about["particles"], about["latent_size"]), np.float32)


def finite(values: Any) -> Any:
    """Numbers for JSON, which has no NaN and no infinity."""
    return (
        values.tolist() if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.array(None)).tolist()
    )


for row in csv.DictReader(iter(sys.stdin.readline, "")):
    given = states.setdefault(row.get(about["sequence"]), dict(blank))
    block, place = divmod(max(0, int(given["state.steps"][0]) - about["unscored_steps"]), 32)
    cells = [(row[column["name"]], column["labels"]) for column in about["columns"]]
    x = [labels.index(cell) if labels and cell else float(cell or "nan") for cell, labels in cells]
    known = {"x": x, "inputs": [float(row[name]) for name in about["inputs"]]}
    known |= {"uniform": noise(block)[0][place], "normal": noise(block)[1][place]}
    given |= {name: np.array([value], blank[name].dtype) for name, value in known.items() if name in blank}
    results = dict(zip(outputs, session.run(outputs, given), strict=True))
    given |= {f"state.{name[5:]}": value for name, value in results.items() if name.startswith("next.")}
    told = {name: finite(value[0]) for name, value in results.items() if not name.startswith("next.")}
    print(json.dumps({"sequence": row.get(about["sequence"])} | told), flush=True)
