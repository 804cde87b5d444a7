"""What is measured at one size: updates in turn with the floor, their memory, loading of data, sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..bounds import ELBO, Weights
from ..data.batches import load_batches, training_batches
from ..models import MODELS, SequenceModel
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
WEIGHTS = Weights(kl=1.0, auxiliary=0.005, backward=0.005)
REFERENCE_EVERY = 3  # the reference runs in each third repeat: it is slow
BATCHES = 16  # that loading is timed over
SAMPLES = 64  # sequences drawn at once
SAMPLING_REPEATS = 3


@dataclass(frozen=True)
class Protocol:
    """How to measure. threads: None is the rule of `zforcing.threads`."""

    model: str = "zforcing"
    backend: Backend = "fast"
    repeats: int = 9
    threads: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    seed: int = 0

    @property
    def runs(self) -> int:
        """How often `measure` calls `done`, at most."""
        return 4 * (self.repeats + 1)


@dataclass(frozen=True)
class Result:
    """What was found at one size.

    settings, defaults: the model's, and what they are when nobody chooses
    times:      seconds by name: `update` and `reference` (forward, backward, optimizer), `floor` (forward, backward),
                and `shorter`, our update with `size.grows_from` steps, where the size has that
    peaks:      bytes of tensors, by the same names; not of the reference
    loading:    seconds to load one batch, without a model
    sampling:   seconds to draw 64 sequences of `size.steps`, in float32
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

    def ratio(self, over: str, under: str) -> Ratio:
        """Of two of the times."""
        return Ratio.between(self.times[over], self.times[under])

    def time_steps(self, name: str) -> int:
        """Of one of the times: steps of one sequence, over all sequences."""
        steps = self.size.grows_from if name == "shorter" else self.size.steps
        return self.size.sequences * (steps or self.size.steps)


def measure(size: Size, settings: Any, protocol: Protocol, *, done: Callable[[], None] = lambda: None) -> Result:
    """All of it at one size. settings: the model's `Config`.

    `done` is called after each timed run. Torch's global generator and its number of threads are left as they were.
    Raises UserError when the model can't have these settings, has no floor, or can't be captured in a graph.
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
    """One size, one model, one protocol."""

    size: Size
    settings: Any
    protocol: Protocol

    def run(self, done: Callable[[], None]) -> Result:
        """Everything, in the order of the module's first line."""
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
        )

    @property
    def device(self) -> torch.device:
        """Where everything runs."""
        return torch.device(self.protocol.device)

    def model(self) -> SequenceModel:
        """The model, new, from the seed."""
        torch.manual_seed(self.protocol.seed)
        return MODELS[self.protocol.model](self.size.spec, self.settings).float().to(self.device)

    def task(self, name: str) -> Task:
        """What is timed under this name."""
        if name == "floor":
            return self.floor()
        backend = "reference" if name == "reference" else self.protocol.backend
        return self.update(backend, self.size.grows_from if name == "shorter" else None)

    def update(self, backend: Backend, steps: int | None = None) -> Task:
        """What training does with a batch, always the same one."""
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
        return lambda: update(batch, WEIGHTS, learning_rate=settings.learning_rate)

    def floor(self) -> Task:
        """The model's recurrent networks as torch's own."""
        networks = recurrent_networks(self.model())
        floor = Floor(networks, sequences=self.size.sequences, steps=self.size.steps).on(self.device)
        return lambda: floor.run(autocast(self.device, self.protocol.precision))

    def peak(self, name: str) -> int:
        """Bytes of tensors, weights and optimizer included: the second update has all that any later one has."""

        def twice() -> None:
            task = self.task(name)
            task()
            task()

        return peak_bytes(twice, self.device)

    def loading(self) -> Timing:
        """One epoch of batches, as the training loop loads them."""
        spec, sequences = self.size.spec, self.size.sequences
        data = self.size.data(BATCHES * sequences, seed=self.protocol.seed)

        def epoch() -> None:
            plan = training_batches(data.lengths, sequences, seed=self.protocol.seed, epoch=0)
            for batch in load_batches(data, plan, spec):
                batch.to(self.device)

        taken = in_turn({"epoch": epoch}, repeats=self.protocol.repeats, device=self.device)["epoch"]
        return Timing({repeat: seconds / BATCHES for repeat, seconds in taken.seconds.items()})

    def sampling(self, model: SequenceModel) -> Timing:
        """Drawing sequences, step by step."""
        model.eval()
        draws = {"draw": lambda: sample(model, SAMPLES, steps=self.size.steps, seed=self.protocol.seed)}
        return in_turn(draws, repeats=min(self.protocol.repeats, SAMPLING_REPEATS), device=self.device)["draw"]
