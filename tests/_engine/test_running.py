"""The run of a step: dtypes on both paths."""

import pytest
import torch

import snntorch as snn
from snntorch._engine import run

T, B, F = 40, 3, 5
LOW = [torch.float16, torch.bfloat16]


class Mixing(snn.SpikingNeuron):
    """A step that autocast would take in half precision."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        mem = 0.5 * mem + x @ torch.eye(F) * 1.001
        return spike(mem - threshold), mem


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("steps", [0, T])
@pytest.mark.parametrize("make", [lambda: snn.Leaky(0.999, learn_beta=True), Mixing], ids=["Leaky", "Mixing"])
def test_half_inputs_are_computed_in_float32(make, steps, dtype, autocast):
    """Only inputs are rounded, and the outputs that are no states: bit for bit the float32 run on the same inputs."""
    neuron = make()
    x, mem = torch.rand((steps, B, F) if steps else (B, F)).to(dtype), 2 * torch.rand(B, F)
    arguments = neuron.step_arguments(torch.float32)
    with snn.backend("eager"):
        (spk, course), (final,) = run(neuron, (x.float(),), (mem,), arguments, steps=steps)
    for backend in ("eager", "auto"):
        with snn.backend(backend), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            (found, path), (last,) = run(neuron, (x,), (mem,), arguments, steps=steps)
        assert (found.dtype, path.dtype, last.dtype) == (dtype, torch.float32, torch.float32)
        assert torch.equal(found, spk.to(dtype)) and torch.equal(path, course) and torch.equal(last, final)


def test_what_does_not_vary_is_rounded_no_further():
    lif, x, mem = snn.Leaky(0.999), torch.rand(B, F).bfloat16(), torch.zeros(B, F)
    arguments = lif.step_arguments(torch.float32)
    found = []
    for backend in ("eager", "fused"):
        with snn.backend(backend):
            found.append(run(lif, (x,), (mem,), arguments, steps=T, varies=(False,)))
    ((spk, course), (last,)), ((spk_fused, course_fused), (last_fused,)) = found
    assert spk_fused.dtype == spk.dtype == torch.bfloat16 and course_fused.dtype == torch.float32
    assert torch.equal(spk, spk_fused) and torch.equal(course, course_fused) and torch.equal(last, last_fused)
