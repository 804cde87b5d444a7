"""The settings of training."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from ..bounds.base import Bound
from ..errors import UserError
from ..models import DensityModel
from ..settings import Count, Factor, NotNegative, Positive, Probability, Range, plain, problems_of
from .players.player import Player
from .schedules import Schedule, WeightSchedules

NUMBERS_OF_A_ROW = {"value", "loss", "log_px", "gradient_norm", "sequences", "updates", "stop"}
THREADS = Annotated[int, Range(at_least=1, at_most=1024)]  # torch accepts more and then fails


@dataclass(frozen=True)
class TrainingConfig:
    """The optimizer and the loop."""

    epochs: Count = 100
    """passes over the training split, at most"""
    max_steps: Count | None = None
    """updates, at most; null: as many as the epochs have"""
    max_minutes: Positive | None = None
    """minutes of training, at most, over all its sessions; null: no limit. How far that is depends on the machine"""
    max_cpu_minutes: Positive | None = None
    """minutes that the CPUs may spend on training, at most, over all its threads, processes and sessions; null: no
    limit. On a busy machine the clock runs on and these don't"""
    batch_size: Count = 32
    """sequences at a time, over all processes"""
    accumulate: Count = 1
    """batches per update, one after the other: an update of batch_size times accumulate sequences in the memory of one
    batch"""
    evaluation_batch_size: Count = 256
    """sequences at a time where nothing is learned"""
    learning_rate: Positive = 1e-3
    """Adam's"""
    beta1: Probability = 0.9
    """Adam's decay of the gradient's mean"""
    beta2: Probability = 0.999
    """Adam's decay of the squared gradient's mean"""
    eps: Positive = 1e-8
    """Adam's constant under the square root"""
    max_grad_norm: Positive | None = 100.0
    """the gradient is scaled down to this norm; null: never"""
    learning_rate_factor: Factor = 0.5
    """the learning rate is multiplied by this whenever validation is worse than the time before; 1: never"""
    learning_rate_decay: Factor = 1.0
    """the learning rate is multiplied by this after every epoch from learning_rate_decay_from on; 1: never"""
    learning_rate_decay_from: Count = 1
    """the first epoch, counted from 1, after which it is"""
    min_learning_rate: NotNegative = 1e-4
    """neither takes the learning rate below this"""
    patience: Count | None = 10
    """stop after this many validations without a new best; null: never"""
    truncated_bptt_steps: Count | None = None
    """sequences are taken in chunks of so many time steps, the state carried from each to the next and no gradient;
    null: whole sequences. Training then leaves each chunk's first step out of Z-Forcing's cost backward, unless
    sequences are conditioned on their first observation"""
    look_ahead: Annotated[int, Range(at_least=0)] = 0
    """time steps behind such a chunk that a backward network reads too"""
    word_dropout: Probability = 0.0
    """in training, each word is read as the unknown word with this probability where a model reads its own past, and
    is still predicted (text; Bowman et al. 2016, whose keep rate is 1 minus this)"""
    log_every: Count = 50
    """updates between rows of metrics.jsonl"""
    checkpoint_every: Count | None = 500
    """updates between checkpoints within an epoch (there is one after every epoch too); null: none"""
    track: Literal["none", "tensorboard", "wandb"] = "none"
    """where a run also sends its metrics: none; tensorboard writes into the run folder; wandb to Weights & Biases"""
    max_nonfinite: Count = 10
    """stop after this many updates in a row whose loss or gradient is not finite; they are skipped"""
    threads: THREADS | None = None
    """CPU threads; null: 1 where a time step is little work, torch's own choice where it is much (zforcing.threads)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: products of an update by autocast; log-densities and sums stay in float32 and float64, weights and what
    is measured (validation, `evaluate`) in float32"""
    backend: Literal["reference", "fast", "graph"] = "fast"
    """how an update runs: reference walks the model's contract step by step, fast is derived from it and gives the same
    numbers, graph (one CUDA device) also captures the whole update in CUDA graphs, one for each padded length and size
    of a batch"""

    def __post_init__(self) -> None:
        problems = problems_of(self, "training")
        if not problems and self.look_ahead and self.truncated_bptt_steps is None:
            problems.append(f"training.look_ahead is {self.look_ahead}; it needs training.truncated_bptt_steps")
        if not problems and self.truncated_bptt_steps is not None and self.backend == "graph":
            problems.append(
                "training.backend graph can't carry a state from update to update: set training.backend to fast"
            )
        if not problems and self.accumulate > 1 and self.backend == "graph":
            problems.append(
                "training.backend graph captures an update of one batch: set training.backend to fast, "
                "or training.accumulate to 1"
            )
        if not problems and self.accumulate > 1 and self.truncated_bptt_steps is not None:
            problems.append("training.accumulate needs whole sequences: with truncated_bptt_steps it must be 1")
        if problems:
            raise UserError("; ".join(problems))


def training_config(settings: Mapping[str, Any]) -> TrainingConfig:
    """Make a `TrainingConfig` of settings by name. Raises UserError, one line with every problem."""
    known = [field.name for field in fields(TrainingConfig)]
    unknown = []
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            unknown.append(f"unknown setting {name}" + (f" (did you mean {near[0]}?)" if near else ""))
    if unknown:
        raise UserError(f"{'; '.join(unknown)}: it is one of {', '.join(known)}")
    if settings.get("track", "none") != "none":
        raise UserError("track is a setting of runs, which have a folder: give fit callbacks=[Tracker(...)] instead")
    return TrainingConfig(**{name: plain(value) for name, value in settings.items()})


def check_together(
    model: type[DensityModel],
    bound: Bound,
    weights: WeightSchedules,
    settings: TrainingConfig,
    player: Player | None = None,
) -> None:
    """Raise UserError where a bound or a player can't be trained with this model, these weights or these settings."""
    if player is not None:
        _check_player(player, model, settings)
    if not bound.trains:
        raise UserError(f"bound {_name(bound)} measures models that were trained by another")
    bound.check_model(model)
    model.check_costs(name for name, schedule in weights.costs.items() if schedule != Schedule(0.0))
    if taken := sorted(NUMBERS_OF_A_ROW & set(weights.costs)):
        raise UserError(f"weights.{taken[0]}: rows of metrics have another number called {taken[0]}; rename the cost")
    if bound.requires_kl_weight_1 and weights.kl != Schedule():
        raise UserError(f"bound {_name(bound)} with these settings needs weights.kl 1, from the first step to the last")
    if settings.truncated_bptt_steps is not None and not bound.carries_state:
        raise UserError(
            f"training.truncated_bptt_steps needs bound elbo, whose terms add up over time; not {_name(bound)}"
        )


def _check_player(player: Player, model: type[DensityModel], settings: TrainingConfig) -> None:
    """Raise UserError where a player can't train with this model or these settings."""
    player.check_model(model)
    if settings.truncated_bptt_steps is not None:
        raise UserError(f"player {player.name} plays on whole sequences: leave out training.truncated_bptt_steps")
    if settings.backend == "graph":
        raise UserError(f"player {player.name} can't be captured in a CUDA graph: set training.backend to fast")


def _name(bound: Bound) -> str:
    return getattr(bound, "name", type(bound).__name__)
