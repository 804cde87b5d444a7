"""The model card: README.md of a shared model, with what a stranger must know before using it.

The block of YAML at its beginning is what the Hugging Face Hub reads
(https://huggingface.co/docs/hub/model-cards#model-card-metadata).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from ..evaluation.evaluation import Evaluation
from ..evaluation.summary import summary, warnings
from ..models import SequenceModel
from ..observations import TextFormat
from ..observations.columns import labels_of
from ..training.runs.folder import download
from .facts import Facts, as_yaml_block
from .places import without_places

SOFTWARE = "The zforcing developers, zforcing: stochastic recurrent networks, trained, measured and used (software)"

DENSITIES = (
    "Log-densities of real numbers depend on the unit and may be positive: compare them with those of the same data in "
    "the same units alone."
)
NOT_EXACT = (
    "Its likelihood isn't known exactly: a lower bound (elbo, iwae, fivo) or an estimate (causal scores) stands for "
    "it, and says so."
)


def card(facts: Facts, *, folder: str, license_id: str, repo: str | None) -> str:
    """The card as Markdown.

    Args:
        facts: What is known of the model.
        folder: The name of the folder that it is in.
        license_id: A licence by the Hub's name for it, or "unknown".
        repo: user/name on the Hub, if it goes there.
    """
    sections = [
        f"# {facts.name}",
        facts.about,
        _what_it_is(facts),
        _section("Use it", _use(facts, folder, repo)),
        _section("What it models", _modelled(facts)),
        _section("What it was trained on", _trained_on(facts)),
        _section("How it was trained", _how(facts)),
        _section("How well it explains data", _how_well(facts)),
        _section("Limits", _bullets(_limits(facts))),
        _section("Cite", _bullets([paper for paper in (facts.model.paper, SOFTWARE) if paper])),
    ]
    top = as_yaml_block(front_matter(facts, license_id=license_id))
    return f"---\n{top}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def front_matter(facts: Facts, *, license_id: str) -> dict[str, Any]:
    """The card's metadata, by the Hub's names."""
    kind = facts.description.format
    results = [_result(facts, evaluation) for evaluation in facts.evaluations]
    metrics = dict.fromkeys(metric["type"] for result in results for metric in result["metrics"])
    measured = {"metrics": list(metrics), "model-index": [{"name": facts.name, "results": results}]} if results else {}
    tags = dict.fromkeys(("zforcing", facts.model.name, kind.name, facts.description.spec.kind, "sequence-model"))
    return {
        "license": license_id,
        "library_name": "zforcing",
        "pipeline_tag": kind.hub_task,
        "tags": list(tags),
    } | measured


def _result(facts: Facts, e: Evaluation) -> dict[str, Any]:
    """An evaluation as the Hub's `model-index` has it: every number with its kind in its name."""
    values = {"nats_per_sequence": e.nats_per_sequence, "bits_per_dim": e.bits_per_dim, "perplexity": e.perplexity}
    metrics = [
        {"type": name, "value": round(value, 6), "name": f"{name.replace('_', ' ')} ({e.how})"}
        for name, value in values.items()
        if value is not None
    ]
    dataset = {"type": e.data, "name": e.data, "split": e.split or "unnamed", "revision": e.data_fingerprint}
    return {"task": {"type": facts.description.format.hub_task}, "dataset": dataset, "metrics": metrics}


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _what_it_is(facts: Facts) -> str:
    model = facts.model
    numbers = sum(parameter.numel() for parameter in model.parameters())
    latents = f"{model.latent_size} latents a step" if model.latent_size else "no latents"
    return f"A model `{model.label}` of zforcing: {numbers} weights, {latents}."


# ---- use


def _use(facts: Facts, folder: str, repo: str | None) -> str:
    named = json.dumps(repo or folder, ensure_ascii=False)
    here = f"zf.from_pretrained({named})" if repo else f"zf.load({named})  # this folder"
    code = ["import zforcing as zf", "", f"model = {here}", *_drawing(facts)]
    return f"{_install(facts)}\n\n```python\n" + "\n".join(code) + f"\n```\n\n{_commands(facts, folder, repo)}"


def _install(facts: Facts) -> str:
    extra = facts.description.format.extra
    also = "" if extra is None else f"; to read files of its kind, `pip install 'zforcing[{extra}]'`"
    own = [thing.name for thing in (facts.model, facts.description.format) if not _is_ours(thing)]
    named = "".join(f" Import the module that registers `{name}` first (`--import` of the commands)." for name in own)
    return f"`pip install zforcing`{also}.{named}"


def _is_ours(thing: object) -> bool:
    """Whether its class comes with the package."""
    return type(thing).__module__.partition(".")[0] == "zforcing"


