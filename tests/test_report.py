"""The page about runs: every format has its gallery, what comes from files is escaped, and a browser is content."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from conftest import Command
from test_formats import DESCRIPTIONS, drawn
from zforcing.observations import FORMATS
from zforcing.report.blocks import Details, Grid, Item, Items, Line, Part, Section, Words, picture, sound
from zforcing.report.charts import drawing, lines
from zforcing.report.galleries import GALLERIES, gallery_of
from zforcing.report.galleries.numbers import Over, compare, plot
from zforcing.report.page import html
from zforcing.report.sections.published import published
from zforcing.report.subject import Subject
from zforcing.text_table import Table

FROZEN = Path(__file__).parent / "data" / "frozen"
RUNS = sorted(folder.parent.name for folder in FROZEN.glob("*/config.yaml"))
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$x$"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page that was read: its tags in order, and the tags that were open at its end or closed in disorder."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def read(text: str) -> Page:
    """A page, which is well-formed, and needs nothing but itself."""
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe"), tag
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    for image in page.of("img"):
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert image["alt"]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\((?!#)", text)
    return page


def page_of(*blocks: Any, title: str = "a run") -> Page:
    return read(html([Section("What is shown", "", [Part(title, blocks)])], title=title, command="zforcing report"))


# ---- galleries


def test_every_format_has_a_gallery() -> None:
    assert set(GALLERIES) == set(FORMATS)
    assert gallery_of("one's own") is GALLERIES["table"]


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("image", ["img"]),
        ("audio", ["svg", "audio"]),
        ("music", ["img", "audio"]),
        ("text", ["pre"]),
        ("table", ["svg"]),
    ],
)
def test_a_gallery_shows_a_sequence(kind: str, tags: list[str]) -> None:
    description = DESCRIPTIONS[kind]
    shown = gallery_of(description.format.name).show(drawn(description).x[0], description)
    page = page_of(Items([Item("sample 0", shown)]))
    assert [tag for tag, _ in page.tags if tag in ("img", "svg", "audio", "pre")] == tags
    assert "sample 0" in page.text


def test_categories_of_a_table_are_steps_and_gaps_are_none() -> None:
    (chart,) = gallery_of("table").show(np.array([0, -1, 2]), DESCRIPTIONS["categories"])
    assert chart.label == "state over 3 steps"


def test_a_part_of_an_image_is_shown_with_grey_behind_it() -> None:
    description = DESCRIPTIONS["image"]
    x = drawn(description).x[0]
    whole, part = (gallery_of("image").show(pixels, description)[0] for pixels in (x, x[: len(x) // 2]))
    assert (part.width, part.height) == (whole.width, whole.height)
    assert part.png != whole.png


def test_a_silent_roll_says_so() -> None:
    _, said = gallery_of("music").show(np.zeros((8, 88)), DESCRIPTIONS["music"])
    assert said == Line("Silence: 2 seconds.")


def test_reconstructions_and_forecasts_of_numbers_lie_over_the_data() -> None:
    description = DESCRIPTIONS["table"]
    x = drawn(description).x[0]
    (chart,) = compare(x, x + 1, description)
    assert "rebuilt" in chart.label
    raw, last = np.ones((9, x.shape[1])), np.zeros((3, x.shape[1]))
    (ahead,) = plot(raw, description, over=Over("forecast", 6, last, (last - 1, last + 1)), scores=np.arange(9.0))
    assert "var(--area)" in ahead.svg
    assert "score, nats" in ahead.svg


# ---- the page


def everything(text: str) -> list[Any]:
    """A block of every kind that holds this text wherever it can."""
    chart = lines({text: (np.arange(3), np.arange(3.0)), "b": (np.arange(3), np.ones(3))}, x=text, y=text, label=text)
    image, tone = picture(np.zeros((2, 3)), scale=2, label=text), sound(np.zeros(8, np.int16), 8000, label=text)
    table = Grid(Table(text, [text, "n"], [[text, "1"]]), text)
    return [Line(text), Line(text, "warning"), Words(text), table, chart, image, tone, Items([Item(text, [])])]


def test_what_comes_from_files_is_escaped() -> None:
    page = page_of(*everything(HOSTILE), Details(HOSTILE, everything(HOSTILE)), title=HOSTILE)
    assert page.of("script") == []
    assert page.text.count("alert(1)") > 20
    assert len(page.of("img")) == 2


def test_a_page_has_both_colour_schemes_and_fits_a_phone() -> None:
    text = html([], title="a run", command="zforcing report")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text


def run_of(recipe: str) -> Subject:
    """As much of a run as the published numbers ask for."""
    trained = SimpleNamespace(config=SimpleNamespace(recipe=recipe))
    return cast(Subject, SimpleNamespace(name="mine", trained=trained))


@pytest.mark.slow  # every recipe is read
@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("mnist-zforcing", "PixelVAE"),
        ("speech-small-srnn", "published numbers are of other data (TIMIT, Blizzard)"),
        ("digits-rnn", "no published numbers are known of recipe digits-rnn"),
        ("", "no published numbers are known of a run without a recipe"),
    ],
)
def test_published_numbers_stand_beside_runs_of_their_recipes_alone(recipe: str, says: str) -> None:
    assert says in page_of(*published(run_of(recipe), [])).text


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["--out", "page.pdf"], "--out is page.pdf; it must be an .html file"),
        (["--out", "nowhere/page.html"], "there is no folder nowhere"),
        (["--num", "0"], "--num"),
    ],
)
def test_a_wrong_word_is_one_line(zf: Command, tmp_path: Path, words: list[str], mistake: str) -> None:
    assert mistake in zf("report", FROZEN / "rnn-digits", *words).mistake


def test_a_run_that_is_none_is_named(zf: Command, tmp_path: Path) -> None:
    assert "nothing-here" in zf("report", tmp_path / "nothing-here").mistake


# ---- whole pages, of a run of each kind


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All frozen runs side by side, one of them without its evaluations, and one without its data."""
    from zforcing.cli import main

    folder = tmp_path_factory.mktemp("report") / "frozen"
    shutil.copytree(FROZEN, folder)
    for file in (folder / "zforcing-trips").glob("evaluation-*"):
        file.unlink()
    (folder / "data" / "symbols.npz").unlink()
    torch.set_default_dtype(torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["report", *RUNS, "--out", "all.html", "--num", "8", "--device", "cpu", "--threads", "1"]) == 0
    return folder / "all.html"


