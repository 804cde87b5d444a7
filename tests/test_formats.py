"""Formats: what is written is read back, and a kind of observation of one's own takes one class and one entry."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from conftest import Command
from zforcing import ZForcing, register
from zforcing.errors import UserError
from zforcing.files.pictures import write_line_grid
from zforcing.observations import (
    FORMATS,
    AudioFormat,
    DataDescription,
    Described,
    Drawn,
    Example,
    Format,
    ImageFormat,
    MusicFormat,
    Normalization,
    ObservationSpec,
    TableFormat,
    TextFormat,
    Written,
    build_vocabulary,
)
from zforcing.saving.model import load, save
from zforcing.training.runs.trained import Trained

SCALING = Normalization((10.0, -3.0), (2.0, 0.5))
SYMBOLS = build_vocabulary(["a b c", "b c"], "words", most=10, lowercase=False, tokenize=False)
DESCRIPTIONS = {
    "table": DataDescription("d", ObservationSpec("real", 2), 4, SCALING, TableFormat(("speed", "heat"), "trip")),
    "nameless table": DataDescription("d", ObservationSpec("real", 2), 4, SCALING),
    "categories": DataDescription("d", ObservationSpec("categorical", 5), 4, format=TableFormat(("state",))),
    "image": DataDescription("d", ObservationSpec("binary", 2), 4, format=ImageFormat(2, 4)),
    "audio": DataDescription("d", ObservationSpec("real", 2), 4, SCALING, AudioFormat(8000)),
    "music": DataDescription("d", ObservationSpec("binary", 88), 4, format=MusicFormat()),
    "text": DataDescription("d", ObservationSpec("categorical", len(SYMBOLS)), 4, format=TextFormat(SYMBOLS)),
}


def drawn(description: DataDescription, n: int = 3, steps: int = 4) -> Drawn:
    """What a model of that description could draw."""
    rng, spec = np.random.default_rng(0), description.spec
    latents = np.zeros((n, steps, 1))
    if spec.kind == "categorical":
        return Drawn(rng.integers(1, spec.size - 1, size=(n, steps)), latents)
    if spec.kind == "binary":
        return Drawn(rng.integers(0, 2, size=(n, steps, spec.size)).astype(np.float32), latents)
    return Drawn(rng.normal(size=(n, steps, spec.size)).astype(np.float32), latents)


@pytest.mark.parametrize("description", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_units_and_back_are_the_same(description: DataDescription) -> None:
    x = drawn(description).x
    raw = description.format.to_units(x, description)
    again = description.format.from_units(raw, description)
    np.testing.assert_allclose(again, x, atol=1e-6)
    assert again.dtype == x.dtype


@pytest.mark.parametrize("description", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_of_each_format_survives_json(description: DataDescription) -> None:
    assert DataDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("table", "csv"),
        ("table", "npz"),
        ("nameless table", "csv"),
        ("nameless table", "npz"),
        ("categories", "csv"),
        ("categories", "npz"),
        ("image", "npz"),
        ("music", "npz"),
        ("music", "mid"),
        ("text", "txt"),
    ],
)
def test_what_is_written_is_read_back(tmp_path: Path, kind: str, ending: str) -> None:
    description = DESCRIPTIONS[kind]
    made = drawn(description)
    written = description.format.write(tmp_path, "s", made, description)
    files = [file for file in written.files if file.endswith(ending)]
    found = [example for file in files for example in description.format.read(file, description)]
    assert len(found) == 3
    for example, x in zip(found, made.x, strict=True):
        steps = np.flatnonzero(x.reshape(len(x), -1).any(axis=1)) if ending == "mid" else [0]  # silence is cut off
        np.testing.assert_allclose(example.x, x[steps[0] : steps[0] + len(example.x)], atol=1e-6)


def test_recordings_are_read_back_to_half_a_sample(tmp_path: Path) -> None:
    description = replace(DESCRIPTIONS["audio"], normalization=Normalization((0.0, 0.0), (1000.0, 1000.0)))
    made = drawn(description)
    written = description.format.write(tmp_path, "s", made, description)
    for file, x in zip(written.files[1:], made.x, strict=True):
        (example,) = description.format.read(file, description)
        assert np.abs(example.x - x).max() <= 0.5 / 1000


# ---- tables


def table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def test_a_table_is_written_in_its_units_and_columns(tmp_path: Path) -> None:
    description = DESCRIPTIONS["table"]
    x = np.array([[[0.0, 0.0], [1.0, 2.0]], [[-1.0, 0.0], [0.5, 0.0]]], dtype=np.float32)
    description.format.write(tmp_path, "s", Drawn(x, np.zeros((2, 2, 0))), description)
    assert (tmp_path / "s.csv").read_text().splitlines() == [
        "trip,speed,heat",
        "0,10.0,-3.0",
        "0,12.0,-2.0",
        "1,8.0,-3.0",
        "1,11.0,-3.0",
    ]


def test_the_first_sequences_of_a_table_are_drawn_as_lines(tmp_path: Path) -> None:
    before, x = [Example(np.ones((2, 2), np.float32))] * 20, np.zeros((20, 5, 2), dtype=np.float32)
    description, pictures = DESCRIPTIONS["table"], {}
    for name, made in (("given", Drawn(x, x[..., :0], before=before)), ("drawn", Drawn(x, x[..., :0]))):
        files = description.format.write(tmp_path, name, made, description).files
        assert [Path(file).suffix for file in files] == [".npz", ".csv", ".png"]
        pictures[name] = imread(files[-1])[..., :3]
    grey = {name: (np.abs(picture - 0xE5 / 0xFF) < 0.01).all(-1).mean() for name, picture in pictures.items()}
    assert grey["given"] > 0.05 > 0.01 > grey["drawn"]  # what was given stands on grey


def test_a_long_name_is_cut_beside_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: panels.extend(figure.axes))
    write_line_grid(tmp_path / "a.png", [np.zeros((3, 1))], ["temperature_of_the_room"], given=[0])
    assert panels[0].get_ylabel() == "temperature_o..."


@pytest.mark.parametrize(
    ("n", "steps", "size", "given", "blocks"),
    [(1, 1, 1, 0, (1, 1)), (20, 3, 1, 2, (4, 3)), (20, 3, 4, 0, (4, 3)), (2, 2500, 9, 2400, (6, 2))],
)
def test_a_picture_of_lines_has_a_panel_for_each_of_the_first(
    n: int, steps: int, size: int, given: int, blocks: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: panels.extend(figure.axes))
    tables = [np.full((steps, size), np.nan)] + [np.arange(steps * size).reshape(steps, size)] * (n - 1)
    write_line_grid(tmp_path / "a.png", tables, [f"_${i}\n" * 9 for i in range(size)], given=[given] * n)
    assert len(panels) == blocks[0] * blocks[1]
    drawn = [axes.lines[0].get_xdata() for axes in panels if axes.lines]
    assert {len(at) for at in drawn} == {min(steps, 2000)}
    assert {at[-1] for at in drawn} == {steps - 1}  # of a long one the end


def test_what_was_given_stands_first_in_a_table_with_its_gaps(tmp_path: Path) -> None:
    description = replace(DESCRIPTIONS["table"], spec=ObservationSpec("real", 2, missing=True))
    before = [Example(np.zeros((1, 2), np.float32), np.array([[True, False]])), Example(np.ones((2, 2), np.float32))]
    made = Drawn(np.zeros((2, 1, 2), np.float32), np.zeros((2, 1, 0)), before=before)
    description.format.write(tmp_path, "s", made, description)
    lines = (tmp_path / "s.csv").read_text().splitlines()[1:]
    assert lines == ["0,10.0,", "0,10.0,-3.0", "1,12.0,-2.5", "1,12.0,-2.5", "1,10.0,-3.0"]
    found = description.format.read(str(tmp_path / "s.csv"), description)
    assert found[0].observed is not None
    assert found[0].observed.tolist() == [[True, False], [True, True]]


def test_columns_are_taken_by_name_wherever_they_stand(tmp_path: Path) -> None:
    description = DESCRIPTIONS["table"]
    path = table(tmp_path / "a.csv", "heat,note,trip,speed", "-3,7,a,10", "-2.5,7,b,12", "-2,7,a,14")
    first, second = description.format.read(path, description)
    assert first.x.tolist() == [[0, 0], [2, 2]]
    assert second.x.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["trip,speed", "a,1"], "has no column heat, which the model reads; it has trip, speed"),
        (["speed,heat", "1,1"], "has no column 'trip', which names the sequence of each row"),
        (["trip,speed,heat", "a,1,"], "nan at"),
        (["trip,speed,heat", "a,1,x"], "column 'heat' holds 'x', not a number"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path: Path, rows: list[str], said: str) -> None:
    description = DESCRIPTIONS["table"]
    with pytest.raises(UserError, match=said):
        description.format.read(table(tmp_path / "a.csv", *rows), description)


def test_a_conditioned_table_needs_two_steps(tmp_path: Path) -> None:
    description = replace(DESCRIPTIONS["table"], spec=ObservationSpec("real", 2, "conditioned"))
    path = table(tmp_path / "a.csv", "trip,speed,heat", "a,1,1", "b,1,1", "b,1,1")
    with pytest.raises(UserError, match=r"sequence 'a' has 1 step; the model conditions on"):
        description.format.read(path, description)


def test_a_huge_table_is_left_to_the_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zforcing.observations.formats.table.MOST_CELLS", 20)
    description = DESCRIPTIONS["table"]
    written = description.format.write(tmp_path, "s", drawn(description), description)
    assert written.files == (str(tmp_path / "s.npz"), str(tmp_path / "s.png"))
    assert written.lacking == "no .csv was written of 24 numbers; the .npz has them"


# ---- a format of one's own


@dataclass(frozen=True)
class Shouts(Format):
    """Loudness, as lines of exclamation marks."""

    name = "shouts"
    endings = ("shout",)

    mark: str = "!"

    def read(self, path: str, description: Described) -> list[Example]:
        lines = Path(path).read_text().split("\n\n")
        return [
            Example(self.from_units(np.array([[len(line)] for line in part.split()]), description)) for part in lines
        ]

    def show(self, path: Path, drawn: Drawn, description: Described) -> Written:
        def lines(x: Any) -> str:
            loudness = np.maximum(1, np.rint(self.to_units(x, description)))
            return "\n".join(self.mark * int(v) for v in loudness.reshape(-1))

        Path(f"{path}.shout").write_text("\n\n".join(map(lines, drawn.whole)))
        return Written((f"{path}.shout",))


@pytest.fixture
def shouting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of shouts, saved."""
    monkeypatch.setattr(FORMATS, "_classes", dict(FORMATS._classes))
    register(Shouts)
    torch.manual_seed(0)
    spec = ObservationSpec("real", 1)
    model = ZForcing(spec, hidden_size=4, latent_size=2, embedding_size=3, mlp_size=4)
    model.description = DataDescription("crowd", spec, 5, Normalization((6.0,), (2.0,)), Shouts("?"))
    save(tmp_path / "model", model.float())
    return tmp_path / "model"


