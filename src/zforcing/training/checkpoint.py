"""Checkpoints: safetensors and JSON, nothing pickled; written under another name and renamed when complete.

model.safetensors      the weights
config.json            format version, the model's name and settings, the data's description
training.safetensors   Adam's moments          (to go on training; loading a model doesn't need them)
training.json          where the run was
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data import DataDescription
from ..errors import UserError
from ..models import MODELS, SequenceModel

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A model in eval mode, and the description of the data that it was trained on."""

    model: SequenceModel
    description: DataDescription


def load(run: str | Path, *, which: str = "best", device: torch.device | str = "cpu") -> SequenceModel:
    """The trained model of a run folder, in eval mode. Neither the trainer nor a pickle is involved.

    run: a run folder, or a checkpoint folder itself; which: "best" on the validation split, or "last".
    Raises UserError when it is none, is of another format version, or a weight is missing or misshapen.
    """
    return load_checkpoint(run, which=which, device=device).model


def load_checkpoint(run: str | Path, *, which: str = "best", device: torch.device | str = "cpu") -> Checkpoint:
    """As `load`, with the data's description (normalization, image shape)."""
    folder = find_checkpoint(run, which=which)
    config = _read_json(folder / "config.json")
    if config.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder / 'config.json'} has format version {config.get('format_version')}, this zforcing reads "
            f"{FORMAT_VERSION}: load it with zforcing {config.get('zforcing_version', 'of another version')}"
        )
    try:
        description = DataDescription.from_json(config["data"])
        cls = MODELS[config["model"]["name"]]
        model = cls(description.spec, cls.Config(**config["model"]["settings"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'} is damaged or edited: {type(error).__name__} {error}") from None
    _load_weights(model, folder / "model.safetensors")
    return Checkpoint(model.to(device).eval(), description)


def find_checkpoint(run: str | Path, *, which: str = "best") -> Path:
    """The checkpoint folder of a run folder, or the folder itself if it is one."""
    folder = Path(run)
    if not folder.is_dir():
        raise UserError(f"no such run folder: {folder}")
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return folder
    checkpoint = current(folder / "checkpoints" / which)
    if not checkpoint.is_dir():
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder} is no run folder: it has no config.yaml (`zforcing train` makes one)")
        raise UserError(
            f"{folder} has no {which!r} checkpoint yet: train it further with `zforcing train ... --resume`"
        )
    return checkpoint


def save_model(folder: Path, model: SequenceModel, description: DataDescription) -> None:
    """model.safetensors and config.json, into a folder that exists."""
    from .. import __version__

    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config = {
        "format_version": FORMAT_VERSION,
        "zforcing_version": __version__,
        "model": {"name": model.name, "settings": asdict(model.config)},
        "data": description.to_json(),
    }
    _write_json(folder / "config.json", config)


def save_training(folder: Path, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]) -> None:
    """training.safetensors and training.json, into a folder that exists."""
    moments = optimizer.state_dict()["state"]
    tensors = {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous().clone()
        for index, values in moments.items()
        for name, value in values.items()
    }
    save_file(tensors, folder / "training.safetensors")
    _write_json(folder / "training.json", dict(progress))


def load_training(folder: Path, model: SequenceModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and moments into model and optimizer; returns the progress. Raises UserError for what doesn't fit."""
    _load_weights(model, folder / "model.safetensors")
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _read_tensors(folder / "training.safetensors").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return _read_json(folder / "training.json")


class Writing:
    """`with Writing(folder) as temporary`: fill the temporary folder, which then replaces `folder` as a whole.

    A crash at any moment leaves the old or the new one for `current` to find.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.temporary = folder.with_name(folder.name + ".partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)
            return
        old = _old(self.folder)
        if self.folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.folder.rename(old)
        self.temporary.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)


def current(folder: Path) -> Path:
    """The folder, or the one it was to replace when a crash came between the two renames."""
    return _old(folder) if not folder.exists() and _old(folder).exists() else folder


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def write_text(path: Path, text: str) -> None:
    """A file that is there as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return values


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


def _load_weights(model: SequenceModel, path: Path) -> None:
    weights, wanted = _read_tensors(path), model.state_dict()
    problems = [f"{name} is missing" for name in sorted(set(wanted) - set(weights))]
    problems += [f"{name} is unknown" for name in sorted(set(weights) - set(wanted))]
    problems += [
        f"{name} is {tuple(weights[name].shape)} and should be {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(weights))
        if weights[name].shape != wanted[name].shape
    ]
    if problems:
        raise UserError(f"{path} doesn't fit its config.json: {'; '.join(problems)}")
    model.to(next(iter(weights.values())).dtype).load_state_dict(weights)
