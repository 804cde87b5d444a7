"""A run that a page is about: its model, and some of its sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data import InMemory
from ..data.splits import Split
from ..errors import UserError
from ..models import DensityModel
from ..observations import DataDescription
from ..training.runs.trained import Trained
from .blocks import Line


@dataclass(frozen=True)
class Budget:
    """What a page may compute of each run. sequences: of the split; steps: of each, the first ones; seed: of draws."""

    sequences: int = 64
    steps: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """A run on a page.

    name:  what the page calls it
    data:  the first sequences of the split, cut to the budget's steps; None where they can't be read
    why:   why they can't be
    whole: how many sequences the split has
    cut:   how many of those that were taken are longer than the budget's steps
    """

    name: str
    trained: Trained
    split: Split
    budget: Budget
    data: InMemory | None
    why: str = ""
    whole: int = 0
    cut: int = 0

    @property
    def model(self) -> DensityModel:
        """In eval mode."""
        return self.trained.model

    @property
    def description(self) -> DataDescription:
        """Of its data."""
        return self.trained.description

    @property
    def sequences(self) -> InMemory:
        """`data`. Raises UserError where there is none."""
        if self.data is None:
            raise UserError(self.why)
        return self.data

    def first(self, num: int) -> InMemory:
        """At most so many of them."""
        return taken(self.sequences, range(min(num, len(self.sequences))))

    def inputs(self, num: int, *, steps: int) -> Tensor | None:
        """The known inputs of the first sequences, in turn, [num, steps, U]; None where the model reads none."""
        if not self.description.spec.inputs:
            return None
        first = self.description.spec.unscored_steps
        known = [example.inputs[first:] for example in self.sequences.examples if example.inputs is not None]
        long_enough = [u for u in known if len(u) >= steps]
        if not long_enough:
            raise UserError(f"the model reads known inputs, and no sequence has {steps} steps of them")
        chosen = [torch.from_numpy(long_enough[i % len(long_enough)][:steps]) for i in range(num)]
        return torch.stack(chosen).to(self.trained.device)

    def name_of(self, index: int) -> str:
        """What a sequence is called: its name in the data, or where it is in the split."""
        own = self.sequences.ids[index]
        return f"{self.split}:{index}" if own == index else f"{self.split}:{index}, {own}"

    @property
    def measured_on(self) -> str:
        """Of what the page has computed its numbers."""
        cut = f", {self.cut} of them cut to {self.budget.steps} steps" if self.cut else ""
        number = len(self.sequences)
        which = "all" if number == self.whole else f"the first {number} of"
        return f"{which} {self.whole} sequences of the {self.split} split{cut}; seed {self.budget.seed}"


def open_subject(
    run: str, *, name: str, split: Split, budget: Budget, which: str = "best", device: torch.device | str = "cpu"
) -> Subject:
    """Load a run's model, and as many sequences as the budget allows. Raises UserError where there is no model."""
    trained = Trained.load(run, which=which, device=device)
    trained.model.eval()
    try:
        data = trained.data.load(split, trained.description)
        count = min(budget.sequences, len(data))
        examples = [data[i] for i in range(count)]
    except (UserError, OSError) as error:  # OSError: of a data set of one's own
        return Subject(name, trained, split, budget, None, f"the run's data can't be read: {error}")
    ids = list(getattr(data, "ids", range(len(data))))[:count]
    kept = InMemory([example.cut(0, budget.steps) for example in examples], ids).described_as(trained.description)
    cut = sum(len(example.x) > budget.steps for example in examples)
    return Subject(name, trained, split, budget, kept, whole=len(data), cut=cut)


def taken(data: InMemory, indices: Any) -> InMemory:
    """Some of the sequences."""
    chosen = list(indices)
    found = InMemory([data.examples[i] for i in chosen], [data.ids[i] for i in chosen])
    found.description = data.description
    return found


def attempt(make: Callable[[], list[Any]]) -> list[Any]:
    """What is made, or the one line on why it can't be."""
    try:
        return make()
    except UserError as error:
        return [Line(str(error))]
