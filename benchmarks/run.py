"""Time the registry's workloads in ours and the peers' environments, interleaved, and keep the raw numbers.

    python benchmarks/run.py [--only TEXT] [--quick] [--name NAME] [--rounds N] [--peers FOLDER] [--base REV]

Runs with a Python that has this package's requirements, and measures the checkout that it lies in; makes the peers'
environments in `benchmarks/.peers` at first use. With `--base` another revision of ours takes the peers' place.
Writes `benchmarks/results/<date>-<name>.json`; `benchmarks/report.py` makes the table and the plot from it.
"""

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import ENVIRONMENTS, IMPLEMENTATIONS
from workloads import REGISTRY, Workload

HERE = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
MEMORY = ("Leaky alone, T=100, 64×512", "MLP 784-512-512-10, T=30, B=100, spikes")
MEMORY += tuple(name for name, workload in REGISTRY.items() if workload.group == "memory")
START = "Leaky over T"
ROUNDS, QUICK = 15, 3
BASE = "@base"
GATED = (
    "unmodified",
    "unroll",
    "layerwise",
    "folded",
    "packed",
    "recompute",
)  # held to the published package's results, the base's or our loop's
Rows = Iterator[dict]  # what goes into the result


def environment(name: str, peers: Path) -> str:
    """The Python of a peer's environment, made when it is missing or its recipe changed."""
    package, needs = ENVIRONMENTS[name]
    folder, recipe = peers / name, json.dumps([TORCH, needs, package])
    python, made = folder / "bin" / "python", folder / "recipe.json"
    if not made.exists() or made.read_text() != recipe:
        print(f"making {os.path.relpath(folder)} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        for arguments in ([TORCH], needs, ["--no-deps", package]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)
        made.write_text(recipe)
    return str(python)


@contextlib.contextmanager
def revision(name: str) -> Iterator[dict[str, str]]:
    """The variables of a process that has another revision of ours, with a kernel cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", name, "src"], cwd=HERE.parent, check=True, stdout=subprocess.PIPE)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield {"PYTHONPATH": f"{folder}/src", "SNNTORCH_CACHE_DIR": f"{folder}/cache"}


class Worker:
    """A process of worker.py with a Python; ours has the package of this checkout."""

    def __init__(self, python: str = sys.executable, **variables: str) -> None:
        ours = {"PYTHONPATH": str(HERE.parent / "src")} if python == sys.executable else {}
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ours | variables
        command = [python, str(HERE / "worker.py")]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(command, env=env, text=True, **pipes)

    def ask(self, do: str, **request: Any) -> dict:
        """Send a request and wait for its answer."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline() or '{"error": "the process died"}')
        except BrokenPipeError:
            return {"error": "the process died"}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def gate(reference: Path, ours: Path, kind: str) -> str | None:
    """Why our result is not the published one's, or None.

    Spikes are discontinuous: up to its first differing spike a neuron must agree, and there the published
    membrane must be within rounding of the threshold. In a net a hidden spike may have been the one to flip:
    that is allowed to one sample in ten. Gradients agree to 1e-3 in norm where no spike differs, else 10 %.
    """
    a, b = np.load(reference), np.load(ours)
    x, y = a["out0"], b["out0"]
    if x.shape != y.shape:
        return f"shape {y.shape}, expected {x.shape}"
    if kind == "mean":
        close = abs(x.mean() - y.mean()) < 0.01 * max(x.mean(), 0.01)
        return None if close else f"mean {y.mean():.4g}, expected {x.mean():.4g}"
    if kind == "values" and not np.allclose(x, y, rtol=1e-4, atol=1e-5):
        return f"values differ by up to {np.abs(x - y).max():.3g}"
    differs = x != y
    if kind == "spikes" and differs.any():
        at_threshold = np.abs(a["out1"] - 1) < 1e-5 if "out1" in a else np.zeros_like(differs)
        wrong = differs & (np.cumsum(differs, axis=0) == 1) & ~at_threshold
        samples = wrong.reshape(*x.shape[:2], -1).any(axis=(0, 2))
        if samples.mean() > 0.1:
            return f"spikes differ in {samples.sum()} of {samples.size} samples"
    tolerance = 0.1 if kind == "spikes" and differs.any() else 1e-3
    for name in sorted(set(a.files) & set(b.files)):
        if name.startswith("grad"):
            error = np.linalg.norm(a[name] - b[name]) / max(np.linalg.norm(a[name]), 1e-12)
            if not error <= tolerance:
                return f"{name} differs by {error:.3g} of its norm"
    return None


def sizes_of(workload: Workload, quick: bool) -> list[dict]:
    """The sizes to replace, one dict for each row of the workload."""
    if not workload.scan:
        return [{}]
    ((key, values),) = workload.scan.items()
    values = [v for v in values if key != "threads" or v <= (os.cpu_count() or 1)]
    return [{key: v} for v in ((values[0], values[-1]) if quick else values)]


def lanes(workload: Workload, workers: dict[str, Worker]) -> dict[str, tuple[Worker, str]]:
    """What is timed: a name, the process, the implementation. A base has the same ones of ours as we."""
    found = {}
    for impl in workload.impls:
        home = IMPLEMENTATIONS[impl].environment
        if home in workers:
            found[impl] = workers[home], impl
        if home == "ours" and "base" in workers and "floor" not in impl:
            found[f"{impl}{BASE}"] = workers["base"], impl
    return found


def gated(workers: dict[str, Worker], workload: Workload, sizes: dict) -> dict[str, dict]:
    """For each implementation the mean of its first output, and why it may not be timed."""
    verdicts = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {lane: Path(folder) / f"{lane}.npz" for lane in lanes(workload, workers)}
        for lane, (worker, impl) in lanes(workload, workers).items():
            request = dict(workload=workload.name, impl=impl, sizes=sizes, path=str(paths[lane]))
            verdicts[lane] = worker.ask("check", **request)
        for lane, path in paths.items():
            reference = paths.get("snntorch", paths.get(lane + BASE, paths.get("unmodified")))
            if lane in GATED and reference and reference.exists() and path.exists():
                if fault := gate(reference, path, workload.gate):
                    verdicts[lane]["error"] = f"gate: {fault}"
    return verdicts


def rows(workers: dict[str, Worker], workload: Workload, rounds: int, quick: bool, threads: int) -> Rows:
    """Gate a workload, then time its implementations round by round, A B C A B C."""
    verdicts: dict[str, dict] = {}
    for sizes in sizes_of(workload, quick):
        verdicts = verdicts or gated(workers, workload, sizes)
        errors = {impl: verdict["error"] for impl, verdict in verdicts.items() if "error" in verdict}
        steps, seconds = {}, {}
        timed = {lane: found for lane, found in lanes(workload, workers).items() if lane not in errors}
        request = dict(workload=workload.name, sizes=sizes, threads=sizes.get("threads", threads))
        for lane, (worker, impl) in timed.items():
            answer = worker.ask("build", impl=impl, **request)
            if "error" in answer:
                errors[lane] = answer["error"]
            else:
                steps[lane], seconds[lane] = answer["steps"], []
        for _ in range(rounds):
            for lane, n in steps.items():
                worker, impl = timed[lane]
                answer = worker.ask("measure", workload=workload.name, impl=impl, steps=n)
                seconds[lane].append(answer.get("seconds", float("nan")))
        for worker in workers.values():
            worker.ask("drop")
        numbers = {key: value for key, value in workload.sizes.items() if type(value) is int}
        yield dict(
            workload=workload.name,
            group=workload.group,
            scan=list(workload.scan),
            sizes=numbers | {"threads": threads} | sizes,
            seconds=seconds,
            output_mean={impl: verdict["mean"] for impl, verdict in verdicts.items() if "mean" in verdict},
            errors=errors,
        )


def memory(name: str, pythons: dict[str, str]) -> Rows:
    """Peak memory and bytes kept for backward, each in a fresh process."""
    for impl in REGISTRY[name].impls:
        with Worker(pythons[IMPLEMENTATIONS[impl].environment]) as worker:
            yield dict(workload=name, impl=impl, **worker.ask("memory", workload=name, impl=impl, sizes={}))


def starts(name: str, pythons: dict[str, str]) -> Rows:
    """Import to first result in fresh processes: with an empty kernel cache, then with the filled one."""
    for impl in REGISTRY[name].impls:
        home = IMPLEMENTATIONS[impl].environment
        for steps in (100, 800):
            with tempfile.TemporaryDirectory() as cache:
                for filled in (False, True) if home == "ours" else (False,):
                    with Worker(pythons[home], SNNTORCH_CACHE_DIR=cache) as worker:
                        request = dict(sizes={"T": steps}, reshaped={"T": steps // 2, "B": 24})
                        answer = worker.ask("start", workload=name, impl=impl, **request)
                        yield dict(workload=name, impl=impl, T=steps, cache_filled=filled, **answer)


def machine(workers: dict[str, Worker]) -> dict:
    """The machine by its parts and the software; no names, no paths."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0].split(": ")[1] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30),
        "system": platform.system(),
        "software": {name: worker.ask("about") for name, worker in workers.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        help="workloads that have one of these in name, group or implementations",
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds and the ends of each scan")
    parser.add_argument("--rounds", type=int, help=f"rounds of interleaved measurements (default {ROUNDS})")
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", help="where the peers' environments are or go")
    parser.add_argument("--base", metavar="REV", help="compare with this revision of ours, and with no peer")
    parser.add_argument("--name", default="cpu", help="the result's name")
    options = parser.parse_args()
    rounds = options.rounds or (QUICK if options.quick else ROUNDS)
    date = datetime.date.today().isoformat()
    path = HERE / "results" / f"{date}-{options.name}.json"
    path.parent.mkdir(exist_ok=True)

    def wanted(*texts: str) -> bool:
        return any(only.lower() in text.lower() for only in options.only for text in texts)

    chosen = [w for w in REGISTRY.values() if wanted(w.name, w.group, *w.impls)]
    describe = ["git", "rev-parse", "--short", options.base]
    base = subprocess.check_output(describe, cwd=HERE, text=True).strip() if options.base else None
    with contextlib.ExitStack() as stack:
        pythons = {"ours": sys.executable}
        if not options.base:
            fresh = [*(MEMORY if wanted("memory") else ()), *([START] if wanted("start") else ())]
            homes = {
                IMPLEMENTATIONS[impl].environment for w in (*chosen, *(REGISTRY[n] for n in fresh)) for impl in w.impls
            }
            pythons |= {name: environment(name, options.peers) for name in ENVIRONMENTS if name in homes}
        workers = {name: stack.enter_context(Worker(python)) for name, python in pythons.items()}
        if options.base:
            workers["base"] = stack.enter_context(Worker(**stack.enter_context(revision(options.base))))
        result: dict[str, Any] = dict(date=date, rounds=rounds, base=base, machine=machine(workers), rows=[])
        threads = result["machine"]["software"]["ours"]["threads"]
        for workload in chosen:
            for row in rows(workers, workload, rounds, options.quick, threads):
                result["rows"].append(row)
                times = {impl: f"{1e3 * np.median(s):.3g} ms" for impl, s in row["seconds"].items()}
                print(row["workload"], row["sizes"], times, row["errors"] or "", flush=True)
    alone = not options.base  # memory and start are of fresh processes, which a base does not have
    result["memory"] = [line for name in MEMORY if alone and wanted("memory") for line in memory(name, pythons)]
    result["start"] = list(starts(START, pythons)) if alone and wanted("start") else []
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
