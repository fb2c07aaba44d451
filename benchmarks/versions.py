"""Run the tests under other versions of Python and PyTorch, and keep what came out.

    python benchmarks/versions.py [PYTHON=TORCH ...] [--tests PATH ...] [--keep]

Each row is an environment of its own in `benchmarks/.versions`, made when it is missing and removed after the run
(a build of PyTorch for GPUs takes several GB) unless it is to be kept. Needs `python3.X` of each row on the path.
Writes `benchmarks/results/versions.json`, where a row replaces the earlier one of the same versions and tests.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "versions.json"
ROWS = [
    "3.10=2.4.1",
    "3.11=2.8.0",
    "3.10=2.11.0",
    "3.11=2.11.0",
    "3.11=2.12.1",
    "3.11=2.13.0",
    "3.11=2.14.1",
    "3.12=2.13.0",
    "3.13=2.13.0",
]
NEEDS = ["numpy>=1.26", "numba>=0.61", "pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100", "matplotlib>=3.8"]
NEEDS += ["tqdm", "scikit-learn"]
# What needs no more than these; the rest tests examples, documents and readers of other libraries' files.
TESTS = [
    "tests/_engine", "tests/_neurons", "tests/_time", "tests/backprop", "tests/functional", "tests/test_conversion.py",
    "tests/test_layers.py", "tests/test_spikegen.py", "tests/test_surrogate.py", "tests/test_utils.py",
]  # fmt: skip
SAY = "import json, torch, numba, numpy; print(json.dumps([torch.__version__, numba.__version__, numpy.__version__]))"


def environment(folder: Path, python: str, torch: str) -> Path:
    """The Python of an environment, made when it is missing."""
    found, made = folder / "bin" / "python", folder / "made"
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([f"python{python}", "-m", "venv", folder], check=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", f"torch=={torch}", *NEEDS], check=True)
        made.touch()
    return found


def tested(python: Path, tests: list[str]) -> dict:
    """The counts of a run of the tests, and the names of those that failed with the first line of why."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        variables = {**os.environ, "PYTHONPATH": str(HERE.parent / "src"), "OMP_NUM_THREADS": "1"}
        command = [python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        subprocess.run(command, cwd=HERE.parent, env=variables, stdout=subprocess.DEVNULL, check=False)
        suite = next(ElementTree.parse(report).iter("testsuite"))
    failures = {}
    for case in suite.iter("testcase"):
        for bad in (*case.findall("failure"), *case.findall("error")):
            failures[f"{case.get('classname')}.{case.get('name')}"] = (bad.get("message") or "").split("\n")[0][:200]
    total, failed, errors, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped"))
    passed = total - failed - errors - skipped
    seconds = round(float(suite.get("time", 0)))
    return {"passed": passed, "failed": failed + errors, "skipped": skipped, "seconds": seconds, "failures": failures}


def main() -> None:
    """Run the rows one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="PYTHON=TORCH")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    given = parser.parse_args()
    for row in given.rows:
        version, torch = row.split("=")
        folder = HERE / ".versions" / f"{version}-{torch}"
        try:
            python = environment(folder, version, torch)
            said = subprocess.run([python, "-c", SAY], capture_output=True, text=True, check=True)
            versions = dict(zip(("torch", "numba", "numpy"), json.loads(said.stdout), strict=True))
            row = {"python": version, **versions, "tests": given.tests, **tested(python, given.tests)}
        except (OSError, subprocess.CalledProcessError) as error:  # a version that is not to be had: the others go on
            print(f"Python {version}, torch {torch}: {error}", file=sys.stderr)
            continue
        finally:
            if not given.keep:
                shutil.rmtree(folder, ignore_errors=True)
        print(
            f"Python {version}, torch {versions['torch']}: {row['passed']} passed, {row['failed']} failed", flush=True
        )
        keep({"date": str(datetime.date.today()), "system": platform.platform(), **row})


def keep(row: dict) -> None:
    """Put a row into the result, in place of the earlier one of the same versions and tests."""

    def same(other: dict) -> bool:
        return all(other[name] == row[name] for name in ("python", "torch", "tests"))

    rows = json.loads(RESULT.read_text()) if RESULT.exists() else []
    rows = sorted([other for other in rows if not same(other)] + [row], key=lambda r: (r["torch"], r["python"]))
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
