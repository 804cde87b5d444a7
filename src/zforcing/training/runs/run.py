"""The training loop.

Everything random at a step (latents, dropout of units and words, the order of batches) is a pure function of the seed
and the step, so that a run that was stopped anywhere goes on bit for bit as if it hadn't been. Checkpoints are chosen
on the validation split; the test split is never read here.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ...bounds import BoundResult, ChunkedELBO, Weights
from ...data import SequenceDataset
from ...data.batches import evaluation_batches, load_batches, training_batches
from ...errors import UserError
from ...observations import DataDescription, SequenceBatch
from ...runtime.device import pick_device
from ...runtime.threads import cpu_threads
from ...saving.atomic import Writing, current, write_text
from ...saving.model import save_model
from ..carry import Carry, GoingOn
from ..graph import GraphUpdate, check_capturable
from ..progress import Progress
from ..reporter import Reporter, duration
from ..settings import TrainingConfig
from ..update import SUMS, BoundModule, EagerUpdate, autocast, make_optimizer, summed
from .checkpoint import check_same_data, load_carried, load_training, save_training
from .config import RunConfig
from .folder import check_folder, environment
from .log import Rows


class Interrupted(Exception):
    """Ctrl-C or a termination signal, after the run has been saved."""


class Diverged(Exception):
    """Too many losses or gradients in a row that are not finite."""


def train(
    config: RunConfig, run_dir: Path, *, device: str = "auto", resume: bool = False, reporter: Reporter | None = None
) -> Progress:
    """Train into a run folder, or go on with one. Returns where it ended (`finished` says why).

    Raises UserError before anything is written when the configuration, the data or the folder is wrong, Interrupted
    after Ctrl-C with the state saved, Diverged after too many non-finite updates.
    """
    with torch.random.fork_rng():  # the caller's generator is not ours to move
        return Run(config, run_dir, device=device, resume=resume, reporter=reporter or Reporter()).train()


class Run:
    """One run: its data, its model and optimizer, and where it is."""

    def __init__(self, config: RunConfig, folder: Path, *, device: str, resume: bool, reporter: Reporter):
        self.config, self.folder = config, folder
        self.settings: TrainingConfig = config.training
        going_on = check_folder(config, folder, resume=resume)

        self.description: DataDescription = config.data.describe()
        self.data: dict[str, SequenceDataset] = {
            "train": config.data.load("train", self.description),
            "valid": config.data.load("valid", self.description),
        }
        self.accelerator = Accelerator(cpu=pick_device(device) == "cpu")
        self.reporter = reporter if self.accelerator.is_main_process else Reporter(quiet=True)
        seed_everything(config.seed, "weights")
        self.model = config.build_model(self.description.spec).float()  # as the data, whatever torch's default is
        self.model.backend = "reference" if self.settings.backend == "reference" else "fast"
        if self.settings.backend == "graph":
            here = self.accelerator
            check_capturable(self.model, config.bound, device=here.device, processes=here.num_processes)
        self.rows_at_once = self.settings.batch_size * config.bound.particles
        self.model.to(self.accelerator.device)
        adam = make_optimizer(self.model, self.settings)
        self.progress = Progress(learning_rate=self.settings.learning_rate)
        self.carry = self._make_carry()
        if going_on:
            checkpoint = current(folder / "checkpoints" / "last")
            check_same_data(checkpoint, self.description)
            self.progress = Progress.from_json(load_training(checkpoint, self.model, adam))
            self._restore_carry(checkpoint)
        module = BoundModule(self.model, config.bound, word_dropout=self.settings.word_dropout)
        self.module, self.optimizer = self.accelerator.prepare(module, adam)
        self.update = self._make_update(adam)
        self.metrics, self.timing = Rows(folder / "metrics.jsonl"), Rows(folder / "timing.jsonl")
        self.stop_requested = False  # by a signal to this process
        self.stopping = False  # by a signal to any process, as all of them know
        self.accelerator.wait_for_everyone()  # all have looked at the folder before one writes into it

    def train(self) -> Progress:
        """All epochs that are left."""
        at = self.progress
        self.started = time.perf_counter() - at.seconds
        if at.finished and not self._more_was_asked_for():
            self.reporter.say(f"{self.folder}: finished already ({at.finished}); nothing left to do")
            return at
        at.finished = ""
        if self.accelerator.is_main_process:
            self._open_folder()
        self.accelerator.wait_for_everyone()
        with self.reporter, self._signals(), cpu_threads(self.model, self.settings.threads, rows=self.rows_at_once):
            self.first_step, self.first_time = at.step, time.perf_counter()
            skipped = sum(split.skipped for split in self.data.values())
            if skipped:
                self.reporter.say(f"{skipped} files of the training and validation splits were left out as unreadable")
            for split, data in self.data.items():
                if data.remark:
                    self.reporter.say(f"{split} split: {data.remark}")
            self.reporter.start(total=self._steps_at_most(), done=at.step)
            if at.rows == 0:
                self._save("last")  # so that a run can go on from anywhere, from its first validation too
                self._validate()
                self._save("last")
            while not at.finished:
                self._epoch()
        if at.best == -math.inf:
            raise Diverged(
                f"no validation of {self.folder} was finite: look at the data's scale (data.normalize), or start again "
                "with a lower training.learning_rate or a model.min_std above 0"
            )
        self.reporter.say(
            f"finished: {at.finished}; best validation {at.best:.3f} nats per sequence after epoch {at.best_epoch}, "
            f"{at.step} updates, {duration(at.seconds)}"
            + (f", {at.nonfinite} updates skipped as not finite" if at.nonfinite else "")
        )
        return at

    def _epoch(self) -> None:
        """The rest of the epoch that the run is in, its validation, and what follows from that."""
        at, settings = self.progress, self.settings
        plan = self._plan(at.epoch)
        self.module.train()
        for update in self._updates(plan[at.batch :]):
            self._update(*update)
            at.step, at.batch = at.step + 1, at.batch + 1
            if at.step % settings.log_every == 0:
                self._log_row()
            at_end = at.batch == len(plan)
            if self.stopping:
                self._save("last")
                raise Interrupted
            if self._out_of_budget():
                break
            due = settings.checkpoint_every and at.step % settings.checkpoint_every == 0
            if due and not at_end and not at.nonfinite_in_a_row:
                self._save("last")
        if at.batch == len(plan):
            at.epoch, at.batch = at.epoch + 1, 0
            if self.carry is not None:
                self.carry.keep([], None)
        self._validate()
        at.finished = self._reason_to_stop()
        if at.finished or not at.nonfinite_in_a_row:  # else `last` stays the last good one
            self._save("last")

    def _plan(self, epoch: int) -> list[Any]:
        """An epoch's batches: of sequences' numbers, or of pieces of sequences."""
        if self.carry is not None:
            return self.carry.plan(seed=self.config.seed, epoch=epoch)
        lengths = self.data["train"].lengths
        return training_batches(lengths, self.settings.batch_size, seed=self.config.seed, epoch=epoch)

    def _updates(self, plan: list[Any]) -> Iterator[tuple[SequenceBatch, float, list[Any], GoingOn | None]]:
        """What `_update` takes, for each batch of a plan."""
        if self.carry is None:
            for indices, (batch, share) in zip(plan, self._batches("train", plan), strict=True):
                yield batch, share, indices, None
        else:
            for pieces, batch, going_on in self.carry.batches(plan, self.accelerator.device, epoch=self.progress.epoch):
                yield batch, 1.0, pieces, going_on

    def _make_carry(self) -> Carry | None:
        settings = self.settings
        if settings.truncated_bptt_steps is None:
            return None
        if self.accelerator.num_processes > 1:
            raise UserError(
                "training.truncated_bptt_steps trains in one process: a state stays with its row of the batch"
            )
        return Carry(
            self.data["train"],
            self.model,
            batch_size=settings.batch_size,
            steps=settings.truncated_bptt_steps,
            look_ahead=settings.look_ahead,
        )

    def _restore_carry(self, checkpoint: Path) -> None:
        if self.carry is not None:
            try:
                self.carry.restore(load_carried(checkpoint), self.accelerator.device)
            except (KeyError, ValueError) as error:
                raise UserError(
                    f"{checkpoint / 'training.safetensors'} holds no state of this model: {error}"
                ) from None

    def _make_update(self, adam: torch.optim.Adam) -> EagerUpdate | GraphUpdate:
        limit, precision = self.settings.max_grad_norm, self.settings.precision
        if self.settings.backend != "graph":
            return EagerUpdate(
                self.module,
                self.optimizer,
                max_grad_norm=limit,
                precision=precision,
                accelerator=self.accelerator,
                sums=self._over_processes,
            )
        return GraphUpdate(
            self.module,
            adam,
            max_grad_norm=limit,
            precision=precision,
            sums=self._over_processes,
            longest=int(self.data["train"].lengths.max()) - self.description.spec.conditions_on_first,
            say=self.reporter.say,
        )

    def _update(self, batch: SequenceBatch, share: float, indices: list[Any], going_on: GoingOn | None) -> None:
        """One step of Adam on one batch, unless its loss or gradient is not finite.

        indices: the sequences in it, or their pieces, which go on from `going_on`.
        """
        at = self.progress
        seed_everything(self.config.seed, "step", at.step, self.accelerator.process_index)
        weights = self.config.weights.at(at.step)
        if going_on is not None and isinstance(self.update, EagerUpdate):
            updated = self.update(batch, weights, learning_rate=at.learning_rate, share=share, going_on=going_on)
        else:
            updated = self.update(batch, weights, learning_rate=at.learning_rate, share=share)
        if self.carry is not None:
            self.carry.keep(indices, updated.result.state if updated.applied else None)
            indices = [piece.index for piece in indices]
        if not updated.applied:
            self._skip(updated.loss, updated.gradient_norm, indices)
            return
        at.nonfinite_in_a_row = 0
        for name, value in (updated.sums | {"gradient_norm": updated.gradient_norm, "updates": 1.0}).items():
            at.since_row[name] = at.since_row.get(name, 0.0) + value
        self._show(updated.sums)

    def _skip(self, loss: float, norm: float, indices: list[int]) -> None:
        at = self.progress
        at.nonfinite += 1
        at.nonfinite_in_a_row += 1
        what = "loss" if not math.isfinite(loss) else "gradient"
        self._write({"event": "nonfinite", "what": what, "loss": loss, "gradient_norm": norm, "sequences": indices})
        self.reporter.say(
            f"the {what} is not finite at step {at.step} (epoch {at.epoch + 1}, batch {at.batch}, sequences "
            f"{', '.join(map(str, indices[:8]))}{', ...' if len(indices) > 8 else ''}): update skipped"
        )
        if at.nonfinite_in_a_row >= self.settings.max_nonfinite:
            raise Diverged(
                f"{at.nonfinite_in_a_row} updates in a row without a finite loss and gradient, the last at step "
                f"{at.step}; the last good checkpoint is {self.folder / 'checkpoints' / 'last'}. "
                "Start again with a lower training.learning_rate or training.max_grad_norm, or look at the sequences "
                "named above"
            )

    def _validate(self) -> None:
        """The bound on the validation split, with the same noise each time; keeps the best model."""
        at, settings = self.progress, self.settings
        self.module.eval()
        seed_everything(self.config.seed, "validation", self.accelerator.process_index)
        sums: dict[str, float] = {}
        plan = evaluation_batches(self.data["valid"].lengths, settings.evaluation_batch_size)
        with torch.no_grad():
            for batch, share in self._batches("valid", plan):
                with autocast(self.accelerator.device, settings.precision):
                    result = self._measured(batch)
                for name, value in self._over_processes(result, share).items():
                    sums[name] = sums.get(name, 0.0) + value
        value, kl = (sums[name] / sums["sequences"] for name in ("value", "kl"))
        factor = 1.0
        if at.step and not value >= at.previous:  # NaN is worse too
            factor *= settings.learning_rate_factor
        if at.batch == 0 and at.epoch >= settings.learning_rate_decay_from:  # a true end of an epoch, no limit's
            factor *= settings.learning_rate_decay
        at.learning_rate = min(at.learning_rate, max(at.learning_rate * factor, settings.min_learning_rate))
        at.previous = value if math.isfinite(value) else -math.inf
        is_best = value > at.best
        if is_best:
            at.best, at.best_epoch, at.validations_without_best = value, at.epoch, 0
        else:
            at.validations_without_best += 1
        self._write(
            {
                "event": "validation",
                "nats_per_sequence": value,
                "kl_per_sequence": kl,
                "kind": result.kind,
                "best": is_best,
                "learning_rate": at.learning_rate,
            }
        )
        if is_best:
            self._save("best")
        star = " *" if is_best else ""
        kl_text = f"  kl {kl:.2f}" if self.model.latent_size else ""
        self.reporter.say(
            f"epoch {at.epoch:3d}  step {at.step:6d}  validation {value:.3f} nats per sequence ({result.kind})"
            f"{kl_text}  learning rate {at.learning_rate:.2g}  {duration(self._seconds())}{star}"
        )

    def _measured(self, batch: SequenceBatch) -> BoundResult:
        """The bound on whole sequences, in chunks where training takes them so."""
        if self.carry is None:
            result: BoundResult = self.module(batch, Weights())
            return result
        return ChunkedELBO(self.carry.steps)(self.model, batch)

    def _out_of_budget(self) -> str:
        """Which budget within an epoch is spent, if one is."""
        at, settings = self.progress, self.settings
        if settings.max_steps is not None and at.step >= settings.max_steps:
            return f"max_steps {settings.max_steps}"
        if settings.max_minutes is not None and self._seconds() >= 60 * settings.max_minutes:
            return f"max_minutes {settings.max_minutes:g}"
        return ""

    def _reason_to_stop(self) -> str:
        at, settings = self.progress, self.settings
        spent = self._out_of_budget()
        if spent:
            return spent
        if at.epoch >= settings.epochs:
            return f"epochs {settings.epochs}"
        if settings.patience is not None and at.validations_without_best >= settings.patience:
            return f"no better validation in {settings.patience}"
        return ""

    def _more_was_asked_for(self) -> bool:
        """Whether a finished run's limits were raised."""
        return not self._reason_to_stop()

    # Batches and processes.

    def _batches(
        self, split: Literal["train", "valid"], plan: list[list[int]]
    ) -> Iterator[tuple[SequenceBatch, float]]:
        """This process's part of each batch, and the weight that makes mean-over-part * weight average to the batch's
        mean. A process with nothing left takes one sequence with weight 0, so that all take the same steps.
        """
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        parts = [batch[rank::world] for batch in plan]
        own = [part or batch[:1] for part, batch in zip(parts, plan, strict=True)]
        data = self.data[split].at_epoch(self.progress.epoch) if split == "train" else self.data[split]
        batches = load_batches(data, own, self.description.spec)
        for whole, part, batch in zip(plan, parts, batches, strict=True):
            yield batch.to(self.accelerator.device), len(part) * world / len(whole)

    def _over_processes(self, result: BoundResult, share: float) -> dict[str, float]:
        """Sums over a batch's sequences, of all processes, in float64."""
        own = summed(result) if share else torch.zeros_like(summed(result))
        own = torch.cat([own, own.new_tensor([float(self.stop_requested)])])
        total: Tensor = self.accelerator.reduce(own, "sum")
        *sums, stops = total.tolist()
        self.stopping = stops > 0  # a signal to one process stops all of them, at the same update
        return dict(zip(SUMS, sums, strict=True))

    # What is written and said.

    def _write(self, row: dict[str, Any]) -> None:
        at = self.progress
        if self.accelerator.is_main_process:
            event = row.pop("event")
            epoch = at.epoch if event == "validation" else at.epoch + 1  # epochs completed, or the one at work
            self.metrics.append({"event": event, "epoch": epoch, "step": at.step} | row)
            self.timing.append({"step": at.step, "seconds": round(self._seconds(), 3)})
        at.rows += 1

    def _log_row(self) -> None:
        """Means over the updates since the last row."""
        at = self.progress
        sums, at.since_row = at.since_row, {}
        if not sums:
            return
        n, weights = sums["sequences"], self.config.weights.at(at.step - 1)  # of the last update
        of = "sequence" if self.carry is None else "chunk"
        self._write(
            {
                "event": "training",
                f"nats_per_{of}": sums["value"] / n,
                f"kl_per_{of}": sums["kl"] / n,
                "loss": sums["loss"] / n,
                "gradient_norm": sums["gradient_norm"] / sums["updates"],
                "learning_rate": at.learning_rate,
                "kl_weight": weights.kl,
                "auxiliary_weight": weights.auxiliary,
                "backward_weight": weights.backward,
            }
        )

    def _show(self, sums: dict[str, float]) -> None:
        at = self.progress
        rate = (at.step + 1 - self.first_step) / (time.perf_counter() - self.first_time)
        self.reporter.update(
            step=at.step + 1,
            epoch=at.epoch,
            log_likelihood=sums["value"] / sums["sequences"],
            kl=sums["kl"] / sums["sequences"],
            rate=rate,
            seconds_left=(self._steps_at_most() - at.step) / rate,
        )

    def _steps_at_most(self) -> int:
        in_epochs = self.settings.epochs * self._batches_per_epoch
        return in_epochs if self.settings.max_steps is None else min(in_epochs, self.settings.max_steps)

    @cached_property
    def _batches_per_epoch(self) -> int:
        """Of the first epoch; of chunks it may differ a little from epoch to epoch."""
        return len(self._plan(0))

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _save(self, which: Literal["best", "last"]) -> None:
        self.progress.seconds = self._seconds()
        if self.accelerator.is_main_process:
            with Writing(self.folder / "checkpoints" / which) as folder:
                save_model(folder, self.model, self.description)
                settings = {"settings": self.config.to_dict()}
                carried = {} if self.carry is None else self.carry.tensors()
                save_training(folder, self.optimizer, self.progress.to_json() | settings, carried)
        self.accelerator.wait_for_everyone()

    def _open_folder(self) -> None:
        """What a run folder holds besides checkpoints; rows from after the checkpoint are dropped."""
        for rows in (self.metrics, self.timing):
            rows.truncate(self.progress.step, self.progress.rows)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "config.yaml", self.config.to_yaml())
        if self.progress.rows == 0:
            with cpu_threads(self.model, self.settings.threads, rows=self.rows_at_once):
                write_text(self.folder / "environment.json", environment(self.accelerator.device))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or termination signal ends the update, saves and stops; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(number: int, frame: FrameType | None) -> None:
            if self.stop_requested:
                raise KeyboardInterrupt
            self.stop_requested = True
            self.reporter.say("stopping after this update (once more: at once, without saving) ...")

        before = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def seed_everything(seed: int, *purpose: int | str) -> None:
    """Seed torch's generators for one purpose: the same seed and purpose give the same noise, others independent."""
    words = [seed, *(int.from_bytes(p.encode(), "big") if isinstance(p, str) else p for p in purpose)]
    torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))
