"""How many steps a second a stream takes, on one core.

    python benchmarks/stream_rate.py [--hidden 64] [--particles 32] [--steps 2000] [--proposal mixture]

Pushes random rows of 8 numbers into a stream of each model, once as they are and once with the forecast's mean and
standard deviation asked for at each step. Says the median time of a step and, beside other processes more telling, that
of the fastest twentieth.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import zforcing as zf

NUMBERS = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "rnn": {"embedding_size": 64},
    "zforcing": {"embedding_size": 64, "latent_size": 16, "mlp_size": 64},
    "vrnn": {"feature_size": 64, "latent_size": 16, "mlp_size": 64, "mlp_layers": 1},
    "srnn": {"embedding_size": 64, "latent_size": 16, "mlp_size": 64},
}


def seconds_of_steps(
    model: zf.DensityModel, rows: NDArray[Any], *, particles: int, proposal: Any, ask: bool
) -> NDArray[Any]:
    """What each row took; the first ones, in which the step is traced, are left out."""
    stream, seconds = zf.stream(model, particles=particles, proposal=proposal), []
    for row in rows:
        start = time.perf_counter()
        forecast = stream.push(row).forecast
        if ask and forecast is not None:
            assert forecast.mean is not None
            assert forecast.std is not None
        seconds.append(time.perf_counter() - start)
    return np.array(seconds[20:])


def main(hidden: int, particles: int, steps: int, proposal: str) -> None:
    """A line for each model."""
    rows = np.random.default_rng(0).standard_normal((steps + 20, NUMBERS))
    data = zf.Sequences([rows])
    print(
        f"{hidden} hidden units, {particles} particles ({proposal}), {NUMBERS} numbers a step, {steps} steps, a thread"
    )
    for name, settings in SETTINGS.items():
        torch.manual_seed(0)
        model = zf.MODELS[name].for_data(data, hidden_size=hidden, **settings)
        for ask in (False, True):
            seconds = seconds_of_steps(model, rows, particles=particles, proposal=proposal, ask=ask)
            fast, median = np.quantile(seconds, [0.05, 0.5])
            what = "with mean and std of the forecast" if ask else ""
            print(f"{name:9s} {1 / median:5.0f} steps a second, {1 / fast:5.0f} of the fastest twentieth {what}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--hidden", type=int, default=64, help="units of the recurrent networks")
    options.add_argument("--particles", type=int, default=32, help="K")
    options.add_argument("--steps", type=int, default=2000, help="that are measured")
    options.add_argument("--proposal", choices=["prior", "mixture"], default="prior", help="see zforcing.stream")
    main(**vars(options.parse_args()))
