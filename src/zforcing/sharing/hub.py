"""The Hugging Face Hub: models go there and come from there by huggingface_hub, which keeps who one is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..errors import UserError
from ..files.paths import user_path
from ..models import DensityModel
from ..saving.model import HUB_NAME, STARTS, load
from ..settings import must_be
from .folder import CARD, SHARED, check_names, is_shared, share


def push_to_hub(
    source: str | Path | DensityModel, repo: str, *, private: bool = False, license_id: str = "unknown"
) -> str:
    """Put a model on the Hugging Face Hub, with its card.

    Who one is there is a matter of huggingface_hub (`hf auth login`). Files of another model there are replaced.

    Args:
        source: A folder that `share` made, which goes there as it stands, also with a card that was edited; or else
            what `share` takes: a run folder, a folder that `save` wrote, or a model.
        repo: user/name.
        private: Whether a model that is new there is for its owner's eyes alone.
        license_id: As of `share`; of a folder that it made, the card says it.

    Returns:
        The model's address.

    Raises:
        UserError: There is no such model, or the Hub doesn't take it; one line.

    Example:
        zf.push_to_hub("runs/mine", "user/name")
        model = zf.from_pretrained("user/name")
    """
    check_names(license_id=license_id, repo=repo)
    hub = _huggingface_hub()
    with _shared(source, repo, license_id=license_id) as folder, _told(repo):
        api = hub.HfApi(library_name="zforcing", library_version=version("zforcing"))
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(SHARED),
            delete_patterns=[STARTS],  # of a model that was there before; what is uploaded stays
            commit_message="Upload a model of zforcing",
        )
    return str(address)


@contextmanager
def _shared(source: str | Path | DensityModel, repo: str, *, license_id: str) -> Iterator[Path]:
    """The folder to upload, which is one already, or is made for the moment."""
    if isinstance(source, str | Path) and is_shared(source):
        if license_id != "unknown":
            raise UserError(f"{source} has a card already: write its license there ({CARD}, the first lines)")
        load(source)  # nothing that can't be loaded is handed on
        yield user_path(str(source), str(source))
        return
    with TemporaryDirectory() as folder:
        yield share(source, Path(folder) / "model", license_id=license_id, repo=repo).folder


def from_pretrained(
    name: str | Path, *, revision: str | None = None, device: torch.device | str = "cpu"
) -> DensityModel:
    """Load a model from the Hugging Face Hub, or from a folder. Nothing is unpickled: other files aren't even fetched.

    What was fetched once is kept by huggingface_hub, and is found there without a network too (HF_HUB_OFFLINE=1).

    Args:
        name: user/name; or a folder, as `load` takes it, which goes before.
        revision: A branch, a tag or a commit on the Hub; by default the newest.
        device: Where to put the weights.

    Returns:
        The model, in eval mode.

    Raises:
        UserError: There is no such model, it can't be fetched, or isn't one of zforcing's; one line.

    Example:
        model = zf.from_pretrained("user/name")
    """
    must_be(name, (str, Path), "name", "user/name of the Hub, or a folder")
    if user_path(str(name), str(name)).is_dir():
        if revision is not None:
            raise UserError(f"revision is {revision!r}, but {name} is a folder, which has none: leave it out")
        return load(name, device=device)
    repo = str(name)
    if not HUB_NAME.fullmatch(repo):
        raise UserError(f"{repo!r} is neither a folder nor a name on the Hub, user/name")
    with _told(repo):
        found = _huggingface_hub().snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(SHARED),
            library_name="zforcing",
            library_version=version("zforcing"),
        )
    try:
        return load(found, device=device)
    except UserError as error:
        raise UserError(f"{repo}, as the Hub has it, can't be loaded: {error}") from error


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError("the Hugging Face Hub needs huggingface_hub; pip install 'zforcing[hub]'") from error
    return huggingface_hub


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """What goes wrong between here and the Hub, as one line."""
    _huggingface_hub()
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    # what no network raises is of its HTTP library, whose name changes between versions: a base class of its own error
    bases = [base for base in HfHubHTTPError.__mro__ if issubclass(base, Exception) and base is not Exception]
    wrong: tuple[type[Exception], ...] = (*bases, OSError, HFValidationError)
    try:
        yield
    except RepositoryNotFoundError as error:
        raise UserError(f"the Hub has no {repo}, or not for everybody: log in by `hf auth login`") from error
    except wrong as error:
        raise UserError(f"{repo}: the Hub can't be asked: {' '.join(str(error).split())[:300]}") from error
