"""Train the examples' recipes with several seeds, keep what they reach and when, and make the table of it.

    python benchmarks/accuracy.py fc conv digits --seeds 0 1 2 --data FOLDER
    benchmarks/.peers/snntorch/bin/python benchmarks/accuracy.py fc --seeds 0 --data FOLDER  # the published package
    python benchmarks/accuracy.py --table

FOLDER holds MNIST, as `examples/mnist.py` says. Each run is a row of `benchmarks/results/accuracy.json`, in place of an
earlier one of the same recipe, library and seed. Training is timed in seconds, and in seconds of cores, which other
processes lengthen less; testing is not.
"""

import argparse
import datetime
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import metadata
from itertools import product
from pathlib import Path

import numpy as np
import torch

import snntorch as snn
import snntorch.utils  # the published package does not import it by itself

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "accuracy.json"
PUBLISHED = not hasattr(snn, "unroll")
if PUBLISHED:  # it has the loop only
    snn.unroll = lambda net, x, num_steps: torch.stack([net(x) for _ in range(num_steps)])
    snn.layerwise = lambda net: net

sys.path.insert(0, str(HERE.parent / "examples"))
import digits  # noqa: E402
import mnist  # noqa: E402

TITLES = {
    "fc": "MNIST, 784-1000-10, T=25",
    "conv": "MNIST, 12C5-P2-64C5-P2-10, T=10",
    "digits": "digits of scikit-learn, 64-128-10, T=25",
}
AIMS = {"fc": 0.98, "conv": 0.99, "digits": 0.97}
PLANNED = {name: recipe.epochs for name, recipe in mnist.RECIPES.items()} | {"digits": digits.EPOCHS}
LIBRARIES = ("ours", "snntorch 1.0.0")


class Course:
    """Test accuracy after each epoch, and the training time until then; kept at once, so that nothing gets lost."""

    def __init__(self, test: Callable[[], float], kept: Callable[[list[dict]], None]) -> None:
        self.test, self.kept, self.epochs = test, kept, []
        self.spent, self.began = np.zeros(2), self.clocks()

    @staticmethod
    def clocks() -> np.ndarray:
        """Seconds, and seconds of cores."""
        return np.array([time.perf_counter(), time.process_time()])

    def __call__(self) -> str:
        """Take the time, test, go on."""
        self.spent += self.clocks() - self.began
        seconds, cores = self.spent.round(2).tolist()
        self.epochs.append({"seconds": seconds, "core_seconds": cores, "accuracy": self.test()})
        self.kept(self.epochs)
        self.began = self.clocks()
        return f"{self.epochs[-1]['accuracy']:.2%}"


def run(name: str, seed: int, folder: Path, kept: Callable[[list[dict]], None]) -> None:
    """Train a recipe once; `kept` gets what all epochs so far reached."""
    if name == "digits":
        train_x, test_x, train_y, test_y = digits.load_data()
        torch.manual_seed(seed)
        net = digits.build_net()
        digits.train(net, train_x, train_y, after=Course(lambda: digits.accuracy(net, test_x, test_y), kept))
        return
    recipe = mnist.RECIPES[name]
    train_x, test_x, train_y, test_y = mnist.load_data(folder)
    torch.manual_seed(seed)
    net = snn.layerwise(recipe.net())
    after = Course(lambda: mnist.accuracy(net, test_x, test_y), kept)
    mnist.train(net, recipe, train_x, train_y, after=after)


def keep(row: dict) -> None:
    """Put a row into the result."""
    key = ("recipe", "library", "seed")
    rows = json.loads(RESULT.read_text()) if RESULT.exists() else []
    rows = [other for other in rows if any(other[k] != row[k] for k in key)] + [row]
    RESULT.write_text(json.dumps(sorted(rows, key=lambda r: [r[k] for k in key]), indent=1) + "\n")


def table(rows: list[dict]) -> str:
    """Markdown: each recipe and library with the mean of its seeds, and when it passed the aim."""
    runs, stopped = defaultdict(list), defaultdict(str)
    for row in rows:
        runs[row["recipe"], row["library"]].append(row["epochs"])
        if len(row["epochs"]) < row["planned"]:
            stopped[row["recipe"], row["library"]] += f"; seed {row['seed']} after {len(row['epochs'])} of "
            stopped[row["recipe"], row["library"]] += f"{row['planned']} epochs"
    lines = ["| recipe | library | seeds | test accuracy | aim | core seconds to it | to the end |"]
    lines.append("| --- | --- | --: | --: | --: | --: | --: |")
    for name, library in product(TITLES, LIBRARIES):
        if found := runs[name, library]:
            reached = np.array([epochs[-1]["accuracy"] for epochs in found])
            passed = [[e["core_seconds"] for e in epochs if e["accuracy"] >= AIMS[name]] for epochs in found]
            until = f"{np.mean([seconds[0] for seconds in passed]):.0f}" if all(passed) else "–"
            end = f"{np.mean([epochs[-1]['core_seconds'] for epochs in found]):.0f}"
            spread = f" ({reached.min():.2%} to {reached.max():.2%})" if len(found) > 1 else ""
            accuracy = f"{reached.mean():.2%}{spread}{stopped[name, library]}"
            cells = (TITLES[name], library, f"{len(found)}", accuracy, f"{AIMS[name]:.0%}", until, end)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(TITLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SNNTORCH_MNIST", "mnist")))
    parser.add_argument("--table", action="store_true", help="print the table of what is kept")
    options = parser.parse_args()
    if unknown := set(options.recipes) - TITLES.keys():
        parser.error(f"recipes are {', '.join(TITLES)}, not {', '.join(unknown)}")
    for name in options.recipes:
        for seed in options.seeds:
            row = {"recipe": name, "library": LIBRARIES[PUBLISHED], "seed": seed}
            row |= {"version": metadata.version("snntorch"), "torch": torch.__version__}
            row |= {"threads": torch.get_num_threads(), "date": str(datetime.date.today()), "planned": PLANNED[name]}
            run(name, seed, options.data, lambda epochs, row=row: keep(row | {"epochs": epochs}))
    if options.table:
        print(table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
