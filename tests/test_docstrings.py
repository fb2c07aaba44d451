"""One dialect of docstrings: Google's sections, and `code` between single backticks."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import snntorch
from snntorch.surrogate import FACTORIES

ROOT = Path(snntorch.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
SECTIONS = {"Args", "Attributes", "Call", "Example", "Raises", "Returns", "Warns", "Yields"}
FOREIGN = {
    "double backticks": r"``",
    "a role": r":(?!math:)\w+:`",
    "a field": r"^\s*:(param|type|return|returns|rtype|raises)\b",
    "an underlined section": r"^\s*-{4,}\s*$",
    "a type in Returns": r"^(Returns|Yields):\n +[^\n`]*(`[^`\n]*`[^\n`]*)*:\s",
    "a quotation, where `::` or `.. math::` is meant": r"\A(?:(?!^\w+:$)[^\n]*\n)*?\S[^\n]*(?<!::)\n\n    (?=\S)",
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
        "Add.\n\nSource:\n    A paper.",
        "Add.\n\nReturns:\n    The sum `a`: a tensor.",
        "Add.\n\n    y = a + b\n\nBoth count.",
    ):
        assert faults(doc)
    assert not faults("Add `x`.\n\nArgs:\n    x: a number\n\nSource: A paper.")
    assert not faults(
        "Add::\n\n    y = a\n\n    z = b\n\n- both\n\nReturns:\n    The sum, `{a: b}`.\n\nExample:\n    1\n\n    2"
    )


PUBLIC = [
    *("snntorch", "snntorch.surrogate", "snntorch.spikegen", "snntorch.spikeplot", "snntorch.backprop"),
    *("snntorch.functional", "snntorch.functional.acc", "snntorch.functional.init", "snntorch.functional.loss"),
    *("snntorch.functional.probe", "snntorch.functional.quant", "snntorch.functional.reg"),
    *("snntorch.functional.stdp_learner", "snntorch.metrics", "snntorch.conversion", "snntorch.models"),
    *("snntorch.utils", "snntorch.export_nir", "snntorch.import_nir"),
]
SHOWN_ELSEWHERE = {
    "snntorch.surrogate.Factory": "a type: what `surrogate_gradient` makes",
    "snntorch.surrogate.CustomSurrogate": "`custom_surrogate` makes it",
}


def public() -> dict[str, object]:
    """Our classes and functions by name, each once: what a package gathers, and what a file defines."""
    found: dict[int, tuple[str, object]] = {}
    for place in PUBLIC:
        module = importlib.import_module(place)
        for name, value in vars(module).items():
            home = getattr(value, "__module__", "") or ""
            ours = home.startswith("snntorch") if hasattr(module, "__path__") else home == place
            if ours and not name.startswith("_") and callable(value):
                found.setdefault(id(value), (f"{place}.{name}", value))
    return dict(found.values())


def test_every_public_object_has_an_example():
    made = {factory.function for factory in FACTORIES.values() if hasattr(factory, "function")}  # see its factory
    missing = {name for name, value in public().items() if value not in made and ">>> " not in (value.__doc__ or "")}
    assert missing == SHOWN_ELSEWHERE.keys()
