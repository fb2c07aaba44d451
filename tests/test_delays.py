"""AxonalDelay and SynapticDelay: their taps as formulas, the whole sequence against a loop, and what they learn."""

import copy
import warnings

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop
from snntorch._layers.taps import taps, within
from snntorch._time.explain import paths

WIDTHS = [None, 0, 0.5, 3.0]


def test_taps_are_those_of_the_papers():
    delay = torch.tensor([0.0, 1.25, 4.0, -3.0, 9.0], dtype=torch.float64)
    clamped, k = torch.tensor([0.0, 1.25, 4.0, 0.0, 4.0], dtype=torch.float64)[:, None], torch.arange(5)
    linear = (1 - (k - clamped).abs()).clamp(min=0)
    torch.testing.assert_close(taps(delay, 4, None), linear, rtol=0, atol=1e-15)
    torch.testing.assert_close(taps(delay, 4, 0), nn.functional.one_hot(clamped[:, 0].round().long(), 5).double())
    gauss = torch.exp(-((k - clamped) ** 2) / (2 * 0.7**2))
    torch.testing.assert_close(taps(delay, 4, 0.7), gauss / gauss.sum(1, keepdim=True), rtol=1e-12, atol=0)
    torch.testing.assert_close(taps(delay, 4, 1e-3), taps(delay, 4, 0))


def test_a_delay_s_gradient_is_that_of_the_next_steps_also_at_whole_steps_and_bounds():
    delay = torch.tensor([0.0, 1.25, 2.0, 4.0], requires_grad=True)
    values = torch.tensor([1.0, 3.0, 4.0, 8.0, 6.0])  # of 0, 1, 2, 3, 4 steps ago
    (taps(delay, 4, None) @ values).sum().backward()
    assert delay.grad is not None and delay.grad.tolist() == [2.0, 1.0, 4.0, -2.0]


def test_a_delay_beyond_its_bounds_finds_back_and_goes_no_further():
    value = torch.tensor([-1.0, 2.0, 7.0], requires_grad=True)
    assert within(value, 5).tolist() == [0.0, 2.0, 5.0]
    for sign, expected in ((1.0, [0.0, 1.0, 1.0]), (-1.0, [-1.0, -1.0, 0.0])):  # descent goes against the gradient
        assert torch.autograd.grad(within(value, 5).sum() * sign, value)[0].tolist() == expected
    together = torch.func.vmap(torch.func.grad(lambda v: within(v, 5).sum()))(value.detach())
    assert together.tolist() == [0.0, 1.0, 1.0]


class Branches(nn.Module):
    """A delay beside a direct path, in a forward of its own."""

    def __init__(self, delay):
        super().__init__()
        self.delay, self.lif = delay, snn.Leaky(0.7, init_hidden=True)

    def forward(self, x):
        return self.lif(self.delay(x) + x)


MADE = [
    (lambda width: snn.AxonalDelay(4, 5, width, init_hidden=True), (4,)),
    (lambda width: snn.AxonalDelay((4, 1, 1), 5, width, init_hidden=True), (4, 2, 3)),
    (lambda width: snn.SynapticDelay(4, 4, 5, width, init_hidden=True), (4,)),
    (lambda width: snn.SynapticDelay(4, 4, 5, width, bias=False, init_hidden=True), (2, 4)),
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("make", "shape"), MADE, ids=["axonal", "image", "synaptic", "sequences"])
def test_a_whole_sequence_is_the_loop(make, shape, width):
    torch.manual_seed(1)
    net = Branches(make(width)).double()
    other = copy.deepcopy(net)
    x = torch.randn(9, 3, *shape, dtype=torch.float64, requires_grad=True)
    for batch, anew in ((x, True), (x[:4, :2], True), (x[:, :2], False)):  # another batch size; then the states go on
        for n in (net, other):
            snn.utils.reset(n) if anew else snn.utils.detach(n)
        found, expected = snn.unroll(net, batch), loop(other, batch)
        assert torch.equal(found, expected)
        torch.testing.assert_close(net.delay.past, other.delay.past, rtol=0, atol=0)
        for n, out in ((net, found), (other, expected)):
            n.zero_grad()
            (out.sum() + n.lif.mem.square().sum()).backward()
        for p, q in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-10)
    told = {path.layer: path.path for path in paths(net, x[:, :2])}
    assert told[type(net.delay).__name__] == "folded" and told["Leaky"].startswith("fused")


