"""An exported step gives the scores of `stream`, as torch's program and under onnxruntime, whatever is emitted."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zforcing
from conftest import ALL_KINDS, CASES, RNN_SIZE, SPECS, SRNN_SIZE, VRNN_SIZE, ZF_SIZE, Case, Command, observations
from vae import PIXELS, BinaryVAE, BinaryVAEConfig
from zforcing import ObservationSpec, SequenceModel, Sequences, Stream, UserError
from zforcing.exporting.onnx_file import INSTEAD
from zforcing.exporting.step import FilterStep
from zforcing.observations import AudioFormat, DataDescription, Normalization
from zforcing.tasks.filtering import Noise

SCRIPT = Path(__file__).parents[1] / "examples" / "stream_onnx.py"
QUANTIZED = ObservationSpec("quantized", 2, levels=65536)
EMISSIONS: dict[str, tuple[ObservationSpec, dict[str, Any]]] = {name: (spec, {}) for name, spec in SPECS.items()} | {
    "mixture": (SPECS["real"], {"components": 3}),
    "mixture with gaps": (SPECS["with gaps"], {"components": 3}),
    "mixed mixtures": (SPECS["mixed"], {"components": 2}),
    "quantized": (QUANTIZED, {"components": 2}),
    "autoregressive": (SPECS["real"], {"autoregressive": True}),
    "autoregressive bits": (SPECS["binary"], {"autoregressive": True}),
    "autoregressive quantized": (QUANTIZED, {"autoregressive": True, "components": 2}),
}
SIZES = {"rnn": RNN_SIZE, "zforcing": ZF_SIZE, "vrnn": VRNN_SIZE, "srnn": SRNN_SIZE}
NETWORKS = [Case(name, size, kinds=ALL_KINDS) for name, size in SIZES.items()]
OTHERS = [case for case in CASES if "real" in case.kinds and str(case) not in map(str, NETWORKS)]
K, SEED = 5, 3
Tensors = dict[str, Tensor]
NO_PACKAGES = "import sys; sys.modules.update(dict.fromkeys(('torch', 'zforcing', 'onnx')))\n"  # importing one fails


def model_of(case: Case, spec: ObservationSpec, **settings: Any) -> SequenceModel:
    """A model in float32 with units of its own."""
    model = case.build(spec, **settings).float()
    size, inputs = spec.size if spec.kind == "real" else 0, spec.inputs
    units = Normalization((3.0,) * size, (2.0,) * size) if size else None
    known = Normalization((1.0,) * inputs, (0.5,) * inputs) if inputs else None
    model.description = DataDescription("data", spec, 1, normalization=units, input_normalization=known)
    model.backend = "reference"
    return model


def rows(spec: ObservationSpec, B: int, steps: int) -> tuple[Tensor, Tensor | None]:
    """x [steps, B, D] and u [steps, B, U] in the user's units, with gaps where the spec has them."""
    torch.manual_seed(1)
    x = observations(spec, steps, B).double().reshape(steps, B, -1)
    if spec.levels is not None:
        x = torch.round((torch.tanh(x) + 1) / 2 * (spec.levels - 1)) * 2 / (spec.levels - 1) - 1
    if spec.missing:
        x = torch.where(torch.rand(x.shape) < 0.3, torch.nan, x)
        x[1] = torch.nan
    return x, torch.randn(steps, B, spec.inputs, dtype=torch.float64) if spec.inputs else None


def walk(step: FilterStep, x: Tensor, u: Tensor | None, run: Any) -> Iterator[Tensors]:
    """What a step finds at each x_t, with the random numbers of a stream."""
    like, first = next(step.model.parameters()), step.model.spec.unscored_steps
    given, noise = step.blank(x.shape[1]), Noise(SEED, step.K, step.model.latent_size, like)
    for t, x_t in enumerate(x):
        normal, uniform, _ = noise.at(max(0, t - first))
        known = {"x": x_t, "normal": normal, "uniform": torch.tensor(uniform, dtype=torch.float64)}
        known |= {} if u is None else {"inputs": u[t]}
        given |= {n: v.expand_as(given[n]).contiguous() for n, v in known.items() if n in given}
        found = run(given)
        yield found
        given |= {f"state.{name[5:]}": v for name, v in found.items() if name.startswith("next.")}


def in_onnxruntime(file: Path) -> Any:
    """The step that an ONNX file holds, of tensors."""
    import onnxruntime as ort

    session = ort.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]

    def run(given: Tensors) -> Tensors:
        arrays = session.run(names, {name: v.numpy() for name, v in given.items()})
        return {name: torch.from_numpy(v) for name, v in zip(names, arrays, strict=True)}

    return run


def assert_close(found: Tensor, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)


