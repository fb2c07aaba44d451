"""Each tutorial as a notebook and as a script to download, and a bar that says so below its title."""

import re
import shutil
import zipfile
from pathlib import Path

import jupytext
import nbformat

COLAB = "https://colab.research.google.com/github/{repository}/blob/{branch}/_notebooks/{name}.ipynb"
BINDER = "https://mybinder.org/v2/gh/{repository}/{branch}?labpath=_notebooks/{name}.ipynb"
BADGE = '<a class="badge" href="{address}"><b>{what}</b>{where}</a>'


def read(text: str) -> nbformat.NotebookNode:
    """A script as a notebook; what a cell's `alt` says is the text of its picture."""
    book = jupytext.reads(text, fmt="py:percent")
    for cell in book.cells:
        if "alt" in cell.metadata:
            cell.metadata["mystnb"] = {"image": {"alt": cell.metadata["alt"]}}
    return book


def bar(app, page: str, template: str, context: dict, doctree) -> None:
    """Put the ways to get a tutorial below its title."""
    path = Path(app.env.doc2path(page)) if doctree else Path()
    if path.suffix != ".py":
        return
    folder = context["pathto"]("_notebooks", 1)
    addresses = {"notebook": f"{folder}/{path.stem}.ipynb", "script": f"{folder}/{path.name}"}
    badges = [
        f'<a class="badge" download href="{address}"><b>download</b>{what}</a>' for what, address in addresses.items()
    ]
    if app.config.notebooks_repository:
        where = {"repository": app.config.notebooks_repository, "branch": app.config.notebooks_branch}
        for what, address in {"Colab": COLAB, "Binder": BINDER}.items():
            badges.append(BADGE.format(address=address.format(name=path.stem, **where), what="run on ", where=what))
    context["body"] = re.sub(
        "</h1>", lambda end: f'{end[0]}<p class="badges">{"".join(badges)}</p>', context["body"], count=1
    )


def notebook(path: Path, repository: str) -> nbformat.NotebookNode:
    """What the script is as a notebook, which installs the package where its address is known."""
    book = jupytext.read(path, fmt="py:percent")
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for cell in book.cells:
        if cell.cell_type == "markdown":  # links between pages mean nothing outside the site
            cell.source = re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", cell.source)
    if repository:
        line = f'%pip install -q "snntorch[demo,nir] @ git+https://github.com/{repository}"'
        book.cells.insert(1, nbformat.v4.new_code_cell(line))
    return book


def write(app, exception) -> None:
    """Write notebooks, scripts, and the examples, which import one another, as one file."""
    if exception or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_notebooks"
    folder.mkdir(exist_ok=True)
    for path in sorted((Path(app.srcdir) / "tutorials").glob("*.py")):
        jupytext.write(notebook(path, app.config.notebooks_repository), folder / f"{path.stem}.ipynb")
        shutil.copy(path, folder)
    with zipfile.ZipFile(folder / "examples.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((Path(app.srcdir).parent / "examples").glob("*.py")):
            file.write(path, f"examples/{path.name}")


def setup(app):
    app.add_config_value("notebooks_repository", "", "html")
    app.add_config_value("notebooks_branch", "gh-pages", "html")
    app.connect("html-page-context", bar)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
