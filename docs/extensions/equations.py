"""Equations of papers beside the lines of code that compute them and the tests that prove it.

What a block says is in tools/excerpts.py. Lines are taken from the sources as they are, and lead to the page with all
of their file; what isn't found is a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from excerpts import ROOT, Equation, Proof, equation, excerpt, faults, proof

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class Source(nodes.container):
    """Lines of code, with `module` and `name` of their object."""


class EquationToCode(SphinxDirective):
    """A card: title, number, formulas, lines of code, tests."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[None] = None  # the body holds the fields, some of them more than once

    def run(self) -> list[nodes.Node]:
        given = equation(self.arguments[0], list(self.content))
        found = faults(given)
        if found:
            return [self.state.document.reporter.warning(fault, line=self.lineno) for fault in found]
        label = nodes.make_id(f"equation {given.title}")
        self.env.domains.standard_domain.note_hyperlink_target(
            label, self.env.current_document.docname, label, given.title
        )
        card = nodes.container(classes=["equation"], ids=[label])
        card += [_head(given), *map(_formula, given.formulas)]
        if given.paper:
            card += nodes.paragraph(
                "", "", nodes.Text("In the paper: "), nodes.math("", given.paper), classes=["paper"]
            )
        card += [*map(self._source, given.code), _proofs([self._proof(test) for test in given.tests])]
        self.set_source_info(card)
        return [card]

    def _source(self, given: str) -> Source:
        found = excerpt(given)
        self.env.note_dependency(ROOT / found.path)
        block = Source(module=found.module, name=found.name, classes=["source"])
        block += nodes.paragraph("", "", nodes.literal("", found.name), nodes.Text(f" {found.path}:{found.line}"))
        block += nodes.literal_block(found.text, found.text, language="python")
        return block

    def _proof(self, given: str) -> Proof:
        self.env.note_dependency(ROOT / given.partition("::")[0])
        return proof(given)


def _head(given: Equation) -> nodes.paragraph:
    parts = (nodes.strong("", given.title), nodes.Text(" "), nodes.inline("", given.place, classes=["place"]))
    return nodes.paragraph("", "", *parts, classes=["head"])


def _formula(latex: str) -> nodes.math_block:
    return nodes.math_block(latex, latex, nowrap=False, number=None, label=None)


def _proofs(found: list[Proof]) -> nodes.bullet_list:
    """A list; what several say of themselves is said once."""
    tests, said = nodes.bullet_list(classes=["proofs"]), set[str]()
    for test in found:
        says = "" if test.says in said else f" {test.says}"
        rest = f" {test.path}{', slow' if test.is_slow else ''}.{says}"
        tests += nodes.list_item("", nodes.paragraph("", "", nodes.literal("", test.name), nodes.Text(rest)))
        said.add(test.says)
    return tests


def add_pages(app: Sphinx, env: BuildEnvironment) -> None:
    """Have viewcode write the files that lines are from, with a way back here where no page documents the object."""
    if app.builder.format != "html":
        return
    modules: dict[str, Any] = env.__dict__.setdefault("_viewcode_modules", {})  # viewcode has no other way in
    for page in sorted(env.found_docs):
        for block in _blocks(env, page):
            analyzer = ModuleAnalyzer.for_module(block["module"])
            analyzer.find_tags()
            entry = modules.get(block["module"]) or (analyzer.code, analyzer.tags, {}, block["module"])
            modules[block["module"]] = entry
            if block["name"] not in entry[2]:
                entry[2][block["name"]] = page
                (app.outdir / _page(block["module"])).with_suffix(".html").unlink(missing_ok=True)  # to be written anew


def _blocks(env: BuildEnvironment, page: str) -> list[Source]:
    return list(env.get_doctree(page).findall(Source)) if page.startswith("paper/") else []


def _page(module: str) -> str:
    return "_modules/" + module.replace(".", "/")


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Lead from the lines to their object in its file, and give the file's way back a place."""
    modules = app.env.__dict__.get("_viewcode_modules", {})
    for block in doctree.findall(Source):
        _, _, used, refname = modules[block["module"]]
        uri = app.builder.get_relative_uri(page, _page(block["module"])) + "#" + block["name"]
        label = block[0]
        label.replace(label[0], nodes.reference("", "", label[0], refuri=uri, internal=True))
        back = f"{refname}.{block['name']}"
        if used[block["name"]] == page and back not in doctree.ids:
            doctree.ids[back] = block
            block["ids"].append(back)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(Source, html=(lambda t, n: t.visit_container(n), lambda t, n: t.depart_container(n)))
    app.add_directive("equation-to-code", EquationToCode)
    app.connect("env-updated", add_pages)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
