"""The checks of `benchmarks/gpu_checks.py`: all on a GPU where there is one, a few of each kind by the CPU's kernels.

`test_triton.py` runs this file by Triton's interpreter too.
"""

import runpy
from pathlib import Path

import pytest
import torch

GPU = torch.cuda.is_available()
FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_checks.py"
MODULE = runpy.run_path(str(FILE), run_name="gpu_checks")
CHECKS = dict(MODULE["checks"](full=GPU))
NATIVE = dict(MODULE["native"]()) if GPU else {}


@pytest.mark.parametrize("name", CHECKS)
def test_kernels_equal_eager(name):
    CHECKS[name]("cuda" if GPU else "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not GPU, reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", NATIVE)
def test_on_a_gpu(name):
    NATIVE[name]("cuda")
