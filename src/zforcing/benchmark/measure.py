"""The measurements at one size: updates and floor, their memory, loading of data, sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..bounds import ELBO, Weights
from ..data.batches import load_batches, training_batches
from ..models import MODELS, SequenceModel, of_sequences
from ..models.explain import why_it_walks
from ..runtime.threads import RecurrentNetwork, cpu_threads, recurrent_networks, threads_asked_for
from ..tasks.sample import sample
from ..training.graph import GraphUpdate, check_capturable
from ..training.settings import TrainingConfig
from ..training.update import BoundModule, EagerUpdate, autocast, make_optimizer
from .floor import Floor
from .memory import peak_bytes
from .sizes import Size
from .timing import Ratio, Timing, in_turn

Backend = Literal["fast", "graph", "reference"]
Task = Callable[[], object]
COST_WEIGHT = 0.005  # of each of a model's extra terms
REFERENCE_EVERY = 3  # the reference backend runs in every third repeat: it is slow
BATCHES = 16  # loaded when loading is timed
SAMPLES = 64  # sequences drawn together
SAMPLING_REPEATS = 3


@dataclass(frozen=True)
class Protocol:
    """How to measure."""

    model: str = "zforcing"
    backend: Backend = "fast"
    repeats: int = 9
    threads: int | None = None  # None: by the rule of `zforcing.runtime.threads`
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    seed: int = 0

    @property
    def runs(self) -> int:
        """How often `measure` calls `done`, at most: for a progress bar."""
        return 4 * (self.repeats + 1)


@dataclass(frozen=True)
class Result:
    """The measurements at one size.

    Attributes:
        size: The size.
        settings: The model's settings.
        defaults: Their defaults.
        parameters: The number of parameters.
        threads: CPU threads of torch.
        networks: The model's recurrent networks.
        times: Seconds by name: `update` and `reference` (forward, backward, optimizer), `floor` (forward, backward),
            and `shorter`, the update with `size.grows_from` steps, if the size has that.
        peaks: Peak bytes of tensors, by the same names, without the reference.
        loading: Seconds to load one batch, without a model.
        sampling: Seconds to draw 64 sequences of `size.steps` steps, in float32.
        walks: Why the update runs step by step, if it does: the model's operation that can't be planned.
    """

    size: Size
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    parameters: int
    threads: int
    networks: tuple[RecurrentNetwork, ...]
    times: Mapping[str, Timing]
    peaks: Mapping[str, int]
    loading: Timing
    sampling: Timing
    walks: str | None = None

    def ratio(self, over: str, under: str) -> Ratio:
        """The ratio of two of the times."""
        return Ratio.between(self.times[over], self.times[under])

    def time_steps(self, name: str) -> int:
        """The number of time steps, summed over the sequences, in one of the times."""
        steps = self.size.grows_from if name == "shorter" else self.size.steps
        return self.size.sequences * (steps or self.size.steps)


def measure(size: Size, settings: Any, protocol: Protocol, *, done: Callable[[], None] = lambda: None) -> Result:
    """Run all measurements at one size. Torch's global generator and number of threads are restored.

    Args:
        size: The size of data and model.
        settings: The model's `Config`.
        protocol: How to measure.
        done: Called after each timed run.

    Returns:
        The measurements.

    Raises:
        UserError: The model can't have these settings, has no recurrent network, or can't be captured in a CUDA graph.
    """
    bench = Bench(size, settings, protocol)
    with (
        torch.random.fork_rng(),
        threads_asked_for(protocol.threads),
        cpu_threads(bench.model(), rows=size.sequences),
    ):
        return bench.run(done)


@dataclass(frozen=True)
class Bench:
    """The benchmark of one model at one size."""

    size: Size
    settings: Any
    protocol: Protocol

    def run(self, done: Callable[[], None]) -> Result:
        """Run all measurements, in the order of the module's first line."""
        model, protocol = self.model(), self.protocol
        names = ["floor", "update", "reference", *(["shorter"] if self.size.grows_from else [])]
        tasks = {name: self.task(name) for name in names}
        every = {"reference": REFERENCE_EVERY}
        times = in_turn(tasks, repeats=protocol.repeats, device=self.device, every=every, done=done)
        del tasks
        return Result(
            size=self.size,
            settings=vars(self.settings),
            defaults=vars(type(self.settings)()),
            parameters=sum(p.numel() for p in model.parameters()),
            threads=torch.get_num_threads(),
            networks=tuple(recurrent_networks(model)),
            times=times,
            peaks={name: self.peak(name) for name in names if name != "reference"},
            loading=self.loading(),
            sampling=self.sampling(model),
            walks=why_it_walks(model),
        )

    @property
    def device(self) -> torch.device:
        """The device that everything runs on."""
        return torch.device(self.protocol.device)

    def model(self) -> SequenceModel:
        """Make a new model from the seed."""
        torch.manual_seed(self.protocol.seed)
        model = of_sequences(MODELS[self.protocol.model](self.size.spec, self.settings), needed_by="the benchmark")
        return model.float().to(self.device)

    def task(self, name: str) -> Task:
        """Make the function that is timed under this name."""
        if name == "floor":
            return self.floor()
        backend = "reference" if name == "reference" else self.protocol.backend
        return self.update(backend, self.size.grows_from if name == "shorter" else None)

    def update(self, backend: Backend, steps: int | None = None) -> Task:
        """Make a function that does a training update, always with the same batch."""
        model = self.model()
        model.train()
        model.backend = "reference" if backend == "reference" else "fast"
        settings, bound = TrainingConfig(), ELBO()
        batch = self.size.batch(seed=self.protocol.seed, steps=steps).to(self.device)
        parts = (BoundModule(model, bound), make_optimizer(model, settings))
        limit, precision = settings.max_grad_norm, self.protocol.precision
        update: EagerUpdate | GraphUpdate
        if backend == "graph":
            check_capturable(model, bound, device=self.device, processes=1)
            update = GraphUpdate(*parts, max_grad_norm=limit, precision=precision, longest=batch.x.shape[1])
        else:
            update = EagerUpdate(*parts, max_grad_norm=limit, precision=precision)
        weights = Weights(costs=dict.fromkeys(model.cost_names, COST_WEIGHT))
        return lambda: update(batch, weights, learning_rate=settings.learning_rate)

    def floor(self) -> Task:
        """Make a function that runs the model's recurrent networks by torch's kernels."""
        networks = recurrent_networks(self.model())
        floor = Floor(networks, sequences=self.size.sequences, steps=self.size.steps).on(self.device)
        return lambda: floor.run(autocast(self.device, self.protocol.precision))

    def peak(self, name: str) -> int:
        """Peak bytes of tensors in two updates, with weights and optimizer; later updates need no more."""

        def twice() -> None:
            task = self.task(name)
            task()
            task()

        return peak_bytes(twice, self.device)

    def loading(self) -> Timing:
        """Time loading one batch, over an epoch loaded as in training."""
        spec, sequences = self.size.spec, self.size.sequences
        data = self.size.data(BATCHES * sequences, seed=self.protocol.seed)

        def epoch() -> None:
            plan = training_batches(data.lengths, sequences, seed=self.protocol.seed, epoch=0)
            for batch in load_batches(data, plan, spec):
                batch.to(self.device)

        timing = in_turn({"epoch": epoch}, repeats=self.protocol.repeats, device=self.device)["epoch"]
        return Timing({repeat: seconds / BATCHES for repeat, seconds in timing.seconds.items()})

    def sampling(self, model: SequenceModel) -> Timing:
        """Time drawing sequences, step by step."""
        model.eval()
        draws = {"draw": lambda: sample(model, SAMPLES, steps=self.size.steps, seed=self.protocol.seed)}
        return in_turn(draws, repeats=min(self.protocol.repeats, SAMPLING_REPEATS), device=self.device)["draw"]
