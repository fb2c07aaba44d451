"""Equations as MathML, written when the pages are built: browsers draw it, offline, without a script or a font."""

from docutils import nodes
from latex2mathml import converter


def convert(latex: str, display: str = "inline") -> str:
    """What latex2mathml makes of it, which knows `split`, but not `aligned`."""
    return converter.convert(latex.replace("{aligned}", "{split}"), display=display)


def inline(self, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(self, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(convert(node.astext(), display="block") + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
