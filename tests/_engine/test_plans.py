"""What a traced step is remembered by: numbers are parameters of one kernel, and what a step reads is read anew."""

import gc
import random
import weakref
from dataclasses import dataclass

import pytest
import torch

import snntorch as snn
from snntorch import surrogate
from snntorch._engine import plans
from snntorch._engine.program import Program
from snntorch._engine.recent import Recent
from snntorch._time.explain import paths

T, B, N = 6, 3, 5
SCALE = 0.5


def planned(neuron, costly=True, dtype=torch.float32) -> plans.Plan:
    arguments = neuron.step_arguments(dtype)
    return plans.plan(neuron, (True,), len(neuron.states), arguments, dtype, torch.device("cpu"), costly)


def program(neuron) -> Program:
    found = planned(neuron).program
    assert found is not None
    return found


def both(neuron, dtype=torch.float32):
    """Outputs and the input's gradient, by a kernel and by PyTorch."""
    x = (2 * torch.rand(T, B, N, dtype=dtype, generator=torch.Generator().manual_seed(0))).requires_grad_()
    results = []
    for backend in ("fused", "eager"):
        neuron.reset_mem()
        with snn.backend(backend):
            outputs = snn.unroll(neuron, x)
        total = torch.stack([(k + 1) * out.sum() for k, out in enumerate(outputs)]).sum()
        results.append((*outputs, *torch.autograd.grad(total, x)))
    return results


def deciding(x, slope=2.0):
    """A surrogate that branches on its number."""
    return slope * x.abs() if slope > 1 else x * 0 + slope


SURROGATES = {
    "atan": surrogate.atan, "fast_sigmoid": surrogate.fast_sigmoid, "sigmoid": surrogate.sigmoid,
    "piecewise_linear": surrogate.piecewise_linear, "gaussian": surrogate.gaussian, "erf": surrogate.erf,
    "multi_gaussian": lambda v: surrogate.multi_gaussian(v, 3 * v, v + 1), "piecewise_exp": surrogate.piecewise_exp,
    "soft_sign": surrogate.soft_sign, "leaky_relu": surrogate.leaky_relu, "SFS": surrogate.SFS, "LSO": surrogate.LSO,
    "triangular": surrogate.triangular, "spike_rate_escape": surrogate.spike_rate_escape,
}  # fmt: skip


@pytest.mark.parametrize("name", SURROGATES)
def test_every_value_of_a_surrogates_number_has_one_kernel_and_pytorchs_numbers(name):
    lif, programs = snn.Leaky(0.9), set()
    for value in (0.3, 1, 2.7, 25, -1.1):
        lif.spike_grad = SURROGATES[name](value)
        for fused, eager in zip(*both(lif), strict=True):
            assert torch.equal(fused, eager) or (fused - eager).abs().max() <= 4e-7 * eager.abs().max()
        programs.add(program(lif))
    assert len(programs) == 1


def test_numbers_meet_each_other_in_python():
    """`pi / 2 * alpha` is rounded once, as eagerly: rounded twice it is another float32 for one of these values."""
    for alpha in torch.linspace(0.1, 9, 20).double().tolist():
        found = planned(snn.Leaky(0.9, spike_grad=surrogate.atan(alpha)))
        assert [v.item() for v in found.beside] == [
            torch.tensor(torch.pi / 2 * alpha).item(), torch.tensor(alpha / 2).item()
        ]  # fmt: skip


def test_a_number_that_decides_is_a_constant(monkeypatch):
    monkeypatch.setattr(surrogate, "FACTORIES", dict(surrogate.FACTORIES))  # whose names it does not join
    decided = surrogate.surrogate_gradient("Deciding")(deciding)
    lif = snn.Leaky(0.9)
    for value in (2.0, 0.5, 3.0):
        lif.spike_grad = decided(value)
        for fused, eager in zip(*both(lif, torch.float64), strict=True):
            torch.testing.assert_close(fused, eager)
    assert not planned(lif).beside


class Counted(snn.SpikingNeuron):
    """A neuron with numbers of its own."""

    states = ("mem",)

    def __init__(self, decay=0.5, flag: float | bool = 1, power=2, **kwargs):
        super().__init__(**kwargs)
        self.decay, self.flag, self.power = decay, flag, power

    @staticmethod
    def step(x, mem, *, threshold, spike, decay, flag, power):
        mem = mem * decay + x**power + (0.25 if flag is True else 0)
        return spike(mem - threshold), mem / (1 / (decay + 1))