def _drawing(facts: Facts) -> list[str]:
    """Samples in the data's units, where a model can draw them from nothing."""
    spec, kind = facts.description.spec, facts.description.format
    if _lacks_starts(facts):
        return []
    timed = isinstance(facts.model, SequenceModel)
    steps = f", steps={kind.default_steps(facts.description)}" if timed else ""
    given = (
        f", inputs=u)  # u [4, {kind.default_steps(facts.description)}, {spec.inputs}], known" if spec.inputs else ")"
    )
    lines = [f"drawn = zf.sample(model, 4{steps}, seed=0{given}"]
    if isinstance(kind, TextFormat):
        return [*lines, "lines = [model.description.format.vocabulary.line(ids) for ids in drawn.x.tolist()]"]
    return [*lines, "x = model.description.format.to_units(drawn.x.numpy(), model.description)  # in the data's units"]


def _lacks_starts(facts: Facts) -> bool:
    """Whether samples need a first observation that isn't kept: of a run of before there were any."""
    return facts.description.spec.conditions_on_first and facts.model.starts is None


def _commands(facts: Facts, folder: str, repo: str | None) -> str:
    """The same at the command line, with files."""
    get = [] if repo is None else [download(repo, folder)]
    place = shlex.quote(folder)
    reads = ", ".join(facts.description.format.reads)
    lines = get if _lacks_starts(facts) else [*get, f"zforcing sample {place} --num 4"]
    if isinstance(facts.model, SequenceModel):
        lines += [f"zforcing continue {place} FILE", f"zforcing score {place} FILE"]
    lines += [f"zforcing evaluate {place} FILE"]
    note = f"FILE is one of your own in the data's units ({reads})." if reads else "FILE is one of your own."
    return "\n".join(f"    {line}" for line in lines) + f"\n\n{note}"


# ---- what it is of


def _modelled(facts: Facts) -> str:
    """What a step is, as config.json has it."""
    return f"```yaml\n{as_yaml_block(facts.description.brief())}\n```"


def _trained_on(facts: Facts) -> str:
    counted = list(facts.data) or ["not counted: the data wasn't there as it was when this card was written"]
    lines = [f"data `{facts.description.name}`; sequences of up to {facts.description.longest} scored steps", *counted]
    return f"{_bullets(lines)}\n\nOf that data, this folder holds:\n\n{_bullets(list(kept_of_data(facts)))}"


def kept_of_data(facts: Facts) -> Iterator[str]:
    """What of its training data a model carries with it, besides what its weights have learnt."""
    spec, kind, names = (
        facts.description.spec,
        facts.description.format,
        getattr(facts.description.format, "names", None),
    )
    yield f"the number of steps of its longest sequence, {facts.description.longest}"
    if facts.description.normalization is not None:
        yield "the mean and the standard deviation of each number"
    if facts.description.input_normalization is not None:
        yield "the mean and the standard deviation of each known input"
    if names:
        yield f"the names of its {len(names)} columns"
    if any(labels_of(column) for column in spec.columns or ()):
        yield "the names of its categories"
    if isinstance(kind, TextFormat):
        yield f"its vocabulary of {len(kind.vocabulary)} symbols"
    if facts.model.starts is not None:
        yield f"the first observations of {len(facts.model.starts)} of its sequences, with which samples begin"


def _how(facts: Facts) -> str:
    if facts.settings is None:
        return ""
    settings = f"```yaml\n{as_yaml_block(facts.settings)}\n```"
    folded = f"<details><summary>all settings</summary>\n\n{settings}\n\n</details>"
    return "\n\n".join(filter(None, [_bullets(facts.training), folded]))


# ---- how good it is


def _how_well(facts: Facts) -> str:
    if not facts.evaluations:
        return "It hasn't been evaluated: `zforcing evaluate` measures it on a file of yours."
    return "\n\n".join(_measured(facts, evaluation) for evaluation in facts.evaluations)


def _measured(facts: Facts, e: Evaluation) -> str:
    lines = [without_places(line) for line in summary(e, number=facts.description.format.number)]
    lines.append(f"{e.num_sequences} sequences, {e.num_steps} steps, {e.num_dims} numbers; {_scored(e)}")
    lines.append(f"fingerprint of what was scored: {e.data_fingerprint}; seed {e.seed}")
    return f"{lines[0]}\n\n{_bullets(lines[1:])}"


def _scored(e: Evaluation) -> str:
    first = "is read and not scored" if e.first_observation == "conditioned" else "is scored too"
    return f"the first observation {first}"


def _limits(facts: Facts) -> list[str]:
    """What its numbers and draws don't say."""
    spec, longest = facts.description.spec, facts.description.longest
    found = list(dict.fromkeys(without_places(line) for e in facts.evaluations for line in warnings(e)))
    found.append("It knows its training data alone: what is unlike it gets scores and draws that mean little.")
    found.append(f"No training sequence had more than {longest} scored steps: beyond them nothing was measured.")
    if spec.kind in ("real", "mixed"):
        found.append(DENSITIES)
    if not facts.model.is_exact:
        found.append(NOT_EXACT)
    if _lacks_starts(facts):
        found.append("It begins with a first observation, and keeps none: it goes on from sequences of yours alone.")
    if not facts.evaluations:
        found.append("How well it explains data that it wasn't trained on isn't said here.")
    return found
