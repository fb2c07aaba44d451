"""The whole first run on a GPU in one command: right, then fast. `make gpu`, or `python benchmarks/gpu_first.py`.

    python benchmarks/gpu_first.py [--minutes 20] [--parts NAME ...] [--out FOLDER]

It needs Python, PyTorch with CUDA, which brings Triton, and this checkout, no installation. It stops at the first wrong
number; whatever else fails is told, and the rest is run. It leaves one JSON file in `benchmarks/results` and a log
beside it, both written as it goes on: the environment; the checks of `gpu_checks.py`; the memory checker's verdict,
where `compute-sanitizer` is installed; what happens without a C compiler; how many kernels a layer launches; a
recurrent net, eager and as a CUDA graph; and the measurements of `gpu.py`, beside SpikingJelly's neuron where that can
be imported. What no longer fits the time is named as left out. With `--parts` only these are run, and what the file of
this day holds of the others stays.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import io
import json
import os
import random
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
from snntorch._engine.choose import lacking  # noqa: E402

SMALL = """\
import torch, snntorch as snn
for dtype in (torch.float32, torch.bfloat16):
    x = torch.rand(17, 3, 65, device="{device}", dtype=dtype, requires_grad=True)
    snn.unroll(snn.Leaky(0.9, init_hidden=True), x).sum().backward()
    x.grad.cpu()
print("done")
"""
LIMIT = 120  # seconds of another process
NUMBERS = 0.6  # of the time at most, so that the times are taken too


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


def kernels_compile() -> str:
    """Whether they do; without them there is nothing to check."""
    if reason := lacking(torch.device(gpu.DEVICE, 0)):
        raise SystemExit(reason)
    return "yes"


def numbers(clock: Clock) -> dict[str, Any]:
    """All checks, mixed, so that short time leaves out some of each kind; the first that is wrong ends the run."""
    found: dict[str, Any] = {"passed": [], "left_out": [], "failed": {}}
    drawn = [*gpu_checks.checks(full=True)]
    random.Random(0).shuffle(drawn)
    for name, check in [*gpu_checks.native(), *drawn]:
        if not clock.left():
            found["left_out"].append(name)
            continue
        begun = time.perf_counter()
        try:
            check(gpu.DEVICE)
        except torch.OutOfMemoryError:
            found["left_out"].append(f"{name}: too little memory")
        except AssertionError:
            print(f"WRONG  {name}")
            raise
        except Exception as error:
            found["failed"][name] = told(error)
            print(f"failed {name}: {error}")
            torch.cuda.synchronize()  # which raises where the device is lost
        else:
            found["passed"].append(name)
            print(f"right  {name}  ({time.perf_counter() - begun:.2f} s)")
        torch.cuda.empty_cache()
    return found


def told(error: BaseException) -> str:
    """An error with where it was raised."""
    return "".join(traceback.format_exception(error))[-4000:]


def other_process(command: list[str], **environment: str) -> str:
    """What a command says, both ways, with this checkout on its path."""
    paths = {"PYTHONPATH": str(SOURCE), **environment}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **paths}, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT} s"
    return (done.stdout + done.stderr)[-4000:]


def small_run(*before: str, **environment: str) -> str:
    """What a new process says that runs a layer, with no kernel kept from earlier."""
    with tempfile.TemporaryDirectory() as empty:
        command = [*before, sys.executable, "-c", SMALL.format(device=gpu.DEVICE)]
        return other_process(command, TRITON_CACHE_DIR=empty, **environment)


def without_compiler() -> dict[str, Any]:
    """It warns, and steps."""
    said = small_run(CC="/bin/false")
    if "done" not in said:
        raise RuntimeError(said)
    return {"warned": "Triton can't compile" in said, "said": said}


def memory_checker() -> dict[str, Any]:
    """What `compute-sanitizer` finds in a small run."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"left_out": "compute-sanitizer is not installed"}
    said = small_run(tool, "--report-api-errors", "no")
    if "done" not in said or "ERROR SUMMARY" not in said:  # of a driver that is newer than it, say
        return {"left_out": said}
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


