"""How Sphinx builds the site: `make docs` writes it to build/docs, and a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent / "tools")]

import zforcing  # noqa: E402 - the site is of the package beside it

project = "zforcing"
author = copyright = "The zforcing developers"
version = release = zforcing.__version__
html_title = f"zforcing {version}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",  # formulas without a script from elsewhere
    "house",  # the rooms of the package, and what they import, drawn
    "notebooks",  # examples/*.ipynb become learn/*.ipynb
    "equations",  # docs/paper: equations beside code and tests
    "generated",  # reference/commands.md, settings.md and recipes.md
    "public_names",  # the entries of the reference
    "source_links",
]
exclude_patterns = ["extensions", "**/*.json"]
nitpicky = True
suppress_warnings: list[str] = []

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are kept executed (`make notebooks`), and tests run them

autodoc_default_options = {"member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
nitpick_ignore_regex = [(r"py:.*", r"(abc|collections|numpy|np|pathlib|pd|torch|typing)\..*")]  # other projects'

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
