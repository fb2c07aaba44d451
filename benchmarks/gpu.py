"""Time the fused kernels and nets on a GPU, beside their floors and what the hardware allows.

    python benchmarks/gpu.py [--quick] [--only TEXT] [--peer] [--name NAME]
    python benchmarks/gpu.py --table RESULT

Writes `benchmarks/results/<date>-gpu-<device>.json` and prints a line a measurement. `--peer` also times SpikingJelly's
neuron, if it is installed.

A time is the median over repetitions between two CUDA events: once as a caller sees it, and once with the device kept
busy before for as long as the host takes to launch it all, so that the device has no gaps. Everything is compiled and
run before, inputs rotate through more memory than the L2 cache holds, and the device is synchronised after each
repetition. The bound on bytes uses the bandwidth of a large copy, that on operations the rate of a large matrix
product, both measured in the same process.

What a step must do, with N = B·n neurons over T steps, and for a net's layers I inputs, O outputs and M
multiplications a sample and step, of which M1 in the first layer, whose input wants no gradient:

| workload | operations | bytes, float32 | bytes, bfloat16 |
|---|---|---|---|
| LIF, forward | 9·T·N | 12·T·N: x read, spikes and membranes written | 4.5·T·N: membranes at every eighth step |
| LIF, backward | 9·T·N | 12·T·N: spikes' gradient and membranes read, x's gradient written | 6.5·T·N: x read, too |
| Linear(n, n) + LIF | 4·T·B·n² + 18·T·N | (24 + 16)·T·N + 12·n² | (16 + 9)·T·N + 12·n²: x is cast |
| spiking VGG | T·B·(6·M − 2·M1) | T·B·(24·O + 12·(I + O)) | T·B·(11·O + 6·(I + O)) |
| recurrent (SHD) | T·B·(6·M − 2·M1) | T·B·(40·O + 8·700) | T·B·(28·O + 8·700) |

A product takes 2 operations a multiplication, forward, for the weights and for the input. It reads inputs and writes
outputs forward, reads both for the weights' gradient, and reads one to write the other for the input's. At B = 16, T =
500 and n = 512 the LIF layer has 4.1 million neuron-steps, 49 MB each way; at n = 16384, 131 million and 1.6 GB.
Linear(n, n) + LIF takes 8.4 GFLOP and 0.17 GB at n = 512, where memory bounds it, and 8.6 TFLOP and 8.5 GB at 16384,
where arithmetic does. Nets as users write them have no bound, but their own loop beside them. The recurrent net is
bound by neither but by its chain of T dependent small products, which its twin has too. Bytes of pooling, biases and
(but for the linear layer) weights are left out, so a bound is a bound.
"""

import argparse
import datetime
import functools
import importlib
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import workloads
from torch import Tensor, nn

import snntorch as snn

HERE = Path(__file__).resolve().parent
DEVICE = "cuda"  # which is ROCm's name too
BETA = 0.9
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Task:
    """A built workload.

    Attributes:
        step: one step, given an input.
        shape: of the input.
        bytes: that must move in a step.
        flops: of a step's matrix products.
        cleanup: called before each step, outside the clock.
    """

    step: Callable[[Tensor], Any]
    shape: tuple[int, ...]
    bytes: float = 0.0
    flops: float = 0.0
    cleanup: Callable[[], Any] = field(default=lambda: None)


# -- workloads: build(impl, dtype, device, **sizes)


def lif() -> nn.Module:
    return snn.Leaky(beta=BETA, init_hidden=True)