def test_the_definition_of_a_synaptic_delay():
    layer = snn.SynapticDelay(3, 2, max_delay=4, width=1.2).double()
    x = torch.randn(7, 1, 3, dtype=torch.float64)
    w, expected = taps(layer.delay, 4, 1.2), torch.zeros(7, 2, dtype=torch.float64)
    for t in range(7):
        for o in range(2):
            terms = [layer.weight[o, i] * w[o, i, k] * x[t - k, 0, i] for i in range(3) for k in range(min(t, 4) + 1)]
            expected[t, o] = layer.bias[o] + sum(terms)
    torch.testing.assert_close(snn.unroll(layer, x)[0][:, 0], expected, rtol=0, atol=1e-12)


def test_whole_delays_are_those_of_delay():
    x, steps = torch.randn(8, 2, 3), torch.tensor([0, 2, 3])
    layer = snn.AxonalDelay(3, 3)
    layer.delay.data = steps.float()
    expected = snn.unroll(snn.Delay(steps), x)[0]
    assert torch.equal(snn.unroll(layer, x)[0], expected)
    layer.delay.data += 0.3
    layer.width = 0
    assert torch.equal(snn.unroll(layer, x, torch.zeros(0))[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_neither_dtypes_nor_values(dtype):
    x = torch.rand(6, 2, 4).to(dtype)
    for make, _ in MADE[::2]:
        layer = make(1.0)
        expected = snn.unroll(layer, x)
        for run in (snn.unroll, loop):
            snn.utils.reset(layer)
            with torch.autocast("cpu", torch.bfloat16):
                out = run(layer, x)
            assert out.dtype == dtype and layer.past.dtype == torch.float32
            torch.testing.assert_close(out, expected)


def test_a_state_that_is_passed():
    layer, x = snn.SynapticDelay(3, 2, 4), torch.randn(6, 2, 3)
    whole, past = snn.unroll(layer, x)
    first, middle = snn.unroll(layer, x[:2], torch.zeros(0))
    second, last = snn.unroll(layer, x[2:], middle[-1])
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert torch.equal(last[-1], past[-1]) and past.shape == (6, 4, 2, 3)
    assert torch.equal(layer(x[0], torch.zeros(0))[0], whole[0])


def test_wrong_delays_are_errors():
    for make in (lambda *a: snn.AxonalDelay(3, *a), lambda *a: snn.SynapticDelay(3, 2, *a)):
        for wrong in (0, -1, 2.5):
            with pytest.raises(ValueError, match="max_delay must be a positive int, got"):
                make(wrong)
        with pytest.raises(ValueError, match="width must be None or not negative, got -1"):
            make(3, -1)


@pytest.mark.parametrize("make", [
    lambda: snn.Delay(torch.tensor([1, 0, 2, 1])), lambda: snn.AxonalDelay(4, 3), lambda: snn.SynapticDelay(4, 4, 3),
])  # fmt: skip
def test_inputs_of_other_neurons_are_named(make):
    for run in (lambda layer, x: layer(x[0]), snn.unroll):
        with pytest.raises(ValueError, match=r"input_ must end in the shape of the delays, \(4,\), got shape \(2, 5\)"):
            run(make(), torch.rand(6, 2, 5))
    assert snn.unroll(snn.Delay(2), torch.rand(6, 2, 5))[0].shape == (6, 2, 5)  # one for all


def test_delays_in_nir(tmp_path):
    nir = pytest.importorskip("nir")
    from snntorch.export_nir import export_to_nir
    from snntorch.import_nir import import_from_nir

    layer = snn.AxonalDelay(3, 4, init_hidden=True)
    layer.delay.data = torch.tensor([0.0, 2.0, 9.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = export_to_nir(layer, torch.rand(1, 3), dt=1e-3)
    assert [n.delay.tolist() for n in graph.nodes.values() if isinstance(n, nir.Delay)] == [[0.0, 2e-3, 4e-3]]
    x, again = torch.rand(7, 2, 3), import_from_nir(graph, dt=1e-3)
    assert torch.equal(torch.stack([again(now)[0] for now in x]), snn.unroll(layer, x))
    layer.delay.data[1] = 1.5
    with pytest.warns(UserWarning, match="is 1.5 steps of dt=0.001 s, and becomes 2"):
        export_to_nir(layer, torch.rand(1, 3), dt=1e-3)
    layer.width = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_to_nir(layer, torch.rand(1, 3), dt=1e-3)
    layer.delay.data, layer.width = torch.ones(3), 0.5
    with pytest.warns(UserWarning, match="the width 0.5 is left out"):
        export_to_nir(layer, torch.rand(1, 3))
    with pytest.raises(NotImplementedError, match="NIR has no delay of each weight"):
        export_to_nir(snn.SynapticDelay(3, 2, 4, init_hidden=True), torch.rand(1, 3))
