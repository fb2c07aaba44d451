"""The GPU benchmark's workloads, at toy size on the CPU; its clock needs a GPU."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"
gpu = runpy.run_path(str(FILE), run_name="gpu")
TOY = {"layer": {"T": 3, "B": 2, "n": 8}, "linear": {"T": 3, "B": 2, "n": 8}, "shd": {"T": 3, "B": 2, "hidden": 8},
       "vgg": {"T": 2, "B": 1, "width": 1}}  # fmt: skip
JOBS = {(build.__name__, impl, dtype, sizes.get("backward", False)): build for _, impl, dtype, build, sizes in
        gpu["jobs"](False)}  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_workloads_run(job):
    name, impl, dtype, backward = job
    sizes = TOY[name] | ({"backward": backward} if name == "layer" else {})
    task = JOBS[job](impl, gpu["DTYPES"][dtype], "cpu", **sizes)
    half = gpu["DTYPES"][dtype] if name == "layer" else torch.float32
    inputs = gpu["rotation"](task, half, 1 << 10, "cpu")
    assert len({x.data_ptr() for x in inputs}) == len(inputs) >= 2
    task.cleanup()
    assert task.step(inputs[0]).isfinite().all() or impl == "copy"
    assert task.bytes > 0
    assert (task.flops > 0) == (name != "layer")


@pytest.mark.parametrize(("build", "n", "bytes", "flops"), [
    ("layer", 512, 49e6, 0), ("layer", 16384, 1.6e9, 0),
    ("linear", 512, 0.167e9, 8.4e9), ("linear", 16384, 8.5e9, 8.6e12),
])  # fmt: skip
def test_bounds_are_those_of_the_docstring(build, n, bytes, flops):
    task = gpu[build]("ours", torch.float32, "meta", n=n)
    assert task.bytes == pytest.approx(bytes, rel=0.03)
    assert task.flops == pytest.approx(flops, rel=0.03)


@pytest.fixture
def first(monkeypatch, tmp_path):
    """`make gpu`, which thinks that there is a GPU, and keeps its results elsewhere."""
    monkeypatch.syspath_prepend(FILE.parent)
    import gpu as clock
    import gpu_first

    (tmp_path / "results").mkdir()
    monkeypatch.setattr(clock, "HERE", tmp_path / "results" / "..")
    monkeypatch.setattr(clock, "environment", lambda: {"device": "No GPU", "date": "today"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["gpu_first.py"])
    return gpu_first


def kept(tmp_path):
    results = tmp_path / "results"
    return json.loads((results / "today-gpu-no-gpu.json").read_text()), (results / "today-gpu-no-gpu.log").read_text()


def test_a_first_run_stops_at_the_first_wrong_number_and_keeps_what_it_found(first, monkeypatch, tmp_path):
    def wrong(device):
        raise AssertionError("3 of 9 values differ")

    ran = []
    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([("a stream", ran.append)]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: iter([("LIF", wrong), ("more", ran.append)]))
    with pytest.raises(AssertionError, match="3 of 9"):
        first.main()
    result, log = kept(tmp_path)
    assert ran == ["cuda"] and "3 of 9 values differ" in result["error"]
    assert "right  a stream" in log and "3 of 9 values differ" in log


def test_a_first_run_leaves_out_what_no_longer_fits(first, monkeypatch, tmp_path):
    monkeypatch.setattr(first.gpu_checks, "native", lambda: iter([]))
    monkeypatch.setattr(first.gpu_checks, "checks", lambda full: iter([("LIF", print), ("more", print)]))
    monkeypatch.setattr(first, "parts", lambda clock, result: [("numbers", lambda: first.numbers(clock))])
    monkeypatch.setattr(sys, "argv", ["gpu_first.py", "--minutes", "0"])
    first.main()
    assert kept(tmp_path)[0]["numbers"] == {"passed": [], "left_out": ["LIF", "more"]}


def test_another_process_imports_this_checkout(first):
    code = "import os, snntorch; print(snntorch.__file__, os.environ['CC'])"
    said = first.other_process([sys.executable, "-c", code], CC="/bin/false")
    assert said.split() == [str(FILE.parents[1] / "src" / "snntorch" / "__init__.py"), "/bin/false"]


@pytest.mark.parametrize("name", ["gpu.py", "gpu_first.py"])
def test_without_a_gpu_it_says_so(name):
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    run = subprocess.run([sys.executable, FILE.with_name(name)], capture_output=True, text=True)
    assert run.returncode != 0
    assert "needs a CUDA GPU" in run.stderr
