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
from torch.export import ExportedProgram

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
    names = {"input_names": list(given), "output_names": outputs_of(program, given)}
    shapes = ({name: {0: BATCH} for name in given},)
    try:
        with _quiet():
            made = torch.onnx.export(
                program.run_decompositions(INSTEAD), (), opset_version=OPSET, dynamic_shapes=shapes, verbose=False, **names
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"model {step.model.name} has no ONNX form: {_reason(error)}") from error
    assert made is not None, "there was no file to write it to"
    made.model.metadata_props[KEY] = json.dumps(about_step(step))
    made.save(file, external_data=False)


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
        try:
            yield
        finally:
            logger.setLevel(level)


# ---- operations that ONNX has not, or not precisely


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


INSTEAD: dict[Any, Any] = {
    torch.ops.aten.expm1.default: _expm1,
    torch.ops.aten.log1p.default: _log1p,
    torch.ops.aten.lgamma.default: _lgamma,
}
