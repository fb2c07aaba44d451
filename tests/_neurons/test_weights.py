"""Modules with weights inside neurons: whatever is done to such a module counts, as where the module is called."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm
from torch.nn.utils.parametrizations import spectral_norm as parametrised_spectral_norm
from torch.nn.utils.parametrizations import weight_norm

import snntorch as snn
from helpers import loop

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")  # the first spikes have none

T, B, F, H = 5, 2, 4, 3


def lstm(neuron, x):
    mem = syn = x.new_zeros(B, H)
    for now in x:
        mem, syn = neuron.lstm_cell(now, (mem, syn))
        yield mem


def conv_lstm(neuron, x):
    mem = syn = x.new_zeros(B, 2, *x.shape[-2:])
    for now in x:
        i, f, o, g = neuron.conv(torch.cat((now, mem), 1)).chunk(4, 1)
        syn = f.sigmoid() * syn + i.sigmoid() * g.tanh()
        mem = o.sigmoid() * syn.tanh()
        yield mem


def recurrent(neuron, x):
    mem = spk = torch.zeros_like(x[0])
    for now in x:
        mem = neuron.beta * mem + now + neuron.recurrent(spk) - (mem > 1).to(x.dtype)
        spk = neuron.spike_grad(mem - 1)
        yield mem


def parallel(neuron, x):
    h = x.new_zeros(B, H)
    for now in x:
        rnn = neuron.rnn
        h = torch.relu(now @ rnn.weight_ih_l0.T + rnn.bias_ih_l0 + h @ rnn.weight_hh_l0.T + rnn.bias_hh_l0)
        yield neuron.spike_grad(h - neuron.threshold)


INSIDE = {  # the neuron, the module in it, that module's weight, a sample's shape, the neuron as a loop of calls
    "SLSTM": (lambda: snn.SLSTM(F, H), "lstm_cell", "weight_hh", (F,), lstm),
    "SConv2dLSTM": (lambda: snn.SConv2dLSTM(1, 2, 3), "conv", "weight", (1, 5, 4), conv_lstm),
    "RLeaky-linear": (lambda: snn.RLeaky(0.9, linear_features=F), "recurrent", "weight", (F,), recurrent),
    "RLeaky-conv": (
        lambda: snn.RLeaky(0.9, conv2d_channels=2, kernel_size=3), "recurrent", "weight", (2, 4, 4), recurrent,
    ),
    "RLeaky-one": (
        lambda: snn.RLeaky(0.9, V=torch.linspace(0.1, 0.7, F), all_to_all=False), "recurrent", "V", (F,), recurrent,
    ),
}  # fmt: skip


def halved(result):
    return tuple(r / 2 for r in result) if isinstance(result, tuple) else result / 2


class Replaced(nn.Module):
    """As a library's adapter puts itself in a module's place."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args):
        return halved(self.inner(*args))


def replace_forward(module, weight):
    called = module.forward
    module.forward = lambda *args: halved(called(*args))


DEEDS = {
    "nothing": lambda module, weight: None,
    "prune": lambda module, weight: prune.l1_unstructured(module, weight, 0.5),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrised spectral_norm": parametrised_spectral_norm,
    "hook": lambda module, weight: module.register_forward_hook(lambda module, args, result: halved(result)),
    "hook before": lambda module, weight: module.register_forward_pre_hook(lambda m, args: (args[0] / 2, *args[1:])),
    "hook backward": lambda module, weight: module.register_full_backward_hook(
        lambda module, inputs, outputs: tuple(None if g is None else 2 * g for g in inputs)
    ),
    "hook before backward": lambda module, weight: module.register_full_backward_pre_hook(
        lambda module, outputs: tuple(None if g is None else 2 * g for g in outputs)
    ),
    "forward": replace_forward,
}


