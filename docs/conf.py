"""Settings of Sphinx: `make docs` builds docs/_build/html with warnings as errors."""

import os
import sys
from pathlib import Path

import snntorch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "snntorch"
author = copyright = "The snntorch developers"
version = release = snntorch.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "contents",  # from here on ours, in _ext
    "drawn",
    "equations",
    "examples",
    "links",
    "mathml",
    "notebooks",
    "pictures",
]
exclude_patterns = ["_build", "_ext", "conf.py", "**/.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"snntorch {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
pygments_style, pygments_dark_style = "friendly", "github-dark"
html_math_renderer = "mathml"

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]

# Tutorials are scripts in the percent format, one source each, which jupytext reads and writes.
nb_custom_formats = {".py": "notebooks.read"}
nb_execution_mode = os.environ.get("SNNTORCH_DOCS_EXECUTION", "cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "error"  # as a warning that a reader would see
nb_code_prompt_show = nb_code_prompt_hide = "The answer"
# Where the sources are on GitHub, as owner/name: badges for Colab and Binder are drawn where this is known.
notebooks_repository = os.environ.get("SNNTORCH_REPOSITORY", "")
notebooks_branch = "gh-pages"  # which holds this site, and the notebooks with it

napoleon_use_ivar = True  # attributes of a named tuple are fields already
default_role = "code"  # in docstrings, `this` is code
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Leave out a named tuple's "Alias for field number", as the class's docstring says what its fields are."""
    app.connect("autodoc-skip-member", lambda *event: True if type(event[3]).__name__ == "_tuplegetter" else None)
