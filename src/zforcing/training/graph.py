"""An update captured in a CUDA graph."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..bounds.base import Bound, BoundResult, Weights
from ..data.batches import bucket, pad_steps
from ..errors import UserError
from ..models import DensityModel
from ..observations import SequenceBatch
from .update import EagerUpdate, Part, Precision, Sums, Updated, mapped, sums_of

WARM_UPS = 3  # before a capture, as in torch's notes on CUDA graphs
Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""capture(work) may do the work a few times, and returns what does it again, on the same memory."""


class CudaCapture:
    """Captures work on the GPU as a CUDA graph, which does it again at one launch. Nothing in it may wait for the GPU.

    Before, the work is done a few times on a side stream (torch's notes on CUDA graphs, "whole-network capture"), so
    that what libraries set up at their first call is no part of the graph. All graphs draw on one pool of memory: none
    runs while another does, and their results are copied at once.
    """

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """A function that replays the work."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # Adam's: here it isn't captured yet
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            work()
        return graph.replay


class _Graph:
    """The update of one shape of batch: the memory it reads its batch from, and the results of its last run."""

    replay: Callable[[], None]
    result: BoundResult
    gradient_norm: Tensor

    def __init__(self, batch: SequenceBatch):
        self.kind, self.memory = type(batch), {name: value.clone() for name, value in batch.tensors.items()}

    @property
    def batch(self) -> SequenceBatch:
        """The batch that the graph's memory holds."""
        return self.kind(**self.memory)

    def read(self, batch: SequenceBatch) -> None:
        """Copy another batch of this shape into the graph's memory."""
        for name, value in batch.tensors.items():
            self.memory[name].copy_(value)


class GraphUpdate:
    """The same update, captured in a CUDA graph for each shape of batch and replayed: one launch instead of thousands.

    A batch is padded on the right to the next of a few lengths (`zforcing.data.batches.bucket`), and a model ignores
    padding by contract; so there is a graph for each such length and number of sequences, an epoch's last, smaller
    batches among them. A graph's memory stands still: batch, weights, learning rate and share are copied into it before
    a replay, the result out of it after. Whether an update is skipped is decided on the GPU.

    Latents and dropped words are drawn by the sequences' seeds, and so the same as without a graph; dropout of units by
    torch's generator as it was seeded before the replay, for the padded batch.

    module, optimizer, max_grad_norm, precision, sums: as for `EagerUpdate`, in one process. The optimizer must be fused
        (`make_optimizer`) and is this object's own from here on: its learning rate becomes a tensor
    longest: no sequence of the data has more steps; None: unknown
    capture: what captures; a `CudaCapture` by default
    say:     called with a line about each capture, which takes seconds
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Adam,
        *,
        max_grad_norm: float | None,
        precision: Precision = "float32",
        sums: Sums = sums_of,
        longest: int | None = None,
        capture: Capture | None = None,
        say: Callable[[str], None] = lambda line: None,
    ):
        assert all(group["fused"] for group in optimizer.param_groups), "only fused Adam can skip an update on the GPU"
        self.eager = EagerUpdate(module, optimizer, max_grad_norm=max_grad_norm, precision=precision, sums=sums)
        self.optimizer, self.longest, self.say = optimizer, longest, say
        self.capture: Capture = CudaCapture() if capture is None else capture
        self.graphs: dict[tuple[object, ...], _Graph] = {}
        device = next(module.parameters()).device

        def number(dtype: torch.dtype) -> Tensor:
            return torch.zeros((), dtype=dtype, device=device)

        self.weights: dict[str, Tensor] = defaultdict(partial(number, torch.float64))  # by the terms' names
        self.share = number(torch.float64)
        self.learning_rate = number(torch.float32)  # the type that fused Adam reads on a GPU
        self.capturing = number(torch.bool)
        self.skip = number(torch.float32)  # 1: Adam changes nothing
        optimizer.found_inf = self.skip  # type: ignore[attr-defined]  # how torch's GradScaler tells a fused optimizer
        for group in optimizer.param_groups:
            group["lr"], group["capturable"] = self.learning_rate, True

    def over(self, parts: Sequence[Part], weights: Weights, *, learning_rate: float) -> Updated:
        """As `EagerUpdate.over`, for one batch of whole sequences: the settings refuse others."""
        ((batch, share, carried),) = parts
        assert carried is None, "a graph's memory carries no state"
        return self(batch, weights, learning_rate=learning_rate, share=share)

    def __call__(
        self, batch: SequenceBatch, weights: Weights, *, learning_rate: float, share: float | Tensor = 1.0
    ) -> Updated:
        """As an `EagerUpdate` of the padded batch."""
        padded = pad_steps(batch, bucket(batch.x.shape[1], most=self.longest))
        shapes = ((name, value.shape, value.dtype) for name, value in padded.tensors.items())
        key = (self.eager.module.training, *weights.by_name, *shapes)
        for name, weight in weights.by_name.items():
            self.weights[name].fill_(weight)
        if key not in self.graphs:
            self.say(f"capturing the update of {len(padded)} sequences of up to {padded.x.shape[1]} steps ...")
            costs = {name: self.weights[name] for name in weights.costs}
            self.graphs[key] = self._captured(padded, Weights(self.weights["kl"], costs=costs))
        graph = self.graphs[key]
        graph.read(padded)
        self.share.fill_(share)
        self.learning_rate.fill_(learning_rate)
        graph.replay()
        result = mapped(torch.clone, graph.result)  # the next replay writes where this one did
        norm, skipped = torch.stack([graph.gradient_norm.double(), self.skip.double()]).tolist()
        return Updated((result,), self.eager.sums(result, share), norm, not skipped)

    def _captured(self, batch: SequenceBatch, weights: Weights) -> _Graph:
        """A graph for batches of this shape; parameters, moments and generators stay as they are.

        weights: tensors, which a bound multiplies by and a replay reads anew.
        """
        graph = _Graph(batch)

        def work() -> None:
            (result,), norm = self.eager.gradient([Part(graph.batch, self.share)], weights)
            finite = result.loss.sum().isfinite() & norm.isfinite()
            self.skip.copy_(self.capturing | ~finite)
            self.optimizer.step()
            graph.result, graph.gradient_norm = result, norm

        devices = [batch.x.device] if batch.x.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            self.capturing.fill_(True)
            graph.replay = self.capture(work)
            self.capturing.fill_(False)
        return graph


def check_capturable(model: DensityModel, bound: Bound, *, device: torch.device, processes: int) -> None:
    """Raise UserError where no update can be captured; the message says what to use instead."""
    problem = ""
    if device.type != "cuda":
        problem = f"needs a CUDA device; this run is on {device.type}"
    elif processes > 1:
        problem = f"trains in one process; there are {processes}"
    elif not model.capturable:
        problem = f"can't capture model {model.name}, which reads results on the host as it goes"
    elif not bound.capturable:
        problem = (
            f"can't capture bound {type(bound).__name__} with these settings, which decides on the host as it goes"
        )
    if problem:
        raise UserError(f"training.backend graph {problem}: use training.backend fast")
