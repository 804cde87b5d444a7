"""`zforcing continue` of a model without time: the rest of each observation, given its first numbers."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.dataset import InMemory
from ..errors import UserError
from ..observations import Drawn, Example
from ..runtime.threads import threads_asked_for
from ..training.runs.trained import Trained

OF_TIME = {"steps": None, "seconds": None, "temperature": 1.0, "top_p": 1.0}


def completions(trained: Trained, whole: list[Example], options: Namespace) -> Drawn:
    """`--num` completions of each observation, copy after copy; a step is a number, so that pictures show them."""
    from ..tasks.impute import impute

    refuse_time(trained.model.name, options)
    kept = kept_numbers(whole, options.given)
    x = np.stack([example.x for example in whole])  # [B, 1, D]
    size = x.shape[2]
    observed = np.arange(size)[None] < kept
    spec = replace(trained.description.spec, missing=True)
    beginnings = InMemory([Example(image, observed) for image in x])
    with threads_asked_for(options.threads):
        found = impute(
            trained.model,
            beginnings.described_as(replace(trained.description, spec=spec)),
            num_samples=options.num,
            particles=options.num,
            seed=options.seed,
        )
    drawn = np.stack(found.samples, axis=1).reshape(-1, size, 1)  # [num B, D, 1]
    before = [Example(image[:kept]) for image in drawn]
    sources = [Example(example.x.reshape(-1, 1)[: known_numbers(example)]) for example in whole]
    return Drawn(drawn[:, kept:], np.zeros((len(drawn), 1, 0), np.float32), before=before, sources=sources)


def known_numbers(example: Example) -> int:
    """How many numbers of an observation are there: all, or its beginning."""
    return example.x.size if example.observed is None else int(example.observed.sum())


def kept_numbers(whole: Sequence[Example], given: float | None) -> int:
    """How many numbers are kept of each observation: `given`, a share of all if below 1, or all that are there.

    Raises UserError where that leaves nothing to draw, or isn't there.
    """
    size, known = whole[0].x.size, {known_numbers(example) for example in whole}
    if given is None and len(known) > 1:
        raise UserError(f"beginnings of {min(known)} to {max(known)} numbers: say by --given how much is kept of each")
    if given is None and min(known) == size:
        raise UserError("an observation is whole: say by --given how much of it is kept, such as --given 0.5")
    kept = min(known) if given is None else int(given * size) if given < 1 else int(given)
    if not 1 <= kept < size or kept > min(known) or (given is not None and given > 1 and kept != given):
        raise UserError(f"--given is {given}; it must keep 1 to {min(size - 1, *known)} of {size} numbers, or a share")
    return kept


def refuse_time(name: str, options: Namespace) -> None:
    """Raise UserError about options that a model without time doesn't have."""
    given = [option for option, default in OF_TIME.items() if getattr(options, option) != default]
    if given:
        raise UserError(f"model {name} has no time steps: leave out --{given[0].replace('_', '-')}")
