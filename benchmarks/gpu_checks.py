"""What a GPU's kernels must compute, as plain functions of a device: `make gpu` runs them, and so do the tests.

Each compares with the same steps, operation by operation, on the same device: spikes and states bit by bit, as kernels
round where PyTorch rounds; gradients to rounding, which each step back in time hands on to those before it. A check
raises AssertionError at a wrong number.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import snntorch as snn

Check = Callable[[str], None]
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SIZES = (1, 63, 65, 8192, 70001, 131072, 600000)  # around a block, the number of programs, and alignment
STEPS = (1, 15, 16, 17, 40, 257)  # around the number of steps that are loaded ahead
FEW_SIZES, FEW_STEPS = (1, 65, 130), (1, 17)


class Adaptive(snn.SpikingNeuron):
    """A user's neuron of two states: each spike raises the threshold, which decays."""

    states = ("mem", "raised")

    def __init__(self, beta: float, rho: float) -> None:
        super().__init__()
        self.register_value("beta", beta, learn=True)
        self.register_value("rho", rho)

    @staticmethod
    def step(
        x: Tensor, mem: Tensor, raised: Tensor, *, beta: Tensor, rho: Tensor, threshold: Tensor, spike: Callable
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`mem = beta mem + x`, less the threshold at a spike; `raised = rho raised + spk`."""
        mem = beta * mem + x
        spk = spike(mem - threshold - raised)
        return spk, mem - spk.detach() * threshold, rho * raised + spk


NEURONS: dict[str, Callable[[int], nn.Module]] = {
    "Leaky": lambda size: snn.Leaky(0.9),
    "learnt per neuron": lambda size: snn.Leaky(torch.linspace(0.5, 0.99, size), learn_beta=True),
    "Synaptic": lambda size: snn.Synaptic(0.9, 0.8, learn_alpha=True),
    "a user's": lambda size: Adaptive(0.9, 0.95),
    "one-to-one": lambda size: snn.RLeaky(0.9, all_to_all=False, V=-0.5),  # of V = 1 gradients grow with every step
}


def both(neuron: nn.Module, x: Tensor) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Outputs and gradients of a neuron over time, by kernels and then operation by operation."""
    for backend in ("fused", "eager"):
        leaf = x.detach().requires_grad_()
        snn.utils.reset(neuron)
        states = [torch.zeros(0, device=x.device)] * len(neuron.states)  # type: ignore[arg-type]
        with snn.backend(backend):  # type: ignore[arg-type]
            out = [snn.unroll(neuron, leaf)] if neuron.init_hidden else snn.unroll(neuron, leaf, *states)
        weights = [torch.linspace(-1, 1.5, o.numel(), device=o.device).to(o.dtype).view_as(o) for o in out]
        learnt = [p for p in neuron.parameters() if p.requires_grad]
        yield [o.detach() for o in out], list(torch.autograd.grad(list(out), [leaf, *learnt], weights))


def equals_eager(device: str, neuron: nn.Module, x: Tensor) -> None:
    """Spikes and states to the last bit; gradients as near as rounding at every step leaves them.

    A gradient of the input may be off by the last bit of its dtype, and by some of those in which steps are computed of
    the neuron's largest; a parameter's by the rounding of sums over batch and time.
    """
    (out, gradients), (expected, expected_gradients) = both(neuron.to(device), x)
    for found, value in zip(out, expected, strict=True):
        assert found.dtype == value.dtype, f"{found.dtype} for {value.dtype}"
        assert torch.equal(found, value), f"{(found != value).sum()} of {found.numel()} values differ"
    found, value = gradients[0].double(), expected_gradients[0].double()
    computed = torch.float64 if x.dtype == torch.float64 else torch.float32
    close = torch.finfo(x.dtype).eps * value.abs() + 64 * torch.finfo(computed).eps * value.abs().amax(0)
    far = (found - value).abs() - close
    assert (far <= 0).all(), f"{(far > 0).sum()} of {far.numel()} gradients are off, by {far.max()} more than rounding"
    many = 1e-10 if x.dtype == torch.float64 else 1e-3
    for found, value in zip(gradients[1:], expected_gradients[1:], strict=True):
        torch.testing.assert_close(found, value, rtol=many, atol=many * float(value.abs().max()))


def drawn(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Normal noise above zero, by which about a third of the neurons fire at a step."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return (0.8 * (noise + 0.3)).to(device, dtype)


def sequence(device: str, *, kind: str, dtype: torch.dtype, size: int, steps: int, alone: bool = False) -> None:
    """A neuron over dense input, `[T, 1, N]`; with its spikes `alone` asked for, it may compute its states again."""
    neuron: Any = NEURONS[kind](size)
    neuron.init_hidden = alone
    equals_eager(device, neuron, drawn((steps, 1, size), dtype, device))


def recurrent(device: str, *, dtype: torch.dtype, features: int, steps: int, batch: int = 3) -> None:
    """A matrix product at every step, of few weights with few bits: their sums are exact in whatever order."""
    torch.manual_seed(0)
    neuron = snn.RLeaky(0.9, linear_features=features)
    weight = neuron.recurrent.weight
    with torch.no_grad():
        few = torch.rand(weight.shape).argsort(1) < 4
        weight.copy_(few * torch.randint(-4, 5, weight.shape) / 32)
        neuron.recurrent.bias.zero_()
    neuron.to(device, dtype)
    (out, gradients), (expected, expected_gradients) = both(neuron, drawn((steps, batch, features), dtype, device))
    for found, value in zip(out, expected, strict=True):
        assert torch.equal(found, value), f"{(found != value).sum()} of {found.numel()} values differ"
    close = 64 * torch.finfo(dtype).eps
    for found, value in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, value, rtol=close, atol=close * float(value.abs().max()))


def _offset(x: Tensor) -> Tensor:
    return torch.cat((x.new_zeros(1), x.flatten()))[1:].view_as(x)


def _strided(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, -1)[..., ::2]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "offset": _offset,
    "strided": _strided,
    "transposed": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "static": lambda x: x[:1].expand(x.shape),
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
}


