"""A step as a `torch.export` program, for any number of sequences."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from ..errors import UserError
from .about import KEY, about_step
from .step import FilterStep

EXTRA = f"{KEY}.json"  # the metadata in the archive


def to_program(step: FilterStep) -> ExportedProgram:
    """The step as a graph of tensors, from a dict of tensors to a dict of tensors.

    Raises:
        UserError: The model does what no graph can hold, such as a branch on a value.
    """
    given, batch = step.blank(2), Dim("batch", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(step, (given,), dynamic_shapes=({name: {0: batch} for name in given},))
    except Exception as error:  # whatever torch, or the code of a model of one's own, raises
        raise UserError(f"model {step.model.name} can't be exported by torch.export: {_first_line(error)}") from error


def save_program(step: FilterStep, file: Path) -> None:
    """Write a .pt2, which `torch.export.load` reads without zforcing, and the metadata in it."""
    program = to_program(step)
    _forget_source(program)
    try:
        torch.export.save(program, file, extra_files={EXTRA: json.dumps(about_step(step))})
    except RuntimeError as error:  # torch's, where the disk is full, say
        raise OSError(_first_line(error)) from error


def _forget_source(program: ExportedProgram) -> None:
    """Take out which lines of which files of this machine the operations come from."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)


def outputs_of(program: ExportedProgram, given: dict[str, Tensor]) -> list[str]:
    """The names of what the step finds, in their order."""
    found: dict[str, Tensor] = program.module()(given)
    return list(found)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
