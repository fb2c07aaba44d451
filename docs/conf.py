"""Settings of Sphinx: `make docs` builds docs/_build/html with warnings as errors."""

import snntorch

project = "snntorch"
author = copyright = "The snntorch developers"
version = release = snntorch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"snntorch {release}"

napoleon_use_ivar = True  # attributes of a named tuple are fields already
default_role = "code"  # in docstrings, `this` is code
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88


def setup(app):
    """Leave out a named tuple's "Alias for field number", as the class's docstring says what its fields are."""
    app.connect("autodoc-skip-member", lambda *event: True if type(event[3]).__name__ == "_tuplegetter" else None)