def assert_as_stream(found: Tensors, stream: Stream, x: Tensor, u: Tensor | None, *, tolerance: float) -> None:
    """One step of one sequence."""
    begun = stream.steps >= stream.model.spec.unscored_steps
    expected = stream.forecast(u) if begun else None
    step = stream.push(x.numpy(), None if begun else u)
    assert_close(found["nats"], step.nats, tolerance)
    assert_close(found["effective"], step.effective if step.nats == step.nats else found["effective"], tolerance)
    assert ("features" in found) == (step.features is not None or expected is None)
    if step.features is not None and "features" in found:
        assert_close(found["features"], step.features, tolerance)
    if expected is not None and "mean" in found and stream.model.spec.kind != "quantized":
        assert_close(found["mean"], expected.mean, tolerance)
        assert_close(found["std"], expected.std, tolerance)
    if expected is not None and expected.probabilities is not None:
        assert_close(found["probabilities"], expected.probabilities, tolerance)


def eager(step: FilterStep) -> Any:
    return torch.no_grad()(step)


@pytest.mark.pairs(case=NETWORKS)
def test_a_step_gives_the_scores_and_forecasts_of_a_stream(case: Case, spec: ObservationSpec) -> None:
    model = model_of(case, spec)
    x, u = rows(spec, 2, 4)
    streams = [zforcing.stream(model, particles=K, seed=SEED) for _ in range(2)]
    for t, found in enumerate(walk(FilterStep(model, particles=K), x, u, eager(FilterStep(model, particles=K)))):
        for b, stream in enumerate(streams):
            row = {name: v[b] for name, v in found.items()}
            assert_as_stream(row, stream, x[t, b], None if u is None else u[t, b], tolerance=1e-5)


@pytest.mark.parametrize("encoding", ["float", "pcm", "mulaw"])
def test_audio_is_read_and_expected_in_samples(encoding: Any) -> None:
    levels = {"float": None, "pcm": 65536, "mulaw": 256}[encoding]
    spec = ObservationSpec("real", 2) if levels is None else ObservationSpec("quantized", 2, levels=levels)
    model = model_of(Case("rnn", RNN_SIZE), spec)
    units = Normalization((10.0, 10.0), (3000.0, 3000.0)) if levels is None else None
    model.description = DataDescription("a", spec, 1, normalization=units, format=AudioFormat(8000, encoding))
    x = torch.randint(-32768, 32768, (3, 1, 2), generator=torch.Generator().manual_seed(0)).double()
    step, stream = FilterStep(model, particles=1), zforcing.stream(model)
    for t, found in enumerate(walk(step, x, None, eager(step))):
        assert ("mean" in found) == (encoding != "mulaw")
        assert_as_stream({name: v[0] for name, v in found.items()}, stream, x[t, 0], None, tolerance=1e-5)


@pytest.mark.parametrize(
    ("name", "x", "wrong"), [("binary", [1, 2], [False, True]), ("real", [1, torch.inf, 0], [False, True, False])]
)
def test_what_the_model_cant_read_has_no_score_and_the_filter_goes_on(name: str, x: Any, wrong: Any) -> None:
    step = FilterStep(model_of(Case("vrnn", VRNN_SIZE), SPECS[name]), particles=K)
    bad = torch.tensor([x], dtype=torch.float64)
    first, second = walk(step, torch.stack([bad, bad.new_ones(bad.shape)]), None, eager(step))
    assert torch.isnan(first["nats"]).all()
    assert torch.isnan(first["features"]).all()
    assert torch.isfinite(second["nats"]).all()
    assert all(wrong) or torch.isfinite(first["mean"]).all()


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) for case in [Case("rnn", RNN_SIZE), *NETWORKS[1:]]], ids=str
)
def test_a_program_of_torch_gives_the_same_for_any_number_of_sequences(case: Case, tmp_path: Path, zf: Command) -> None:
    model = model_of(case, SPECS["conditioned with gaps"])
    zforcing.save(tmp_path / "model", model)
    told = zf("export", tmp_path / "model", "--out", tmp_path / "step.pt2", "--particles", K, "--json").json
    assert (told["relation"], told["columns"]) == ("estimate" if model.latent_size else "exact", "x0, x1")
    texts = {"zforcing.json": ""}
    module, step = torch.export.load(tmp_path / "step.pt2", extra_files=texts).module(), FilterStep(model, particles=K)
    assert json.loads(texts["zforcing.json"])["columns"][1]["name"] == "x1"
    for B in (1, 3):
        x, u = rows(model.spec, B, 4)
        for found, expected in zip(walk(step, x, u, module), walk(step, x, u, eager(step)), strict=True):
            assert {*found} == {*expected}
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    model = model_of(Case("rnn", RNN_SIZE), SPECS["real"])
    with pytest.raises(UserError, match=r"suffix is '\.h5'; a step is written to \.onnx or \.pt2"):
        zforcing.export(model, tmp_path / "model.h5")
    with pytest.raises(UserError, match="there is no folder"):
        zforcing.export(model, tmp_path / "none" / "model.onnx")
    with pytest.raises(UserError, match="export needs a model of sequences"):
        zforcing.export(BinaryVAE(PIXELS, BinaryVAEConfig()), tmp_path / "model.onnx")
    with pytest.raises(UserError, match="particles is 0"):
        zforcing.export(model, tmp_path / "model.onnx", particles=0)
    assert list(tmp_path.iterdir()) == []


