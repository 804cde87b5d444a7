"""Checkpoints: safetensors and JSON, nothing pickled; written under another name and renamed when complete.

model.safetensors      the weights
config.json            format version, the model's name and settings, the data's description
starts.safetensors     first observations of training sequences (of a model that conditions on them)
SHA256SUMS             digests of these files, checked when they are read
training.safetensors   Adam's moments          (to go on training; loading a model doesn't need them)
training.json          where the run was

`load` gives the model, with the description of its data, by which raw numbers become what it reads, and back:

    model = load("runs/mine")
    x = model.description.format.from_units(raw, model.description)
    raw = model.description.format.to_units(x, model.description)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError
from ..files.paths import user_path
from ..files.writing import UNWRITTEN, hidden_folder, reason
from ..models import MODELS, DensityModel
from ..observations import FORMATS, DataDescription
from ..runtime.device import as_device
from ..settings import must_be
from .atomic import _write_json, current, read_json
from .digests import SUMS, check_digests, write_digests
from .undrawn import Undrawn

WEIGHTS, STARTS = "model.safetensors", "starts.safetensors"
OF_MODEL = ("config.json", WEIGHTS, STARTS)
FILES = (*OF_MODEL, SUMS)  # that `save` writes
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # user/name
FORMAT_VERSION = 2
READABLE = (1, FORMAT_VERSION)


class NotRegistered(UserError):
    """A saved model's class, or that of its format, isn't registered."""


def load(run: str | Path, *, which: str = "best", device: torch.device | str = "cpu") -> DensityModel:
    """Load a trained model, in eval mode, with the description of its data. Nothing is unpickled.

    Args:
        run: a run folder, one of its checkpoint folders, or a folder written by `save`.
        which: checkpoint of a run folder: "best" (on the validation split) or "last".
        device: where to put the weights (`auto`: on a GPU if there is one), which are float32 (float64 if all those in
            the file are).

    Returns:
        The model.

    Raises:
        UserError: there is no such folder, it has another format version or is damaged (a file's digest differs), or a
            weight is missing, has another shape or isn't finite.

    Example:
        model = zf.load("runs/digits-zforcing-aux")
    """
    place = as_device(device)
    folder = find_checkpoint(run, which=which)
    check_digests(folder, OF_MODEL)
    path = folder / "config.json"
    config = read_json(path)
    if "format_version" not in config:
        raise UserError(f"{path} is of another library: it has no format_version, and names no model of zforcing's")
    if config["format_version"] not in READABLE:
        raise UserError(
            f"{path} has format version {config['format_version']}, this zforcing reads 1 and 2: load it "
            f"with zforcing {config.get('zforcing_version', 'of another version')}"
        )
    try:
        cls = _registered(path, config["model"]["name"])
        _check_format(path, config["data"])
        description = DataDescription.from_json(config["data"])
        settings = cls.Config(**config["model"]["settings"])
    except NotRegistered:
        raise
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged or edited: {type(error).__name__} {error}") from None
    except UserError as error:
        raise UserError(f"{path} is damaged or edited: {error}") from None
    try:
        with torch.device("meta"), Undrawn():  # only shapes, compared with the weights' before they take memory
            model = cls(description.spec, settings)
    except (UserError, RuntimeError, TypeError, OverflowError, MemoryError) as error:  # torch's, of absurd sizes
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} asks for a model that can't be built: {reason}") from None
    _check_description(path, config["data"], folder / WEIGHTS)
    model.load_state_dict(_read_weights(model, folder / WEIGHTS), assign=True)
    model.description, model.starts = description, _read_starts(folder / STARTS, description, config["data"])
    return model.to(place).eval()


def _registered(path: Path, name: object) -> type[DensityModel]:
    """The class of the model that config.json names. Raises NotRegistered where there is none."""
    if isinstance(name, str) and name in MODELS:
        return MODELS[name]
    raise _not_registered(path, f"model {name!r}", MODELS)


def _check_format(path: Path, data: Mapping[str, Any]) -> None:
    """Raises NotRegistered where the description is of a format that nobody has registered."""
    name = data["format"]["name"] if "format" in data else None
    if isinstance(name, str) and name not in FORMATS:
        raise _not_registered(path, f"format {name!r}", FORMATS)


def _not_registered(path: Path, what: str, known: Iterable[str]) -> NotRegistered:
    return NotRegistered(
        f"{path} names {what}, which isn't registered: import the module that registers it (zforcing.register; "
        f"--import FILE_OR_MODULE on the command line), or install the package that has it; known are "
        f"{', '.join(sorted(known))}"
    )


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
            f"{path}: its data (vocabulary, normalization, sizes) isn't that of the weights in its folder, but edited "
            "or another run's: restore the config.json that they were saved with"
        )


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def find_checkpoint(run: str | Path, *, which: str = "best") -> Path:
    """The checkpoint folder of a run folder, or the folder itself if it is one."""
    if which not in ("best", "last"):
        raise UserError(f"which is {which!r}; it must be best or last")
    folder = user_path(str(run), str(run))
    if not folder.is_dir():
        hint = f" (a model of the Hugging Face Hub is loaded by zforcing.from_pretrained({str(run)!r}))"
        raise UserError(f"no such run folder: {folder}{hint if may_be_of_the_hub(run) else ''}")
    if holds_model(folder):
        return folder
    checkpoint = current(folder / "checkpoints" / which)
    if not checkpoint.is_dir():
        if (folder / "config.json").is_file():
            raise UserError(f"{folder} has a config.json and no {WEIGHTS}; weights in another form are never loaded")
        if not (folder / "config.yaml").is_file():
            raise UserError(
                f"{folder} is not a run folder: it has no config.yaml (`zforcing train` makes one), and neither "
                f"config.json nor {WEIGHTS}, as a saved model has"
            )
        raise UserError(
            f"{folder} has no {which!r} checkpoint yet: train it further with `zforcing train ... --resume`"
        )
    return checkpoint


def holds_model(folder: Path) -> bool:
    """Whether a folder is a checkpoint, or what `save` has written, and so no run."""
    return (folder / "config.json").is_file() and (folder / WEIGHTS).is_file()


def may_be_of_the_hub(run: str | Path) -> bool:
    """Whether the name of a run that isn't there may be meant as one of the Hugging Face Hub: user/name."""
    return HUB_NAME.fullmatch(str(run)) is not None and not Path(run).parent.is_dir()


def save(folder: str | Path, model: DensityModel) -> None:
    """Save a model and the description of its data, to be loaded by `load`.

    Writes model.safetensors, config.json and, for a model with starts (first observations), starts.safetensors.

    Args:
        folder: created if it doesn't exist; files of another model in it are replaced.
        model: a model with a `description`.

    Raises:
        UserError: it isn't a model, it has no description, or the folder can't be written.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.RNN.for_data(data, hidden_size=4)
        >>> with TemporaryDirectory() as folder:
        ...     zf.save(Path(folder) / "mine", model)
        ...     again = zf.load(Path(folder) / "mine")
        >>> again.name, again.description.format.names
        ('rnn', ('speed',))
    """
    must_be(model, DensityModel, "model", "a model: save(folder, model)")
    if model.description is None:
        raise UserError(
            f"this {model.name} has no description of its data: make it with for_data, or set model.description = "
            "zforcing.DataDescription(name, model.spec, longest)"
        )
    try:
        place = user_path(str(folder), str(folder))
        place.mkdir(parents=True, exist_ok=True)
        with hidden_folder(place) as made:
            write_model(made, model)
            _replace(place, made)
    except UNWRITTEN as error:
        raise UserError(f"can't save the model in {folder}: {reason(error)}; name another folder") from error


def write_model(place: Path, model: DensityModel) -> None:
    """`save`, of a model with a description, into an empty folder. Raises OSError or SafetensorError."""
    description = model.description
    assert description is not None, "a model without one can't be loaded"
    data = json.loads(json.dumps(description.to_json()))
    _save_tensors(place / WEIGHTS, model.state_dict(), data)
    if model.starts is not None:
        _save_tensors(place / STARTS, {"x": model.starts}, data)
    config = {
        "format_version": FORMAT_VERSION,
        "zforcing_version": version("zforcing"),
        "model": {"name": model.name, "settings": asdict(model.config)},
        "data": data,
    }
    _write_json(place / "config.json", config)
    write_digests(place, [name for name in OF_MODEL if (place / name).is_file()])


def _replace(place: Path, made: Path) -> None:
    """Put the files of a model that was written whole into the place of those of another one."""
    for name in FILES:
        if (made / name).is_file():
            (made / name).replace(place / name)
        else:
            (place / name).unlink(missing_ok=True)


def _save_tensors(path: Path, tensors: Mapping[str, Tensor], data: dict[str, Any]) -> None:
    """Tensors, wherever they are, and the digest of the description that they belong to."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, path, metadata={"description": _digest(data)})


def _read_starts(path: Path, description: DataDescription, data: dict[str, Any]) -> Tensor | None:
    """First observations of the training data, [n, D] or [n]; None if the model has none."""
    if not path.is_file():
        return None
    _check_description(path.with_name("config.json"), data, path)
    tensors, spec = _read_tensors(path), description.spec
    starts = tensors.get("x")
    shape: tuple[int, ...] = () if spec.kind == "categorical" else (spec.size,)
    if starts is None or starts.dim() < 1 or starts.shape[1:] != shape or len(starts) < 1:
        contents = sorted(tensors) if starts is None else list(starts.shape)
        raise UserError(f"{path} is damaged: it holds {contents}; it must hold x [n, {', '.join(map(str, shape))}]")
    return starts


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        # copies: in the file tensors begin anywhere, and BLAS rounds otherwise where memory isn't aligned
        return {name: tensor.clone() for name, tensor in load_file(path).items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the checkpoint is incomplete") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


def _read_weights(model: DensityModel, path: Path) -> dict[str, Tensor]:
    """The weights in a file, in one floating type, if they are the model's."""
    weights, expected = _read_tensors(path), model.state_dict()
    problems = _misfits(weights, {name: tensor.shape for name, tensor in expected.items()})
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