def jelly_lif() -> nn.Module:
    """SpikingJelly's, which picks its fastest backend itself."""
    from spikingjelly.activation_based import neuron, surrogate

    constants = dict(tau=1 / (1 - BETA), v_threshold=1.0, decay_input=False, v_reset=None, detach_reset=True)
    return neuron.LIFNode(surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m", **constants)


def layer(
    impl: str, dtype: torch.dtype, device: str, *, T: int = 500, B: int = 16, n: int, backward: bool = False
) -> Task:
    """Neurons alone: forward that keeps what backward needs, or both."""
    forth, back = (12, 12) if dtype == torch.float32 else (4.5, 6.5)
    size = T * B * n
    moved = float(size * (forth + back if backward else forth))
    if impl == "copy":  # the same bytes, half of them read and half written
        half = torch.empty(int(moved) // 2, dtype=torch.uint8, device=device)
        other = torch.empty_like(half)
        return Task(lambda x: other.copy_(half), (T, B, n), moved)
    module = (jelly_lif() if impl == "spikingjelly" else lif()).to(device)
    ones = torch.ones(T, B, n, dtype=dtype, device=device)

    def step(x: Tensor) -> Tensor:
        x.requires_grad_()
        spk = module(x) if impl == "spikingjelly" else snn.unroll(module, x)
        if backward:
            torch.autograd.grad(spk, x, ones)
        return spk

    return Task(step, (T, B, n), moved, cleanup=module.reset if impl == "spikingjelly" else lambda: clear(module))


def clear(module: nn.Module) -> None:
    for neuron in module.modules():
        if isinstance(neuron, snn.SpikingNeuron):
            neuron.reset_mem()


def folded(net: nn.Module, x: Tensor) -> Tensor:
    """All steps as one batch."""
    return net(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def trained(
    net: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], dtype: torch.dtype, device: str, shape: tuple,
    **bounds: float,
) -> Task:  # fmt: skip
    """Forward, a loss on the spike counts, backward to the weights; under autocast in half precision."""
    net = net.to(device)
    kind = torch.device(device).type

    def step(x: Tensor) -> Tensor:
        net.zero_grad(set_to_none=True)
        with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            out = run(net, x)
        loss = out.float().mean(0).square().mean()
        loss.backward()
        return loss

    return Task(step, shape, cleanup=lambda: clear(net), **bounds)


def neuron(impl: str) -> nn.Module:
    return nn.ReLU() if impl == "relu" else lif()


RUN: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {"relu": folded, "ours": snn.unroll}


def linear(impl: str, dtype: torch.dtype, device: str, *, T: int = 500, B: int = 16, n: int) -> Task:
    """The corrected Open Neuromorphic workload, end to end."""
    size, each = T * B * n, 40 if dtype == torch.float32 else 25
    bounds = dict(bytes=float(each * size + 12 * n * n), flops=4.0 * size * n)
    return trained(nn.Sequential(nn.Linear(n, n), neuron(impl)), RUN[impl], dtype, device, (T, B, n), **bounds)


def vgg(
    impl: str, dtype: torch.dtype, device: str, *, T: int = 8, B: int = 32, image: int = 32, width: int = 64
) -> Task:
    """Eight convolutions with pooling between, on images of three channels."""
    layers: list[nn.Module] = []
    channels, side = 3, image
    inputs, neurons, products = [], [], []
    for times, pool in ((1, True), (2, True), (4, False), (4, True), (8, False), (8, True), (8, False), (8, True)):
        out = width * times
        layers += [nn.Conv2d(channels, out, 3, padding=1), neuron(impl)]
        inputs.append(channels * side * side)
        neurons.append(out * side * side)
        products.append(9 * channels * neurons[-1])
        if pool:
            layers.append(nn.AvgPool2d(2))
            side //= 2
        channels = out
    layers += [nn.Flatten(), nn.Linear(channels * side * side, 10), neuron(impl)]
    neuron_step, value = (24, 4) if dtype == torch.float32 else (11, 2)
    moved = neuron_step * sum(neurons) + 3 * value * (sum(inputs[1:]) + sum(neurons[1:]))
    bounds = dict(bytes=float(T * B * moved), flops=float(T * B * (6 * sum(products) - 2 * products[0])))
    return trained(nn.Sequential(*layers), RUN[impl], dtype, device, (T, B, 3, image, image), **bounds)


class Recurrent(nn.Sequential):
    """700 channels, a recurrent layer, 20 classes."""

    def __init__(self, hidden: int) -> None:
        super().__init__(
            nn.Linear(700, hidden), snn.RLeaky(beta=BETA, linear_features=hidden, init_hidden=True),
            nn.Linear(hidden, 20), lif(),
        )  # fmt: skip


class SteppedReLU(nn.Module):
    """Its floor: ReLU for the neurons, and the same chain of products."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inward, self.recurrent, self.outward = (
            nn.Linear(700, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 20)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's activity at every step."""
        state, states = x.new_zeros(()), []
        for now in self.inward(x).unbind():
            state = torch.relu(now + self.recurrent(state) if states else now)
            states.append(state)
        return torch.relu(self.outward(torch.stack(states)))


def shd(impl: str, dtype: torch.dtype, device: str, *, T: int = 100, B: int = 256, hidden: int = 256) -> Task:
    """A net of the size that is trained on the Spiking Heidelberg Digits."""
    products, each = 700 * hidden + hidden * hidden + 20 * hidden, 40 if dtype == torch.float32 else 28
    flops = T * B * (6.0 * products - 2 * 700 * hidden)
    bounds = dict(bytes=float(T * B * (each * (hidden + 20) + 8 * 700)), flops=flops)
    if impl == "relu":
        return trained(SteppedReLU(hidden), lambda net, x: net(x), dtype, device, (T, B, 700), **bounds)
    return trained(Recurrent(hidden), snn.unroll, dtype, device, (T, B, 700), **bounds)


WRITTEN = {
    "fully connected": (workloads.FullyConnected, (784,), True),
    "convolutional": (workloads.Convolutional, (1, 28, 28), True),
    "normalised": (workloads.Normalised, (1, 28, 28), False),
    "spoken": (workloads.Spoken, (700,), False),
}  # net, its input, and whether that is the same at every step


def written(impl: str, dtype: torch.dtype, device: str, *, net: str, T: int, B: int) -> Task:
    """A net as users write it, with the loop over time and explicit states: as it is, or by `layerwise`."""
    make, shape, static = WRITTEN[net]
    module = make()
    call = snn.layerwise(module) if impl == "ours" else module
    return trained(module, lambda _, x: call(x, T)[0], dtype, device, (B, *shape) if static else (T, B, *shape))


WIDTHS = (512, 1024, 2048, 4096, 8192, 16384)
NETS: dict[str, tuple[Callable[..., Task], dict[str, int]]] = {
    **{f"Linear+LIF, n={n}": (linear, {"n": n}) for n in WIDTHS},
    "spiking VGG, T=8, B=32, 32×32": (vgg, {}),
    "recurrent 700-256-20, T=100, B=256": (shd, {}),
}
LOOPS: dict[str, tuple[Callable[..., Task], dict[str, Any]]] = {
    "tutorial 5 as written, T=25, B=128": (written, {"net": "fully connected", "T": 25, "B": 128}),
    "tutorial 6 as written, T=50, B=128": (written, {"net": "convolutional", "T": 50, "B": 128}),
    "with BatchNorm as written, T=25, B=64": (written, {"net": "normalised", "T": 25, "B": 64}),
    "SHD size as written, T=100, B=128": (written, {"net": "spoken", "T": 100, "B": 128}),
}
LAYERS: dict[str, tuple[Callable[..., Task], dict[str, Any]]] = {
    f"LIF {'forward + backward' if backward else 'forward'}, n={n}": (layer, {"n": n, "backward": backward})
    for backward, n in itertools.product((False, True), WIDTHS)
}


def jobs(peer: bool) -> Iterator[tuple[str, str, str, Callable[..., Task], dict[str, Any]]]:
    """Name, implementation, dtype, builder, sizes."""
    alone = ["ours", "copy", *["spikingjelly"] * peer]
    for table, impls in ((LAYERS, alone), (NETS, ["ours", "relu"]), (LOOPS, ["ours", "loop"])):
        for (name, (build, sizes)), dtype, impl in itertools.product(table.items(), DTYPES, impls):
            yield name, impl, dtype, build, sizes


# -- the clock


@functools.cache
def cycles_per_second() -> float:
    """Of the device's idle loop."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(1_000_000)  # the clock may rise at first
    start.record()
    torch.cuda._sleep(50_000_000)
    stop.record()
    stop.synchronize()
    return 50_000_000 / (start.elapsed_time(stop) / 1e3)


def median_seconds(task: Task, inputs: list[Tensor], repeat: int, ahead: bool = False) -> dict[str, float]:
    """Of one step: the median, and the quartiles; with launches `ahead` of a busy device."""
    rotating = itertools.cycle(inputs)
    host = []
    for _ in range(5):
        task.cleanup()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        task.step(next(rotating))
        host.append(time.perf_counter() - begun)
    torch.cuda.synchronize()
    wait = int(1.5 * statistics.median(host) * cycles_per_second()) if ahead else 0
    seconds = []
    for _ in range(repeat):
        task.cleanup()
        x = next(rotating)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if ahead:
            torch.cuda._sleep(wait)
        start.record()
        task.step(x)
        stop.record()
        stop.synchronize()
        seconds.append(start.elapsed_time(stop) / 1e3)
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"seconds": middle, "low": low, "high": high}


def rotation(task: Task, dtype: torch.dtype, l2: int, device: str) -> list[Tensor]:
    """As many inputs as hold four times the L2 cache, two at least. A quarter of the values are ones, as spikes are."""
    one = torch.Size(task.shape).numel() * dtype.itemsize
    count = max(2, -(-4 * l2 // one))
    return [(torch.rand(task.shape, device=device) < 0.25).to(dtype) for _ in range(count)]


def measured_bounds(device: str, repeat: int) -> dict[str, float]:
    """Bytes a second of a copy of 1 GiB, operations a second of a product of matrices of 8192."""
    source = torch.empty(1 << 28, device=device)
    target = torch.empty_like(source)
    copy = median_seconds(Task(target.copy_, ()), [source], repeat)["seconds"]
    bounds = {"copy_bytes_per_second": 2 * source.nbytes / copy}
    for name, dtype in DTYPES.items():
        a = torch.randn(8192, 8192, dtype=dtype, device=device)
        product = median_seconds(Task(lambda x: x @ x, ()), [a], repeat)["seconds"]
        bounds[f"{name}_operations_per_second"] = 2 * 8192**3 / product
    return bounds


def least_seconds(task: Task, dtype: str, bounds: dict[str, float]) -> float:
    """What the bytes, or the matrix products, of a step take at the measured rates."""
    return max(task.bytes / bounds["copy_bytes_per_second"], task.flops / bounds[f"{dtype}_operations_per_second"])


def summary(row: dict[str, Any]) -> str:
    """A measurement on a line."""
    if "error" in row:
        return row["error"]
    times = f"{1e3 * row['seconds']:9.3f} ms, {1e3 * row['device_seconds']:9.3f} ms on the device"
    return f"{times}, {row['of_bound']:.0%} of the bound" if "of_bound" in row else times


def measure(
    build: Callable[..., Task], impl: str, dtype: str, sizes: dict[str, Any], repeat: int, bounds: dict[str, float]
) -> dict[str, Any]:
    """A workload's times, bytes and share of its bound; or the error that it met."""
    try:
        task = build(impl, DTYPES[dtype], DEVICE, **sizes)
        whole = build is not layer  # a net's inputs are float32, and autocast converts them
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        inputs = rotation(task, torch.float32 if whole else DTYPES[dtype], l2, DEVICE)
        torch.cuda.reset_peak_memory_stats()
        row: dict[str, Any] = median_seconds(task, inputs, repeat)
        row |= {"bytes": task.bytes, "flops": task.flops, "peak_memory": torch.cuda.max_memory_allocated()}
        row["device_seconds"] = median_seconds(task, inputs, repeat, ahead=True)["seconds"]
        if task.bytes and impl != "relu" and "copy_bytes_per_second" in bounds:  # a twin has less to do
            row["of_bound"] = least_seconds(task, dtype, bounds) / row["device_seconds"]
    except Exception as error:  # too little memory, or whatever a peer raises
        row = {"error": f"{type(error).__name__}: {error}"[:500]}
    torch.cuda.empty_cache()
    return row


def rows(only: str, peer: bool, quick: bool, bounds: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Every measurement whose name has a text, printed as it is made; float32 is float32 in convolutions too."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32
    for name, impl, dtype, build, sizes in jobs(peer):
        if only not in name or (quick and build is linear and sizes["n"] > 2048):
            continue
        row = {"workload": name, "impl": impl, "dtype": dtype}
        row |= measure(build, impl, dtype, sizes, 10 if quick else 50, bounds)
        print(f"{name:36} {impl:13} {dtype}  {summary(row)}", flush=True)
        yield row


BESIDE = {"spikingjelly": "SpikingJelly", "relu": "ReLU twin", "loop": "its loop"}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of a result: milliseconds as a caller waits for them, in brackets on the device alone."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["workload"], row["dtype"]), {})[row["impl"]] = row
    lines = ["| workload | dtype | ours, ms | of the bound | beside it, ms |", "| --- | --- | --: | --: | --- |"]
    for (workload, dtype), by in found.items():
        ours = by["ours"]
        bound = f"{ours['of_bound']:.0%}" if "of_bound" in ours else "–"
        beside = ", ".join(f"{name} {_times(by[impl])}" for impl, name in BESIDE.items() if impl in by)
        lines.append(f"| {workload} | {dtype} | {_times(ours)} | {bound} | {beside or '–'} |")
    return "\n".join(lines)


def _times(row: dict[str, Any]) -> str:
    if "error" in row:
        return row["error"].partition(":")[0]
    return f"{1e3 * row['seconds']:.3g} ({1e3 * row['device_seconds']:.3g})"


def environment() -> dict[str, Any]:
    """The device and the versions, by which a result is known."""
    return {
        "device": torch.cuda.get_device_name(0), "machine": platform.processor() or platform.machine(),
        "date": str(datetime.date.today()), "python": platform.python_version(), "torch": torch.__version__,
        "cuda": torch.version.cuda, "rocm": torch.version.hip, "triton": _version("triton"),
        "numpy": _version("numpy"), "snntorch": snn.__version__, "tf32": torch.backends.cuda.matmul.allow_tf32,
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return importlib.import_module(package).__version__
    except ImportError:
        return None


def place(result: dict[str, Any], name: str = "", folder: Path = HERE / "results") -> Path:
    """Where a result is kept: beside the others, under the device's name."""
    folder.mkdir(parents=True, exist_ok=True)
    label = name or "".join(c if c.isalnum() else "-" for c in result["device"].lower())
    return folder / f"{result['date']}-gpu-{label}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions, and no Linear wider than 2048")
    parser.add_argument("--only", default="", help="workloads whose name has this text")
    parser.add_argument("--peer", action="store_true", help="SpikingJelly's neuron too, if it is installed")
    parser.add_argument("--name", default="", help="of the result, in place of the device's")
    parser.add_argument("--table", type=Path, help="print the table of this result, and run nothing")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())["rows"]))
        return
    if not torch.cuda.is_available():
        raise SystemExit(f"benchmarks/gpu.py needs a CUDA GPU, and torch {torch.__version__} sees none")
    bounds = measured_bounds(DEVICE, 10 if options.quick else 50)
    print(json.dumps(bounds))
    found = list(rows(options.only, options.peer, options.quick, bounds))
    result = {**environment(), "bounds": bounds, "rows": found}
    path = place(result, options.name)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
