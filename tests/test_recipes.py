"""Recipes: each one is a run, bases lie under what begins with them, and the published numbers are those printed."""

from __future__ import annotations

import pickle
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from conftest import Command
from zforcing import UserError
from zforcing.evaluation.paper import read_paper_table
from zforcing.models import MODELS
from zforcing.observations import MusicFormat
from zforcing.training.reporter import Reporter
from zforcing.training.runs.config import RunConfig, parse_config
from zforcing.training.runs.folder import read_run_config
from zforcing.training.runs.recipes import GROUPS, LARGEST, Facts, merge_settings, read_facts, read_recipe, recipes
from zforcing.training.runs.run import train

# row: TIMIT, Blizzard; nats as in the paper's table of speech results, and table 1 of SRNN's paper for SRNN's variants
PUBLISHED: dict[str, tuple[float | None, float | None]] = {
    "rnn-gauss": (-1900, 3539),
    "rnn-gmm": (26643, 7413),
    "vrnn-i-gauss": (28340, 8933),
    "vrnn-gauss": (28805, 9223),
    "vrnn-gmm": (28982, 9107),
    "srnn": (60550, 11991),
    "srnn-smooth": (59269, 10991),
    "srnn-filt-res": (52126, 10572),
    "srnn-filt": (50524, 10846),
    "zforcing": (68132, 14435),
    "zforcing-kla": (68903, 14226),
    "zforcing-aux": (69530, 15430),
    "zforcing-kla-aux": (70469, 15024),
    "rnn-ar": (None, None),
    "zforcing-kla-ar": (None, None),
    "zforcing-kla-aux-ar": (None, None),
}
PRINTED = [
    (f"{size}-{row}", value, unit)
    for row, values in PUBLISHED.items()
    for size, value, unit in zip(
        ("timit", "blizzard"), values, ("nats per utterance", "nats per half second"), strict=True
    )
]
WITH_NUMBER = [(recipe, value, unit) for recipe, value, unit in PRINTED if value is not None]
SPEECH = [name for name in recipes() if name.split("-")[0] in ("speech", "timit", "blizzard")]
TINY = {
    "rnn": ("hidden_size", "embedding_size"),
    "vrnn": ("hidden_size", "latent_size", "feature_size", "mlp_size"),
    "srnn": ("hidden_size", "latent_size", "embedding_size", "mlp_size"),
    "zforcing": ("hidden_size", "latent_size", "embedding_size", "mlp_size"),
}


@pytest.fixture(autouse=True)
def float32() -> None:
    torch.set_default_dtype(torch.float32)


def config(name: str) -> RunConfig:
    return parse_config(read_recipe(name), where=name)


def tiny(name: str) -> dict[str, dict[str, Any]]:
    """The recipe's settings with a model of 4 units wherever it has a size."""
    model = read_recipe(name)["model"]
    small = dict.fromkeys(TINY[model["name"]], 4)
    optional = {"components": 2, "autoregressive_size": 4, "mlp_layers": 1, "feature_layers": 1}
    small |= {setting: size for setting, size in optional.items() if setting in model}
    return {"data": {"frame_size": 10}, "model": small, "training": {"max_steps": 2}}


def options(sections: dict[str, dict[str, Any]]) -> list[object]:
    return [w for name, section in sections.items() for k, v in section.items() for w in (f"--{name}.{k}", v)]


def sound(file: Path, samples: int, *, rate: int = 8000, form: str = "WAV") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(file.name.encode()))
    wave = 3000 * np.sin(np.arange(samples) / 5 + rng.normal()) + 300 * rng.standard_normal(samples)
    soundfile.write(file, wave.astype(np.int16), rate, "PCM_16", format=form)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    for n in range(12):
        sound(root / f"{n}.wav", 60 + 10 * n)
    return root


@pytest.fixture(scope="module")
def timit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("timit")
    for split in ("TRAIN", "TEST"):
        for n in range(4):
            for utterance in ("SA1", "SI1027", "SX127"):
                sound(root / split / f"DR{1 + n % 2}" / f"M{n}" / f"{utterance}.WAV", 2100, rate=16000, form="NIST")
    return root


@pytest.fixture(scope="module")
def blizzard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blizzard")
    for n in range(6):
        sound(root / "unsegmented" / f"book{n % 2}" / f"chapter{n}.wav", 6000, rate=44100)
    return root


# ---- all recipes


def test_every_recipe_is_a_run() -> None:
    for name, about in recipes().items():
        parsed = config(name)
        assert (parsed.recipe, parsed.about) == (name, about)
        assert about