def changed(name, deed):
    torch.manual_seed(1)
    make, inner, weight, shape, calls = INSIDE[name]
    neuron = make().double()
    deed(getattr(neuron, inner), weight)
    x = 1.2 * torch.rand(T, B, *shape, dtype=torch.float64)
    return neuron, x.requires_grad_(), calls


def results(neuron, x, run):
    torch.manual_seed(2)
    mem = run(neuron, x)
    weights = torch.linspace(-1, 1.5, mem.numel(), dtype=mem.dtype).view_as(mem)
    return mem, torch.autograd.grad((weights * mem).sum(), [x, *neuron.parameters()])


@pytest.mark.parametrize(
    "run", [lambda n, x: loop(n, x)[-1], lambda n, x: snn.unroll(n, x)[-1]], ids=["loop", "unroll"]
)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("name", INSIDE)
def test_what_is_done_to_a_module_inside_a_neuron_counts(name, deed, run):
    if name == "RLeaky-one" and "norm" in deed:
        pytest.skip("norms are of matrices")
    one, two = (changed(name, DEEDS[deed]) for _ in range(2))
    found = results(*one[:2], run)
    expected = results(*two[:2], lambda neuron, x: torch.stack(list(two[2](neuron, x))))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", INSIDE)
def test_an_adapter_in_the_place_of_a_module_counts(name):
    torch.manual_seed(1)
    make, inner, _, shape, calls = INSIDE[name]
    neuron = make().double()
    setattr(neuron, inner, Replaced(getattr(neuron, inner)))
    x = 1.2 * torch.rand(T, B, *shape, dtype=torch.float64)
    torch.testing.assert_close(snn.unroll(neuron, x)[-1], torch.stack(list(calls(neuron, x))))


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("kind", ["full_backward_hook", "full_backward_pre_hook", "forward_hook", "forward_pre_hook"])
def test_a_hook_on_a_module_inside_a_neuron_is_called_at_every_step(name, kind):
    make, inner, _, shape, _ = INSIDE[name]
    neuron, calls = make(), []
    getattr(getattr(neuron, inner), f"register_{kind}")(lambda *args: calls.append(kind))
    snn.unroll(neuron, torch.rand(T, B, *shape))[-1].sum().backward()
    assert len(calls) == T


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_a_called_module_takes_half_precision(name, dtype, autocast):
    """Under autocast, and with half weights, its results are those of the plain module to rounding."""
    torch.manual_seed(0)
    make, inner, _, shape, _ = INSIDE[name]
    neuron = make() if autocast else make().to(dtype)
    x = torch.rand(T, B, *shape) if autocast else torch.rand(T, B, *shape).to(dtype)
    hooked = copy.deepcopy(neuron)
    getattr(hooked, inner).register_forward_hook(lambda *args: None)
    with torch.autocast("cpu", dtype, enabled=autocast):
        (spk, *states), (other, *expected) = snn.unroll(hooked, x), snn.unroll(neuron, x)
    assert spk.dtype == other.dtype and [s.dtype for s in states] == [e.dtype for e in expected]
    torch.testing.assert_close(states[-1][0], expected[-1][0], atol=0.01, rtol=0.01)


@pytest.mark.parametrize("deed", ["nothing", "prune", "hook", "weight_norm"])
def test_leaky_parallel_s_weights(deed):
    torch.manual_seed(1)
    neuron = snn.LeakyParallel(F, H, beta=0.8, weight_hh_enable=True, threshold=0.5).double()
    if deed == "hook":
        neuron.rnn.register_forward_hook(lambda module, args, result: (2 * result[0], result[1]))
    else:
        DEEDS[deed](neuron.rnn, "weight_ih_l0")
    x = 2 * torch.rand(T, B, F, dtype=torch.float64)
    reference = neuron if deed != "hook" else snn.LeakyParallel(F, H, threshold=0.25).double()
    if deed == "hook":
        reference.rnn.load_state_dict(neuron.rnn.state_dict())
    spk = neuron(x)
    assert 0 < spk.mean() < 1
    torch.testing.assert_close(spk, torch.stack(list(parallel(reference, x))))


