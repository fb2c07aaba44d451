"""NoisyLeaky: how often it fires, and that a seed holds."""

import math

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, loop

F64 = torch.float64


def seeded(seed=0, **kwargs):
    return snn.NoisyLeaky(0.9, generator=torch.Generator().manual_seed(seed), **kwargs)


@pytest.mark.parametrize("distance", [-0.6, -0.2, 0.0, 0.3])
def test_probability_of_a_spike(distance):
    """`sigmoid((mem - threshold) / width)`, within four standard deviations of 40000 draws."""
    n, width = 40000, 0.25
    spk, _ = seeded(width=width)(torch.full((1, n), 1 + distance))
    p = 1 / (1 + math.exp(-distance / width))
    assert abs(spk.mean().item() - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_without_noise_it_is_leaky_that_resets_at_once():
    x = torch.randn(40, 2, 3, dtype=F64) + 0.3
    leaky = snn.Leaky(0.9, reset_delay=False).double()
    assert_equal(snn.unroll(snn.NoisyLeaky(0.9, width=0.0).double(), x), snn.unroll(leaky, x))


@pytest.mark.parametrize("shape", [(3,), (17, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_unroll_and_the_loop_spike_alike_from_one_seed(shape, dtype):
    x = torch.rand(20, 2, *shape).to(dtype)
    expected = loop(seeded(), x)
    torch.testing.assert_close(snn.unroll(seeded(), x), expected)
    assert expected[0].any() and not torch.equal(snn.unroll(seeded(1), x)[0], expected[0])
    static = snn.unroll(seeded(), x[0], num_steps=5)
    torch.testing.assert_close(static, loop(seeded(), x[0], num_steps=5))


def test_manual_seed_holds_without_a_generator():
    neuron, x = snn.NoisyLeaky(0.9), torch.rand(20, 2, 3)
    torch.manual_seed(3)
    first = snn.unroll(neuron, x, torch.zeros(0))
    second = snn.unroll(neuron, x, torch.zeros(0))
    torch.manual_seed(3)
    assert_equal(snn.unroll(neuron, x, torch.zeros(0)), first)
    assert not torch.equal(first[0], second[0])


def test_fused_and_eager_agree_with_noise_and_gradients():
    results = []
    for backend in ("fused", "eager"):
        neuron, x = seeded(learn_width=True).double(), torch.rand(20, 2, 3, dtype=F64, generator=torch.manual_seed(0))
        x.requires_grad_()
        with snn.backend(backend):
            spk, mem = snn.unroll(neuron, x)
            grads = torch.autograd.grad((spk * x.detach()).sum() + mem.sum(), (x, neuron.width))
        results.append([spk, mem, *grads])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    assert results[0][3] != 0
