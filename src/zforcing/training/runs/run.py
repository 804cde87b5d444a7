"""A run: training into a folder, which is enough to repeat the run and to resume it.

`fit`'s loop, and callbacks that write checkpoints and rows. Checkpoints are chosen on the validation split; the test
split is never read here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...data import SequenceDataset
from ...data.record import SplitRecord
from ...data.splits import Split
from ...errors import UserError
from ...files.writing import UNWRITTEN, reason
from ...models import DensityModel
from ...runtime.threads import cpu_threads
from ...saving.atomic import Writing, current, remove_leftovers, write_text
from ...saving.model import write_model
from .. import carry
from ..callbacks import Callback, Start
from ..feed import Feed
from ..history import Row, ValidationRow, times_of
from ..loop import HINT, Diverged, Training, prepare, seed_everything
from ..loop import run as run_loop
from ..parallel import Processes, processes
from ..players import turn
from ..players.turn import PlayerUpdate
from ..progress import INTERRUPTED, Progress, reason_to_stop
from ..reporter import Reporter
from ..signals import ASKING, Stop, stop_on
from ..trackers import open_tracker
from .checkpoint import check_same_data, check_same_splits, load_between, load_training, save_splits, save_training
from .config import RunConfig, as_yaml
from .folder import RESUME_OR_OVERWRITE, check_free, check_same_run, environment, newest_checkpoint
from .known import flatten
from .lock import locked
from .log import JsonLines, other_rows
from .overwrite import throw_away
from .paths import kept_in


class Interrupted(Exception):
    """Raised after Ctrl-C or a scheduler's signal, once the run has been saved. exit_code: what a command ends with."""

    def __init__(self, *, by_person: bool = True):
        super().__init__()
        self.exit_code = 130 if by_person else 75  # os.EX_TEMPFAIL: start again, and it goes on


def train(
    config: RunConfig,
    run_dir: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    callbacks: Iterable[Callback] = (),
) -> Progress:
    """Train into a run folder, or resume one. Returns where training ended (`finished` says why).

    overwrite: throw away the run that is in the folder, once this one has its data and is about to start.
    callbacks: called as training runs.

    Raises UserError before anything is written when the configuration, the data or the folder is wrong, Interrupted
    after Ctrl-C with the state saved, Diverged after too many non-finite updates.
    """
    reporter, here = reporter or Reporter(), processes(device)
    reporter = reporter if here.is_main else Reporter(quiet=True)
    if resume and overwrite:
        raise UserError(RESUME_OR_OVERWRITE)
    if not resume:
        check_free(run_dir, overwrite=overwrite)
    with (
        torch.random.fork_rng(),  # leaves the caller's generator unchanged
        stop_on(ASKING, say=reporter.say) as stop,
        locked(run_dir) if here.is_main else nullcontext(),
    ):
        training, at = begin(
            config, run_dir, resume=resume, overwrite=overwrite, here=here, stop=stop, reporter=reporter
        )
        if at.finished and reason_to_stop(at, config.training):
            reporter.say(f"{run_dir}: finished already ({at.finished}); nothing left to do")
            return at
        rows = config.training.batch_size * config.bound.particles
        with cpu_threads(training.model, config.training.threads, rows=rows), reporter:
            files = RunFolder(run_dir, config, training, overwrite=overwrite)
            everyone = [files, reporter, *_trackers(config, run_dir), *config.callbacks, *callbacks]
            end = _until_the_end(training, replace(at, finished=""), everyone, run_dir)
    if end.finished == INTERRUPTED:
        raise Interrupted(by_person=stop.by_person)
    return end


def begin(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    here: Processes,
    stop: Stop,
    reporter: Reporter,
) -> tuple[Training, Progress]:
    """The run's data, its model and optimizer, and where it is: at its beginning, or at its last checkpoint."""
    last = newest_checkpoint(folder, say=reporter.say) if resume else None
    if resume:
        check_same_run(config, folder, last)
    else:
        check_free(folder, overwrite=overwrite)
    description = config.data.describe()
    data: dict[Split, SequenceDataset] = {
        "train": config.data.load("train", description),
        "valid": config.data.load("valid", description),
    }
    seed_everything(config.seed, "weights")
    model = config.build_model(description.spec).float()  # as the data, whatever torch's default is
    model.description = description
    if last is None:
        model.begin_with(data["train"])
    at = Progress(learning_rate=config.training.learning_rate)

    def restore(feed: Feed, adam: torch.optim.Adam, player: PlayerUpdate | None) -> None:
        nonlocal at
        if last is not None:
            check_same_data(last, description)
            check_same_splits(last, data)
            at = load_training(last, model, adam)
            restore_between(feed, player, last)
            notice_other_rows(folder, last, say=reporter.say)

    for message in config.data.suspicions():
        reporter.say(f"warning: {message}")
    training = prepare(
        model,
        data["train"],
        data["valid"],
        bound=config.bound,
        weights=config.weights,
        settings=config.training,
        seed=config.seed,
        here=here,
        stop=stop,
        say=reporter.say,
        player=config.player,
        restore=restore,
    )
    here.wait()  # all have looked at the folder before one writes into it
    return training, at