def test_leaky_parallel_s_beta_is_a_fraction():
    assert snn.LeakyParallel(F, H, beta=1.5).rnn.weight_hh_l0.diagonal().tolist() == [1.0] * H


# -- V, the weight from each neuron to itself


ONE = pytest.mark.parametrize(
    "make",
    [lambda **kw: snn.RLeaky(0.9, **kw), lambda **kw: snn.RSynaptic(0.5, 0.9, **kw)],
    ids=["RLeaky", "RSynaptic"],
)


def fed(neuron, x, run=loop):
    neuron.reset_mem()
    return run(neuron, x)[-1]


@ONE
@pytest.mark.parametrize("move", [lambda n: n, lambda n: n.double().float(), copy.deepcopy], ids=["", "cast", "copy"])
def test_a_frozen_v_is_a_buffer_that_may_be_assigned(make, move):
    x, V = torch.rand(6, 2, 3), torch.tensor([0.1, 0.5, 0.9])
    neuron = move(make(V=0.3, all_to_all=False, learn_recurrent=False))
    assert "V" in dict(neuron.named_buffers()) and not list(neuron.parameters())
    neuron.V = V.clone()
    assert neuron.recurrent.V is neuron.V
    torch.testing.assert_close(fed(neuron, x), fed(make(V=V, all_to_all=False), x))
    neuron.V.fill_(0.2)
    torch.testing.assert_close(fed(neuron, x), fed(make(V=0.2, all_to_all=False), x))
    neuron = move(neuron)
    neuron.load_state_dict({**neuron.state_dict(), "V": V})
    torch.testing.assert_close(fed(neuron, x), fed(make(V=V, all_to_all=False), x))
    neuron.load_state_dict({**neuron.state_dict(), "V": V / 2}, assign=True)
    torch.testing.assert_close(fed(neuron, x), fed(make(V=V / 2, all_to_all=False), x))


@ONE
def test_a_learnt_v_may_be_assigned_in_either_place(make):
    x, V = torch.rand(6, 2, 3), torch.tensor([0.1, 0.5, 0.9])
    for place in (lambda neuron: neuron, lambda neuron: neuron.recurrent):
        neuron = make(V=0.3, all_to_all=False)
        place(neuron).V = nn.Parameter(V)
        torch.testing.assert_close(fed(neuron, x), fed(make(V=V, all_to_all=False), x))
        fed(neuron, x).sum().backward()
        assert place(neuron).V.grad.all()


@ONE
def test_a_pruned_or_parametrised_v_counts(make):
    x, V = torch.rand(6, 2, 3), torch.tensor([0.1, 0.5, 0.9])
    neuron = make(V=V, all_to_all=False)
    prune.custom_from_mask(neuron, "V", torch.tensor([0.0, 1, 1]))
    torch.testing.assert_close(fed(neuron, x), fed(make(V=V * (V > 0.2), all_to_all=False), x))
    torch.testing.assert_close(fed(neuron, x, snn.unroll), fed(make(V=V * (V > 0.2), all_to_all=False), x))
    fed(neuron, x).sum().backward()
    assert neuron.V_orig.grad.tolist()[0] == 0 and neuron.V_orig.grad[1:].all()


@ONE
def test_v_in_functional_calls_and_ensembles(make):
    x, V = torch.rand(2, 3), torch.tensor([0.1, 0.5, 0.9])
    spk = (torch.ones(2, 3), *[torch.zeros(2, 3)] * (len(make(linear_features=3).states) - 1))
    expected = make(V=V, all_to_all=False)(x, *spk)
    for learn in (True, False):
        neuron = make(V=torch.zeros(3), all_to_all=False, learn_recurrent=learn)
        out = torch.func.functional_call(neuron, {"V": V}, (x, *spk))
        torch.testing.assert_close(out, expected)