def test_numbers_of_a_neuron():
    programs = {program(Counted(decay=d)) for d in (0.5, 0.3, 0.7)}
    assert len(programs) == 1
    assert program(Counted(power=3)) not in programs  # an exponent decides how a power is computed
    for neuron in (Counted(0.3), Counted(0.7, True), Counted(0.7, 1), Counted(-0.0), Counted(0.0), Counted(power=3)):
        for fused, eager in zip(*both(neuron, torch.float64), strict=True):
            torch.testing.assert_close(fused, eager)


def test_true_and_1_are_different_settings():
    one, true = Counted(flag=1), Counted(flag=True)
    assert planned(one).program is not planned(true).program
    lso = [program(snn.Leaky(0.9, spike_grad=surrogate.LSO(slope))) for slope in (0.0, -0.0)]
    assert lso[0] is not lso[1]


@dataclass(frozen=True)
class Scaled:
    """A user's spike function with a number."""

    width: float

    def __call__(self, x):
        return surrogate.atan()(x * self.width * SCALE)


class Reading(snn.SpikingNeuron):
    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        mem = SCALE * mem + x
        return spike(mem - threshold), mem


class Bound(snn.SpikingNeuron):
    states = ("mem",)
    rate = 0.5

    def step(self, x, mem, *, threshold, spike):  # type: ignore[override]
        mem = self.rate * mem + self.helper(x)
        return spike(mem - threshold), mem

    def helper(self, x):
        return x * SCALE


def close(neuron):
    for fused, eager in zip(*both(neuron, torch.float64), strict=True):
        torch.testing.assert_close(fused, eager)


@pytest.mark.parametrize("make", [Reading, Bound, lambda: snn.Leaky(0.9, spike_grad=Scaled(2.0))])
def test_a_global_number_is_read_anew(make, monkeypatch):
    neuron = make()
    close(neuron)
    assert program(neuron) is program(neuron)
    monkeypatch.setitem(globals(), "SCALE", 0.75)
    close(neuron)


def test_an_attribute_is_read_anew():
    neuron = Bound()
    close(neuron)
    neuron.rate = 0.9
    close(neuron)


def test_a_closures_number_is_read_anew():
    rate = 0.5

    def step(x, mem, *, threshold, spike):
        mem = rate * mem + x
        return spike(mem - threshold), mem

    neuron = type("Closing", (snn.SpikingNeuron,), {"states": ("mem",), "step": staticmethod(step)})()
    close(neuron)
    rate = 0.9
    close(neuron)


def drawing(draw):
    def step(x, mem, *, threshold, spike):
        mem = 0.5 * mem + x + draw()
        return spike(mem - threshold), mem

    return type("Drawing", (snn.SpikingNeuron,), {"states": ("mem",), "step": staticmethod(step)})()


@pytest.mark.parametrize(
    ("draw", "reason"),
    [(lambda: torch.randn(()), "draws random numbers"), (lambda: random.random(), "something else each time"),
     (lambda: torch.tensor(random.random()), "something else each time")],
)  # fmt: skip
def test_what_is_drawn_is_drawn_at_every_step(draw, reason):
    neuron = drawing(draw)
    x = torch.zeros(20, 1, 1)
    _, mem = snn.unroll(neuron, x)
    assert (mem[1:] - 0.5 * mem[:-1]).unique().numel() > 10
    (path,) = paths(neuron, x)
    assert path.path == "stepped"
    assert reason in path.reason


@pytest.mark.parametrize("kind", ["method", "closure"])
def test_a_plan_keeps_no_neuron_alive(kind):
    def make():
        neuron = Bound(init_hidden=True)
        if kind == "closure":
            neuron.step = lambda x, mem, *, threshold, spike: (spike(mem - threshold), neuron.rate * mem + x)
        snn.unroll(neuron, torch.rand(T, B, N))
        neuron(torch.rand(B, N))
        return weakref.ref(neuron)

    neuron = make()
    gc.collect()
    assert neuron() is None


def test_what_is_remembered_is_bounded():
    recent = Recent(3)
    for k in range(3):
        recent.put(k, str(k))
    assert recent.get(0) == "0"
    recent.put(3, "3")
    assert [recent.get(k) for k in range(4)] == ["0", None, "2", "3"]
    for k in range(100):
        recent.put(k, str(k))
    assert len(recent) == 3


def test_a_cuda_graph_gets_numbers_of_its_own(monkeypatch):
    """What it reads at every replay is not to be freed before it; made anew, they lie in its memory."""
    lif = snn.Leaky(0.9, spike_grad=surrogate.fast_sigmoid(7))
    kept = planned(lif).beside
    assert [a is b for a, b in zip(kept, planned(lif).beside, strict=True)] == [True]
    monkeypatch.setattr(plans, "capturing", lambda device: True)
    first, second = planned(lif).beside, planned(lif).beside
    assert [n.item() for n in first] == [n.item() for n in kept] == [7]
    assert first[0] is not second[0] is not kept[0]