def launches() -> dict[str, Any]:
    """Of a layer, forward and with its gradient."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        lif = snn.Leaky(0.9, init_hidden=True).to(gpu.DEVICE)
        x = torch.rand(100, 16, 512, device=gpu.DEVICE, dtype=dtype, requires_grad=True)
        ones = torch.ones_like(x)

        def forward(lif: Any = lif, x: Tensor = x) -> Tensor:
            snn.utils.reset(lif)
            return snn.unroll(lif, x)

        def both(forward: Any = forward, x: Tensor = x, ones: Tensor = ones) -> None:
            torch.autograd.grad(forward(), x, ones)

        found[f"{dtype} forward"] = kernels_launched(forward)
        found[f"{dtype} forward and backward"] = kernels_launched(both)
    return found if any(found.values()) else {"left_out": "the profiler sees no kernels here"}


def recurrent_net(repeat: int = 20, steps: int = 100) -> dict[str, float]:
    """A training step of a recurrent layer: launched one by one, and replayed as one graph."""
    neuron = snn.RLeaky(0.9, linear_features=256, init_hidden=True).to(gpu.DEVICE)
    x = torch.rand(steps, 64, 256, device=gpu.DEVICE)

    def step() -> None:
        snn.utils.reset(neuron)
        neuron.zero_grad(set_to_none=False)
        snn.unroll(neuron, x).square().mean().backward()

    times = {}
    for name, call in (("eager", step), ("graph", gpu_checks.graphed(step))):
        task = gpu.Task(lambda _, call=call: call(), ())
        times[name] = gpu.median_seconds(task, [x], repeat)["seconds"]
    return times


def rows(clock: Clock, bounds: dict[str, float]) -> list[dict[str, Any]]:
    """The measurements, as many as there is time for."""
    peer = importlib.util.find_spec("spikingjelly") is not None
    return list(clock.while_left(gpu.rows("", peer, True, bounds)))


def parts(seconds: float, result: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is run, in order, by the name under which its result is kept."""
    clock = Clock(seconds)
    yield "kernels_compile", kernels_compile
    yield "numbers", lambda: numbers(Clock(NUMBERS * seconds))
    yield "without_compiler", without_compiler
    yield "memory_checker", memory_checker
    yield "launches", launches
    yield "recurrent", recurrent_net
    yield "bounds", lambda: gpu.measured_bounds(gpu.DEVICE, 10)
    yield "rows", lambda: rows(clock, result.get("bounds", {}))


def run(result: dict[str, Any], path: Path, seconds: float, wanted: list[str]) -> None:
    """Run the parts; raises at a wrong number, and in the end where something failed."""
    failed = []
    for name, part in parts(seconds, result):
        if wanted and name not in wanted:
            continue
        print(f"-- {name}")
        try:
            result[name] = part()
        except AssertionError:
            raise
        except Exception as error:
            result[name] = {"failed": told(error)}
        if isinstance(result[name], dict) and result[name].get("failed"):
            failed.append(name)
        print(json.dumps(result[name], indent=1))
        path.write_text(json.dumps(result, indent=1) + "\n")
    if failed:
        raise SystemExit(f"failed, see {path}: {', '.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="after which what is left is left out")
    parser.add_argument("--parts", nargs="*", default=[], help="run only these")
    parser.add_argument("--out", type=Path, default=gpu.HERE / "results", help="folder of the results")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(f"make gpu needs a CUDA GPU, and torch {torch.__version__} sees none")
    result = gpu.environment()
    path = gpu.place(result, folder=options.out)
    if options.parts and path.exists():
        result = {**json.loads(path.read_text()), **result}
        result.pop("error", None)
    with path.with_suffix(".log").open("a" if options.parts else "w") as log:
        faulthandler.dump_traceback_later(60 * options.minutes + 180, exit=True, file=log)  # where a kernel hangs
        try:
            with contextlib.redirect_stdout(Both(sys.stdout, log)):
                print(json.dumps(result, indent=1))
                run(result, path, 60 * options.minutes, options.parts)
        except BaseException as error:
            result["error"] = "".join(traceback.format_exception(error))
            log.write(result["error"])
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
