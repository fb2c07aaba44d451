"""The guides' pictures: a page's Python runs when the pages are built, and what it saves is shown behind it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r'savefig\("(?P<name>[\w-]+)\.\w+"\)  # (?P<says>.*)')


def draw(code: str, to: Path) -> None:
    """Run a page's code, and keep what it saves."""
    settings = {**os.environ, "MPLBACKEND": "Agg", "MATPLOTLIBRC": str(Path(__file__).parent.parent / "tutorials")}
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=settings, check=True, stdout=subprocess.DEVNULL)
        for path in Path(folder).iterdir():
            if path.suffix in (".svg", ".png"):
                to.mkdir(parents=True, exist_ok=True)
                (to / path.name).write_bytes(path.read_bytes())


def shown(text: str, folder: str) -> str:
    """The page with each picture behind the code that saves it, and behind what that prints."""

    def behind(block: re.Match) -> str:
        pictures = [f"\n![{m['says']}]({folder}/{m[0].split(chr(34))[1]})\n" for m in SAVED.finditer(block["code"])]
        return block[0] + "".join(pictures)

    return BLOCK.sub(behind, text)


def rewrite(app, page: str, source: list[str]) -> None:
    """Draw the pictures of a guide."""
    if Path(app.env.doc2path(page)).suffix == ".md" and SAVED.search(source[0]):
        draw("\n".join(block["code"] for block in BLOCK.finditer(source[0])), Path(app.srcdir) / "_build" / "pictures")
        source[0] = shown(source[0], "_build/pictures")


def setup(app):
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
