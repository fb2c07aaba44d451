"""Code that is a public name becomes a link to its reference, in the guides and in docstrings alike."""

import re

from docutils import nodes
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?=(?:\(.*\))?$)", re.DOTALL)
SHORT = {"snn": "snntorch", "SF": "snntorch.functional"}


def candidates(name: str, page: str) -> list[str]:
    """What a name may stand for, on the page of a module one in that module."""
    first, _, rest = name.partition(".")
    long = f"{SHORT.get(first, first)}.{rest}" if rest else name
    module = page.removeprefix("api/").partition("-")[0]
    return [long, f"snntorch.{name}", f"snntorch.{module}.{name}"]


def link(app, doctree: nodes.document, page: str) -> None:
    """Look each literal up among the documented objects."""
    objects = app.env.get_domain("py").objects
    shorter = app.env.shorter_names
    if not shorter:
        for full in objects:  # SF.ce_rate_loss is snntorch.functional.loss.ce_rate_loss
            parts = full.split(".")
            shorter.setdefault(".".join([*parts[:2], parts[-1]]), full)
    for literal in list(doctree.findall(nodes.literal)):
        if isinstance(literal.parent, nodes.reference | nodes.title) or not (match := NAME.match(literal.astext())):
            continue
        known = [full for c in candidates(match[0], page) if (full := c if c in objects else shorter.get(c))]
        called = "(" in literal.astext()
        found = next((full for full in known if not (called and objects[full].objtype == "module")), None)
        if found and found != "snntorch":
            entry = objects[found]
            new = make_refnode(app.builder, page, entry.docname, entry.node_id, literal.deepcopy(), found)
            literal.replace_self(new)


def setup(app):
    app.connect("builder-inited", lambda app: setattr(app.env, "shorter_names", {}))
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