def test_a_recipe_with_a_base_reads_back_as_one_without() -> None:
    parsed = config("blizzard-zforcing-kla-aux")
    assert parse_config(yaml.safe_load(parsed.to_yaml())) == parsed


def test_recipes_are_listed_without_those_that_are_bases_alone(zf: Command) -> None:
    names = set(zf("recipes", "--json").json)
    assert not any(name.startswith("_") for name in names)
    assert {f"{size}-{row}" for size in ("speech-small", "timit", "blizzard") for row in PUBLISHED} <= names


def test_every_recipe_is_in_a_group(zf: Command) -> None:
    known = zf("recipes", "--json").json
    assert {recipe["group"] for recipe in known.values()} == set(GROUPS)
    lines = zf("recipes").out.splitlines()
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert len([line for line in lines if line.startswith("  ")]) == len(known)


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["speech"], {"timit-rnn-gmm", "speech-small-zforcing"}, {"jsb-rnn"}),
        (["your", "own"], {"table-rnn", "arrays-zforcing-aux"}, {"timit-rnn-gmm"}),
        (["z-forcing", "music"], {"jsb-zforcing"}, {"jsb-rnn", "imdb-zforcing"}),
        (["ZForcing"], {"digits-zforcing"}, {"digits-rnn"}),
        (["known likelihood"], {"lgssm-iwae"}, {"digits-rnn"}),
        (["pixel by pixel"], {"digits-rnn"}, {"jsb-rnn"}),
    ],
)
def test_recipes_are_found_by_words(words: list[str], some: set[str], none: set[str], zf: Command) -> None:
    found = set(zf("recipes", *words, "--json").json)
    assert some <= found
    assert not none & found


def test_the_speech_table_has_these_rows() -> None:
    assert list(read_paper_table("speech").rows) == list(PUBLISHED)


# ---- facts


@pytest.mark.parametrize(("recipe", "value", "unit"), WITH_NUMBER, ids=[name for name, _, _ in WITH_NUMBER])
def test_a_published_row_says_its_number_and_what_it_is(recipe: str, value: float, unit: str) -> None:
    facts = read_facts(recipe)
    assert facts.published is not None
    assert facts.published.value == value
    assert facts.published.unit == unit
    assert facts.published.kind == ("exact" if "-rnn-" in recipe else "lower bound")
    assert facts.published.protocol
    assert facts.source
    assert facts.protocol
    assert len(facts.departures) >= 1


def test_a_row_without_a_published_number_says_so() -> None:
    for size in ("timit", "blizzard"):
        facts = read_facts(f"{size}-rnn-ar")
        assert facts.published is None
        assert any("no number" in departure for departure in facts.departures)
        ours = [read_facts(f"{size}-{row}-ar") for row in ("zforcing-kla", "zforcing-kla-aux")]
        assert [(facts.published, "no paper has it" in facts.source) for facts in ours] == [(None, True)] * 2


def test_numbers_of_one_protocol_were_taken_on_the_same_frames() -> None:
    said = {row: read_facts(f"timit-{row}").published for row in PUBLISHED if not row.endswith("-ar")}
    first_scored = {row for row, number in said.items() if number and number.protocol == "all frames scored"}
    assert first_scored == {"rnn-gauss", "rnn-gmm", "vrnn-i-gauss", "vrnn-gauss", "vrnn-gmm"}


