"""Train recipes with several seeds, keep what they reach after each epoch, and make the table of it.

    python benchmarks/accuracy.py fc conv digits --seeds 0 1 2 --data FOLDER
    benchmarks/.peers/snntorch/bin/python benchmarks/accuracy.py fc --seeds 0 --data FOLDER  # the published package
    python benchmarks/accuracy.py fc conv --data FOLDER --time  # how long an epoch takes
    python benchmarks/accuracy.py --table

FOLDER holds MNIST, as `examples/mnist.py` says. A run is rows of `benchmarks/results/accuracy.json`, each in place of
an earlier one of the same recipe, library and seed. Times are taken apart from the runs, on a machine that does nothing
else.
"""

import argparse
import datetime
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import PUBLISHED, ROWS, RUNS, epoch_seconds

RESULT = Path(__file__).resolve().parent / "results" / "accuracy.json"
LIBRARIES = ("ours", "snntorch 1.0.0")
TIMED = ("fc", "conv")
README = ("fc", "conv", "digits", "vowels")


def about(name: str) -> dict[str, Any]:
    """What a row of the result says of itself."""
    versions = {"version": metadata.version("snntorch"), "torch": torch.__version__}
    now = {"threads": torch.get_num_threads(), "date": str(datetime.date.today())}
    return {"recipe": name, "library": LIBRARIES[PUBLISHED]} | versions | now


def keep(kind: str, row: dict) -> None:
    """Put a row into the result, among `runs` or `times`."""
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": [], "times": []}

    def key(row: dict) -> list:
        return [row["recipe"], row["library"], row.get("seed", 0)]

    result[kind] = sorted([row, *(other for other in result[kind] if key(other) != key(row))], key=key)
    lines = {kind: ",\n".join(map(json.dumps, rows)) for kind, rows in result.items()}  # a line for each row
    RESULT.write_text(f'{{"runs": [\n{lines["runs"]}\n], "times": [\n{lines["times"]}\n]}}\n')


def run(name: str, seed: int, folder: Path) -> None:
    """Train with a seed, and keep each epoch at once, so that nothing gets lost."""
    epochs = defaultdict(list)

    def reached(row: str, accuracy: float) -> str:
        epochs[row].append(round(accuracy, 5))
        keep("runs", about(row) | {"seed": seed, "planned": ROWS[row].epochs, "accuracies": epochs[row]})
        return f"{accuracy:.2%}"

    torch.manual_seed(seed)
    RUNS[name](folder, reached)


def table(result: dict[str, list[dict]], names: Iterable[str] = ROWS) -> str:
    """Markdown: rows of these names and libraries with the mean of their seeds, and when it passed the aim."""
    runs, stopped = defaultdict(list), defaultdict(str)
    for row in result["runs"]:
        key = row["recipe"], row["library"]
        runs[key].append(row["accuracies"])
        if len(row["accuracies"]) < row["planned"]:
            stopped[key] += f"; seed {row['seed']} after {len(row['accuracies'])} of {row['planned']} epochs"
    seconds = {(row["recipe"], row["library"]): row["epoch_seconds"] for row in result["times"]}
    lines = ["| recipe | library | seeds | test accuracy | aim | epochs to it | seconds to it |"]
    lines.append("| --- | --- | --: | --: | --: | --: | --: |")
    for name, library in product(names, LIBRARIES):
        if found := runs[name, library]:
            row, last = ROWS[name], np.array([accuracies[-1] for accuracies in found])
            aim = row.aim or 0
            passed = [next((i + 1 for i, a in enumerate(accuracies) if a >= aim), 0) for accuracies in found]
            epochs = np.mean(passed) if all(passed) and row.epochs > 1 else None
            pace = seconds.get((name, library))
            spread = f" ({last.min():.2%} to {last.max():.2%})" if len(found) > 1 else ""
            cells = (
                row.title,
                library,
                f"{len(found)}",
                f"{last.mean():.2%}{spread}{stopped[name, library]}",
                f"{aim:.0%}" if aim else "–",
                f"{epochs:.1f}" if epochs else "–",
                f"{epochs * pace:.0f}" if epochs and pace else "–",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(RUNS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SNNTORCH_MNIST", "mnist")))
    parser.add_argument("--time", action="store_true", help=f"time an epoch of {' or '.join(TIMED)} instead")
    parser.add_argument("--table", action="store_true", help="print what is kept, and the README's rows of it")
    options = parser.parse_args()
    known = TIMED if options.time else tuple(RUNS)
    if unknown := set(options.recipes) - set(known):
        parser.error(f"recipes are {', '.join(known)}, not {', '.join(unknown)}")
    for name in options.recipes:
        if options.time:
            keep("times", about(name) | {"epoch_seconds": round(epoch_seconds(name, options.data), 2)})
        else:
            for seed in options.seeds:
                run(name, seed, options.data)
    if options.table:
        result = json.loads(RESULT.read_text())
        print(table(result), table(result, README), sep="\n\n")


if __name__ == "__main__":
    main()