def test_a_made_up_format_takes_a_class_and_an_entry(shouting: Path, tmp_path: Path, zf: Command) -> None:
    description = load(shouting).description
    assert description is not None
    assert description.format == Shouts("?")
    result = zf("sample", shouting, "--num", 2, "--out", tmp_path / "out", "--json").json
    assert [Path(file).name for file in result["files"]] == ["sample-seed0.npz", "sample-seed0.shout"]
    assert result["steps"] == 5
    one = tmp_path / "one.shout"
    one.write_text("??\n????????\n????")
    (example,) = Trained.load(str(shouting), which="best").description.format.read(str(one), description)
    assert example.x.tolist() == [[-2.0], [1.0], [-1.0]]
    values = zf("continue", shouting, one, "--num", 1, "--out", tmp_path / "out", "--json").json
    assert (values["prefix_steps"], values["steps"]) == ([3], 2)
    text = Path(values["files"][1]).read_text()
    assert text.startswith("??\n????????\n????\n")
    assert zf("interpolate", shouting, one, one, "--num", 2, "--out", tmp_path / "out").code == 0
    measured = zf("evaluate", shouting, one, "--json").json
    assert (measured["data"], measured["num_steps"]) == ("crowd", 3)
    assert "names format 'shouts', which isn't registered" in str(_without(shouting))


