"""`fit`: train a model on data in memory, without writing files.

history = fit(model, train, valid, epochs=20, learning_rate=3e-3)
history.best.nats, history.stopped
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from ..bounds import ELBO, Bound
from ..data import SequenceDataset
from ..data.dataset import check_dataset, description_for
from ..errors import UserError
from ..models import DensityModel, SequenceModel
from ..runtime.threads import cpu_threads
from ..settings import Seed, must_be, must_fit
from .callbacks import Callback, KeepBest, KeepRows
from .history import History
from .loop import HINT, Diverged, Training, prepare, run
from .parallel import processes
from .players.player import Player
from .progress import Progress
from .reporter import Reporter
from .schedules import WeightSchedules
from .settings import TrainingConfig, check_together, training_config
from .signals import stop_on


def fit(
    model: DensityModel,
    train: SequenceDataset,
    valid: SequenceDataset | None = None,
    *,
    bound: Bound = ELBO(),
    weights: WeightSchedules = WeightSchedules(),
    player: Player | None = None,
    seed: int = 0,
    callbacks: Iterable[Callback] = (),
    device: str = "auto",
    progress: bool = True,
    **settings: Any,
) -> History:
    """Train a model. Afterwards it has the weights that validated best and no gradients, and is in eval mode.

    Ctrl-C (the stop button of a notebook) ends training after the current update, with the best weights so far.
    Torch's global generator is left unchanged; the same seed, data and machine give the same weights again.

    Args:
        model: trained in place, and moved to the device. A model without a description gets that of `train`; the data
            is normalized by the model's description.
        train: training data, such as `Sequences`.
        valid: validation data, which selects the best weights and stops training when the bound stops improving
            (`patience`). Without it, training uses its whole budget and keeps the last weights.
        bound: the bound on log p(x) to maximize, in nats per sequence.
        weights: weights of the loss's terms, as schedules over updates.
        player: what trains beside the bound, such as `Professor()`; its network is forgotten afterwards.
        seed: seed of the order of batches and of all noise.
        callbacks: called as training runs, see `Callback`.
        device: "auto", "cpu" or "cuda".
        progress: whether to show progress on stderr, with a bar on a terminal and in a notebook.
        **settings: fields of `TrainingConfig`: epochs, max_minutes, batch_size, learning_rate, patience and so on.
            Without `log_every`, training rows are those of every 50 updates, or of each epoch that has fewer; without
            `backend`, the model's own is taken.

    Returns:
        The history: training and validation rows, the best validation, why training ended.

    Raises:
        UserError: a setting is unknown or doesn't go with the others.
        Diverged: too many losses or gradients in a row were not finite, or all validations. The model has its best
            weights so far.

    Example:
        >>> import zforcing as zf
        >>> data = zf.Sequences([[[1.0], [2.0], [4.0]], [[3.0], [1.0]]], names=["speed"])
        >>> model = zf.RNN.for_data(data, hidden_size=4)
        >>> history = zf.fit(model, data, data, epochs=2, learning_rate=3e-3, progress=False)
        >>> history.stopped, history.best.kind
        ('epochs 2', 'exact')
    """
    hooks = _check_arguments(model, train, valid, bound=bound, weights=weights, seed=seed, callbacks=callbacks)
    config = _config_for(model, settings)
    if player is not None:
        must_be(player, Player, "player", "a player, such as Professor()")
    check_together(type(model), bound, weights, config, player)
    keep, rows, here = KeepBest(), KeepRows(), processes(device)
    reporter = Reporter(quiet=not (progress and here.is_main))
    at = Progress(learning_rate=config.learning_rate)
    with (
        torch.random.fork_rng(),  # leaves the caller's generator unchanged
        reporter,
        stop_on([signal.SIGINT], say=reporter.say) as stop,
        cpu_threads(model, config.threads, rows=config.batch_size * bound.particles),
        _own_backend(model),
    ):
        with _undescribed_if_refused(model):
            train, valid = _as_the_model_reads(model, train, valid)
            training = prepare(
                model,
                train,
                valid,
                bound=bound,
                weights=weights,
                settings=config,
                seed=seed,
                here=here,
                stop=stop,
                say=reporter.say,
                player=player,
            )
        if "log_every" not in settings:
            training = _with_a_row_each_epoch(training)
        try:
            at = run(training, at, [keep, rows, reporter, *hooks])
        except Diverged as error:
            raise Diverged(f"{error}; the model has its best weights so far. {HINT}") from None
        finally:
            keep.restore(model)
            model.eval()
            model.zero_grad()
    if valid is not None and not math.isfinite(at.best):
        raise Diverged("no validation was finite: look at the data's scale, or try a lower learning_rate")
    return History(tuple(rows.rows), at.finished, at.step, at.seconds)


def _as_the_model_reads(
    model: DensityModel, train: SequenceDataset, valid: SequenceDataset | None
) -> tuple[SequenceDataset, SequenceDataset | None]:
    """The data by the model's description, which is that of `train` where it had none."""
    description = model.description or description_for(model.spec, train)
    if description is None:
        return train, valid
    read = train.described_as(description), None if valid is None else valid.described_as(description)
    model.description = description
    return read


