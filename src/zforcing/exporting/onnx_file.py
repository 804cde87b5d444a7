"""A step as an ONNX file that onnxruntime runs, with nothing else beside it."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .about import KEY, about_step
from .program import _first_line, outputs_of, to_program
from .step import FilterStep

OPSET = 20
BATCH = "batch"


def save_onnx(step: FilterStep, file: Path) -> None:
    """Write an .onnx with the metadata in its `metadata_props`.

    Raises:
        UserError: The packages of the extra aren't installed, or ONNX lacks an operation of the model.
    """
    _need_packages()
    program, given = to_program(step), step.blank(2)
    try:
        with _quiet():
            made = torch.onnx.export(
                program.run_decompositions(INSTEAD),
                opset_version=OPSET,
                input_names=list(given),
                output_names=outputs_of(program, given),
                dynamic_shapes=({name: {0: BATCH} for name in given},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"model {step.model.name} has no ONNX form: {_reason(error)}") from error
    assert made is not None, "there was no file to write it to"
    _forget_source(made.model)
    made.model.metadata_props[KEY] = json.dumps(about_step(step))
    made.save(file, external_data=False)


def _forget_source(model: Any) -> None:
    """Take out which lines of which files of this machine the operations come from."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _need_packages() -> None:
    try:
        import onnx  # noqa: F401  # torch.onnx imports it late, and says less
        import onnxscript  # noqa: F401  # likewise
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}: pip install 'zforcing[onnx]', or write a .pt2") from None


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch.onnx's remarks about itself: packages that it could use, and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", "# The axis name: batch will not be used")  # again, for the second tensor
        try:
            yield
        finally:
            logger.setLevel(level)


# ---- operations that ONNX has not, or not as precisely, or not as often


def _expm1(x: Tensor) -> Tensor:
    """e^x - 1, by float64: ONNX would subtract in float32, and lose the digits of small x."""
    return (torch.exp(x.double()) - 1).to(x.dtype)


def _log1p(x: Tensor) -> Tensor:
    """log(1 + x), likewise."""
    return torch.log(1 + x.double()).to(x.dtype)


def _lgamma(x: Tensor) -> Tensor:
    """log Γ(x) of x > 0, by Stirling's series at x + 8: in float64 to some 1e-14."""
    given, shifted = x.double(), x.double() + 8
    product = given
    for k in range(1, 8):
        product = product * (given + k)
    inverse = 1 / shifted
    square = inverse * inverse
    series = torch.zeros_like(given)
    for numerator, denominator in ((-691, 360360), (1, 1188), (-1, 1680), (1, 1260), (-1, 360), (1, 12)):
        series = series * square + numerator / denominator
    stirling = (shifted - 0.5) * torch.log(shifted) - shifted + 0.5 * math.log(2 * math.pi) + series * inverse
    return (stirling - torch.log(product)).to(x.dtype)


def _log_sigmoid(x: Tensor) -> Tensor:
    """log sigmoid(x), to the end of the range: of ONNX's sigmoid the logarithm is -inf below some -90."""
    return x.clamp(max=0) - torch.log(1 + torch.exp(-x.double().abs())).to(x.dtype)


def _bernoulli(
    x: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 0
) -> Tensor:
    """-log p(target) of logits, which torch.onnx computes by a sigmoid; as `Bernoulli` calls it."""
    assert (weight, pos_weight, reduction) == (None, None, 0), "no emission weighs or sums"
    return (1 - target) * x - _log_sigmoid(x)


def _logsumexp(x: Tensor, dim: list[int], keepdim: bool = False) -> Tensor:
    """-inf of nothing but -inf, of which ONNX's is NaN."""
    largest = x.amax(dim, keepdim=True)
    largest = torch.where(torch.isfinite(largest), largest, 0.0)
    total = torch.log(torch.exp(x - largest).sum(dim, keepdim=True)) + largest
    return total if keepdim else total.squeeze(dim)


def _clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """NaN stays NaN. torch.onnx gives the limits of several clamps of one tensor the same names, which no file can."""
    x = x if low is None else torch.where(x < low, low, x)
    return x if high is None else torch.where(x > high, high, x)


def _leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """Of any precision; onnxruntime has it of float32 alone."""
    return torch.where(x > 0, x, slope * x)


INSTEAD: dict[Any, Any] = {
    torch.ops.aten.leaky_relu.default: _leaky_relu,
    torch.ops.aten.clamp.default: _clamp,
    torch.ops.aten.log_sigmoid.default: _log_sigmoid,
    torch.ops.aten.binary_cross_entropy_with_logits.default: _bernoulli,
    torch.ops.aten.logsumexp.default: _logsumexp,
    torch.ops.aten.expm1.default: _expm1,
    torch.ops.aten.log1p.default: _log1p,
    torch.ops.aten.lgamma.default: _lgamma,
}
