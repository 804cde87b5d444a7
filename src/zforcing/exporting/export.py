"""A trained model's causal step in a file: for programs without zforcing, and without torch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files.writing import file_to_write, whole_file
from ..models import DensityModel, of_sequences
from ..settings import Count, must_be, must_fit, plain
from .about import about_step
from .onnx_file import save_onnx
from .program import save_program
from .step import FilterStep

WRITERS = {".onnx": save_onnx, ".pt2": save_program}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    file: Path
    """where it is"""
    about: dict[str, Any]
    """the file's own metadata: the model, K, the columns, and whether nats are exact or an estimate"""


def export(model: DensityModel, path: str | Path, *, particles: int = 64) -> Exported:
    """Write the causal step of a model to a file: what `stream` does at each observation, for any number of sequences.

    x_t in your units, the state and random numbers go in; log p(x_t | x_<t), what was expected of x_t, and the next
    state come out (`exporting.step` has the table). The filter draws latents from the prior.

    Args:
        model: A trained model of sequences; it is put in eval mode.
        path: An .onnx file, for onnxruntime (needs the extra `onnx`), or a .pt2, for `torch.export.load`.
        particles: K, which the file holds. Without latents it is 1.

    Returns:
        The path, and what the file says of itself.

    Raises:
        UserError: The model has no time steps, the path's suffix is another one, or the model's code does what the
            format can't hold.

    Example:
        zf.export(model, "model.onnx", particles=32)
    """
    must_be(model, DensityModel, "model", "a model, such as load(folder)")
    must_fit(particles, Count, "particles")
    file = file_to_write(path)
    if file.suffix not in WRITERS:
        raise UserError(f"{path}: its suffix is {file.suffix!r}; a step is written to .onnx or .pt2")
    step = FilterStep(_on_cpu(of_sequences(model, needed_by="export").eval()), particles=plain(particles))
    with whole_file(file) as part:
        WRITERS[file.suffix](step, part)
    return Exported(file, about_step(step))


def _on_cpu(model: Any) -> Any:
    """The model, or a copy where it is elsewhere."""
    here = next(model.parameters()).device == torch.device("cpu")
    return model if here else copy.deepcopy(model).cpu()