@contextmanager
def _undescribed_if_refused(model: DensityModel) -> Iterator[None]:
    """A model whose training is refused within the block keeps nothing of the data's."""
    before = model.description, model.starts
    try:
        yield
    except UserError:
        model.description, model.starts = before
        raise


@contextmanager
def _own_backend(model: DensityModel) -> Iterator[None]:
    """A model that is trained within the block by one backend has its own again afterwards."""
    if not isinstance(model, SequenceModel):
        yield
        return
    before = model.backend
    try:
        yield
    finally:
        model.backend = before


def _config_for(model: DensityModel, settings: Mapping[str, Any]) -> TrainingConfig:
    """The settings, where none chooses a backend with the model's own."""
    own = {"backend": model.backend} if isinstance(model, SequenceModel) else {}
    return training_config({**own, **settings})


def _with_a_row_each_epoch(training: Training) -> Training:
    """Small data has few updates, and gets one training row an epoch at least."""
    settings, updates = training.settings, len(training.feed.plan(0))
    return replace(training, settings=replace(settings, log_every=min(settings.log_every, updates)))


def _check_arguments(
    model: object, train: object, valid: object, *, bound: object, weights: object, seed: object, callbacks: object
) -> list[Callback]:
    """Refuse what isn't a model, data and so on, in one line; the callbacks as a list."""
    _check_model(model)
    check_dataset(train, "train")
    if valid is not None:
        check_dataset(valid, "valid")
    must_be(bound, Bound, "bound", "a bound, such as ELBO() or IWAE(64)")
    must_be(weights, WeightSchedules, "weights", "WeightSchedules, such as WeightSchedules(kl=Schedule(0.5))")
    must_fit(seed, Seed, "seed")
    return _check_callbacks(callbacks)


def _check_model(model: object) -> None:
    """Refuse what can't be trained."""
    must_be(model, DensityModel, "model", "a model, such as ZForcing.for_data(train)")
    assert isinstance(model, DensityModel)
    parameters = list(model.parameters())
    odd = {p.dtype for p in parameters} - {torch.float32, torch.float64}
    if odd:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in odd))
        raise UserError(
            f"the model's parameters are {found}; train model.float(), with precision='bfloat16' if you like"
        )
    if not any(p.requires_grad for p in parameters):
        raise UserError("no parameter of the model requires a gradient; model.requires_grad_(True) lets all be trained")


def _check_callbacks(callbacks: object) -> list[Callback]:
    """Them, as a list. Refuses what is no callback."""
    must_be(callbacks, Iterable, "callbacks", "a list of callbacks")
    assert isinstance(callbacks, Iterable)
    hooks = list(callbacks)
    for hook in hooks:
        must_be(hook, Callback, "a callback", "an instance of a class derived from Callback")
    return hooks
