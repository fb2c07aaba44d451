"""BRF: what resonates, and that it does not diverge."""

import cmath
import math

import pytest
import torch

import snntorch as snn

F64 = torch.float64
DT = 0.01


def response(omega, damping, steps=300, threshold=1e9):
    x = torch.zeros(steps, 1, 1, dtype=F64)
    x[0] = 1
    neuron = snn.BRF(torch.tensor(omega, dtype=F64), torch.tensor(damping, dtype=F64), threshold=threshold,
                     time_step=torch.tensor(DT, dtype=F64)).double()  # fmt: skip
    return [out.flatten() for out in snn.unroll(neuron, x)]


@pytest.mark.parametrize(("omega", "damping"), [(5.0, 0.1), (10.0, 1.0), (40.0, 0.0)])
def test_impulse_response(omega, damping):
    """u_n = dt (1 + dt (b + i omega))^n."""
    b = (math.sqrt(1 - (DT * omega) ** 2) - 1) / DT - damping
    _, mem, imag, _ = response(omega, damping)
    factor = 1 + DT * complex(b, omega)
    expected = [DT * factor**n for n in range(300)]
    torch.testing.assert_close(mem, torch.tensor([u.real for u in expected], dtype=F64), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(imag, torch.tensor([u.imag for u in expected], dtype=F64), rtol=1e-9, atol=1e-13)


def test_without_damping_an_oscillation_lasts():
    """At the divergence boundary each step turns u and neither shrinks nor stretches it."""
    _, mem, imag, _ = response(60.0, 0.0, 5000)
    size = mem.hypot(imag)
    torch.testing.assert_close(size, torch.full_like(size, DT), rtol=1e-9, atol=0)
    assert cmath.phase(complex(mem[1], imag[1])) == pytest.approx(math.asin(0.6))


def test_a_spike_raises_threshold_and_damping_for_a_while():
    spk, mem, imag, refractory = snn.BRF(omega=10.0).double()(torch.full((1, 1), 150.0, dtype=F64))
    assert spk.item() == refractory.item() == 1
    assert mem.item() == pytest.approx(1.5)  # no reset
    spk, _, _, refractory = snn.BRF(omega=10.0).double()(torch.zeros(1, 1, dtype=F64), mem, imag, refractory)
    assert spk.item() == 0 and refractory.item() == pytest.approx(0.9)  # 1.5 is below 1 + 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"omega must be less than 1 / time_step, got 100.0 and 0.01"):
        snn.BRF(omega=100.0)
    with pytest.raises(ValueError, match="damping must not be negative, got -1"):
        snn.BRF(damping=-1)
    with pytest.raises(ValueError, match="reset_mechanism must be none, as BRF has no reset, got 'zero'"):
        snn.BRF(reset_mechanism="zero")