def _without(folder: Path) -> UserError:
    """What is said where the format isn't known."""
    known = FORMATS._classes.pop("shouts")
    try:
        with pytest.raises(UserError) as caught:
            load(folder)
    finally:
        FORMATS._classes["shouts"] = known
    return caught.value


def test_what_another_call_wrote_of_a_made_up_format_is_removed(tmp_path: Path) -> None:
    description = DataDescription("crowd", ObservationSpec("real", 1), 5, None, Shouts())
    (tmp_path / "s-000.shout").write_text("!")
    (tmp_path / "s-other.shout").write_text("!")
    description.format.write(tmp_path, "s", drawn(description), description)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s-other.shout", "s.npz", "s.shout"]


def test_a_table_without_numbers_of_its_own_has_no_seconds_and_no_words() -> None:
    description = DESCRIPTIONS["table"]
    with pytest.raises(UserError, match="--seconds is for models of audio"):
        description.format.steps_in(1.0, description)
    with pytest.raises(UserError, match="can't be given as text; name a file"):
        description.format.parse("a good film")


def test_the_csv_module_reads_what_is_written(tmp_path: Path) -> None:
    description = replace(DESCRIPTIONS["table"], format=TableFormat(('a "b", c', "d"), "trip"))
    description.format.write(tmp_path, "s", drawn(description), description)
    with (tmp_path / "s.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["trip", 'a "b", c', "d"]
