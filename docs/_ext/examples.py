"""The examples on one page: what each says of itself, and its source, folded. Links to their files lead there."""

import ast
import re
from pathlib import Path

LINK = re.compile(r"\]\((?:\.\./)*examples/(\w+)\.py\)")
SECTION = """
## {name}.py

{text}

:::{{dropdown}} Source
```{{literalinclude}} ../examples/{name}.py
:language: python
```
:::
"""


def section(path: Path) -> str:
    """The docstring, whose indented lines are commands, and the source."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return SECTION.format(name=path.stem, text=text)


def rewrite(app, page: str, source: list[str]) -> None:
    """Fill the page; lead links from the repository's files to it."""
    if page == "examples":
        folder = Path(app.srcdir).parent / "examples"
        source[0] += "".join(section(path) for path in sorted(folder.glob("*.py")))
    depth = "../" * page.count("/")
    source[0] = LINK.sub(lambda m: f"]({depth}examples.md#{m[1].replace('_', '-')}-py)", source[0])


def setup(app):
    app.connect("source-read", rewrite)
    app.connect("env-get-outdated", lambda *event: ["examples"])  # what it is made of lies elsewhere
    return {"parallel_read_safe": True, "parallel_write_safe": True}
