"""What `make wheel` built: the right files, and a package that works where nothing else is installed.

With `--torch` and `--tests` it is tested there, beside another PyTorch than the one that `make` installs.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
AT_HOME = (".ci/", ".github/", ".gitignore", ".pre-commit-config.yaml")  # of the repository, not of the package
NEEDS = ("pytest>=8", "hypothesis>=6.100", "matplotlib>=3.8", "nir>=1.0.4")  # of the tests, and of the doctests
USE = """
import sys
import torch
import snntorch as snn
from snntorch import backprop, conversion, functional, metrics, spikegen, utils

assert "site-packages" in snn.__file__, snn.__file__
assert not {"numba", "matplotlib", "nir"} & set(sys.modules)
net = torch.nn.Sequential(torch.nn.Linear(8, 4), snn.Leaky(beta=0.9, init_hidden=True))
with snn.backend("fused"):
    spikes = snn.unroll(net, spikegen.rate(torch.rand(2, 8), num_steps=10))
functional.ce_rate_loss()(spikes, torch.tensor([0, 1])).backward()
assert spikes.shape == (10, 2, 4) and net[0].weight.grad.isfinite().all()
print("snntorch", snn.__version__, "works")
"""


def tracked() -> set[str]:
    """The repository's files."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def in_wheel(wheel: Path) -> set[str]:
    """The files of the package, beside what describes it."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def dead_links(wheel: Path) -> list[str]:
    """Links of the description that lead nowhere on a package index."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        description = archive.read(name).decode().partition("\n\n")[2]
    assert "# snntorch" in description
    return re.findall(r"\]\((?!https?:)[^)]*\)", description)


def in_sdist(sdist: Path) -> set[str]:
    """Its files, beside what describes them."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    return names - {"PKG-INFO"}


def used(wheel: Path, torch: str | None, tests: list[str]) -> None:
    """Install the wheel into an empty environment, use it there, and run tests there."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = str(Path(place) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
        version = [f"torch=={torch}"] if torch else ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*install, *version, str(wheel)], check=True)
        subprocess.run([python, "-I", "-W", "error", "-c", USE], cwd=place, check=True)
        if tests:
            subprocess.run([*install, *NEEDS], check=True)
            settings = ["-c", "pyproject.toml", "--rootdir", ".", "-p", "no:cacheprovider"]
            subprocess.run([python, "-m", "pytest", *settings, *tests], cwd=ROOT, check=True)


def main() -> None:
    """Check the one wheel and the one sdist of a directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--contents", action="store_true", help="do not install the wheel")
    parser.add_argument("--torch", help="the version to install it with; that of constraints.txt if not given")
    parser.add_argument("--tests", nargs=argparse.REMAINDER, default=[], help="last: what pytest is to run there")
    options = parser.parse_args()
    (wheel,), (sdist,) = options.directory.glob("*.whl"), options.directory.glob("*.tar.gz")
    files = tracked()
    package = {name.removeprefix("src/") for name in files if name.startswith("src/")}
    rest = {name for name in files if not name.startswith(AT_HOME)} | {".gitignore"}  # which hatchling adds
    for found, wanted in ((in_wheel(wheel), package), (in_sdist(sdist), rest)):
        if found != wanted:
            sys.exit(f"missing: {sorted(wanted - found)}; too many: {sorted(found - wanted)}")
    if dead := dead_links(wheel):
        sys.exit(f"the description links into the repository: {dead}")
    if not options.contents:
        used(wheel, options.torch, options.tests)


if __name__ == "__main__":
    main()
