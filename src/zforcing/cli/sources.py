"""The sequences that a command reads: some of the run's own data, a file, or text itself."""

from __future__ import annotations

import re
import sys
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..data import Split
from ..errors import UserError, shortened
from ..files.paths import user_path
from ..files.reading import Array
from ..observations import Contents, Example, contents_of
from ..training.runs.trained import Trained

NUMBERS = r"\d{1,18}(?:-\d{1,18})?"
OWN = re.compile(rf"(train|valid|test):({NUMBERS}(?:,{NUMBERS})*)", re.ASCII)
HELP = (
    "sequences of the run's data (test:0, test:0-7 or test:0,5,9), a file of its kind, or of a model of text the text "
    "itself"
)


def read_sequences(source: str, trained: Trained) -> list[Example]:
    """The sequences of `read_contents`."""
    return read_contents(source, trained).examples


def read_contents(source: str, trained: Trained) -> Contents:
    """What `source` names, see HELP. Of text the end symbol isn't read, except that of the run's own data.

    Raises UserError when there is no such sequence or file.
    """
    own = OWN.fullmatch(source)
    if own:
        return _of_split(cast(Split, own[1]), own[2].split(","), trained)
    kind = trained.description.format
    refuse_misspelt(source, sentences=kind.is_text)
    if kind.is_text and not is_path(source):
        example, unknown = kind.parse(source)
        if unknown:
            print(shortened(f"not in the vocabulary, and read as unknown: {' '.join(unknown)}"), file=sys.stderr)
        return Contents([example])
    contents = contents_of(kind, source, trained.description)
    count = kind.unknown_in(contents.examples)
    if count is not None:
        print(f"{source}: read as a file, {count} of its symbols unknown", file=sys.stderr)
    return contents


def read_sequence(source: str, trained: Trained) -> Example:
    """The one whole sequence that `source` names; a sentence has its end. Raises UserError when there are several."""
    examples = read_sequences(source, trained)
    if len(examples) > 1:
        raise UserError(f"{source} holds {len(examples)} sequences: name one, such as test:0, or a file of one")
    return trained.description.format.whole(examples[0])


def beginnings_of(examples: list[Example], steps: float | None, *, first: int) -> list[Example]:
    """The beginnings of sequences: a number of steps, or below 1 a share of them; None: all.

    first: how many steps are read but not scored; they aren't counted, and always included.

    Raises UserError when nothing is left, or there isn't as much.
    """
    if steps is None:
        return examples
    if not 0 < steps < 1 and not (steps >= 1 and steps == int(steps)):
        raise UserError(f"--given is {steps:g}; it must be a share between 0 and 1, or a whole number of steps")
    beginnings = []
    for number, example in enumerate(examples):
        most = len(example.x) - first
        keep = int(steps * most) if steps < 1 else int(steps)
        if not 1 <= keep <= most:
            raise UserError(
                f"--given {steps:g} of the {most} steps of sequence {number} is {keep}; it must be 1 to {most}"
            )
        beginnings.append(example.cut(0, first + keep))
    return beginnings


def read_inputs(source: str | None, trained: Trained) -> list[Array] | None:
    """The known inputs of the scored steps of the sequences that `source` names, [T_i, U] each; None where the model
    reads none. Raises UserError where it reads some and nothing is named, or the other way round.
    """
    spec = trained.description.spec
    if not spec.inputs:
        if source is not None:
            raise UserError(f"--inputs is {source}, but the model reads no known inputs; leave it out")
        return None
    if source is None:
        raise UserError(
            f"the model reads {spec.inputs} known inputs at every step: name sequences that have them in --inputs, a "
            f"file or test:0-7"
        )
    return [
        example.inputs[spec.unscored_steps :]
        for example in read_sequences(source, trained)
        if example.inputs is not None
    ]


def inputs_after(whole: list[Example], beginnings: list[Example]) -> list[Array]:
    """The known inputs of the steps after the beginnings of sequences, [T_i, U] each. Raises UserError without any."""
    pairs = zip(whole, beginnings, strict=True)
    following = [a.inputs[len(b.x) :] for a, b in pairs if a.inputs is not None]
    if not all(map(len, following)):
        raise UserError(
            "the model reads known inputs, and there are none for the steps after the last: set --given to how many "
            "steps to go on from, so that the inputs of the others are known"
        )
    return following


def in_turn(inputs: list[Array], num: int, *, steps: int) -> Tensor:
    """The first inputs of `num` sequences, [num, steps, U]: those of each in turn. Raises UserError for too few."""
    shortest = min(map(len, inputs))
    if shortest < steps:
        raise UserError(f"--steps is {steps}, but the known inputs end after {shortest} steps: lower it")
    return torch.from_numpy(np.stack([inputs[i % len(inputs)][:steps] for i in range(num)]))


def _of_split(split: Split, parts: list[str], trained: Trained) -> Contents:
    """The sequences of the parts, each a number or first-last, of the run's own data, which must be there."""
    try:
        sequences = trained.data.load(split, trained.description)
    except UserError as error:
        raise UserError(f"{split}:{','.join(parts)} is of the run's own data, which can't be read: {error}") from None
    chosen: list[int] = []
    for part in parts:
        first, last = (int(number) for number in (part.split("-") * 2)[:2])
        if first > last:
            raise UserError(f"{split}:{part} goes backwards; write {split}:{last}-{first}")
        if last >= len(sequences):
            raise UserError(f"{split}:{part}: the {split} split has sequences 0 to {len(sequences) - 1}")
        chosen += range(first, last + 1)
    times = sequences.time_column
    return Contents([sequences[i] for i in chosen], time_column=None if times is None else times.take(chosen))


def refuse_misspelt(source: str, *, sentences: bool) -> None:
    """Raise UserError for a source of no kind. A sentence may begin with `test:` too."""
    if not source:
        raise UserError(f"nothing is given to read; name {HELP}")
    meant = "(train|valid|test):" if sentences else r"(train|valid|test):|\w+:[\d,-]+$"
    if re.match(meant, source) and not (sentences and " " in source) and not is_file(source):
        raise UserError(f"{source[:40]}: sequences of a split are written test:0, test:0-7 or test:0,5-7")
    if sentences and any("\ud800" <= letter <= "\udfff" for letter in source) and not is_path(source):
        raise UserError(f"{source!r} is not UTF-8; give text in UTF-8, or a file of it")


def is_path(source: str) -> bool:
    """Whether it is meant as a file's name: a file is there, or it ends in .txt, or a folder is there to look in."""
    return source.endswith(".txt") or is_file(source) or (" " not in source and "/" in source and _has_folder(source))


def is_file(source: str) -> bool:
    """Whether a file of this name is there."""
    try:
        return user_path(source, source).is_file()
    except (OSError, UserError):  # too long for a file name; the home of an unknown user
        return False


def _has_folder(source: str) -> bool:
    try:
        return user_path(source, source).parent.is_dir()
    except (OSError, UserError):  # as above
        return False