def test_settings_have_no_facts_among_them() -> None:
    assert not {"source", "published", "protocol", "departures", "base"} & set(read_recipe("timit-srnn"))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"published": {"value": 3, "kind": "bound", "unit": "nats", "protocol": "a"}}, "published.kind is 'bound'"),
        ({"published": {"value": 3}}, "published.kind is None"),
        ({"published": {"value": 3, "kind": "exact"}}, "published needs value, kind, unit and protocol"),
        ({"published": 3}, "published needs value, kind, unit and protocol"),
        ({"departures": "none"}, "departures is 'none'; it must be a list"),
    ],
)
def test_facts_that_are_none_are_refused_in_one_line(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read_facts(str(written(tmp_path / "mine.yaml", base="timit-srnn", **facts)))
    assert "\n" not in str(error.value)


# ---- bases


def written(file: Path, **values: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(values))
    return file


def test_settings_lie_over_those_of_the_base() -> None:
    under = {"seed": 1, "data": {"name": "digits", "threshold": 3}, "training": {"epochs": 5, "batch_size": 2}}
    over = {"data": {"threshold": 4}, "training": {"epochs": 6}, "model": {"name": "rnn"}}
    assert merge_settings(under, over) == {
        "seed": 1,
        "data": {"name": "digits", "threshold": 4},
        "training": {"epochs": 6, "batch_size": 2},
        "model": {"name": "rnn"},
    }
    assert under["data"] == {"name": "digits", "threshold": 3}


def test_a_section_of_another_name_replaces_the_whole() -> None:
    under = {"model": {"name": "rnn", "hidden_size": 3, "num_layers": 2}}
    over = {"model": {"name": "zforcing", "hidden_size": 4}}
    assert merge_settings(under, over) == over


def test_a_section_of_the_same_name_may_say_it_again() -> None:
    under, over = {"model": {"name": "rnn", "hidden_size": 3}}, {"model": {"name": "rnn", "num_layers": 2}}
    assert merge_settings(under, over) == {"model": {"name": "rnn", "hidden_size": 3, "num_layers": 2}}


@pytest.mark.parametrize("schedule", [{"start": 0.5}, 0.5, {"start": 0.1, "end": 0.5, "per_step": 0.2}])
@pytest.mark.parametrize("below", [{"start": 0.2, "end": 1.0, "per_step": 0.1}, 0.2])
def test_a_schedule_replaces_the_whole_schedule(schedule: Any, below: Any) -> None:
    merged = merge_settings({"weights": {"kl": below, "auxiliary": 0.1}}, {"weights": {"kl": schedule}})
    assert merged == {"weights": {"kl": schedule, "auxiliary": 0.1}}


def test_a_file_begins_with_a_recipe_of_the_package(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.yaml", base="timit-srnn", about="mine", model={"hidden_size": 7}, seed=3)
    mine, base = config(str(file)), config("timit-srnn")
    assert (mine.recipe, mine.about, mine.seed, mine.model.hidden_size) == ("mine", "mine", 3, 7)
    assert (mine.model.latent_size, mine.data, mine.weights, mine.training) == (
        256,
        base.data,
        base.weights,
        base.training,
    )
    assert read_facts(str(file)).published == read_facts("timit-srnn").published


def test_a_file_begins_with_a_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a" / "under.yaml", base="digits-rnn", training={"epochs": 3})
    over = written(tmp_path / "a" / "over.yaml", base="under.yaml", model={"hidden_size": 7})
    monkeypatch.chdir(tmp_path)
    mine = config(str(over))
    assert (mine.recipe, mine.training.epochs, mine.model.hidden_size) == ("over", 3, 7)


def test_departures_stand_behind_those_of_the_bases(tmp_path: Path) -> None:
    written(tmp_path / "a.yaml", base="digits-rnn", departures=["one", "two"])
    written(tmp_path / "b.yaml", base="digits-rnn", departures=["two", "three"])
    own = written(tmp_path / "own.yaml", base=["a.yaml", "b.yaml"], departures=["one", "four"])
    assert read_facts(str(own)).departures == ("one", "two", "three", "four")


def test_a_runs_config_can_be_a_base(tmp_path: Path) -> None:
    run = tmp_path / "config.yaml"
    run.write_text(config("digits-zforcing").to_yaml())
    mine = config(str(written(tmp_path / "mine.yaml", base="config.yaml", seed=5)))
    assert (mine.recipe, mine.seed, mine.model) == ("mine", 5, config("digits-zforcing").model)


def test_of_several_bases_each_lies_over_the_one_before(tmp_path: Path) -> None:
    written(tmp_path / "a.yaml", data={"name": "digits", "threshold": 3}, model={"name": "rnn"}, training={"epochs": 1})
    written(tmp_path / "b.yaml", data={"name": "digits", "threshold": 4}, training={"batch_size": 2}, source="b")
    own = written(tmp_path / "own.yaml", base=["a.yaml", "b.yaml"], training={"epochs": 3})
    values = read_recipe(str(own))
    assert values["data"] == {"name": "digits", "threshold": 4}
    assert values["training"] == {"epochs": 3, "batch_size": 2}
    assert values["model"] == {"name": "rnn"}
    assert values["recipe"] == "own"
    assert read_facts(str(own)).source == "b"


def circles(folder: Path) -> dict[str, Path]:
    written(folder / "a.yaml", base="b.yaml")
    written(folder / "b.yaml", base=["a.yaml"])
    return {
        "itself": written(folder / "self.yaml", base="self.yaml"),
        "each other": folder / "a.yaml",
        "by a longer way": written(folder / "way.yaml", base=f"../{folder.name}/way.yaml"),
        "by its absolute path": written(folder / "abs.yaml", base=str(folder / "abs.yaml")),
    }


@pytest.mark.parametrize("which", ["itself", "each other", "by a longer way", "by its absolute path"])
def test_a_recipe_that_is_its_own_base_is_one_line(
    which: str, tmp_path: Path, zf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = circles(tmp_path)[which]
    monkeypatch.chdir(tmp_path)
    result = zf("train", file.name, "--run-dir", "run")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"recipe {file.name} is its own base" in result.err


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("timit-srn", "unknown recipe 'timit-srn' (did you mean timit-srnn?)"),
        ("nowhere.yaml", "no such recipe file: nowhere.yaml"),
        (3, "base is 3; it must be the name of a recipe"),
        (["timit-srnn", 4], "base is 4; it must be the name of a recipe"),
        ("", "unknown recipe ''"),
    ],
)
def test_a_base_that_is_none_is_one_line(base: Any, said: str, tmp_path: Path, zf: Command) -> None:
    result = zf("train", written(tmp_path / "mine.yaml", base=base), "--run-dir", tmp_path / "run")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert said in result.err
    assert not (tmp_path / "run").exists()


def test_what_is_too_large_for_a_recipe_isnt_read(tmp_path: Path, zf: Command) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: _timit\n" + "#" * LARGEST)
    assert f"{file} is larger than 1000000 bytes: it is no recipe" in zf("train", file).mistake


def test_a_base_alone_is_no_run(tmp_path: Path, zf: Command) -> None:
    result = zf("train", "_timit", "--run-dir", tmp_path / "run")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "model.name is missing" in result.err


# ---- what they train


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.slow] if re.search("-gmm|-i-|-filt", row) else []) for row in PUBLISHED],
)
def test_a_small_recipe_trains_evaluates_and_is_heard(row: str, folder: Path, tmp_path: Path, zf: Command) -> None:
    name = f"speech-small-{row}"
    trained = zf("train", name, "--run-dir", tmp_path / "run", "--data.root", folder,
                 *options(tiny(name)), "--device", "cpu", "--json")  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.json["updates"] == 2
    values = zf("evaluate", tmp_path / "run", "--json").json
    assert values["kind"] == ("exact" if row.startswith("rnn") else "lower bound")
    assert values["first_observation"] == "conditioned"
    wav = zf("sample", tmp_path / "run", "--num", 1, "--steps", 3, "--json").json["files"][-1]
    assert soundfile.info(wav).frames == (1 + 3) * 10


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith("blizzard") and "-rnn" not in name else [])
        for name in SPEECH
        if not name.startswith("speech-small")
    ],
)
def test_a_published_recipe_trains_on_a_tree_of_its_datas_shape(
    name: str, timit: Path, blizzard: Path, tmp_path: Path
) -> None:
    small = merge_settings(read_recipe(name), tiny(name))
    root = timit if name.startswith("timit") else blizzard
    small = merge_settings(small, {"data": {"root": str(root)}, "training": {"max_steps": 2}})
    made = parse_config(small)
    assert train(made, tmp_path / "run", device="cpu", reporter=Reporter(quiet=True)).finished == "max_steps 2"
    description = made.data.describe()
    assert description.format is not None
    assert description.format.sample_rate == 16000
    assert description.spec.conditions_on_first
    whole, pieces = made.data.load("test", description), made.data.load("train", description)
    carried = made.training.truncated_bptt_steps is not None
    assert int(pieces.lengths.max()) == 1 + (160 if carried else 40)
    assert int(whole.lengths.max()) == (210 if name.startswith("timit") else 1 + 40)


