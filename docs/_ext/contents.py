"""What a page's subpages document, listed on it: each name with its first sentence, and its picture if it has one."""

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from drawn import picture

HERE = "% contents\n"
TREE = re.compile(r"^```\{toctree\}\n(?::.*\n)*\n(?P<pages>(?:[\w-]+\n)+)```", re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. (?P<kind>\w+):: (?P<name>[\w.]+)\n(?P<options>(?:   :.*\n)*)", re.MULTILINE)
CARD = """
:::{{grid-item-card}} {{py:obj}}`~{name}`
:img-bottom: /{picture}
:img-alt: {alt}
<span id="{name}"></span>{says}
:::
"""
ENTRY = '<span id="{name}"></span>{{py:obj}}`~{name}`\n: {says}\n'


def documented(text: str) -> dict[str, Callable]:
    """The functions and classes that a page documents, by their full names."""
    found, module = {}, ""
    for match in DIRECTIVE.finditer(text):
        kind, name = match["kind"], match["name"]
        if kind == "currentmodule":
            module = name
        elif kind in ("autofunction", "autoclass"):
            found[f"{module}.{name}"] = getattr(importlib.import_module(module), name)
        elif kind == "automodule" and ":members:" in match["options"]:
            place = importlib.import_module(name)
            inside = name if ":imported-members:" in match["options"] or hasattr(place, "__all__") else None
            for key in getattr(place, "__all__", vars(place)):
                value = getattr(place, key)
                home = getattr(value, "__module__", None) or ""
                ours = home.startswith(inside) if inside else home == name
                if ours and callable(value) and not key.startswith("_"):
                    found[f"{name}.{key}"] = value
    return found


def sentence(of: Callable) -> str:
    """The first of its docstring."""
    paragraph = (inspect.getdoc(of) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<!\b\w)\.(?=\s|$)", paragraph)[0].rstrip(":.") + "."


def section(page: str, folder: Path) -> str:
    """A subpage's title, and what it documents; the ids are those of the names, so that their links find them here."""
    text = (folder / f"{page}.md").read_text()
    entries, cards = "", ""
    for name, value in documented(text).items():
        says = sentence(value)
        if drawn := picture(folder.parent, name):
            shown = drawn.relative_to(folder.parent)
            cards += CARD.format(name=name, says=says, alt=says.replace("`", ""), picture=shown)
        else:
            entries += ENTRY.format(name=name, says=says) + "\n"
    if cards:
        cards = f"::::{{grid}} 2 2 3 3\n:gutter: 2\n:class-container: drawn\n{cards}::::\n\n"
    return f"## [{text.splitlines()[0].removeprefix('# ')}]({page}.md)\n\n{cards}{entries}"


def rewrite(app, page: str, source: list[str]) -> None:
    """Write the contents of the pages in a page's own tree."""
    if HERE in source[0]:
        folder = Path(app.env.doc2path(page)).parent
        pages = [name for tree in TREE.finditer(source[0]) for name in tree["pages"].split()]
        for name in pages:
            app.env.note_dependency(str(folder / f"{name}.md"))
        source[0] = source[0].replace(HERE, "".join(section(name, folder) for name in pages))


def setup(app):
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
