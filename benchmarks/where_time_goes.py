"""Where one update spends its time, on a CPU.

    python benchmarks/where_time_goes.py [--threads N] [--markdown] [--models NAME ...] [--sizes NAME ...]

For each of the sizes of `zforcing bench`, the whole update (forward, backward, optimizer) and its parts, in ms:

- network: the model's own `torch.nn.LSTM`s and GRUs, which read the future, each timed alone
- step: matrix products in the loops over time, a step at a time
- block: matrix products ahead of a block of steps and after it, with what stands between them
- other: the other operations in the loops
- loop: the rest of the loops, which is Python that calls these operations, and copies
- rest: outside of the loops: prior, emission, costs, densities, autograd, optimizer

The best of 3 updates each, so that what else the machine does matters less. Work is counted from what runs: the shapes
of the products of the plans and of their derivatives times rows, and those of all products outside of the loops; two
operations a multiply-add. The peak is the best product of two matrices of 1024 x 1024 on as many threads.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from zforcing.benchmark.measure import Bench, Protocol
from zforcing.benchmark.sizes import SIZES, Size
from zforcing.models import MODELS
from zforcing.models.planned_step import Derived, watched
from zforcing.recurrence import backward, blocks, eager, program
from zforcing.recurrence.describe import PRODUCTS, multiply_adds
from zforcing.recurrence.frame import Frame, Step
from zforcing.recurrence.plan import computed
from zforcing.recurrence.program import Value, in_order_from
from zforcing.runtime.memory import keep_freed_memory
from zforcing.runtime.threads import cpu_threads
from zforcing.text_table import Table

REPEATS = 3
PARTS = ("network", "step", "block", "other", "loop", "rest")
Task = Callable[[], object]


@dataclass(frozen=True)
class Spent:
    """Of an update: seconds in all and by part, floating-point operations in all and by part, and why it walks."""

    update: float
    seconds: dict[str, float]
    all_work: int
    work: dict[str, int]
    walks: str | None


def spent(size: Size, model: str) -> Spent:
    """Measure one model at one size, with the threads that are set."""
    settings: Any = MODELS[model].Config
    update = Bench(size, settings(**size.known_settings(settings)), Protocol(model=model)).update("fast")
    with watched() as found, Networks() as networks:
        update()
    whole = timed(update)
    splits = [split_of(update) for _ in range(REPEATS)]
    seconds = min(splits, key=lambda split: sum(split.values()))
    seconds["network"] = sum(timed(task) for task in networks.tasks)
    seconds["rest"] = whole - sum(seconds.values())
    work = work_of_loops([one for one in found if isinstance(one, Derived)], size.sequences * size.steps)
    walks = next((one for one in found if isinstance(one, str)), None)
    return Spent(whole, seconds, work_outside(update) + sum(work.values()), work, walks)


def timed(task: Task) -> float:
    """Seconds, the best of some runs: what else the machine does only adds to them."""
    return min(seconds_of(task) for _ in range(REPEATS))


def seconds_of(task: Task) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


# ---- torch's networks


class Networks(TorchFunctionMode):
    """Within a `with` block, collects what runs torch's LSTMs and GRUs, to run again: forwards and backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Task] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__name__", "") in ("lstm", "gru"):
            self.tasks.append(forwards_and_backwards(function, args))
        return function(*args, **(kwargs or {}))


