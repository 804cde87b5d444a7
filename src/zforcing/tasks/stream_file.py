"""The state of a stream in a file: tensors and a line of JSON, nothing pickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..files.paths import user_path
from ..files.writing import file_to_write, whole_file
from ..models import SequenceModel
from ..settings import Count, Seed, unfit
from .filtering import FilterState
from .proposals import Proposal

FORMAT = "zforcing stream 1"
WEIGHTS = "log_weights"
FIELD = "state."
KNOWN = {"particles": Count, "seed": Seed, "proposal": Proposal, "steps": Seed | None}


def save_state(
    path: str | Path,
    model: SequenceModel,
    state: FilterState | None,
    *,
    particles: int,
    seed: int,
    proposal: Proposal,
) -> None:
    """Write the state of a filter of one sequence; None is before its first observation.

    Args:
        path: The file, which is replaced when the new one is complete.
        model: Whose state it is.
        state: Of its filter.
        particles: K.
        seed: Of all random numbers.
        proposal: Of the particles.

    Raises:
        UserError: The path is a folder's, its folder isn't there, or it can't be written.
    """
    file = file_to_write(path)
    tensors: dict[str, Tensor] = {}
    if state is not None:
        tensors = {FIELD + name: value.cpu().clone() for name, value in state.model._asdict().items()}
        tensors[WEIGHTS] = torch.from_numpy(state.log_weights)
    known = {
        "particles": particles,
        "seed": seed,
        "proposal": proposal,
        "steps": None if state is None else state.steps,
    }
    text = json.dumps({"format": FORMAT, "model": fingerprint(model)} | known)
    with whole_file(file) as part:
        save_file(tensors, part, metadata={"stream": text, "sha256": _digest(text, tensors)})


class Loaded(NamedTuple):
    """What `save_state` was given."""

    state: FilterState | None
    particles: int
    seed: int
    proposal: Proposal


def load_state(path: str | Path, model: SequenceModel) -> Loaded:
    """Read what `save_state` wrote.

    Raises:
        UserError: There is no such file, it is damaged, or it is of another model.
    """
    file = user_path(str(path), str(path))
    if not file.is_file():
        raise UserError(f"stream {path}: no such file")
    text, tensors = _read(file, path)
    try:
        known = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"stream {path}: can't be read: {error}") from None
    if not isinstance(known, dict) or known.get("format") != FORMAT:
        raise UserError(f"stream {path}: is no saved stream")
    if known.get("model") != fingerprint(model):
        raise UserError(f"stream {path}: is of another model, or of other weights of it")
    known.setdefault("proposal", "prior")  # of files before there was another
    wrong = [name for name, hint in KNOWN.items() if name not in known or unfit(known[name], hint)]
    if wrong:
        raise UserError(f"stream {path}: is damaged or edited: its {', '.join(wrong)}")
    return Loaded(_state(tensors, known, model, path), known["particles"], known["seed"], known["proposal"])


def _read(file: Path, path: str | Path) -> tuple[str, dict[str, Tensor]]:
    """The line of JSON and the tensors in a file. Raises UserError where it can't be read, or has changed."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"stream {path}: can't be read: {error}") from None
    text = metadata.get("stream", "{}")
    if metadata.get("sha256", _digest(text, tensors)) != _digest(text, tensors):  # files of before have none
        raise UserError(f"stream {path}: isn't as it was written (its SHA-256 differs): restore a copy")
    return text, tensors


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def _state(
    tensors: dict[str, Tensor], known: dict[str, Any], model: SequenceModel, path: str | Path
) -> FilterState | None:
    if known["steps"] is None:
        return None
    device = next(model.parameters()).device
    fields = {name.removeprefix(FIELD): v.to(device) for name, v in tensors.items() if name.startswith(FIELD)}
    with torch.no_grad():
        like = model.initial_state(1)
    K = len(tensors[WEIGHTS]) if WEIGHTS in tensors and tensors[WEIGHTS].dim() else 0
    wanted = {name: ((K, *value.shape[1:]), value.dtype) for name, value in like._asdict().items()}
    found = {name: (tuple(value.shape), value.dtype) for name, value in fields.items()}
    if not K or tensors[WEIGHTS].shape != (K, 1) or found != wanted:
        raise UserError(f"stream {path}: is damaged: it holds no state of {model.name}")
    return FilterState(type(like)(**fields), tensors[WEIGHTS].numpy(), known["steps"], known["seed"], known["proposal"])


def fingerprint(model: SequenceModel) -> str:
    """Digits that tell models apart: by class, what they read, and weights."""
    digest = hashlib.sha256(f"{model.name} {model.spec} {model.config}".encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(value))
    return digest.hexdigest()[:16]


def _bytes(value: Tensor) -> bytes:
    raw: bytes = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return raw
