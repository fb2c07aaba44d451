"""The GPU benchmark's workloads, at toy size on the CPU; its clock needs a GPU."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"
sys.path.insert(0, str(FILE.parent))  # beside which it imports
gpu = runpy.run_path(str(FILE), run_name="gpu")
sys.path.remove(str(FILE.parent))
TOY = {"layer": {"T": 3, "B": 2, "n": 8}, "linear": {"T": 3, "B": 2, "n": 8}, "shd": {"T": 3, "B": 2, "hidden": 8},
       "vgg": {"T": 2, "B": 1, "width": 1}, "written": {"T": 2, "B": 2}}  # fmt: skip
JOBS = {(build.__name__, impl, dtype, sizes.get("backward", False), sizes.get("net", "")): build
        for _, impl, dtype, build, sizes in gpu["jobs"](False)}  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_workloads_run(job):
    name, impl, dtype, backward, net = job
    sizes = TOY[name] | ({"backward": backward} if name == "layer" else {"net": net} if net else {})
    task = JOBS[job](impl, gpu["DTYPES"][dtype], "cpu", **sizes)
    half = gpu["DTYPES"][dtype] if name == "layer" else torch.float32
    inputs = gpu["rotation"](task, half, 1 << 10, "cpu")
    assert len({x.data_ptr() for x in inputs}) == len(inputs) >= 2
    task.cleanup()
    assert task.step(inputs[0]).isfinite().all() or impl == "copy"
    assert (task.bytes > 0) == (name != "written")
    assert (task.flops > 0) == (name not in ("layer", "written"))


@pytest.mark.parametrize(("build", "n", "bytes", "flops"), [
    ("layer", 512, 49e6, 0), ("layer", 16384, 1.6e9, 0),
    ("linear", 512, 0.167e9, 8.4e9), ("linear", 16384, 8.5e9, 8.6e12),
])  # fmt: skip
def test_bounds_are_those_of_the_docstring(build, n, bytes, flops):
    task = gpu[build]("ours", torch.float32, "meta", n=n)
    assert task.bytes == pytest.approx(bytes, rel=0.03)
    assert task.flops == pytest.approx(flops, rel=0.03)


def test_the_page_of_benchmarks_shows_what_is_kept():
    page = (FILE.parents[1] / "docs" / "benchmarks.md").read_text()
    (name,) = set(re.findall(r"benchmarks/results/[\w-]+-gpu-[\w-]+\.json", page))
    result = json.loads((FILE.parents[1] / name).read_text())
    assert gpu["table"](result["rows"]) in page
    assert f"the {len(result['numbers']['passed'])} for which there was time" in page
    assert not result["numbers"]["failed"]


@pytest.fixture
def first(monkeypatch, tmp_path):
    """`make gpu`, which takes the CPU for a GPU, and keeps its results elsewhere."""
    monkeypatch.syspath_prepend(FILE.parent)
    import gpu as clock
    import gpu_first

    def event(**_):
        return SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda other: 2.0)

    monkeypatch.setattr(clock, "DEVICE", "cpu")
    monkeypatch.setattr(clock, "environment", lambda: {"device": "No GPU", "date": "today"})
    for name, value in {
        "is_available": lambda: True, "synchronize": lambda: None, "_sleep": lambda cycles: None, "Event": event,
        "get_device_properties": lambda device: SimpleNamespace(L2_cache_size=1024),
        "reset_peak_memory_stats": lambda: None, "max_memory_allocated": lambda: 0,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(sys, "argv", ["gpu_first.py", "--out", str(tmp_path)])
    return gpu_first


def kept(tmp_path):
    return json.loads((tmp_path / "today-gpu-no-gpu.json").read_text()), (tmp_path / "today-gpu-no-gpu.log").read_text()


def test_a_first_run_keeps_what_every_part_finds(first, monkeypatch, tmp_path):
    """All of it but what a GPU alone has: graphs, a profile of its kernels, its memory checker."""
    checks = dict(first.gpu_checks.checks(full=False))
    few = [name for name in checks if "N=65, T=17" in name or "recurrent" in name]
    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([("autocast", first.gpu_checks.autocast)]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: ((name, checks[name]) for name in few))
    monkeypatch.setattr(first.gpu_checks, "graphed", lambda step: step)
    monkeypatch.setattr(first, "recurrent_net", partial(first.recurrent_net, repeat=2, steps=3))
    monkeypatch.setattr(first, "kernels_launched", lambda call: [call()][1:])
    monkeypatch.setattr(first.shutil, "which", lambda tool: None)
    monkeypatch.setattr(first.importlib.util, "find_spec", lambda name: name)  # a peer that is there, and breaks
    monkeypatch.setattr(first.gpu, "measured_bounds", lambda *args: dict.fromkeys(BOUNDS, 1e9))
    monkeypatch.setattr(first.gpu, "LAYERS", {"LIF": (first.gpu.layer, TOY["layer"])})
    monkeypatch.setattr(first.gpu, "LOOPS", {})
    monkeypatch.setattr(first.gpu, "NETS", {name: (getattr(first.gpu, name), TOY[name]) for name in ("linear", "shd")})
    first.main()
    result, log = kept(tmp_path)
    assert "error" not in result and "-- rows" in log
    assert len(result["numbers"]["passed"]) == len(few) + 1 > 5
    assert result["without_compiler"] == {"warned": False, "said": "done\n"}  # a kernel of the CPU's
    assert "left_out" in result["memory_checker"] and "left_out" in result["launches"]
    assert result["recurrent"] == {"eager": 2e-3, "graph": 2e-3}
    by_peer = [row for row in result["rows"] if row["impl"] == "spikingjelly"]
    assert [row for row in result["rows"] if "error" in row] == by_peer != []
    assert all(row["of_bound"] > 0 for row in result["rows"] if row["impl"] in ("ours", "copy"))


BOUNDS = ("copy_bytes_per_second", "fp32_operations_per_second", "bf16_operations_per_second")


def test_a_first_run_stops_at_the_first_wrong_number_and_keeps_what_it_found(first, monkeypatch, tmp_path):
    def wrong(device):
        raise AssertionError("3 of 9 values differ")

    ran = []
    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([("a stream", ran.append)]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: iter([("LIF", wrong)]))
    monkeypatch.setattr(first, "without_compiler", lambda: ran.append("more"))
    with pytest.raises(AssertionError, match="3 of 9"):
        first.main()
    result, log = kept(tmp_path)
    assert ran == ["cpu"] and "3 of 9 values differ" in result["error"]
    assert "right  a stream" in log and "WRONG  LIF" in log and "3 of 9 values differ" in log


def test_a_first_run_goes_on_where_something_else_fails_and_ends_with_its_name(first, monkeypatch, tmp_path):
    def broken(*args):
        raise OSError("no such compiler")

    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([("compiled", broken), ("a stream", print)]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: iter([]))
    for name in ("memory_checker", "recurrent_net"):
        monkeypatch.setattr(first, name, broken)
    for name in ("without_compiler", "launches", "rows"):
        monkeypatch.setattr(first, name, lambda *args: "ran")
    monkeypatch.setattr(first.gpu, "measured_bounds", lambda *args: {})
    with pytest.raises(SystemExit, match="numbers, memory_checker, recurrent"):
        first.main()
    result, _ = kept(tmp_path)
    assert result["numbers"]["passed"] == ["a stream"] and "OSError" in result["numbers"]["failed"]["compiled"]
    assert "no such compiler" in result["recurrent"]["failed"] and result["rows"] == "ran"


def test_a_first_run_without_a_compiler_says_so_and_stops(first, monkeypatch, tmp_path):
    monkeypatch.setattr(first, "lacking", lambda device: "Triton can't compile a kernel here")
    with pytest.raises(SystemExit, match="can't compile"):
        first.main()
    assert "can't compile" in kept(tmp_path)[0]["error"]


def test_a_first_run_leaves_out_what_no_longer_fits(first, monkeypatch, tmp_path):
    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: iter([("LIF", print), ("more", print)]))
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--minutes", "0", "--parts", "numbers"])
    first.main()
    assert sorted(kept(tmp_path)[0]["numbers"]["left_out"]) == ["LIF", "more"]


def test_parts_of_a_first_run_add_to_what_the_day_has(first, monkeypatch, tmp_path):
    (tmp_path / "today-gpu-no-gpu.json").write_text('{"numbers": 3, "launches": 4, "error": "lost"}')
    monkeypatch.setattr(first, "launches", lambda: 5)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--parts", "launches"])
    first.main()
    assert kept(tmp_path)[0] == {"device": "No GPU", "date": "today", "numbers": 3, "launches": 5}


@pytest.mark.parametrize(("said", "found"), [
    ("done\nERROR SUMMARY: 0 errors", {"errors": 0}), ("unsupported driver", {"left_out": "unsupported driver"}),
    ("done\nERROR SUMMARY: 2 errors", None),
])  # fmt: skip
def test_what_the_memory_checker_says(first, monkeypatch, said, found):
    monkeypatch.setattr(first.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(first, "small_run", lambda *args: said)
    with nullcontext() if found else pytest.raises(AssertionError, match="2 errors"):
        assert first.memory_checker() == found


def test_another_process_imports_this_checkout_and_ends(first, monkeypatch):
    code = "import os, snntorch; print(snntorch.__file__, os.environ['CC'])"
    said = first.other_process([sys.executable, "-c", code], CC="/bin/false")
    assert said.split() == [str(FILE.parents[1] / "src" / "snntorch" / "__init__.py"), "/bin/false"]
    monkeypatch.setattr(first, "LIMIT", 0.1)
    assert first.other_process([sys.executable, "-c", "import time; time.sleep(9)"]) == "no end after 0.1 s"


BARE = """\
import sys
for name in ("numpy", "numba", "llvmlite", "matplotlib", "pytest"):
    sys.modules[name] = None
import warnings
warnings.simplefilter("ignore")  # PyTorch's, of NumPy
import gpu_first, torch, snntorch as snn
from snntorch._engine import gpu
with snn.backend("eager"):
    gpu_first.gpu_checks.train(gpu_first.gpu_checks.small_net("cpu"), torch.rand(3, 2, 32))
    str(snn.explain(gpu_first.gpu_checks.small_net("cpu"), torch.rand(3, 2, 32)))
gpu._load(gpu._HEADER.format(real="float32") + gpu._PROBE)
gpu_first.main()
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_it_needs_pytorch_and_triton_alone_and_a_gpu():
    path = os.pathsep.join(str(FILE.parents[1] / folder) for folder in ("src", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", BARE], env=environment, capture_output=True, text=True)
    assert run.returncode != 0
    assert "needs a CUDA GPU" in run.stderr.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_without_a_gpu_the_clock_says_so():
    run = subprocess.run([sys.executable, FILE], capture_output=True, text=True)
    assert run.returncode != 0
    assert "needs a CUDA GPU" in run.stderr