def restore_between(feed: Feed, player: PlayerUpdate | None, checkpoint: Path) -> None:
    """The state between two updates, of chunks and of a player, from a checkpoint."""
    try:
        feed.restore(load_between(checkpoint, carry.PREFIX))
        if player is not None:
            player.restore(load_between(checkpoint, turn.PREFIX))
    except (KeyError, ValueError) as error:
        raise UserError(f"{checkpoint / 'training.safetensors'} holds no state of this model: {error}") from None


def notice_other_rows(folder: Path, checkpoint: Path, *, say: Callable[[str], None]) -> None:
    """Say where rows of before the checkpoint are missing, or aren't those that the run wrote."""
    for file in other_rows(folder, checkpoint):
        say(f"warning: {file} lacks rows of before the checkpoint, or has others; training is the same")


def _until_the_end(training: Training, at: Progress, callbacks: list[Callback], folder: Path) -> Progress:
    """Run the loop. The message of a training that diverged names the checkpoint of its best validation: the last one
    may hold weights that had exploded, with losses that were still finite.
    """
    try:
        end = run_loop(training, at, callbacks)
    except Diverged as error:
        best = folder / "checkpoints" / "best"
        found = f"the best checkpoint, by validation, is {best}" if best.is_dir() else "no validation was finite"
        raise Diverged(f"{error}; {found}. {HINT}") from None
    if end.finished != INTERRUPTED and not math.isfinite(end.best):
        raise Diverged(
            f"no validation of {folder} was finite: look at the data's scale (data.normalize), or start again with a "
            "lower training.learning_rate or a model.min_std above 0"
        )
    return end


def _trackers(config: RunConfig, folder: Path) -> list[Callback]:
    name = config.training.track
    return [] if name == "none" else [open_tracker(name, folder, flatten(config.to_dict()))]


class RunFolder(Callback):
    """What a run writes: its configuration, rows of metrics, and the checkpoints `best` and `last`."""

    def __init__(self, folder: Path, config: RunConfig, training: Training, *, overwrite: bool = False):
        self.folder, self.training, self.overwrite = folder, training, overwrite
        self.settings = kept_in(folder, config.to_dict())
        self.metrics = JsonLines(folder / "metrics.jsonl")

    @cached_property
    def splits(self) -> dict[Split, SplitRecord]:
        """What it is trained by, as it is now."""
        here: dict[Split, SequenceDataset | None] = {"train": self.training.train, "valid": self.training.valid}
        return {split: SplitRecord.of(data) for split, data in here.items() if data is not None}

    def on_start(self, at: Progress, start: Start, model: DensityModel) -> None:
        """Open the folder; rows from after the checkpoint are dropped."""
        if self.training.here.is_main:
            if self.overwrite:
                throw_away(self.folder)
            with self.writing(self.metrics.path):
                self.metrics.truncate(at.step, at.rows)
            for place in (self.folder, self.folder / "checkpoints"):
                remove_leftovers(place)
            with self.writing(self.folder / "config.yaml") as path:
                write_text(path, as_yaml(self.settings))
            if at.rows == 0:
                with self.writing(self.folder / "environment.json") as path:
                    write_text(path, environment(self.training.here.device))
        self.training.here.wait()

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """The path, to be written within the block. Raises UserError where it can't be: the run ends, and says so."""
        try:
            yield path
        except UNWRITTEN as error:
            last = current(self.folder / "checkpoints" / "last")
            remedy = (
                f"{last} is whole: mend that, then go on by --resume" if last.is_dir() else "mend that, then --resume"
            )
            raise UserError(f"can't write {path}: {reason(error)}; {remedy}") from error

    def on_row(self, at: Progress, row: Row, model: DensityModel) -> None:
        """A row of metrics: a function of the seed, but for its times."""
        if self.training.here.is_main:
            with self.writing(self.metrics.path):
                self.metrics.append(row.to_dict() | times_of(row))

    def on_validation(self, at: Progress, row: ValidationRow, model: DensityModel) -> None:
        if row.best:
            self.save("best", at, model)

    def on_checkpoint(self, at: Progress, model: DensityModel) -> None:
        self.save("last", at, model)

    def save(self, which: Literal["best", "last"], at: Progress, model: DensityModel) -> None:
        """Weights, moments, the state between updates, and where training is; complete, or not there at all."""
        between = self.training.feed.tensors()  # of all processes
        if self.training.player is not None:
            between |= self.training.player.tensors()
        if self.training.here.is_main:
            with self.writing(self.folder / "checkpoints" / which) as path, Writing(path) as folder:
                self._fill(folder, at, model, between)
        self.training.here.wait()

    def _fill(self, folder: Path, at: Progress, model: DensityModel, between: Mapping[str, Tensor]) -> None:
        write_model(folder, model)
        self.metrics.sync()
        digests = {self.metrics.path.name: self.metrics.digest(at.rows)}
        values = at.to_json() | {"settings": self.settings, "rows_sha256": digests}
        save_splits(folder, self.splits)
        save_training(folder, self.training.optimizer, values, between)
