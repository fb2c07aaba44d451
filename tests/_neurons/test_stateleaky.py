"""StateLeaky and LinearLeaky against the sum that defines them, and their cost in T."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snntorch as snn
from helpers import Elements

F64 = torch.float64


def by_definition(x, tau, taps=None):
    """mem[t] = sum over s <= t of exp(-(t-s)/tau) x[s], at most `taps` terms, as a T x T matrix."""
    lag = torch.arange(len(x))[:, None] - torch.arange(len(x))
    kernel = torch.exp(-lag[..., None].double() / tau)
    kernel = kernel * ((lag >= 0) & (lag < (taps or len(x) + 1)))[..., None]
    return torch.einsum("tsc,sbc->tbc", kernel.expand(-1, -1, x.shape[-1]), x)


@settings(max_examples=30)
@given(beta=st.floats(0, 0.99), T=st.integers(1, 60), taps=st.none() | st.integers(1, 70))
def test_the_sum(beta, T, taps):
    neuron = snn.StateLeaky(torch.tensor(beta, dtype=F64), channels=3, kernel_truncation_steps=taps).double()
    x = torch.randn(T, 2, 3, dtype=F64, generator=torch.Generator().manual_seed(T))
    spk, mem = neuron(x)
    torch.testing.assert_close(mem, by_definition(x, 1 / (1 - beta), taps), rtol=1e-10, atol=1e-10)
    assert torch.equal(spk, (mem > 1).double())


def test_one_decay_a_channel():
    beta = torch.tensor([0.5, 0.9, 0.0], dtype=F64)
    x = torch.randn(20, 2, 3, dtype=F64)
    _, mem = snn.StateLeaky(beta, channels=3).double()(x)
    torch.testing.assert_close(mem, by_definition(x, 1 / (1 - beta)))


def test_beta_is_a_time_constant():
    """tau = 1 / (1 - beta): beta = 0.9 decays by exp(-1/10) a step, not by 0.9."""
    neuron = snn.StateLeaky(beta=0.9, channels=1)
    assert float(neuron.tau) == pytest.approx(10, rel=1e-5)
    assert float(neuron.beta) == pytest.approx(0.9, rel=1e-6)
    _, mem = neuron(torch.tensor([1.0, 0]).view(2, 1, 1))
    assert float(mem[1]) == pytest.approx(math.exp(-0.1), rel=1e-5)


def test_learning_moves_tau():
    neuron = snn.StateLeaky(beta=0.5, channels=1, learn_beta=True).double()
    assert [n for n, _ in neuron.named_parameters()] == ["tau"]
    x = torch.tensor([1.0, 0], dtype=F64).view(2, 1, 1)
    neuron(x)[1][1].sum().backward()
    assert float(neuron.tau.grad) == pytest.approx(math.exp(-1 / 2) / 2**2, rel=1e-6)  # d exp(-1/tau) / dtau


def test_the_graded_factor_is_applied_once():
    neuron = snn.StateLeaky(0.5, channels=1, graded_spikes_factor=3.0)
    spk, _ = neuron(torch.full((2, 1, 1), 2.0))
    assert spk.flatten().tolist() == [3, 3]


def test_without_output_it_returns_the_potential_and_warns_of_spike_options():
    x = torch.rand(4, 2, 3)
    mem = snn.StateLeaky(0.5, 3, output=False)(x)
    torch.testing.assert_close(mem, snn.StateLeaky(0.5, 3)(x)[1])
    for option in ({"spike_grad": "atan"}, {"surrogate_disable": True}, {"learn_threshold": True},
                   {"learn_graded_spikes_factor": True}):  # fmt: skip
        with pytest.warns(UserWarning, match="output=False"):
            snn.StateLeaky(0.5, 3, output=False, **option)


def test_what_it_has_not():
    neuron = snn.StateLeaky(0.5, 3)
    with pytest.raises(NotImplementedError, match="StateLeaky has no reset"):
        neuron.mem_reset(torch.rand(2, 3))
    with pytest.raises(NotImplementedError, match="StateLeaky has no inhibition"):
        neuron.fire_inhibition(2, torch.rand(2, 3))
    with pytest.raises(ValueError, match="kernel_truncation_steps must be positive or None, got 0"):
        snn.StateLeaky(0.5, 3, kernel_truncation_steps=0)


def test_linear_leaky_is_a_linear_layer_before_it():
    layer = snn.LinearLeaky(0.9, 4, 3, bias=False, learn_beta=True)
    x = torch.rand(6, 2, 4)
    torch.testing.assert_close(layer(x), snn.StateLeaky(0.9, 3)(layer.linear(x)))
    assert {n for n, _ in layer.named_parameters()} == {"tau", "linear.weight"}
    assert snn.LinearLeaky(0.9, 4, 3, dtype=F64).linear.weight.dtype == F64
    meta = snn.LinearLeaky(0.9, 4, 3, device="meta")
    assert {t.device.type for t in meta.state_dict().values()} == {"meta"}


# -- cost


def cost(neuron, T):
    """Elements computed by a training step, and elements saved for its backward."""
    x = torch.rand(T, 2, 4, requires_grad=True)
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Elements() as computed:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = neuron(x)
        (out[0].sum() + out[1].sum()).backward()
    return torch.tensor([computed.count, sum(saved.values())])


@pytest.mark.parametrize("taps", [None, 5])
@pytest.mark.parametrize(
    "make", [lambda **kw: snn.StateLeaky(0.9, 4, **kw), lambda **kw: snn.LinearLeaky(0.9, 4, 3, **kw)],
    ids=["StateLeaky", "LinearLeaky"],
)  # fmt: skip
def test_work_and_memory_grow_linearly_with_time(make, taps):
    """A T x T kernel would quadruple both when T doubles."""
    neuron = make(learn_beta=True, kernel_truncation_steps=taps)
    cost(neuron, 8)  # warm up
    one, two, four = (cost(neuron, T) for T in (64, 128, 256))
    assert (one > 0).all()
    assert (two <= 2 * one).all() and (four <= 2 * two).all()


def test_beta_follows_tau():
    neuron = snn.StateLeaky(beta=0.9, channels=2, learn_beta=True)
    with torch.no_grad():
        neuron.tau.fill_(4.0)
    torch.testing.assert_close(neuron.beta, torch.tensor(0.75))
    torch.testing.assert_close(neuron.state_dict()["beta"], torch.tensor(0.75))
    copy = snn.StateLeaky(beta=0.5, channels=2, learn_beta=True)
    copy.load_state_dict(neuron.state_dict())
    torch.testing.assert_close(copy.beta, torch.tensor(0.75))


def test_a_beta_for_each_channel_fits_the_channels():
    with pytest.raises(ValueError, match=r"beta must be a number or \[4\], one a channel, got shape \(3,\)"):
        snn.StateLeaky(torch.full((3,), 0.9), channels=4)
