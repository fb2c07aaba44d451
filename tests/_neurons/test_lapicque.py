"""Lapicque against the resistor-capacitor circuit."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snntorch as snn
from helpers import loop

F64 = torch.float64


def number(tensor):
    return float(tensor.detach())


def charge(R, C, dt, current, steps):
    lif = snn.Lapicque(R=R, C=C, time_step=dt, threshold=1e9).double()
    return loop(lif, torch.full((steps, 1, 1), current, dtype=F64))[1].flatten()


@settings(max_examples=30)
@given(R=st.floats(0.5, 10), C=st.floats(0.5, 10), ratio=st.floats(0.01, 1), current=st.floats(-2, 2))
def test_charge_by_the_forward_euler_method(R, C, ratio, current):
    """mem_n = I R (1 - (1 - k)^n) with k = dt / (R C)."""
    dt = ratio * R * C * 0.999
    mem, n = charge(R, C, dt, current, 20), torch.arange(1, 21, dtype=F64)
    k = dt / (R * C)
    torch.testing.assert_close(mem, current * R * (1 - (1 - k) ** n), rtol=1e-5, atol=1e-6)


def test_charge_converges_to_the_circuit_s_at_first_order():
    """I R (1 - exp(-t / RC)); halving the step halves the error."""
    errors = []
    for dt in (0.1, 0.05, 0.025):
        mem = charge(5.0, 0.5, dt, 0.2, round(5 / dt))
        t = dt * torch.arange(1, len(mem) + 1, dtype=F64)
        errors.append(float((mem - 0.2 * 5.0 * (1 - torch.exp(-t / 2.5))).abs().max()))
    assert errors[0] < 0.02
    assert [a / b for a, b in itertools.pairwise(errors)] == pytest.approx([2, 2], rel=0.05)


@pytest.mark.parametrize(
    ("given", "R", "C", "beta"),
    [
        ({"beta": 0.8}, 1, 1 / math.log(1 / 0.8), 0.8),
        ({"beta": 0.8, "R": 2.0}, 2, 1 / (2 * math.log(1 / 0.8)), 0.8),
        ({"beta": 0.8, "C": 4.0}, 1 / (4 * math.log(1 / 0.8)), 4, 0.8),
        ({"R": 5.0, "C": 2.0}, 5, 2, math.exp(-1 / 10)),
        ({"R": 5.0, "C": 2.0, "time_step": 0.5}, 5, 2, math.exp(-0.5 / 10)),
        ({"beta": 0.8, "time_step": 0.5}, 1, 0.5 / math.log(1 / 0.8), 0.8),
    ],
)
def test_two_constants_give_the_third(given, R, C, beta):
    lif = snn.Lapicque(**given)
    assert [number(lif.R), number(lif.C), number(lif.beta)] == pytest.approx([R, C, beta], rel=1e-6)
    assert set(lif.state_dict()) == {
        "R", "C", "time_step", "beta", "threshold", "graded_spikes_factor", "reset_mechanism_val",
    }  # fmt: skip


@pytest.mark.parametrize("given", [{}, {"R": 2.0}, {"C": 2.0}])
def test_too_few_constants(given):
    with pytest.raises(ValueError, match=r"give beta, or two of beta, R and C; got (none|R|C)"):
        snn.Lapicque(**given)


@pytest.mark.parametrize("name", ["R", "C", "beta", "threshold"])
def test_nan_is_named(name):
    with pytest.raises(ValueError, match=f"{name} must not be NaN"):
        snn.Lapicque(**{"R": 2.0, "C": 2.0, name: float("nan")})


def test_unstable_step_warns():
    with pytest.warns(UserWarning, match=r"time_step > R \* C"):
        snn.Lapicque(R=1.0, C=0.5, time_step=1)


@pytest.mark.parametrize("given", [{}, {"R": 2.0}, {"C": 3.0}])
@pytest.mark.parametrize("beta", [0.5, torch.linspace(0.4, 0.8, 3)], ids=["scalar", "vector"])
def test_learn_beta_trains_and_the_constants_follow(given, beta):
    """Descent on beta fits a recorded response; the second backward works; R C = dt / ln(1/beta) throughout."""
    lif = snn.Lapicque(beta=beta, **given, learn_beta=True, threshold=1e9)
    x = torch.rand(20, 4, 3)
    target = loop(snn.Lapicque(beta=torch.tensor([0.6, 0.7, 0.9]), **given, threshold=1e9), x)[1]
    optimizer = torch.optim.Adam(lif.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        lif.reset_mem()
        loss = (loop(lif, x)[1] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    lif(x[0])
    torch.testing.assert_close((lif.R * lif.C).expand_as(lif.beta), -1 / lif.beta.detach().log())
    for name, value in given.items():
        assert torch.all(getattr(lif, name) == value)


@settings(max_examples=30)
@given(beta=st.floats(0.4, 0.95))
def test_it_is_leaky_with_scaled_input(beta):
    """Leaky's decay is 1 - ln(1/beta), its input I ln(1/beta)."""
    k = math.log(1 / beta)
    lif = snn.Lapicque(beta=torch.tensor(beta, dtype=F64), reset_mechanism="none").double()
    leaky = snn.Leaky(torch.tensor(1 - k, dtype=F64), reset_mechanism="none")
    x = torch.full((20, 1, 1), 1.7, dtype=F64)
    torch.testing.assert_close(loop(lif, x)[1], loop(leaky, k * x)[1], rtol=1e-9, atol=1e-9)


def test_zero_resets_the_whole_update():
    """f - r f: after a spike the potential is zero, the new input included."""
    _, mem = loop(snn.Lapicque(R=1.0, C=2.0, reset_mechanism="zero"), torch.full((3, 1, 1), 3.0))
    assert mem.flatten().tolist() == [1.5, 0, 1.5]


@pytest.mark.parametrize("given", [{}, {"C": 2.0}])
def test_constants_that_follow_beta_do_not_cut_a_network_into_steps(given):
    class Doubled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Lapicque(0.8, **given, learn_beta=True, init_hidden=True)

        def forward(self, x):
            return self.lif(2 * x)

    net, lengths = Doubled(), []
    over_time = net.lif.over_time
    object.__setattr__(net.lif, "over_time", lambda *a: lengths.append(a[2]) or over_time(*a))
    snn.unroll(net, torch.rand(5, 2, 3))
    assert lengths == [5]
    found = net.lif.R * net.lif.C * -net.lif.beta.log()
    assert number(found) == pytest.approx(1)
