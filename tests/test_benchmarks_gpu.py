"""The GPU benchmark's workloads, at toy size on the CPU; its clock needs a GPU."""

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


def test_without_a_gpu_it_says_so():
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    run = subprocess.run([sys.executable, FILE, "--quick"], capture_output=True, text=True)
    assert run.returncode != 0
    assert "needs a CUDA GPU" in run.stderr
