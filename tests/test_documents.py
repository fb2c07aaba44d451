"""The documents tell the truth: their Python runs and prints what they show, and their links lead somewhere."""

import contextlib
import doctest
import importlib.util
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

import snntorch as snn
from test_docstrings import public

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)#]+)[^)]*\)")


def blocks(text: str) -> list[tuple[str, str, int]]:
    """Language, content and line of each fenced block."""
    return [(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def run_blocks(text: str, name: str) -> None:
    """Run the Python blocks in one namespace; a text block right after one is what it prints."""
    namespace: dict = {"__name__": name}
    found = blocks(text)
    for (language, source, line), (following, expected, _) in zip(found, [*found[1:], ("", "", 0)], strict=False):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + source, name, "exec"), namespace)
        if following == "text":
            flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
            same = doctest.OutputChecker().check_output(expected, printed.getvalue(), flags)
            assert same, f"{name}, line {line}: printed\n{printed.getvalue()}\ninstead of\n{expected}"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    """A working directory that may be written to, and the settings that a reader has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with snn.backend("auto"):
        yield


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch.compile's own
@pytest.mark.filterwarnings("ignore:The tensor attributes? .* assigned during export:UserWarning")  # programs keep none
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # torch.export's own
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch.onnx's own
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_runs_and_prints_what_is_shown(document: Path, elsewhere: None) -> None:
    run_blocks(document.read_text(), document.name)


def test_a_wrong_output_is_noticed() -> None:
    with pytest.raises(AssertionError, match="printed"):
        run_blocks("```python\nprint(1)\n```\n\n```text\n2\n```\n", "a document")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = [t for t in LINK.findall(FENCE.sub("", document.read_text())) if "://" not in t]
    missing = [t for t in targets if not (document.parent / t).exists()]
    assert not missing


def test_versions_are_those_that_were_run() -> None:
    """What the guide, the README and the package's metadata say of versions is in the results."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "versions.json").read_text())
    run = {(r["python"], r["torch"].partition("+")[0], f"{r['passed']:,}", str(r["failed"])) for r in kept}
    guide = (ROOT / "docs" / "install.md").read_text()
    rows = re.findall(r"^\| (3\.\d+) \| ([\d.]+)[^|]*\| ([\d,]+) \| (\d+)", guide, re.MULTILINE)
    assert len(rows) > 4 and set(rows) <= run
    fine = [row for row in rows if int(row[3]) < 2]
    pythons = sorted({row[0] for row in fine}, key=lambda v: int(v.partition(".")[2]))
    torches = sorted({tuple(map(int, row[1].split(".")[:2])) for row in fine})
    oldest, newest = (".".join(map(str, torches[k])) for k in (0, -1))
    said = " ".join((ROOT / "README.md").read_text().split())
    assert f"torch from {oldest} to {newest} and Python {pythons[0]} to {pythons[-1]}" in said
    metadata = (ROOT / "pyproject.toml").read_text()
    assert f'"torch>={oldest}"' in metadata and f'requires-python = ">={pythons[0]}"' in metadata


def test_every_public_object_is_in_the_reference_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    contents = importlib.import_module("contents")
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    found = Counter(id(of) for page in pages for of in contents.documented(page.read_text()).values())
    kinds = (type, FunctionType)  # and no instances of them
    missing = [name for name, of in public().items() if isinstance(of, kinds) and found[id(of)] != 1]
    assert not missing, f"give each of {missing} a line in docs/api, and one alone"
    trees = "".join(path.read_text() for path in (ROOT / "docs" / "index.md", *pages))
    assert [page.stem for page in pages if not re.search(rf"^(api/)?{page.stem}$", trees, re.MULTILINE)] == []


def test_guides_show_what_their_code_draws(tmp_path: Path) -> None:
    """Each picture that a page saves is drawn when the pages are built, and stands behind the code and its output."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "_ext" / "pictures.py")
    assert spec is not None and spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    code = 'from pathlib import Path\nclass fig:\n    savefig = lambda name: Path(name).write_text("<svg/>")\n'
    text = f'```python\n{code}fig.savefig("a.svg")  # Says it\n```\n\n```text\nx\n```\n\nrest\n'
    assert pictures.shown(text, "f").endswith("```text\nx\n```\n\n![Says it](f/a.svg)\n\nrest\n")
    pictures.draw("\n".join(m["code"] for m in pictures.BLOCK.finditer(text)), tmp_path / "to")
    assert (tmp_path / "to" / "a.svg").read_text() == "<svg/>"
    for name in ("delays", "deep-networks", "first-network"):
        assert pictures.SAVED.search((ROOT / "docs" / f"{name}.md").read_text())
