"""One process in one Python environment that builds tasks and times them, told what to do by lines of JSON.

Requests come on stdin and answers go to stdout, one line each. A request names an action (`do`), a workload,
an implementation and sizes to replace; `threads` sets torch's thread count first.
"""

import gc
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

TASKS: dict[tuple[str, str], Any] = {}


def build(workload: str, impl: str, sizes: dict) -> dict:
    """Make a task and warm it up; answers how many steps fill 20 ms."""
    from workloads import REGISTRY

    TASKS.pop((workload, impl), None)
    task = TASKS[workload, impl] = REGISTRY[workload].make(impl, **sizes)
    seconds = [timed(task.step) for _ in range(3)][-1]
    return {"steps": max(1, math.ceil(0.02 / seconds))}


def timed(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(workload: str, impl: str, steps: int) -> dict:
    """Mean seconds of a step over one round; one step before it refills caches that other processes took."""
    step = TASKS[workload, impl].step
    step()
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    seconds = (time.perf_counter() - start) / steps
    gc.enable()
    return {"seconds": seconds}


def check(workload: str, impl: str, sizes: dict, path: str) -> dict:
    """Save what a fresh task computes in its first step: outputs and gradients."""
    import numpy as np
    import torch
    from workloads import REGISTRY

    def array(value: Any) -> Any:
        value = torch.stack(list(value)) if isinstance(value, (list, tuple)) else torch.as_tensor(value)
        return value.detach().double().numpy()

    task = REGISTRY[workload].make(impl, **sizes)
    outs = [out for out in task.step() if not isinstance(out, list) or torch.is_tensor(out[0])]
    grads = [leaf.grad for leaf in task.leaves if leaf.grad is not None]
    named = {f"out{i}": array(v) for i, v in enumerate(outs)} | {f"grad{i}": array(v) for i, v in enumerate(grads)}
    np.savez(path, **named)
    return {"mean": float(named["out0"].mean())}


def peak_bytes() -> int:
    """Peak resident memory of this process, since it was last cleared (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def tensors(step: Any) -> dict:
    """Bytes of tensors that a step makes, as PyTorch allocates them: when backward begins, and at most."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    backward = torch.Tensor.backward

    def marked(tensor: Any, *args: Any, **kwargs: Any) -> None:
        with record_function("backward begins"):
            pass
        backward(tensor, *args, **kwargs)

    torch.Tensor.backward = marked  # type: ignore[method-assign]
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            step()
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
    events = sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    now = kept = most = 0
    for event in events:
        if event.name() == "backward begins":
            kept = now
        elif event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return {"kept_bytes": kept, "most_bytes": most}


def memory(workload: str, impl: str, sizes: dict) -> dict:
    """What one step takes: peak resident memory that it adds, and bytes of tensors. Needs a fresh process."""
    from workloads import REGISTRY, TOY

    REGISTRY[workload].make(impl, **TOY).step()  # imports and compilation happen here, not in the figure
    task = REGISTRY[workload].make(impl, **sizes)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now, not of imports or of the parent's copy
    before = peak_bytes()
    task.step()
    peak = peak_bytes()
    for leaf in task.leaves:
        leaf.grad = None
    return {"peak_bytes": peak, "step_bytes": peak - before, **tensors(task.step)}


def start(workload: str, impl: str, sizes: dict, reshaped: dict) -> dict:
    """Seconds of snntorch's import and of two steps, then of two of another shape. Needs a fresh process."""
    import torch
    from workloads import REGISTRY

    # torch's own first-time costs are not counted: given a gradient, it imports sympy
    torch.rand(9, requires_grad=True).relu().backward(torch.ones(9))
    begin = time.perf_counter()
    import snntorch  # noqa: F401

    answer = {"import": time.perf_counter() - begin}
    task = REGISTRY[workload].make(impl, **sizes)
    answer |= {"first": timed(task.step), "second": timed(task.step)}
    task = REGISTRY[workload].make(impl, **reshaped)
    return answer | {"reshaped_first": timed(task.step), "reshaped_second": timed(task.step)}


def about() -> dict:
    """The software of this environment."""
    import platform
    from importlib import metadata

    import torch

    packages = ("torch", "numpy", "numba", "snntorch", "spikingjelly", "norse", "sinabs")
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    versions = {"python": platform.python_version()} | {p: found[p] for p in packages if p in found}
    return versions | {"threads": torch.get_num_threads()}


def latency(row: str, way: str) -> dict:
    """Seconds of a number of steps at batch 1."""
    from latency import steps

    if (row, way) not in TASKS:
        TASKS[row, way] = steps(row, way)
    return {"seconds": timed(TASKS[row, way])}


def long(way: str, steps: int) -> dict:
    """Seconds and added peak memory of training on a sequence of so many steps. Needs a fresh process."""
    from long import WAYS, network

    WAYS[way](network(), 400)  # imports and compilation happen here, not in the figure
    gc.collect()
    net = network()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    start = time.perf_counter()
    WAYS[way](net, steps)
    return {"seconds": time.perf_counter() - start, "added_bytes": peak_bytes() - before}


def fit(way: str, gib: float) -> dict:
    """How many steps fit a memory. Needs a fresh process."""
    import longest

    return longest.fit(way, gib)


def train(way: str, gib: float, steps: int) -> dict:
    """Train on so many steps in that memory. Needs a fresh process."""
    import longest

    return longest.train(way, gib, steps)


def drop() -> dict:
    """Forget the tasks."""
    TASKS.clear()
    return {}


ACTIONS = dict(
    build=build,
    measure=measure,
    check=check,
    memory=memory,
    start=start,
    about=about,
    latency=latency,
    drop=drop,
    long=long,
    fit=fit,
    train=train,
)


def main() -> None:
    # Libraries may print: their stdout becomes stderr, and answers keep the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        threads = request.pop("threads", None)
        try:
            if threads:
                import torch

                torch.set_num_threads(threads)
            answer = ACTIONS[request.pop("do")](**request)
        except Exception as error:  # a library that lacks something is a result, not a crash
            answer = {"error": f"{type(error).__name__}: {error}".split(" (/")[0]}  # no paths in results
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