def layout(device: str, *, name: str, dtype: torch.dtype) -> None:
    """Input that lies otherwise in memory."""
    equals_eager(device, snn.Leaky(0.9, learn_beta=True), LAYOUTS[name](drawn((17, 3, 65), dtype, device)))


def channels_last(device: str, *, dtype: torch.dtype) -> None:
    """Images whose channels lie side by side, and a decay for each channel."""
    x = drawn((5 * 2, 3, 4, 4), dtype, device).to(memory_format=torch.channels_last).unflatten(0, (5, 2))
    equals_eager(device, snn.Leaky(torch.tensor([0.5, 0.9, 0.99])[:, None, None], learn_beta=True), x)


def segments(device: str) -> None:
    """A run cut in two is the whole run."""
    neuron, x = snn.Synaptic(0.9, 0.8).to(device), drawn((40, 4, 65), torch.float32, device)
    whole = snn.unroll(neuron, x)
    snn.utils.reset(neuron)
    first = snn.unroll(neuron, x[:17])
    second = snn.unroll(neuron, x[17:], *(course[-1] for course in first[1:]))
    for found, a, b in zip(whole, first, second, strict=True):
        assert torch.equal(found, torch.cat((a, b)))


# -- what only a GPU shows


def small_net(device: str) -> nn.Module:
    """Two layers, of one state and of two."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(32, 64), snn.Leaky(0.9, learn_beta=True, init_hidden=True), nn.Linear(64, 10),
        snn.Synaptic(0.9, 0.8, init_hidden=True),
    ).to(device)  # fmt: skip


def train(net: nn.Module, x: Tensor) -> Tensor:
    """A training step's forward and backward; the spike counts."""
    snn.utils.reset(net)
    net.zero_grad(set_to_none=False)
    counts = snn.unroll(net, x).sum(0)
    counts.float().square().mean().backward()
    return counts.detach()


