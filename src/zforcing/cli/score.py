"""`zforcing score`."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from ..data import SequenceDataset
from ..errors import ResultWarning, UserError
from ..files.archives import open_npz
from ..files.json_text import json_text
from ..files.reading import Array, listed
from ..files.rows import Layout
from ..files.sequences import ARRAYS, TABLES, column_names, find, read
from ..runtime.device import pick_device
from ..runtime.threads import threads_asked_for
from ..settings import Count, Share
from ..tasks.scores import Scores, Threshold
from ..text_table import Table
from ..training.runs.trained import Trained
from .options import (
    check_common,
    checkpoint_option,
    command_parser,
    common_options,
    counting,
    print_values,
    proposal_option,
    sequences_options,
)
from .out import check_out, out_option
from .score_summary import score_summary
from .sequences import out_file, sequences_of, source_of
from .sources import OWN

SCORED = "the scored data itself"


def score(argv: Sequence[str]) -> int:
    """Score every step of a file or of a split, in nats: zforcing score RUN [FILE_OR_FOLDER] [--out FILE]."""
    options = score_options(argv)
    trained = Trained.load(options.run, which=options.checkpoint, device=pick_device(options.device))
    data = sequences_of(source_of(options), trained)
    scores = scored(trained, data, options)
    if scores.remark:
        print(scores.remark, file=sys.stderr)
    threshold = None if options.threshold_from is None else threshold_of(trained, options)
    alarms = {} if threshold is None else {"alarm": np.concatenate(scores.is_alarm(threshold)).astype(np.int64)}
    values = summary(scores, threshold, alarms) | {"run": str(trained.folder), "checkpoint": options.checkpoint}
    if options.labels is not None:
        values["detection"] = detected(trained, data, scores, options)
    named = [scores.kind, *(["mixture"] if scores.proposal == "mixture" else [])]
    values["file"] = str(scores.save(out_file(options, trained, "scores", *named), **alarms))
    of = options.file or f"the {options.split or 'test'} split"
    show(values, score_summary(scores, threshold, alarms=values.get("alarms", 0), of=of), options)
    return 0


def score_options(argv: Sequence[str]) -> Namespace:
    """The command's options; what is imported is there."""
    parser = command_parser("score", score)
    sequences_options(parser)
    kind = "causal: each step by the steps before it (a particle filter); smoothed: by the posterior (the ELBO's terms)"
    parser.add_argument("--kind", type=Literal["causal", "smoothed"], default="causal", help=kind)
    parser.add_argument("--particles", type=Count, default=64, help="K; 1 without latents")
    proposal_option(parser, default="prior")
    out_option(parser, writes="a row for each step", suffixes=".csv or .npz", folder="scores")
    clean = "what is as usual: a file, or train, valid or test; a step below the threshold of its scores is an alarm"
    parser.add_argument("--threshold-from", type=str | None, default=None, help=clean)
    rate = "share of the usual steps that may be alarms"
    parser.add_argument("--false-alarms", type=Share | None, default=None, help=f"{rate}; 0.001 by default")
    labels = "0 or 1 (or true and false) of each step: a column of FILE, or a file; gives AUROC and average precision"
    parser.add_argument("--labels", type=str | None, default=None, help=labels)
    checkpoint_option(parser)
    rows = "sequences times particles at a time; 2048 by default, 256 of smoothed scores"
    parser.add_argument("--batch-size", type=Count | None, default=None, help=rows)
    parser.add_argument("--all", action="store_true", help="print every number, as --json does")
    common_options(parser, seed="seed of the particles")
    options = parser.parse_args(list(argv))
    if options.false_alarms is not None and options.threshold_from is None:
        raise UserError("--false-alarms needs --threshold-from, which names what is as usual")
    check_common(options)
    check_out(options, "scores")
    return options


def scored(trained: Trained, data: SequenceDataset, options: Namespace) -> Scores:
    """The scores that the options want."""
    from ..tasks.score import score as score_all

    with (
        threads_asked_for(options.threads),
        counting(f"scores of {options.run}", len(data)) as advance,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResultWarning)  # its remark is printed
        return score_all(
            trained.model,
            data,
            kind=options.kind,
            particles=options.particles,
            seed=options.seed,
            proposal=options.proposal,
            max_rows=options.batch_size,
            progress=advance,
        )


def threshold_of(trained: Trained, options: Namespace) -> Threshold:
    """That of the scores of what is as usual."""
    usual = scored(trained, sequences_of(options.threshold_from, trained), options)
    if usual.remark:
        print(f"--threshold-from {options.threshold_from}: {usual.remark}", file=sys.stderr)
    return usual.threshold(options.false_alarms or 0.001)


