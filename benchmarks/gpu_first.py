"""The whole first run on a GPU in one command: right, then fast. `make gpu`, or `python benchmarks/gpu_first.py`.

    python benchmarks/gpu_first.py [--minutes 20]

It needs Python, PyTorch with CUDA and this checkout, no installation. It stops at the first wrong number, and leaves
one JSON file in `benchmarks/results` and a log beside it: the environment; the checks of `gpu_checks.py`; the memory
checker's verdict, where `compute-sanitizer` is installed; what happens without a C compiler; how many kernels a layer
launches; a recurrent net, eager and as a CUDA graph; and the measurements of `gpu.py`, beside SpikingJelly's neuron
where that can be imported. What no longer fits the time is named as left out.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
sys.path[:0] = [str(SOURCE), str(HERE)]

import gpu  # noqa: E402
import gpu_checks  # noqa: E402
import torch  # noqa: E402  after the path to this checkout
from torch import Tensor  # noqa: E402

import snntorch as snn  # noqa: E402

SMALL = """\
import torch, snntorch as snn
x = torch.rand(17, 3, 65, device="cuda", requires_grad=True)
snn.unroll(snn.Leaky(0.9, init_hidden=True), x).sum().backward()
torch.cuda.synchronize()
print("done")
"""


class Both(io.TextIOBase):
    """Writes to the terminal and to the log."""

    def __init__(self, *files: TextIO) -> None:
        self.files = files

    def write(self, text: str) -> int:
        """To each file."""
        for file in self.files:
            file.write(text)
            file.flush()
        return len(text)


class Clock:
    """Counts seconds from its making."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> bool:
        """Whether there is time for more."""
        return time.monotonic() < self.end

    def while_left(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items, until the time is over."""
        for item in items:
            yield item
            if not self.left():
                print("no time for the rest")
                return


def numbers(clock: Clock) -> dict[str, Any]:
    """All checks; the first that fails ends the run."""
    passed, left_out = [], []
    for name, check in [*gpu_checks.native(), *gpu_checks.checks(full=True)]:
        if not clock.left():
            left_out.append(name)
            continue
        begun = time.perf_counter()
        try:
            check("cuda")
        except torch.cuda.OutOfMemoryError:
            left_out.append(f"{name}: too little memory")
        else:
            passed.append(name)
            print(f"right  {name}  ({time.perf_counter() - begun:.2f} s)")
        torch.cuda.empty_cache()
    return {"passed": passed, "left_out": left_out}


def other_process(command: list[str], **environment: str) -> str:
    """What a command says, both ways, with this checkout on its path."""
    paths = {"PYTHONPATH": str(SOURCE), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **paths}, timeout=300)
    return (done.stdout + done.stderr)[-4000:]


def without_compiler() -> dict[str, Any]:
    """In a new process, with no kernel kept from before: it warns, and steps."""
    with tempfile.TemporaryDirectory() as empty:
        said = other_process([sys.executable, "-c", SMALL], CC="/bin/false", TRITON_CACHE_DIR=empty)
    assert "done" in said, said
    return {"finished": True, "warned": "Triton can't compile" in said, "said": said}


def memory_checker() -> dict[str, Any]:
    """What `compute-sanitizer` finds in a small run."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"left_out": "compute-sanitizer is not installed"}
    said = other_process([tool, sys.executable, "-c", SMALL])
    assert "ERROR SUMMARY: 0 errors" in said, said
    return {"errors": 0}


def kernels_launched(call: Callable[[], Any]) -> list[str]:
    """The names of a call's kernels, as the profiler sees them."""
    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    return [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]


def launches() -> dict[str, list[str]]:
    """Of a layer, forward and with its gradient."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        lif = snn.Leaky(0.9, init_hidden=True).cuda()
        x = torch.rand(100, 16, 512, device="cuda", dtype=dtype, requires_grad=True)
        ones = torch.ones_like(x)

        def forward(lif: Any = lif, x: Tensor = x) -> Tensor:
            snn.utils.reset(lif)
            return snn.unroll(lif, x)

        def both(forward: Any = forward, x: Tensor = x, ones: Tensor = ones) -> None:
            torch.autograd.grad(forward(), x, ones)

        found[f"{dtype} forward"] = kernels_launched(forward)
        found[f"{dtype} forward and backward"] = kernels_launched(both)
    return found


def recurrent_net(repeat: int = 20) -> dict[str, float]:
    """A training step of a recurrent layer, T=100: launched one by one, and replayed as one graph."""
    neuron = snn.RLeaky(0.9, linear_features=256, init_hidden=True).cuda()
    x = torch.rand(100, 64, 256, device="cuda")

    def step() -> None:
        snn.utils.reset(neuron)
        neuron.zero_grad(set_to_none=False)
        snn.unroll(neuron, x).square().mean().backward()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    times = {}
    for name, call in (("eager", step), ("graph", graph.replay)):
        task = gpu.Task(lambda _, call=call: call(), ())
        times[name] = gpu.median_seconds(task, [x], repeat)["seconds"]
    return times


def parts(clock: Clock, result: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is run, in order, by the name under which its result is kept."""
    yield "numbers", lambda: numbers(clock)
    yield "without_compiler", without_compiler
    yield "memory_checker", memory_checker
    yield "launches", launches
    yield "recurrent", recurrent_net
    yield "bounds", lambda: gpu.measured_bounds("cuda", 10)
    peer = importlib.util.find_spec("spikingjelly") is not None
    yield "rows", lambda: list(clock.while_left(gpu.rows("", peer, True, result["bounds"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="after which what is left is left out")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(f"make gpu needs a CUDA GPU, and torch {torch.__version__} sees none")
    result = gpu.environment()
    clock = Clock(60 * options.minutes)
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(Both(sys.stdout, log)):
            for name, part in parts(clock, result):
                print(f"-- {name}")
                result[name] = part()
                print(json.dumps(result[name], indent=1))
    except BaseException as error:
        result["error"] = "".join(traceback.format_exception(error))
        raise
    finally:
        gpu.keep(result).with_suffix(".log").write_text(log.getvalue() + result.get("error", ""))


if __name__ == "__main__":
    main()
