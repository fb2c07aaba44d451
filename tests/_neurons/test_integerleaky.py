"""IntegerLeaky: several spikes a step."""

import pytest
import torch

import snntorch as snn

F64 = torch.float64


def test_what_goes_in_comes_out_in_spikes():
    """Without a leak, what is left of the input lies within half a threshold, while no step overflows."""
    x = 2 * torch.rand(50, 2, 3, dtype=F64)
    spk, mem = snn.unroll(snn.IntegerLeaky(beta=1.0, levels=4, threshold=0.7).double(), x)
    torch.testing.assert_close(0.7 * spk.sum(0) + mem[-1], x.sum(0))
    assert (mem.abs() <= 0.35 + 1e-9).all()
    assert torch.equal(spk, spk.round()) and spk.max() > 1


def test_it_is_bounded():
    spk, mem = snn.IntegerLeaky(beta=1.0, levels=3)(torch.tensor([[-5.0, 7.0]]))
    assert spk.tolist() == [[0, 3]] and mem.tolist() == [[-5, 4]]


def test_gradient_is_the_clamp_s():
    """One over the threshold between 0 and the levels, nothing beyond; the soft reset takes it from the potential."""
    x = torch.tensor([[-0.5, 0.3, 1.9, 9.0]], dtype=F64, requires_grad=True)
    spk, mem = snn.IntegerLeaky(beta=1.0, levels=4, threshold=2.0).double()(x)
    (grad,) = torch.autograd.grad(spk.sum(), x, retain_graph=True)
    assert grad.tolist() == [[0, 0.5, 0.5, 0]]
    (grad,) = torch.autograd.grad(mem.sum(), x)
    assert grad.tolist() == [[1, 0, 0, 1]]


@pytest.mark.parametrize("levels", [0, 1.5])
def test_levels_are_a_positive_int(levels):
    with pytest.raises(ValueError, match="levels must be a positive int"):
        snn.IntegerLeaky(0.9, levels)