def test_onnx_needs_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"ONNX needs onnxscript: pip install 'zforcing\[onnx\]', or write a \.pt2"):
        zforcing.export(model_of(Case("rnn", RNN_SIZE), SPECS["real"]), tmp_path / "model.onnx")


POSITIVE = torch.logspace(-12, 7, 400, dtype=torch.float64)
ALL = torch.cat([-POSITIVE, POSITIVE])


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        (torch.ops.aten.lgamma.default, (POSITIVE,)),
        (torch.ops.aten.log1p.default, (POSITIVE,)),
        (torch.ops.aten.expm1.default, (-POSITIVE,)),
        (torch.ops.aten.log_sigmoid.default, (ALL,)),
        (torch.ops.aten.clamp.default, (ALL, -3.0, 1e3)),
        (torch.ops.aten.binary_cross_entropy_with_logits.default, (ALL, (ALL > 1).double(), None, None, 0)),
        (torch.ops.aten.logsumexp.default, (torch.stack([ALL, 0 * ALL - torch.inf, -ALL]), [0])),
        (torch.ops.aten.logsumexp.default, (torch.full((2, 3), -torch.inf), [1], True)),
    ],
)
def test_what_onnx_has_not_is_computed_as_torch_does(operation: Any, values: Any) -> None:
    torch.testing.assert_close(INSTEAD[operation](*values), operation(*values), rtol=1e-12, atol=1e-11)


# ---- under onnxruntime


def check_onnx(model: SequenceModel, file: Path) -> None:
    """Equal to the step in torch, of several sequences, and to a stream, of one."""
    zforcing.export(model, file, particles=K)
    run, step = in_onnxruntime(file), FilterStep(model, particles=K)
    for B, far in ((1, 1.0), (3, 1.0 if model.latent_size else 30.0)):  # particles' weights lose digits far away
        x, u = rows(model.spec, B, 6)
        x = x * far if model.spec.kind == "real" else x
        stream = zforcing.stream(model, particles=K, seed=SEED)
        both = zip(walk(step, x, u, run), walk(step, x, u, eager(step)), strict=True)
        for t, (found, expected) in enumerate(both):
            assert list(found) == list(expected)
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, equal_nan=True)
            row = {name: v[0] for name, v in found.items()}
            assert_as_stream(row, stream, x[t, 0], None if u is None else u[t, 0], tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("emission", EMISSIONS)
@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_onnxruntime_gives_the_same_of_all_models_and_emissions(case: Case, emission: str, tmp_path: Path) -> None:
    spec, settings = EMISSIONS[emission]
    check_onnx(model_of(case, spec, **settings), tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_onnxruntime_gives_the_same_of_all_options(case: Case, tmp_path: Path) -> None:
    check_onnx(model_of(case, SPECS["real"]), tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_program_is_loaded_without_zforcing(tmp_path: Path) -> None:
    model = model_of(Case("zforcing", ZF_SIZE), SPECS["with inputs"])
    zforcing.export(model, tmp_path / "step.pt2", particles=K)
    step = FilterStep(model, particles=K)
    x, u = rows(model.spec, 2, 1)
    assert u is not None
    given = step.blank(2) | {"x": x[0], "inputs": u[0]}
    torch.save([given, eager(step)(given)], tmp_path / "expected.pt")
    code = (
        "import sys, torch; sys.modules['zforcing'] = None\n"
        "given, expected = torch.load('expected.pt')\n"
        "found = torch.export.load('step.pt2').module()(given)\n"
        "torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=50)


@pytest.mark.slow
def test_the_script_needs_neither_torch_nor_zforcing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = Sequences(rng.normal(20, 4, (3, 9, 2)), names=["heat", "load"])
    model = zforcing.VRNN.for_data(data, **VRNN_SIZE)
    zforcing.export(model, tmp_path / "model.onnx", particles=K)
    raw = data.raw(0)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["load", "other", "heat"], *([load, "-", heat] for heat, load in raw.tolist())])
    code = f"{NO_PACKAGES}import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    with (tmp_path / "rows.csv").open() as opened:
        command = [sys.executable, "-c", code, str(tmp_path / "model.onnx")]
        done = subprocess.run(command, stdin=opened, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    stream = zforcing.stream(model, particles=K)
    assert len(told) == 9
    for line, x in zip(told, raw, strict=True):
        expected = stream.forecast()
        step = stream.push(x)
        assert line["nats"] == pytest.approx(step.nats, abs=1e-5)
        assert line["features"] == pytest.approx(step.features, abs=1e-5)
        assert line["mean"] == pytest.approx(expected.mean, abs=1e-4)
        assert line["std"] == pytest.approx(expected.std, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_an_exported_file_names_no_file_of_this_machine(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"step{suffix}"
    zforcing.export(model_of(Case("rnn", RNN_SIZE), SPECS["real"]), file)
    if suffix == ".pt2":
        with zipfile.ZipFile(file) as archive:
            content = b"".join(map(archive.read, archive.namelist()))
    else:
        content = file.read_bytes()
    assert [word for word in (b".py", b"stack_trace", str(Path.cwd()).encode()) if word in content] == []
