"""What a checkpoint holds besides the model: Adam's moments, the state between updates and the progress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...data import SequenceDataset
from ...data.record import SplitRecord
from ...data.splits import SPLITS, Split
from ...errors import UserError
from ...models import DensityModel
from ...observations import DataDescription
from ...observations.formats.version_1 import LATER
from ...saving.atomic import _write_json, read_json
from ...saving.digests import check_digests
from ...saving.model import _misfits, _read_tensors, _read_weights
from .. import carry
from ..players import turn
from ..players.turn import MOMENTS
from ..progress import Progress

RECORDS = "splits.json"
BETWEEN = (carry.PREFIX, turn.PREFIX)  # names of what isn't the model's moments begin with one of these


def check_same_data(checkpoint_folder: Path, description: DataDescription) -> None:
    """Raise UserError when the data's description differs from the one the checkpoint was written with."""
    path = checkpoint_folder / "config.json"
    config = read_json(path)
    before = _leaves(_as_json(DataDescription.from_json(config.get("data") or {})))
    now = _leaves(_as_json(description))
    free = {"name"} | (LATER if config.get("format_version") == 1 else set())  # other names of the same data
    names = [name for name in before | now if before.get(name) != now.get(name) and _field(name) not in free]
    if names:
        changes = [f"{name} was {before.get(name)}, is {now.get(name)}" for name in names[:4]]
        more = [f"{len(names) - 4} more"] if len(names) > 4 else []
        raise UserError(
            f"the data has changed since the run began ({path}): {'; '.join(changes + more)}. Restore the data that "
            "the data's settings (data.path) named then, or start a new run"
        )


def check_same_splits(checkpoint_folder: Path, splits: Mapping[Split, SequenceDataset]) -> None:
    """Raise UserError where a split has other sequences than a checkpoint says, if it does."""
    before = read_splits(checkpoint_folder)
    now = {split: SplitRecord.of(data) for split, data in splits.items() if split in before}
    changes = [(split, before[split].change(record)) for split, record in now.items()]
    said = [f"the {split} split {change}" for split, change in changes if change]
    if said:
        raise UserError(
            f"the data has changed since the run began: {'; '.join(said)}. Restore the data that the data's settings "
            "(data.path) named then, or start a new run"
        )


def read_splits(checkpoint_folder: Path) -> dict[Split, SplitRecord]:
    """The splits that a checkpoint was trained by; none of before there were records. Raises UserError about damage."""
    path = checkpoint_folder / RECORDS
    if not path.is_file():
        return {}
    check_digests(checkpoint_folder, [RECORDS])
    values = read_json(path)
    return {split: SplitRecord.from_json(values[split]) for split in SPLITS if split in values}


def save_splits(folder: Path, splits: Mapping[Split, SplitRecord]) -> None:
    """splits.json, into a folder that exists."""
    _write_json(folder / RECORDS, {split: record.to_json() for split, record in splits.items()})


def save_training(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    between: Mapping[str, Tensor] | None = None,
) -> None:
    """training.safetensors and training.json, into a folder that exists.

    between: the state between two updates, of chunks and of a player, where there is one, by names as `BETWEEN` says.
    A parameter that had no gradient yet gets the moments Adam begins with. Before the first update there are none.
    """
    moments = optimizer.state_dict()["state"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]] if moments else []
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        zeros = torch.zeros_like(parameter)
        first = dict(zip(MOMENTS, (torch.zeros(()), zeros, zeros), strict=True))
        for name, value in moments.get(index, first).items():
            tensors[f"{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    tensors |= {name: value.detach().cpu().contiguous().clone() for name, value in (between or {}).items()}
    save_file(tensors, folder / "training.safetensors")
    _write_json(folder / "training.json", dict(progress))


def load_training(folder: Path, model: DensityModel, optimizer: torch.optim.Optimizer) -> Progress:
    """Weights and moments into model and optimizer; returns the progress. Raises UserError for what doesn't fit."""
    weights, progress = _read_weights(model, folder / "model.safetensors"), read_progress(folder)
    moments = _read_moments(folder / "training.safetensors", optimizer)
    if not moments and progress.step > progress.nonfinite:
        raise UserError(f"{folder / 'training.safetensors'} holds no moments after {progress.step} updates")
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def load_between(folder: Path, prefix: str) -> dict[str, Tensor]:
    """What `save_training` wrote of the state between updates by names with this prefix; empty if there was none."""
    tensors = _read_tensors(folder / "training.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def read_progress(folder: Path) -> Progress:
    """training.json of a checkpoint folder. Raises UserError when a value is missing or of the wrong type."""
    path = folder / "training.json"
    values = read_json(path)
    try:
        return Progress.from_json(values)
    except UserError as error:
        raise UserError(f"{path} is damaged or edited: {error}") from None


def _as_json(description: DataDescription) -> Any:
    """As a file has it: tuples are lists."""
    return json.loads(json.dumps(description.to_json()))


def _field(leaf: str) -> str:
    """The format's field that "format.names[0]" is a part of."""
    return leaf.removeprefix("format.").split("[")[0].split(".")[0]


def _leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": [1, 2]}} -> {"a.b[0]": 1, "a.b[1]": 2}."""
    if not isinstance(values, dict | list) or not values:
        return {prefix: values}
    at = values.items() if isinstance(values, dict) else enumerate(values)
    names = {k: (f"{prefix}[{k}]" if isinstance(values, list) else f"{prefix}.{k}".lstrip(".")) for k, _ in at}
    return {name: leaf for k, here in names.items() for name, leaf in _leaves(values[k], here).items()}


def _read_moments(path: Path, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Adam's moments, by the parameter's number; none where there was no update yet."""
    tensors = {name: tensor for name, tensor in _read_tensors(path).items() if not name.startswith(BETWEEN)}
    parameters = [p for group in optimizer.param_groups for p in group["params"]] if tensors else []
    shapes = {
        f"{index}.{name}": torch.Size() if name == "step" else parameter.shape
        for index, parameter in enumerate(parameters)
        for name in MOMENTS
    }
    problems = _misfits(tensors, shapes)
    problems += [f"{name} is not finite" for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if problems:
        raise UserError(f"{path} doesn't fit model.safetensors: {'; '.join(problems)}")
    return {i: {name: tensors[f"{i}.{name}"] for name in MOMENTS} for i in range(len(parameters))}
