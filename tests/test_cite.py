"""What a run used, as BibTeX: entries that a strict reader takes, each work once, and nothing that no class says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from conftest import Command
from zforcing import RNN, ObservationSpec, Sequences, UserError, ZForcing, save
from zforcing.bounds import BOUNDS
from zforcing.data import DATA
from zforcing.models import MODELS
from zforcing.observations import DataDescription
from zforcing.sharing.bibtex import Work, entry, latex, read_works, with_keys
from zforcing.sharing.citing import AUTHORS, TITLE, Citation, Used, citation
from zforcing.training.players import PLAYERS
from zforcing.training.runs.trained import Trained

ROOT = Path(__file__).parents[1]
FROZEN = Path(__file__).parent / "data" / "frozen"
CLASSES = [cls for family in (MODELS, BOUNDS, DATA, PLAYERS) for cls in family.values()]
PAPERS = {f"{cls.__module__}.{cls.__name__}": cls.paper for cls in CLASSES if cls.paper}


def read_bibtex(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """A strict reader: keys to kinds and fields, whose values stand in balanced braces and are ASCII."""
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    at = 0
    while (at := text.find("@", at)) >= 0:
        assert text[:at].rpartition("\n")[2] == "", "an entry begins a line"
        head = re.compile(r"@([a-z]+)\{([a-z0-9]+),\n").match(text, at)
        assert head is not None, text[at : at + 60]
        kind, key = head.groups()
        assert key not in entries, f"{key} is there twice"
        fields: dict[str, str] = {}
        at = head.end()
        while not text.startswith("}", at):
            named = re.compile(r"  ([a-z]+) *= \{").match(text, at)
            assert named is not None, text[at : at + 60]
            end = end_of_braces(text, named.end())
            assert named[1] not in fields
            fields[named[1]] = text[named.end() : end]
            assert text.startswith("},\n", end)
            at = end + 3
        assert all(value.isascii() and value.strip() for value in fields.values()), fields
        entries[key] = kind, fields
    return entries


def end_of_braces(text: str, at: int) -> int:
    """Where the value that begins at `at` ends. BibTeX counts braces with a backslash before them too."""
    depth = 1
    while True:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
        at += 1


@pytest.mark.parametrize("line", PAPERS.values(), ids=list(PAPERS))
def test_every_paper_of_the_package_is_read_whole(line: str) -> None:
    works = read_works(line)
    entries = read_bibtex("\n".join(entry(key, work) for key, work in with_keys(works).items()))
    assert len(entries) == len(works) == line.count('"') / 2
    for kind, fields in entries.values():
        assert kind == "misc" or {"author", "title", "year"} <= set(fields), fields
        assert {"author", "howpublished"} & set(fields)
        assert "note" not in fields, "a part of the line has no known form"
        assert not re.search(r"\d{4}", fields.get("booktitle", "") + fields.get("journal", ""))


def test_only_these_of_the_package_name_nothing_to_cite() -> None:
    bounds, own_files = {"elbo", "exact", "importance"}, {"arrays", "table", "text", "audio-folder", "midi-folder"}
    assert {cls.name for cls in CLASSES if not cls.paper} == bounds | own_files | {"lgssm", "markov", "switching"}


def test_a_line_is_read_as_an_entry() -> None:
    (work,) = read_works(ZForcing.paper)
    assert read_bibtex(entry("key", work)) == {
        "key": (
            "inproceedings",
            {
                "author": r"A. Goyal and A. Sordoni and M.-A. C{\^o}t{\'e} and N. R. Ke and Y. Bengio",
                "title": "{Z-Forcing}: Training Stochastic Recurrent Networks",
                "booktitle": "NIPS",
                "year": "2017",
                "eprint": "1711.05411",
                "archiveprefix": "arXiv",
            },
        )
    }


def test_a_journal_has_volume_and_number() -> None:
    (work,) = read_works(RNN.paper)
    assert work.kind == "article"
    assert dict(work.fields) == {
        "title": "Long Short-Term Memory",
        "journal": "Neural Computation",
        "volume": "9",
        "number": "8",
        "year": "1997",
    }


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Sønderby, Müller, Łukasz", r"S{\o}nderby, M{\"u}ller, {\L}ukasz"),
        ("Šárka Ça í", r"{\v{S}}{\'a}rka {\c{C}}a {\'\i}"),
        ("50 % of A & B_1 {x", r"50 \% of A \& B\_1 (x"),
    ],
)
def test_accents_and_special_characters_are_those_of_latex(text: str, made: str) -> None:
    assert latex(text) == made


def test_what_has_no_known_form_is_cited_as_it_stands() -> None:
    assert read_works("see our web page") == [Work("misc", (), {"note": "see our web page"})]
    (work,) = read_works('A. Author, "On x; and y", Some Letters, https://example.org/a_b')
    _, fields = read_bibtex(entry("key", work))["key"]
    assert fields["howpublished"] == "Some Letters"
    assert fields["url"] == "https://example.org/a_b"


def test_keys_are_unique_and_works_that_are_one_are_cited_once() -> None:
    one, other = read_works('A. Bee, "Cats", ICML 2001; A. Bee, "Cats and dogs", ICML 2001')
    again = read_works('A. Bee, "CATS", ICML 2001')[0]
    found = Citation.of([Used("model a", (one, other)), Used("bound b", (again,))])
    assert list(found.works) == ["bee2001cats", "bee2001catsb"]
    assert found.used_by["bee2001cats"] == ["model a", "bound b"]


def test_the_software_is_that_of_the_citation_file() -> None:
    known = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert tuple(author["name"] for author in known["authors"]) == AUTHORS
    assert TITLE.startswith(f"{known['title']}:")


def test_a_run_is_cited_with_its_bounds_and_its_data(zf: Command) -> None:
    result = zf("cite", FROZEN / "srnn-chords")
    entries = read_bibtex(result.out)
    assert set(entries) == {
        "zforcing",
        "fraccaro2016sequential",
        "maddison2017filtering",  # it was measured by FIVO and IWAE
        "burda2016importance",
        "boulangerlewandowski2012modeling",
    }
    assert "% the model srnn\n@inproceedings{fraccaro2016sequential," in result.out
    assert "elbo" not in result.out


def test_json_has_the_works_as_plain_text(zf: Command) -> None:
    found = zf("cite", FROZEN / "zforcing-trips", "--json").json
    assert found["works"][1]["authors"][2] == "M.-A. Côté"
    assert found["works"][1]["for"] == ["the model zforcing"]
    assert read_bibtex(found["bibtex"]).keys() == {work["key"] for work in found["works"]}
    assert found["nothing_to_cite"] == [
        "the data set arrays: it reads files that it knows no source of: cite where they come from"
    ]


def test_a_player_is_cited(tmp_path: Path, zf: Command) -> None:
    folder = tmp_path / "player"
    shutil.copytree(FROZEN / "rnn-digits", folder)
    with (folder / "config.yaml").open("a") as file:
        file.write("player: {name: professor}\n")
    assert "{Professor Forcing: A New Algorithm" in zf("cite", folder).out


class Mine(RNN):
    name = "mine"
    paper = ""


def saved(cls: type[RNN], *, data: str = "") -> Trained:
    spec = ObservationSpec("real", 2)
    model = cls(spec, hidden_size=2, embedding_size=2)
    return Trained(Path("nowhere@{x"), model, DataDescription(data, spec, 1), None)


def test_a_model_of_ones_own_without_a_paper_is_said_in_a_comment() -> None:
    text = citation(saved(Mine, data="gone@{"), version="1.2").bibtex()
    assert "% the model mine: it is your own, and Mine.paper names nothing to cite\n" in text
    assert "% the data set gone(at){: isn't known here" in text
    assert read_bibtex(text)["zforcing"][1]["note"] == "Software, version 1.2"


def test_a_paper_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mine, "paper", ["A. Author"])
    with pytest.raises(
        UserError, match=r"Mine\.paper is a list; it must be text, such as 'A\. Author, \"Title\", 2020'"
    ):
        citation(saved(Mine), version="1.2")


def test_a_saved_model_is_cited_alone(tmp_path: Path, zf: Command) -> None:
    torch.set_default_dtype(torch.float32)
    data = Sequences([torch.randn(4, 2) for _ in range(3)])
    model = RNN.for_data(data, hidden_size=2, embedding_size=2)
    save(tmp_path / "saved", model)
    assert set(read_bibtex(zf("cite", tmp_path / "saved").out)) == {"zforcing", "hochreiter1997long"}
    assert zf("cite", tmp_path / "none").mistake.startswith("zforcing: no such run folder")
