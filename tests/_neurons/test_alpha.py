"""Alpha against the alpha function."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snntorch as snn
from helpers import loop

F64 = torch.float64


@settings(max_examples=30)
@given(alpha=st.floats(0.3, 0.95), ratio=st.floats(0.1, 0.95))
def test_impulse_response_and_its_peak(alpha, ratio):
    """m_n = tau (alpha^n - beta^n), with its peak at ln(ln beta / ln alpha) / ln(alpha / beta)."""
    beta = alpha * ratio
    neuron = snn.Alpha(torch.tensor(alpha, dtype=F64), torch.tensor(beta, dtype=F64), threshold=1e9)
    x = torch.zeros(60, 1, 1, dtype=F64)
    x[0] = 1
    _, exc, inh, mem = (out.flatten() for out in loop(neuron, x))
    n = torch.arange(60, dtype=F64)
    tau = math.log(alpha) / (math.log(beta) - math.log(alpha)) + 1
    torch.testing.assert_close(exc, alpha**n, rtol=1e-10, atol=1e-300)
    torch.testing.assert_close(inh, -(beta**n), rtol=1e-10, atol=1e-300)
    torch.testing.assert_close(mem, tau * (alpha**n - beta**n), rtol=1e-9, atol=1e-11)
    peak = math.log(math.log(beta) / math.log(alpha)) / math.log(alpha / beta)
    assert int((tau * mem).argmax()) in {math.floor(peak), math.ceil(peak)}


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_reset_mechanisms_by_their_equations(mechanism):
    alpha, beta, u, x = 0.8, 0.4, 1.0, 0.7
    exc, inh, mem = 2.0, -0.5, 1.5  # above the threshold
    tau = math.log(alpha) / (math.log(beta) - math.log(alpha)) + 1
    e, i = alpha * exc + x, beta * inh - x
    m = tau * (e + i)
    expected = {"subtract": (e - u, 0.0, m + inh), "zero": (0.0, 0.0, 0.0), "none": (e, i, m)}[mechanism]
    neuron = snn.Alpha(alpha, beta, threshold=u, reset_mechanism=mechanism).double()
    x = torch.full((1, 1), x, dtype=F64)
    exc, inh, mem = (torch.full((1, 1), v, dtype=F64) for v in (exc, inh, mem))
    assert [float(v) for v in neuron(x, exc, inh, mem)[1:]] == pytest.approx(expected, abs=1e-6)
    at_threshold = torch.full((1, 1), u, dtype=F64)
    assert [float(v) for v in neuron(x, exc, inh, at_threshold)[1:]] == pytest.approx((e, i, m), abs=1e-6)


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.5, 0.8), (0.5, 0.5), (1.2, 1), (torch.tensor([0.9, 0.2]), torch.tensor([0.5, 0.5]))]
)
def test_alpha_must_exceed_beta_and_beta_not_be_one(alpha, beta):
    with pytest.raises(ValueError, match="alpha must be larger than beta, and beta not 1"):
        snn.Alpha(alpha, beta)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_learnt_decays_get_the_gradient_of_tau_too(name):
    """By central differences of the potential."""

    def total(**shift):
        values = {"alpha": 0.8, "beta": 0.5}
        values = {k: torch.tensor(v + shift.get(k, 0), dtype=F64) for k, v in values.items()}
        neuron = snn.Alpha(**values, learn_alpha=True, learn_beta=True, threshold=1e9)
        return neuron, loop(neuron, torch.ones(4, 1, 1, dtype=F64))[3].sum()

    neuron, value = total()
    value.backward()
    h = 1e-6
    slope = (total(**{name: h})[1] - total(**{name: -h})[1]).detach() / (2 * h)
    assert float(getattr(neuron, name).grad) == pytest.approx(float(slope), rel=1e-6)


def test_zero_is_the_default_reset():
    assert snn.Alpha(0.9, 0.8).reset_mechanism == "zero"


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_the_first_step_depends_on_its_input_by_nothing(backend):
    """As in the loop of both currents, whose parts cancel: backward works, and gives 0."""
    x = torch.rand(2, 3, requires_grad=True)
    alpha = snn.Alpha(0.9, 0.8)
    with snn.backend(backend):
        spk, *_, mem = alpha(x, *alpha.reset_mem())
        (spk.sum() + mem.sum()).backward()
    assert torch.equal(mem, torch.zeros(2, 3)) and torch.equal(x.grad, torch.zeros(2, 3))
