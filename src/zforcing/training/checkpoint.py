"""Checkpoints: safetensors and JSON, nothing pickled; written under another name and renamed when complete.

model.safetensors      the weights
config.json            format version, the model's name and settings, the data's description
training.safetensors   Adam's moments          (to go on training; loading a model doesn't need them)
training.json          where the run was

`load` gives the model; `load_checkpoint` the model and the data's description, with which raw numbers become what the
model reads, and back:

    checkpoint = load_checkpoint("runs/mine")
    scaling = checkpoint.description.normalization      (None where the data wasn't normalized)
    x = scaling.apply(raw);  raw = scaling.invert(x)
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data import DataDescription
from ..errors import UserError
from ..models import MODELS, SequenceModel
from ..settings import check_types
from .carry import PREFIX

FORMAT_VERSION = 1
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's, of each parameter


@dataclass(frozen=True)
class Checkpoint:
    """A model in eval mode, and the description of the data that it was trained on (normalization, image shape)."""

    model: SequenceModel
    description: DataDescription


def load(run: str | Path, *, which: str = "best", device: torch.device | str = "cpu") -> SequenceModel:
    """The trained model of a run folder, in eval mode. Neither the trainer nor a pickle is involved.

    run: a run folder, or a checkpoint folder itself; which: "best" on the validation split, or "last".
    Its weights are float32 (float64 if all those in the file are). What the model reads is normalized: see
    `load_checkpoint`. Raises UserError when the folder is none, is of another format version or damaged, or when a
    weight is missing, misshapen or not finite.
    """
    return load_checkpoint(run, which=which, device=device).model


def load_checkpoint(run: str | Path, *, which: str = "best", device: torch.device | str = "cpu") -> Checkpoint:
    """As `load`, with the data's description: its normalization is what turns raw numbers into what the model reads."""
    folder = find_checkpoint(run, which=which)
    path = folder / "config.json"
    config = read_json(path)
    if config.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {config.get('format_version')}, this zforcing reads {FORMAT_VERSION}: load it "
            f"with zforcing {config.get('zforcing_version', 'of another version')}"
        )
    try:
        description = DataDescription.from_json(config["data"])
        cls = MODELS[config["model"]["name"]]
        settings = cls.Config(**config["model"]["settings"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged or edited: {type(error).__name__} {error}") from None
    except UserError as error:
        raise UserError(f"{path} is damaged or edited: {error}") from None
    try:
        with torch.device("meta"):  # shapes alone, compared with the weights' before they take memory
            model = cls(description.spec, settings)
    except (UserError, RuntimeError, TypeError, OverflowError, MemoryError) as error:  # torch's, of absurd sizes
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{path} asks for a model that can't be built: {said}") from None
    _check_description(path, config["data"], folder / "model.safetensors")
    model.load_state_dict(_read_weights(model, folder / "model.safetensors"), assign=True)
    return Checkpoint(model.to(device).eval(), description)


def _check_description(path: Path, data: dict[str, Any], weights: Path) -> None:
    """That config.json is the one that the weights were saved with: another run's vocabulary or normalization would fit
    them, and mean something else. Weights of before there was a digest are taken as they are.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            digest = (file.metadata() or {}).get("description")
    except (OSError, SafetensorError):
        return  # reading the weights says what is wrong with them
    if digest not in (None, _digest(data)):
        raise UserError(
            f"{path}: its data (vocabulary, normalization, sizes) isn't that of the weights beside it, but edited or "
            "another run's: put back the config.json that they were saved with"
        )


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def check_same_data(checkpoint_folder: Path, description: DataDescription) -> None:
    """Raises UserError when the data is described otherwise than when the checkpoint was written."""
    path = checkpoint_folder / "config.json"
    before = _leaves(read_json(path).get("data"))
    now = _leaves(json.loads(json.dumps(description.to_json())))
    names = [name for name in before | now if before.get(name) != now.get(name)]
    if names:
        said = [f"{name} was {before.get(name)}, is {now.get(name)}" for name in names[:4]]
        more = [f"{len(names) - 4} more"] if len(names) > 4 else []
        raise UserError(
            f"the data has changed since the run began ({path}): {'; '.join(said + more)}. Bring back what the data's "
            "settings (data.path) named then, or start a new run"
        )


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
    data = json.loads(json.dumps(description.to_json()))
    save_file(weights, folder / "model.safetensors", metadata={"description": _digest(data)})
    config = {
        "format_version": FORMAT_VERSION,
        "zforcing_version": __version__,
        "model": {"name": model.name, "settings": asdict(model.config)},
        "data": data,
    }
    _write_json(folder / "config.json", config)


def save_training(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    carried: Mapping[str, Tensor] | None = None,
) -> None:
    """training.safetensors and training.json, into a folder that exists.

    carried: the state between two updates, where there is one (`zforcing.training.carry`). A parameter that Adam hasn't
    met gets the moments Adam begins with. Before the first update there are none.
    """
    moments = optimizer.state_dict()["state"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]] if moments else []
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        zeros = torch.zeros_like(parameter)
        first = dict(zip(MOMENTS, (torch.zeros(()), zeros, zeros), strict=True))
        for name, value in moments.get(index, first).items():
            tensors[f"{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    tensors |= {name: value.detach().cpu().contiguous().clone() for name, value in (carried or {}).items()}
    save_file(tensors, folder / "training.safetensors")
    _write_json(folder / "training.json", dict(progress))


def load_training(folder: Path, model: SequenceModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and moments into model and optimizer; returns the progress. Raises UserError for what doesn't fit."""
    weights, progress = _read_weights(model, folder / "model.safetensors"), read_progress(folder)
    moments = _read_moments(folder / "training.safetensors", optimizer)
    if not moments and progress["step"] > progress["nonfinite"]:
        raise UserError(f"{folder / 'training.safetensors'} holds no moments after {progress['step']} updates")
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def load_carried(folder: Path) -> dict[str, Tensor]:
    """The state that `save_training` was given; empty if it was given none."""
    tensors = _read_tensors(folder / "training.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}


@dataclass(frozen=True)
class _Progress:
    """The types of what training.json must hold; the loop that writes it says what it means."""

    epoch: int
    batch: int
    step: int
    learning_rate: float
    best: float | None
    best_epoch: int
    previous: float | None
    validations_without_best: int
    nonfinite: int
    nonfinite_in_a_row: int
    rows: int
    seconds: float
    finished: str


def read_progress(folder: Path) -> dict[str, Any]:
    """training.json of a checkpoint folder. Raises UserError when a value is missing or of the wrong type."""
    path = folder / "training.json"
    values = read_json(path)
    names = [field.name for field in fields(_Progress)]
    problems = [f"progress.{name} is missing" for name in [*names, "since_row"] if name not in values]
    if not problems:
        problems = check_types(_Progress(**{name: values[name] for name in names}), "progress")
        sums = values["since_row"]
        if not (isinstance(sums, dict) and all(isinstance(v, int | float) for v in sums.values())):
            problems.append(f"progress.since_row is {sums!r}; it must be names with numbers")
    if problems:
        raise UserError(f"{path} is damaged or edited: {'; '.join(problems)}")
    return values


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
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError when there is none. NaN and Infinity are no JSON."""
    try:
        values = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": [1, 2]}} -> {"a.b[0]": 1, "a.b[1]": 2}."""
    if not isinstance(values, dict | list) or not values:
        return {prefix: values}
    at = values.items() if isinstance(values, dict) else enumerate(values)
    names = {k: (f"{prefix}[{k}]" if isinstance(values, list) else f"{prefix}.{k}".lstrip(".")) for k, _ in at}
    return {name: leaf for k, here in names.items() for name, leaf in _leaves(values[k], here).items()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        # copies: in the file tensors begin anywhere, and BLAS rounds otherwise where memory isn't aligned
        return {name: tensor.clone() for name, tensor in load_file(path).items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


def _read_weights(model: SequenceModel, path: Path) -> dict[str, Tensor]:
    """The weights in a file, in one floating type, if they are the model's."""
    weights, wanted = _read_tensors(path), model.state_dict()
    problems = _misfits(weights, {name: tensor.shape for name, tensor in wanted.items()})
    if problems:
        raise UserError(f"{path} doesn't fit its config.json: {'; '.join(problems)}")
    double = all(tensor.dtype == torch.float64 for tensor in weights.values())
    weights = {name: tensor.double() if double else tensor.float() for name, tensor in weights.items()}
    wrong = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if wrong:
        raise UserError(
            f"{path} holds values that are not finite in {', '.join(wrong)}: the run diverged; use another checkpoint"
        )
    return weights


def _read_moments(path: Path, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Adam's moments, by the parameter's number; none where there was no update yet."""
    tensors = {name: tensor for name, tensor in _read_tensors(path).items() if not name.startswith(PREFIX)}
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


def _misfits(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> list[str]:
    """What is wrong with names, shapes and types."""
    problems = [f"{name} is missing" for name in sorted(set(shapes) - set(tensors))]
    problems += [f"{name} is unknown" for name in sorted(set(tensors) - set(shapes))]
    for name in sorted(set(shapes) & set(tensors)):
        if tensors[name].shape != shapes[name]:
            problems.append(f"{name} is {tuple(tensors[name].shape)} and should be {tuple(shapes[name])}")
        elif not tensors[name].is_floating_point():
            problems.append(f"{name} holds {str(tensors[name].dtype).removeprefix('torch.')}, not floating numbers")
    return problems