def test_facts_are_empty_where_a_recipe_has_none() -> None:
    assert read_facts("digits-rnn") == Facts()


# ---- the others, on files of their kind


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The settings of each data set that reads files: a few sequences of its kind."""
    at, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    splits = ("train", "valid", "test")
    pieces = [[tuple(rng.integers(21, 109, size=3).tolist()) for _ in range(5)] for _ in range(3)]
    (at / "music.pickle").write_bytes(pickle.dumps(dict.fromkeys(splits, pieces), 2))
    rolls = {split: (rng.random((16, 9, 88)) < 0.1).astype(np.float32) for split in splits}
    before, after = ({f"u_{s}": r[:, :-1] for s, r in rolls.items()}, {f"x_{s}": r[:, 1:] for s, r in rolls.items()})
    np.savez(at / "srnn.npz", **before, **after, mask_test=np.ones((16, 8), np.float32))
    np.savez(at / "mnist.npz", **{split: rng.integers(0, 2, (2, 784)).astype(np.uint8) for split in splits})
    strokes = np.concatenate([rng.normal(size=(20, 4, 2)), rng.integers(0, 2, (20, 4, 1))], axis=-1)
    np.savez(at / "arrays.npz", x=rng.normal(size=(20, 4, 2)), strokes=strokes)
    rows = [f"{trip},{step},{rng.normal()}" for trip in range(20) for step in range(3)]
    (at / "table.csv").write_text("\n".join(["trip,a,b", *rows]))
    (at / "lines.txt").write_text("".join(f"this is line {n} of them\n" for n in range(60)))
    for n in range(3):
        sound(at / "recordings" / f"{n}.wav", 800, rate=16000)
        (at / "midi").mkdir(exist_ok=True)
        MusicFormat().write_midi(at / "midi" / f"{n}.mid", np.eye(88)[:3])
    music = {"name": "polyphonic", "path": str(at / "music.pickle")}
    return {
        "polyphonic": music,
        "chorales": music,  # reading music21's takes a minute
        "srnn-music": {"path": str(at / "srnn.npz")},
        "mnist": {"root": str(at / "mnist.npz"), "check_known": False},
        "arrays": {"path": str(at / "arrays.npz")},
        "table": {"path": str(at / "table.csv"), "sequence": "trip"},
        "text": {"root": str(at / "lines.txt")},
        "audio-folder": {"root": str(at / "recordings")},
        "midi-folder": {"path": str(at / "midi")},
    }


LIKE_OTHERS = re.compile(
    r"(muse|nottingham|piano)-.*|(jsb|chorales)-resampled-.*|mnist-(vrnn|srnn|zforcing.*|pixelrnn.*|draw.*|matnet)"
    r"|mnist-small-(srnn|zforcing-aux|pixelrnn-.*|draw-whole)|imdb-(rnn|zforcing.*)"
)
OTHERS = [name for name in recipes() if name not in SPEECH]  # what differs only in its data's file or in size is slow


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if LIKE_OTHERS.fullmatch(n) else []) for n in OTHERS]
)
def test_a_recipe_trains_two_steps(name: str, files: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    recipe = read_recipe(name)
    known = MODELS.settings_of(recipe["model"]["name"]).__dataclass_fields__
    sizes = {size: 3 for size in ("hidden_size", "latent_size", "embedding_size", "mlp_size") if size in known}
    long = recipe["data"]["name"] == "mnist"
    backend = "fast" if long else "reference"  # to trace all takes time, to walk 784 steps too
    training = {"max_steps": 2, "backend": backend}
    small = {"data": files.get(recipe["data"]["name"], {}), "model": sizes, "training": training}
    made = parse_config(merge_settings(recipe, small), where=name)
    assert train(made, tmp_path / "run", device="cpu", reporter=Reporter(quiet=True)).step == 2


def without_schedule(training: dict[str, Any]) -> dict[str, Any]:
    """Without what SRNN's authors and the tuning of Z-Forcing on music set: how long, at what rate."""
    return {k: v for k, v in training.items() if k not in ("epochs", "patience", "eps") and "learning_rate" not in k}