def same_gradients(net: nn.Module, twin: nn.Module) -> None:
    """Of every parameter, to rounding."""
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def synchronises_never(device: str) -> None:
    """A training step under PyTorch's own watch."""
    net, x = small_net(device), torch.rand(20, 8, 32, device=device)
    train(net, x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(net, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def side_stream(device: str) -> None:
    """Kernels run on the stream that is current."""
    net, twin, x = small_net(device), small_net(device), torch.rand(200, 64, 32, device=device)
    expected = train(twin, x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # so that another stream would run ahead of its input
        counts = train(net, x * 1)
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(counts, expected)
    same_gradients(net, twin)


def graphed(step: Callable[[], Any]) -> Callable[[], Any]:
    """A step as a CUDA graph, which was run before on a side stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def captured(device: str) -> None:
    """A training step as a CUDA graph, replayed on another batch."""
    net, twin, x = small_net(device), small_net(device), torch.rand(20, 8, 32, device=device)
    replay = graphed(lambda: train(net, x))
    x.copy_(torch.rand(x.shape, device=device))
    replay()
    train(twin, x)
    same_gradients(net, twin)


def compiled(device: str) -> None:
    """`torch.compile` with CUDA graphs of its own."""
    net, twin = small_net(device), small_net(device)

    def run(x: Tensor) -> Tensor:
        return snn.unroll(net, x, *()).sum(0)

    fast = torch.compile(run, mode="reduce-overhead", fullgraph=True)
    for _ in range(4):
        x = torch.rand(20, 8, 32, device=device)
        snn.utils.reset(net)
        assert torch.equal(fast(x).detach(), train(twin, x))


class Looping(nn.Module):
    """Holds the loop over time, and passes its states on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(32, 64), snn.RLeaky(0.9, linear_features=64)
        self.fc2, self.lif2 = nn.Linear(64, 10), snn.Leaky(0.9)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, 32]` -> `[T, B, 10]`."""
        (spk1, mem1), mem2, out = self.lif1.init_rleaky(), self.lif2.init_leaky(), []
        for now in x:
            spk1, mem1 = self.lif1(self.fc1(now), spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)


def nothing_steps(net: nn.Module, x: Tensor, run: Callable[[nn.Module, Tensor], Any]) -> None:
    """Every layer is folded or fused."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        snn.explain(net, x, run=run)
    assert said.getvalue()
    assert "stepped" not in said.getvalue(), said.getvalue()


def autocast_in_a_loop(device: str) -> None:
    """Half precision leaves a recurrent layer whole whose spikes are passed on."""
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast(device, dtype):
            nothing_steps(
                Looping().to(device), torch.rand(20, 8, 32, device=device), lambda net, x: snn.layerwise(net)(x)
            )


def autocast(device: str) -> None:
    """Half precision leaves every layer folded or fused."""
    for dtype in (torch.bfloat16, torch.float16):
        net, x = small_net(device), torch.rand(20, 8, 32, device=device)
        with torch.autocast(device, dtype):
            nothing_steps(net, x, snn.unroll)
            train(net, x)
            assert snn.unroll(net, x).dtype == dtype


def packed(device: str) -> None:
    """Spikes kept as bits: less memory, the same gradients."""
    net, twin, x = small_net(device), small_net(device), torch.rand(400, 64, 32, device=device).round()
    kept = []
    for trained, pack in ((net, True), (twin, False)):
        before = torch.cuda.memory_allocated()
        counts = snn.unroll(trained, x, pack_spikes=pack).sum(0)
        kept.append(torch.cuda.memory_allocated() - before)
        counts.sum().backward()
    same_gradients(net, twin)
    assert kept[0] < 0.9 * kept[1], kept


def second_device(device: str) -> None:
    """Kernels launch where their tensors lie."""
    equals_eager("cuda:1", snn.Leaky(0.9), drawn((17, 3, 65), torch.float32, "cuda:1"))


def beyond_32_bits(device: str) -> None:
    """An element more than 2^31 from the first."""
    x = torch.zeros(129, 1 << 24, dtype=torch.bfloat16, device=device)
    x[-1, -1] = 2
    with torch.no_grad():
        spk = snn.unroll(snn.Leaky(0.9, init_hidden=True), x)
    assert spk[-1, -1] == 1
    assert spk.count_nonzero() == 1


def native() -> Iterator[tuple[str, Check]]:
    """Names and checks that need a GPU; those that this one is too small or alone for are left out."""
    yield "no synchronisation in a training step", synchronises_never
    yield "a side stream", side_stream
    yield "captured as a CUDA graph", captured
    yield "torch.compile, reduce-overhead", compiled
    yield "autocast", autocast
    yield "autocast in a loop", autocast_in_a_loop
    yield "packed spikes", packed
    if torch.cuda.device_count() > 1:
        yield "a second device", second_device
    if torch.cuda.mem_get_info()[0] >= 24 << 30:
        yield "offsets beyond 32 bits", beyond_32_bits


def checks(full: bool) -> Iterator[tuple[str, Check]]:
    """Names and checks: every combination, or a few of each kind."""
    sizes, steps, dtypes = (SIZES, STEPS, DTYPES) if full else (FEW_SIZES, FEW_STEPS, DTYPES)
    for kind, (i, dtype), (j, size), (k, time) in itertools.product(
        NEURONS, enumerate(dtypes), enumerate(sizes), enumerate(steps)
    ):
        if full or (i + j + k) % 4 == 0:
            options: dict[str, Any] = {"kind": kind, "dtype": dtype, "size": size, "steps": time}
            yield f"{kind}, {_name(dtype)}, N={size}, T={time}", partial(sequence, **options)
    some = ((8192, 131072), (7, 8, 40, 257)) if full else ((65,), (17,))  # around the number of steps of a chunk
    for kind, dtype, size, time in itertools.product(NEURONS, dtypes if full else dtypes[:2], *some):
        options = {"kind": kind, "dtype": dtype, "size": size, "steps": time, "alone": True}
        yield f"{kind}, spikes alone, {_name(dtype)}, N={size}, T={time}", partial(sequence, **options)
    for name in LAYOUTS:
        for dtype in dtypes if full else dtypes[:2]:
            yield f"{name} input, {_name(dtype)}", partial(layout, name=name, dtype=dtype)
    for dtype in dtypes if full else dtypes[:1]:
        yield f"channels-last input, {_name(dtype)}", partial(channels_last, dtype=dtype)
    some = ((1, 65, 256, 300, 512), (1, 17, 100), (3, 130)) if full else ((65,), (5,), (3,))
    for dtype, features, time, batch in itertools.product(dtypes if full else dtypes[:2], *some):
        name = f"recurrent, {_name(dtype)}, B={batch}, N={features}, T={time}"
        yield name, partial(recurrent, dtype=dtype, features=features, steps=time, batch=batch)
    yield "segments", segments


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
