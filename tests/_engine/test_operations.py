"""Every operation that a step may use, and every name it has: values and gradients against PyTorch's, at edges too.

`test_triton.py` runs these tests again in Triton's interpreter.
"""

import inspect
import itertools
import math
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import snntorch as snn
from snntorch._engine.calls import CALLS
from snntorch._engine.operations import COMPOSED, OPERATIONS

EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1.5, 2.5, 6.0, 30.0, math.nan, math.inf, -math.inf,
    1e-310, -1e-310, 1e-40,
]  # fmt: skip
HERE = Path(__file__).parent


def called(name):
    """The function of PyTorch, or the method or operator, that a step calls by a name."""
    if name.startswith("special_"):
        return getattr(torch.special, name.removeprefix("special_"))
    for place in (torch, F):
        if inspect.isroutine(getattr(place, name, None)):
            return getattr(place, name)
    method = name if hasattr(torch.Tensor, name) else f"__{name}__"
    return lambda tensor, *others: getattr(tensor, method)(*others)


def operands(name):
    """The kinds of a call's operands, as in `Operation.operands`."""
    if name in ("xor", "bitwise_xor"):  # which PyTorch has for predicates alone
        return "pp"
    for operation, row in OPERATIONS.items():
        if name in (operation, *row.names) and name not in COMPOSED:
            return row.operands
    if name in COMPOSED:
        parameters = inspect.signature(COMPOSED[name]).parameters.values()
        return "x" * sum(p.default is p.empty for p in parameters)
    return {"type_as": "xx", "clamp_min": "xx", "clamp_max": "xx"}.get(name, "x")


def plain(name):
    """A call of tensors alone, those that are predicates made of two numbers."""
    function, kinds = called(name), operands(name)

    def call(*tensors):
        return function(*(t > 0.75 if kind == "p" else t for kind, t in zip(kinds, tensors, strict=True)))

    return call, len(kinds)


HALF = torch.tensor(0.5)
# calls with settings, or of numbers: name -> (function, how many tensors)
MORE = {
    "add alpha": (lambda a, b: torch.add(a, b, alpha=0.3), 2),
    "sub alpha": (lambda a, b: torch.sub(a, b, alpha=0.3), 2),
    "addcmul value": (lambda a, b, c: torch.addcmul(a, b, c, value=0.3), 3),
    "div floor": (lambda a, b: torch.div(a, b, rounding_mode="floor"), 2),
    "div trunc": (lambda a, b: torch.div(a, b, rounding_mode="trunc"), 2),
    **{f"pow {n}": (lambda a, n=n: a**n, 1) for n in (0, 1, 2, 3, 0.5, -1, -2, -0.5, 1.7, -3)},
    **{f"{n} to the power": (lambda a, n=n: n**a, 1) for n in (0, 1, 2.5)},
    "lerp number": (lambda a, b: torch.lerp(a, b, 0.3), 2),
    "nan_to_num": (lambda a: torch.nan_to_num(a, 0.1, 0.2, -0.3), 1),
    "softplus beta": (lambda a: F.softplus(a, 2.0, 5.0), 1),
    "hardtanh bounds": (lambda a: F.hardtanh(a, -0.5, 2.0), 1),
    "leaky_relu slope": (lambda a: F.leaky_relu(a, 0.3), 1),
    "clamp": (lambda a: torch.clamp(a, -1, 1), 1),
    "clamp upside down": (lambda a: a.clip(1, -1), 1),
    "clamp on one side": (lambda a: torch.clamp(a, min=-1) * a.clamp(max=2) + a.clamp_min(0.5) + a.clamp_max(0.5), 1),
    "clamp by tensors": (lambda a, b, c: torch.clamp(a, b, c), 3),
    "clamp on one side by a tensor": (lambda a, b: torch.clamp(a, min=b) * a.clamp(max=b), 2),
    "masked_fill": (lambda a, b: a.masked_fill(b > 0.75, 0.3) + a.masked_fill((a > 1) ^ (b > 0), HALF), 2),
    "masked_fill by bool": (lambda a: a.masked_fill((a > 0.75).to(a.dtype).bool(), 0.0), 1),
    "elu alpha": (lambda a: F.elu(a, 0.3), 1),
    "gelu tanh": (lambda a: F.gelu(a, approximate="tanh"), 1),
    "full_like": (lambda a: a * torch.full_like(a, 2.5), 1),
    "to": (lambda a: (a > 0).to(a.dtype) + (a > 1).to(a), 1),
    "tensor on the left": (lambda a: HALF + a - (HALF - a) * (HALF * a) / (HALF / a), 1),
    "tensor on the left of more": (lambda a: HALF**a + HALF % a, 1),
    "mod number": (lambda a: a % 2.5, 1),
}  # fmt: skip
# which need settings or more than tensors, or change the dtype
APART = {"masked_fill", "to", "float", "double", "full_like", "not", "clamp", "clip"}
CASES = {name: plain(name) for name in CALLS if name not in APART} | MORE