def detected(trained: Trained, data: SequenceDataset, scores: Scores, options: Namespace) -> dict[str, Any]:
    """AUROC and average precision of the model and the baselines, by name, and what these were fitted to."""
    from ..evaluation.detection import detection

    fitted_to, clean = usual_of(trained, options)
    labels = labels_of(trained, options)
    try:
        table = detection(scores, labels, data=data, clean=clean, seed=options.seed)
    except UserError as error:
        raise UserError(f"--labels {options.labels}: {error}") from None
    measured = {row.name: {"auroc": row.auroc, "average_precision": row.average_precision} for row in table.rows}
    return {"steps": table.steps, "anomalous": table.anomalous, "fitted_to": fitted_to, "of": measured}


def usual_of(trained: Trained, options: Namespace) -> tuple[str, SequenceDataset | None]:
    """What the baselines are fitted to, after its name: --threshold-from, else the run's training split if it can be
    read, else what is scored (None).
    """
    if options.threshold_from is not None:
        return options.threshold_from, sequences_of(options.threshold_from, trained)
    try:
        return "train", sequences_of("train", trained)
    except UserError:
        return SCORED, None


def labels_of(trained: Trained, options: Namespace) -> Array:
    """A label for each step: of a file, or of a column of the scored one."""
    source, description = options.labels, trained.description
    if Path(source).suffix.lower() in (*ARRAYS, *TABLES):
        file = find(source, "--labels")
        naming = getattr(description.format, "sequence", None)
        there = column_names(file, source) if file.suffix.lower() in TABLES else []
        _check_array(file, source)
        layout = Layout(array="labels", sequence=naming if naming in there else None, text=True)
        rows = read(source, layout, setting="--labels")
        if rows.values.shape[1] != 1:
            raise UserError(f"--labels {source}: has {rows.values.shape[1]} columns; it must have one, of 0 and 1")
        return rows.truths()
    if options.file is None or OWN.fullmatch(options.file) or Path(options.file).expanduser().is_dir():
        raise UserError(
            f"--labels is {source!r}: a folder or a split has no such column; name a file with a label for each step"
        )
    try:
        return description.format.column(options.file, source, description)
    except UserError as error:
        raise UserError(f"--labels {source}: {error}") from None


def _check_array(file: Path, source: str) -> None:
    """Raise UserError where an .npz file has no labels."""
    if file.suffix.lower() == ".npz":
        with open_npz(file, f"--labels {source}") as archive:
            if "labels" not in archive.files:
                raise UserError(f"--labels {source}: has no array 'labels'; it has {listed(archive.files)}")


def summary(scores: Scores, threshold: Threshold | None, alarms: dict[str, Array]) -> dict[str, Any]:
    """What is said of the scores."""
    values: dict[str, Any] = {
        "model": scores.model,
        "kind": scores.kind,
        "relation": scores.relation,
        "reads": scores.reads,
        "particles": scores.particles,
        "proposal": scores.proposal,
        "seed": scores.seed,
        "unit": f"nats of a {scores.unit}",
        "num_sequences": len(scores),
        "num_steps": scores.steps_scored,
        "effective_particles": None if np.isnan(scores.effective_particles) else scores.effective_particles,
        "nats_per_step": scores.nats_per_step,
        "nats_per_sequence": scores.nats_per_sequence,
        "standard_error": scores.standard_error,
    }
    if threshold is not None:
        values |= {
            "threshold": threshold.nats,
            "false_alarm_rate": threshold.false_alarm_rate,
            "threshold_steps": threshold.steps,
            "alarms": int(alarms["alarm"].sum()),
        }
    return values


def show(values: dict[str, Any], short: Sequence[str], options: Namespace) -> None:
    """The values or, in short, lines that say what is worth knowing; and detection as a table."""
    if options.json:
        print(json_text(values))
        return
    detection = values.pop("detection", None)
    if options.all:
        print_values(values)
    else:
        print("\n".join([*short, f"each step: {values['file']} (all numbers: --json, --all)"]))
    if detection is not None:
        rows = [
            [name, f"{row['auroc']:.4f}", f"{row['average_precision']:.4f}"] for name, row in detection["of"].items()
        ]
        print(f"baselines fitted to: {detection['fitted_to']}")
        title = f"{detection['anomalous']} of {detection['steps']} steps are anomalous"
        Console().print(Table(title, ["scores", "AUROC", "average precision"], rows).to_terminal(), crop=False)