def forwards_and_backwards(network: Callable[..., Any], args: tuple[Any, ...]) -> Task:
    """A task: the gradients of a network's outputs' sum, for what had a gradient."""

    def apart(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    copies = pytree.tree_map_only(Tensor, apart, args)
    of = [leaf for leaf in pytree.tree_leaves(copies) if isinstance(leaf, Tensor) and leaf.requires_grad]
    return lambda: torch.autograd.grad(network(*copies)[0].sum(), of)


# ---- the loops' time


def split_of(update: Task) -> dict[str, float]:
    """Seconds of an update's loops, by part."""
    found = dict.fromkeys(("step", "block", "other", "loop"), 0.0)

    def clocked(part: str, f: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = f(*args, **kwargs)
            found[part] += time.perf_counter() - start
            return result

        return run

    steps_of = Frame._steps_of

    def clocked_steps(frame: Frame, value: Value) -> list[Step]:
        part = "step" if value.function in PRODUCTS else "other"
        return [clocked(part, step) for step in steps_of(frame, value)]

    with (
        mock.patch.object(Frame, "_steps_of", clocked_steps),
        mock.patch.object(blocks, "evaluate", clocked("block", program.evaluate)),
        mock.patch.object(eager._Forward, "run", clocked("loop", eager._Forward.run)),
        mock.patch.object(backward.Backward, "run", clocked("loop", backward.Backward.run)),
    ):
        update()
    return found | {"loop": 2 * found["loop"] - sum(found.values())}


# ---- work


def work_of_loops(found: Sequence[Derived], rows: int) -> dict[str, int]:
    """Floating-point operations of the loops' products, by part; rows of all steps."""
    step = block = 0
    for runner in (runner for derived in found for runner in derived.runners if runner.derivatives):
        loop = runner.loop
        step += multiply_adds(computed(loop.body))
        block += multiply_adds(in_order_from(loop.ahead, dict.fromkeys([*loop.sources, *loop.weights])))
        for derivative, ahead in list(runner.derivatives.values())[-1:]:  # the update's
            step += multiply_adds(derivative.back)
            block += multiply_adds(derivative.after) + multiply_adds(ahead.after)
    return {"step": 2 * rows * step, "block": 2 * rows * block}


def work_outside(update: Task) -> int:
    """Floating-point operations of an update's products outside of its loops."""
    inside = 0
    with FlopCounterMode(display=False, custom_mapping=OF_LSTMS) as counter:

        def left_out(f: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any) -> Any:
                nonlocal inside
                before = counter.get_total_flops()
                result = f(*args)
                inside += counter.get_total_flops() - before
                return result

            return run

        with (
            mock.patch.object(eager._Forward, "run", left_out(eager._Forward.run)),
            mock.patch.object(backward.Backward, "run", left_out(backward.Backward.run)),
        ):
            update()
    return int(counter.get_total_flops()) - inside


def of_lstm(x: Sequence[int], w: Sequence[int], u: Sequence[int], *args: Any, **kwargs: Any) -> int:
    """Of a layer over x [T, B, D] with weights w [4 H, D] and u [4 H, H]."""
    return 2 * x[0] * x[1] * (w[0] * w[1] + u[0] * u[1])


OF_LSTMS = {
    torch.ops.aten.mkldnn_rnn_layer: of_lstm,
    torch.ops.aten.mkldnn_rnn_layer_backward: lambda *args, **kwargs: 2 * of_lstm(*args),
}


def peak() -> float:
    """The most floating-point operations a second that a product reaches."""
    a, b = torch.randn(2, 1024, 1024)
    return 2 * 1024**3 / min(seconds_of(lambda: torch.mm(a, b)) for _ in range(10))


# ---- tables


def time_table(rows: dict[tuple[str, str], Spent]) -> Table:
    """Of milliseconds."""
    cells = []
    for names, row in rows.items():
        seconds = [row.update, *(row.seconds[part] for part in PARTS)]
        cells.append([*names, *(f"{1e3 * s:.0f}" for s in seconds)])
    return Table("Time of an update, ms", ["model", "size", "update", *PARTS], cells, text_columns=2)


def work_table(rows: dict[tuple[str, str], Spent], best: float) -> Table:
    """Of work, and how fast it is done."""
    cells = []
    for names, row in rows.items():
        speeds = [row.all_work / row.update, *(row.work[part] / (row.seconds[part] or 1) for part in row.work)]
        shares = f"{100 * speeds[0] / best:.0f}"
        cells.append([*names, f"{row.all_work / 1e9:.1f}", *(f"{speed / 1e9:.0f}" for speed in speeds), shares])
    headers = ["model", "size", "GFLOP", "GFLOP/s", "of steps", "of blocks", "% of peak"]
    return Table(f"Work of its products; the peak is {best / 1e9:.0f} GFLOP/s", headers, cells, text_columns=2)


def main(argv: Sequence[str] = sys.argv[1:]) -> None:
    """A row for each model and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--markdown", action="store_true", help="part of a page")
    parser.add_argument("--models", nargs="+", default=["zforcing", "vrnn", "srnn"], choices=sorted(MODELS))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    options = parser.parse_args(argv)
    keep_freed_memory()  # as commands do
    rows, best = {}, 0.0
    for model in options.models:
        for size in map(SIZES.__getitem__, options.sizes):
            with cpu_threads(nn.Module(), options.threads):
                rows[model, size.name] = spent(size, model)
                best = max(best, peak())
    tables = [time_table(rows), work_table(rows, best)]
    if options.markdown:
        print(f"`python {shlex.join(['benchmarks/where_time_goes.py', *argv])}`, {options.threads} threads")
        print("\n".join(f"\n{table.title}:\n\n{table.to_markdown()}" for table in tables))
    else:
        Console(highlight=False, width=100).print(*(table.to_terminal() for table in tables))
    for (model, size_name), row in rows.items():
        if row.walks is not None:
            print(f"{model}, {size_name}: runs step by step, which is slow: {row.walks}")


if __name__ == "__main__":
    main()
