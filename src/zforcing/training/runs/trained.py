"""A trained model with its description and configuration; its data need not be there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...data import DataModule
from ...data.arrays.dataset import FileDataModule
from ...errors import UserError
from ...models import DensityModel
from ...observations import DataDescription, TableFormat
from ...saving.model import find_checkpoint, load
from .config import RunConfig
from .folder import find_run, read_run_config


@dataclass(frozen=True)
class Trained:
    """A model, the description of its data, and the folder that it is in: a run's, or one that `save` wrote, which has
    no `config`.
    """

    folder: Path
    model: DensityModel
    description: DataDescription
    config: RunConfig | None

    @classmethod
    def load(cls, folder: str, *, which: str, device: torch.device | str = "cpu") -> Trained:
        """Load a run's model. folder: see `find_run`. Raises UserError where there is no model."""
        path = find_run(folder)
        find_checkpoint(path, which=which)  # a folder that is none is said to be none, before anything else
        # before the model: a run says which file or module registers one of the user's own
        config = read_run_config(path) if (path / "config.yaml").is_file() else None
        model = load(path, which=which, device=device)
        description = _description(model)
        if description.format == TableFormat() and config is not None:
            model.description = description = _with_columns(description, config.data)
        return cls(path, model, description, config)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def data(self) -> DataModule:
        """The run's own data. Raises UserError where the folder doesn't say which it was."""
        if self.config is None:
            raise UserError(f"{self.folder} holds a model and doesn't say where its data is: give a file of sequences")
        return self.config.data


def _description(model: DensityModel) -> DataDescription:
    assert model.description is not None, "a model that was loaded has a description"
    return model.description


def _with_columns(description: DataDescription, data: DataModule) -> DataDescription:
    """What format version 1 didn't keep of a table, from the run's settings."""
    return replace(description, format=data.format) if isinstance(data, FileDataModule) else description
