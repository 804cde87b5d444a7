"""The benchmark of where time goes runs, at a tiny size. No test looks at how long anything takes."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from test_bench import TINY
from zforcing.benchmark.measure import Bench, Protocol
from zforcing.benchmark.sizes import SIZES
from zforcing.models import MODELS

SIZE = replace(TINY, grows_from=None, settings=TINY.settings | {"feature_size": 4, "mlp_layers": 1})


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "where_time_goes.py"
    spec = importlib.util.spec_from_file_location("where_time_goes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["where_time_goes"] = module  # for its dataclass
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("model", ["zforcing", "vrnn", "srnn"])
def test_the_parts_are_the_whole_and_work_is_what_torch_counts(model: str, benchmark: ModuleType) -> None:
    found = benchmark.spent(SIZE, model)
    assert sum(found.seconds.values()) == pytest.approx(found.update)
    assert set(found.seconds) == set(benchmark.PARTS)
    assert found.walks is None
    config: Any = MODELS[model].Config
    update = Bench(SIZE, config(**SIZE.known_settings(config)), Protocol(model=model)).update("fast")
    update()
    with FlopCounterMode(display=False, custom_mapping=benchmark.OF_LSTMS) as counter:
        update()
    assert found.all_work == counter.get_total_flops()
    assert 0 < found.work["step"] < found.all_work


def test_it_prints_a_row_for_each_model_and_size(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "tiny", SIZE)
    monkeypatch.setattr(benchmark, "peak", lambda: 1e9)
    benchmark.main(["--models", "vrnn", "--sizes", "tiny", "--markdown"])
    said = capsys.readouterr().out
    assert "`python benchmarks/where_time_goes.py --models vrnn --sizes tiny --markdown`, 1 threads" in said
    assert said.count("| vrnn | tiny |") == 2
    assert "the peak is 1 GFLOP/s" in said
