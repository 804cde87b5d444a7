"""From a pandas DataFrame with gaps and two machines to a trained model.

    python examples/sensors.py

The frame is made up: two pumps, measured every ten minutes, with a pause and with readings that were lost. Put your own
in its place: `pandas.read_csv("sensors.csv", parse_dates=["time"])`.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

import zforcing as zf


def readings(machine: str, *, steps: int, seed: int) -> pd.DataFrame:
    """Temperature (degrees C) and load (percent) that rise and fall together, some of them lost."""
    rng = np.random.default_rng(seed)
    load = 50 + 20 * np.sin(np.arange(steps) / 8) + rng.normal(0, 3, steps)
    temperature = 20 + 0.5 * load + rng.normal(0, 1, steps)
    temperature[rng.random(steps) < 0.05] = np.nan
    time = pd.Timestamp("2024-03-01") + pd.to_timedelta(10 * np.arange(steps), unit="min")
    return pd.DataFrame({"machine": machine, "time": time, "temperature": temperature, "load": load})


def sensors() -> pd.DataFrame:
    """Two machines in one frame, in no order; the second one stood still for a while."""
    first, second = readings("pump 1", steps=600, seed=1), readings("pump 2", steps=700, seed=2)
    return pd.concat([second.drop(index=range(300, 350)), first]).sample(frac=1, random_state=0)


def main(minutes: float) -> zf.Evaluation:
    """Train for so long, at most, and evaluate on the last tenth of each machine's time."""
    data = zf.Sequences.from_frame(sensors(), by="machine", order="time", gaps="split")
    print(data)
    parts = data.split(0.8, 0.1, 0.1, how="time")
    train, valid, test = (part.windows(24) for part in parts)
    model = zf.VRNN.for_data(train, hidden_size=32, latent_size=4, feature_size=64, mlp_size=64, mlp_layers=1)
    history = zf.fit(model, train, valid, max_minutes=minutes, learning_rate=3e-3, batch_size=8)
    print(history)
    evaluation = zf.evaluate(model, test, bound=zf.IWAE(64))
    print(evaluation)
    return evaluation


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--minutes", type=float, default=0.5, help="to train for, at most")
    main(options.parse_args().minutes)