def without_pieces(data: dict[str, Any]) -> dict[str, Any]:
    """Without how training sequences are cut, which tests nothing else."""
    return {k: v for k, v in data.items() if k != "chunk_steps"}


@pytest.mark.parametrize(
    "data",
    [
        *("mnist", "mnist-small", "imdb", "imdb-small", "jsb-resampled", "nottingham-resampled", "chorales"),
        *("midi", "recordings", "text"),
    ],
)
def test_the_recipes_of_an_experiment_differ_in_the_model_and_its_weights_alone(data: str) -> None:
    names = [
        name for name in recipes() if re.fullmatch(re.escape(data) + "-(rnn|rnn-nade|vrnn|srnn|zforcing(-aux)?)", name)
    ]
    assert len(names) >= 3
    first = read_recipe(names[0])
    for name in names[1:]:
        other = read_recipe(name)
        assert without_pieces(other["data"]) == without_pieces(first["data"])
        assert without_schedule(other["training"]) == without_schedule(first["training"])


def test_columns_with_dots_in_their_names_are_read_back(tmp_path: Path) -> None:
    data = {
        "name": "table",
        "path": str(tmp_path / "x.csv"),
        "kind": "mixed",
        "kinds": {"temp.in": "real", "door": "binary"},
    }
    config = parse_config({"data": data, "model": {"name": "rnn"}})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert read_run_config(tmp_path) == config