@pytest.fixture(scope="module")
def whole(report: Path) -> Page:
    return read(report.read_text("utf-8"))


@pytest.mark.slow
def test_a_page_of_runs_of_each_kind_is_whole(whole: Page) -> None:
    assert len(whole.of("h2")) == 10
    for tag, least in (("img", 20), ("audio", 12), ("pre", 10), ("svg", 20), ("table", 5)):
        assert len(whole.of(tag)) >= least, tag


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "model rnn has no latents",  # nothing to rebuild
        "the run's data can't be read",
        "no curves",
        "zforcing-trips: not evaluated yet. Measured here on",
        "drawn of columns of numbers; this run's data is image",
        "steps ahead; estimate by 100 samples from the model",
        "Scores: lower bound, by 4 draws, of a density",
        "Scores: exact, of a probability",
        "= is exact, ≥ a lower bound, ≈ an estimate",
        "A. Goyal",
        "Settings that differ",
    ],
)
def test_a_page_says_what_its_numbers_are_and_what_is_missing(whole: Page, line: str) -> None:
    assert line in whole.text


@pytest.mark.slow
def test_a_page_of_one_run_lies_in_its_folder(report: Path, zf: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(report.parent)
    torch.set_default_dtype(torch.float32)
    made = zf("report", "rnn-digits", "--num", 4, "--device", "cpu", "--json").json
    assert made == {"file": "rnn-digits/report.html"}
    again = (report.parent / made["file"]).read_text("utf-8")
    assert zf("report", "rnn-digits", "--num", 4, "--device", "cpu").code == 0
    assert (report.parent / made["file"]).read_text("utf-8").count("<img") == again.count("<img")


# ---- in a browser

WATCH = """
<!DOCTYPE html><meta charset="utf-8"><title>watching</title>
<iframe id="frame" style="width: 360px; height: 800px; border: 0"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById("frame");
frame.onload = async () => {
  const page = frame.contentDocument;
  const sounds = await Promise.all([...page.querySelectorAll("audio")].map(sound => new Promise(done => {
    const say = () => done(sound.error ? -1 : sound.duration);
    if (sound.readyState > 0) say();
    sound.onloadedmetadata = sound.onerror = say;
    sound.load();
  })));
  const images = [...page.images].map(image => [image.naturalWidth, image.clientWidth, image.clientHeight]);
  const root = page.documentElement;
  const ground = getComputedStyle(page.body).backgroundColor;
  const found = {sounds, images, ground, beyond: root.scrollWidth - root.clientWidth};
  document.getElementById("found").textContent = JSON.stringify(found);
};
frame.srcdoc = PAGE;
</script>
"""


def look(page: Path, *, dark: bool) -> tuple[dict[str, Any], str]:
    """What a browser finds in a page 360 pixels wide, and what it says of mistakes."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    outer = page.with_name(f"watch-{dark}.html")
    source = json.dumps(page.read_text("utf-8")).replace("</", "<\\/")
    outer.write_text(WATCH.replace("PAGE", source), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", scheme, "--dump-dom"]
    command = [browser, *words, "--virtual-time-budget=20000", f"--user-data-dir={page.parent / 'browser'}"]
    done = subprocess.run([*command, outer.as_uri()], capture_output=True, text=True, check=True, timeout=100)
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said is not None, done.stderr
    return json.loads(said[1]), done.stderr


@pytest.mark.slow
def test_a_browser_shows_and_plays_the_page(report: Path, whole: Page) -> None:
    found, errors = look(report, dark=False)
    assert "CONSOLE" not in errors
    assert len(found["sounds"]) == len(whole.of("audio"))
    assert all(duration > 0 for duration in found["sounds"])
    assert len(found["images"]) == len(whole.of("img"))
    assert all(min(sizes) > 0 for sizes in found["images"])
    assert found["beyond"] == 0  # nothing to scroll to at the side
    assert found["ground"] == "rgb(255, 255, 255)"


@pytest.mark.slow
def test_a_page_is_dark_where_that_is_asked_for(report: Path) -> None:
    found, _ = look(report, dark=True)
    assert found["ground"] == "rgb(21, 23, 26)"


@pytest.mark.slow
def test_a_page_of_a_model_that_reads_known_inputs_is_whole(
    zf: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"m{n // 10},{speed},{heat}" for n, (speed, heat) in enumerate(rng.normal(size=(120, 2)).tolist())]
    Path("trips.csv").write_text("trip,speed,heat\n" + "\n".join(rows) + "\n")
    data = ["--data.path=trips.csv", "--data.sequence=trip", "--data.inputs=[heat]"]
    small = ["--training.max_steps=2", "--backend=reference", "--model.hidden_size=4", "--model.latent_size=2"]
    for words in (["train", "table-zforcing-aux", *data, *small, "--run-dir=r"], ["evaluate", "r"]):
        assert zf(*words).code == 0
    result = zf("report", "r", "--out=r.html", "--num", "4")
    assert result.code == 0, result.err
    page = read(Path("r.html").read_text("utf-8"))
    assert page.open == []
    for title in ("Samples", "Reconstructions", "Forecasts"):
        assert title in page.text
    assert "heat" in page.text


def test_a_backslash_in_a_label_is_itself() -> None:
    found = drawing(lambda axes: None, label=r"the column \d\1")
    assert r'<svg role="img" aria-label="the column \d\1" ' in found.svg
