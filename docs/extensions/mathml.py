"""Formulas as MathML, which browsers show by themselves: a page needs no script and no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from latex2mathml import converter

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

NAME = "<mi>(?:exp|ln|log)</mi>"
BEFORE = re.compile(f"(</(?:mi|mn|msub|msup)>)({NAME})")
AFTER = re.compile(f"({NAME})(?=<m(?!o[ >]))")  # an operator, such as a parenthesis, stands close


def convert(latex: str, *, display: str) -> str:
    """MathML with the thin spaces around a function's name that TeX has and latex2mathml leaves out."""
    space = '<mspace width="0.17em"/>'
    return AFTER.sub(rf"\1{space}", BEFORE.sub(rf"\1{space}\2", converter.convert(latex, display=display)))


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