def grid(count, dtype):
    """Every combination of edges."""
    edges = EDGES if count < 3 else [0.0, 1.0, -1.0, 0.5, 6.0, math.nan, math.inf, -math.inf, 1e-310]
    return list(torch.tensor(list(itertools.product(edges, repeat=count)), dtype=dtype).T.contiguous())


def results(backend, cases, dtype):
    """The cases' values and gradients, all from one step with the operands as its states."""
    counts = [count for _, count in cases]
    starts = list(itertools.accumulate(counts, initial=0))

    class Own(snn.SpikingNeuron):
        states = tuple(f"s{k}" for k in range(starts[-1]))

        @staticmethod
        def step(x, *states):
            new = list(states)
            for (function, count), start in zip(cases, starts, strict=False):
                value = function(*states[start : start + count])
                new[start] = value.to(x.dtype) if predicate(function, count) else value
            return x, *new

    longest = max(len(EDGES), *(len(grid(count, dtype)[0]) for count in counts))
    grids = [values for count in counts for values in grid(count, dtype)]
    tensors = [torch.cat([v, v[:1].expand(longest - len(v))]).requires_grad_() for v in grids]
    with snn.backend(backend):
        _, *new = Own()(torch.zeros(longest, dtype=dtype), *tensors)
    values = [new[start] for start in starts[:-1]]
    reached = [value for value in values if value.requires_grad]
    weights = [torch.linspace(0.5, 1.5, longest, dtype=dtype)] * len(reached)
    grads = torch.autograd.grad(reached, tensors, weights, materialize_grads=True)  # each by its own case alone
    return [(v.detach(), grads[at : at + count]) for v, at, count in zip(values, starts, counts, strict=False)]


def predicate(function, count):
    return function(*[torch.ones(1)] * count).dtype == torch.bool


def left_out(name, what, points):
    """Where PyTorch does not agree with itself, or is wrong."""
    first, last = points[0], points[-1]
    if what == 0 and name.startswith(("relu6", "hardtanh", "elu")):  # its two loops differ at NaN
        return first.isnan()
    if what == 0 and name == "pow -0.5":  # its value is that of a root, its gradient that of a power
        return first <= 0
    if name.startswith("gelu"):  # at infinity its vectorised loop gives NaN in float32
        return first == math.inf
    if re.search("mod|remainder|left of more", name):  # NaN for divisors that are denormal
        return (last != 0) & (last.abs() < torch.finfo(last.dtype).tiny)
    return torch.zeros_like(first, dtype=torch.bool)


def test_the_documentation_lists_them():
    made = runpy.run_path(str(HERE.parents[1] / "docs" / "_ext" / "operations.py"))
    listed = re.findall("`(\\w+)`", made["table"]())
    assert sorted(listed) == sorted(set(CALLS) - made["OPERATORS"])
    assert made["table"]() in made["PAGE"].read_text(), "run python docs/_ext/operations.py"


def chunks(size=25):
    names = sorted(CASES, key=lambda name: CASES[name][1])
    return [names[k : k + size] for k in range(0, len(names), size)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("names", chunks(), ids=lambda names: names[0])
def test_values_and_gradients_are_pytorchs(names, dtype):
    cases = [CASES[name] for name in names]
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    wrong = []
    for name, found, expected in zip(names, *(results(way, cases, dtype) for way in ("fused", "eager")), strict=True):
        for what, ours, theirs in zip(
            ["value", *range(3)], [found[0], *found[1]], [expected[0], *expected[1]], strict=False
        ):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            near = 3e-6 if name == "hardsigmoid" else tolerance  # of which PyTorch rounds 1 / 6 to float32
            bad = ~torch.isclose(ours, theirs, rtol=near, atol=near, equal_nan=True)
            points = grid(CASES[name][1], dtype)
            bad = bad[: len(points[0])] & ~left_out(name, what, points)
            wrong += [
                f"{name} {what} at {[t[k].item() for t in points]}: {ours[k].item()} for {theirs[k].item()}"
                for k in bad.nonzero().flatten().tolist()
            ]
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("backend", ["fused", "eager"])
def test_a_learnable_power_of_nothing(backend):
    """`|mem| ** p` where mem starts, at 0: no NaN for p."""
    p = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    class Own(snn.SpikingNeuron):
        states = ("mem",)

        def __init__(self):
            super().__init__()
            self.register_value("p", p, learn=True)

        @staticmethod
        def step(x, mem, *, p):
            mem = 0.5 * mem.abs() ** p + x
            return mem, mem

    neuron = Own().double()
    with snn.backend(backend):
        _, mem = snn.unroll(neuron, torch.tensor([[0.0], [0.8], [0.3]], dtype=torch.float64), None)
    (found,) = torch.autograd.grad(mem[-1].sum(), neuron.p)
    torch.testing.assert_close(found.item(), 0.5 * 0.8**1.5 * math.log(0.8), rtol=1e-12, atol=0)
