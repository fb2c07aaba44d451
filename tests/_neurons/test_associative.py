"""AssociativeLeaky against its recurrence, also over ten thousand steps."""

import pytest
import torch

import snntorch as snn

F64 = torch.float64


def states(layer, x):
    """S = S diag(a) + v k^T, one step after another."""
    S, trace = 0, []
    for v, k, a in zip(layer.to_v(x), layer.to_k(x), torch.sigmoid(layer.to_alpha(x)), strict=True):
        S = S * a[:, None, :] + torch.einsum("bd,bn->bdn", v, k)
        trace.append(S)
    return torch.stack(trace)


def test_without_projection_the_spikes_of_the_state():
    layer = snn.AssociativeLeaky(5, 3, 4, 12, use_q_projection=False).double()
    x = 3 * torch.randn(20, 2, 5, dtype=F64)
    expected = (states(layer, x) > 1).double().flatten(2)
    assert torch.equal(layer(x), expected) and expected.any() and not expected.all()


def test_with_projection_the_spikes_times_q():
    layer = snn.AssociativeLeaky(5, 3, 4, 12).double()
    x = 3 * torch.randn(20, 2, 5, dtype=F64)
    Q = layer.to_q(x).view(20, 2, 4, 3)
    torch.testing.assert_close(layer(x), ((states(layer, x) > 1).double() @ Q).flatten(2))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_ten_thousand_steps_are_stable(dtype):
    """A cumulative product of the decays underflows after a few hundred steps; a recurrence does not."""
    torch.manual_seed(0)
    layer = snn.AssociativeLeaky(2, 2, 2, 4, use_q_projection=False)
    with torch.no_grad():
        x = 3 * torch.randn(10_000, 1, 2)
        spk = layer.to(dtype)(x.to(dtype))
        expected = states(layer.double(), x.double()).flatten(2)
    assert torch.log(torch.sigmoid(layer.to_alpha(x.double()))).sum() < -1000  # the product is e^-1000 and less
    assert spk.isfinite().all() and spk[-1000:].any()
    differ = spk.double() != (expected > 1).double()
    assert ((expected[differ] - 1).abs() < 1e-5).all()  # only at the threshold, to float32's rounding
    assert differ.sum() == 0 or dtype == torch.float32


def test_gradients_reach_the_first_of_many_steps():
    torch.manual_seed(0)
    layer = snn.AssociativeLeaky(2, 2, 2, 4).double()
    x = torch.randn(300, 1, 2, dtype=F64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all() and x.grad[0].any()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_sizes():
    with pytest.raises(ValueError, match=r"num_spiking_neurons must be d_value \* d_key = 12, got 13"):
        snn.AssociativeLeaky(5, 3, 4, 13)
    with pytest.raises(ValueError, match="square number, got 12"):
        snn.AssociativeLeaky.from_num_spiking_neurons(5, 12)
    layer = snn.AssociativeLeaky.from_num_spiking_neurons(5, 9, use_q_projection=False)
    assert layer.d_value == layer.d_key == 3 and not hasattr(layer, "to_q")
    assert layer(torch.rand(4, 2, 5)).shape == (4, 2, 9)
    with pytest.raises(ValueError, match=r"input_ must be \[T, B, 5\], got shape \(4, 5\)"):
        layer(torch.rand(4, 5))
