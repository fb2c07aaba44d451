"""The checks of `benchmarks/gpu_checks.py`: all on a GPU where there is one, a few of each kind by the CPU's kernels.

`test_triton.py` runs this file by Triton's interpreter too.
"""

import contextlib
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import snntorch as snn

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


def test_the_recipe_for_cuda_graphs_trains(monkeypatch):
    """As it stands in the documents; without a GPU its capture is a step, and a replay one more."""
    document = FILE.parents[1] / "docs" / "speed.md"
    (recipe,) = re.findall(r"## CUDA graphs\n.*?```py\n(.*?)```", document.read_text(), re.DOTALL)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), snn.RLeaky(0.9, linear_features=8, init_hidden=True, threshold=0.1))
    images, labels = torch.rand(5, 3, 4), torch.tensor([0, 3, 7])
    names = {"net": net, "first_images": images, "first_labels": labels, "batches": [(images, labels)] * 16}
    names |= {"torch": torch, "nn": nn, "snn": snn}

    def loss():
        snn.utils.reset(net)
        device = next(net.parameters()).device
        return nn.functional.cross_entropy(snn.unroll(net, images.to(device)).sum(0), labels.to(device)).item()

    before = loss()
    if not GPU:
        stream = SimpleNamespace(wait_stream=lambda other: None)
        graph = SimpleNamespace(replay=lambda: names["train"]())
        standing = {"Stream": lambda: stream, "current_stream": lambda: stream, "CUDAGraph": lambda: graph,
                    "stream": contextlib.nullcontext, "graph": contextlib.nullcontext}  # fmt: skip
        for name, value in standing.items():
            monkeypatch.setattr(torch.cuda, name, value)
        for kind in (torch.Tensor, nn.Module):
            monkeypatch.setattr(kind, "cuda", lambda self: self)
        recipe = recipe.replace(", capturable=True", "")
    exec(recipe, names)
    assert loss() < before - 0.1
