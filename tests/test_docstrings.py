"""One dialect of docstrings: Google's sections, and `code` between single backticks."""

import ast
import re
from pathlib import Path

import pytest

import snntorch

ROOT = Path(snntorch.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
SECTIONS = {"Args", "Attributes", "Call", "Example", "Raises", "Returns", "Source", "Warns", "Yields"}
FOREIGN = {
    "double backticks": r"``",
    "a role": r":(?!math:)\w+:`",
    "a field": r"^\s*:(param|type|return|returns|rtype|raises)\b",
    "an underlined section": r"^\s*-{4,}\s*$",
}


def docstrings(source: str) -> list[str]:
    """Those of the module, its classes and its functions."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [doc for node in ast.walk(ast.parse(source)) if isinstance(node, kinds) and (doc := ast.get_docstring(node))]


def faults(doc: str) -> list[str]:
    """What in a docstring is of another dialect."""
    found = [name for name, pattern in FOREIGN.items() if re.search(pattern, doc, re.MULTILINE)]
    sections = re.findall(r"^([A-Z][a-z]+):$", doc, re.MULTILINE)
    return found + [f"the section {name}" for name in sections if name not in SECTIONS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_of_one_dialect(path):
    assert {doc: found for doc in docstrings(path.read_text()) if (found := faults(doc))} == {}


def test_other_dialects_are_found():
    for doc in (
        "See ``x``.",
        "See :class:`Leaky`.",
        "Add.\n\n:param x: a number",
        "Add.\n\nParameters\n----------\nx",
        "Add.\n\nReferences:\n    A paper.",
    ):
        assert faults(doc)
    assert not faults("Add `x`.\n\nArgs:\n    x: a number\n\nSource:\n    A paper.")
