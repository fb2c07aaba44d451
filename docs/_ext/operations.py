"""The table in own-neuron.md of what a step may call, made from the engine's: `python docs/_ext/operations.py`."""

import inspect
import re
from pathlib import Path

from snntorch._engine.calls import CALLS
from snntorch._engine.operations import COMPOSED, OPERATIONS, PREDICATES

PAGE = Path(__file__).parent.parent / "own-neuron.md"
OPERATORS = {"and", "or", "not", "invert", "xor", "mod", "truediv"}  # Python's, which have no such name in PyTorch
ROWS = {name: operation for operation, row in OPERATIONS.items() for name in (operation, *row.names)}
del ROWS["float"]  # is of a predicate; a tensor's is a dtype


def kind(name: str) -> str:
    """Under which heading a call stands."""
    if name.startswith("is") or ROWS.get(name) in PREDICATES | {"where"} or "xor" in name:
        return "conditions"
    if name in COMPOSED:
        wanted = inspect.signature(COMPOSED[name]).parameters.values()
        return "of one number" if sum(p.default is p.empty for p in wanted) == 1 else "of several"
    if name in ROWS:
        return "of one number" if OPERATIONS[ROWS[name]].operands == "x" else "of several"
    return "bounds, dtypes, copies"


def table() -> str:
    """In Markdown."""
    names = [name for name in CALLS if name not in OPERATORS]
    kinds = dict.fromkeys(map(kind, names))
    rows = (f"| {heading} | {' '.join(f'`{name}`' for name in names if kind(name) == heading)} |" for heading in kinds)
    return "\n".join(["| | |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    listed = re.compile(r"\| \| \|\n(?:\|.*\n)*\|.*`atan2`.*\n(?:\|.*\n)*")  # the one table that has it
    PAGE.write_text(listed.sub(lambda _: table(), PAGE.read_text()))
