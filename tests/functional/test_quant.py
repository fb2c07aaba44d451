"""State quantisation: levels in closed form, ties, extremes, the gradient, value semantics."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snntorch.functional.quant import StateQuant, state_quant


def levels_of(quant):
    """All levels that a fine sweep of inputs reaches."""
    return quant(torch.linspace(-4, 4, 20001)).unique()


@pytest.mark.parametrize("num_bits", [1, 2, 3, 5])
@pytest.mark.parametrize("limits", [(0, 0.2), (0.3, 0.1)])
def test_uniform_levels_are_a_linspace(num_bits, limits):
    lower, upper = limits
    levels = levels_of(state_quant(num_bits, threshold=2, lower_limit=lower, upper_limit=upper))
    torch.testing.assert_close(levels, torch.linspace(-2 * (1 + lower), 2 * (1 + upper), 2**num_bits))


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, [-1.0, 0.8018, 0.9820, 1.2]),
        ({"thr_centered": False}, [-1.0, 0.0108, 0.1189, 1.2]),
        # m = 1 spaces both sides evenly; the centre 1 itself is no level, and nothing lies above it here.
        ({"multiplier": 1.0, "upper_limit": 0}, [-1.0, -0.5, 0.0, 0.5]),
        # The whole range lies above a centre of -1 + 1 = 0 only in part: two levels on each side.
        ({"thr_centered": False, "upper_limit": 0, "multiplier": 0.5}, [-1.0, -1 / 3, 1 / 3, 1.0]),
    ],
)
def test_exponential_levels(kwargs, expected):
    levels = levels_of(state_quant(2, uniform=False, **kwargs))
    torch.testing.assert_close(levels, torch.tensor(expected), atol=5e-5, rtol=0)


@pytest.mark.parametrize("num_bits", range(1, 9))
def test_exponential_levels_crowd_at_the_threshold(num_bits):
    levels = torch.tensor(state_quant(num_bits, uniform=False).levels, dtype=torch.float64)
    assert len(levels) == 2**num_bits
    assert levels[0] == -1 and levels[-1] == 1.2
    below = levels[levels < 1].diff()
    above = levels[levels > 1].diff()
    assert (below > 0).all() and (above > 0).all()
    assert (below.diff() < 0).all() and (above.diff() > 0).all()


@given(
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.floats(0.1, 3),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 2**31),
)
def test_output_is_the_nearest_level(num_bits, uniform, centered, threshold, lower, upper, seed):
    quant = state_quant(num_bits, uniform, centered, threshold, lower, upper)
    x = torch.randn(40, generator=torch.Generator().manual_seed(seed)) * 2 * threshold
    if uniform:
        levels = torch.linspace(-threshold * (1 + lower), threshold * (1 + upper), 2**num_bits)
    else:
        levels = torch.tensor(quant.levels)
    best = (x[:, None] - levels).abs().min(1).values
    torch.testing.assert_close((quant(x) - x).abs(), best, atol=1e-6 * threshold, rtol=1e-5)


@pytest.mark.parametrize("uniform", [True, False])
def test_tie_takes_the_lower_level(uniform):
    quant = state_quant(1, uniform, thr_centered=False, lower_limit=0, upper_limit=0)
    assert quant(torch.tensor([0.0, 1e-6])).tolist() == [-1.0, 1.0]
    assert StateQuant.apply(torch.tensor([0.5]), torch.tensor([1.0, 0.0])).item() == 0.0


@pytest.mark.parametrize("uniform", [True, False])
def test_nan_stays_and_infinities_saturate(uniform):
    y = state_quant(4, uniform)(torch.tensor([float("nan"), float("inf"), -float("inf")]))
    assert y[0].isnan()
    torch.testing.assert_close(y[1:], torch.tensor([1.2, -1.0]))


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float32_out_and_identity_gradient_even_outside_the_range(uniform, dtype):
    x = torch.tensor([[-9.0, 0.3, float("inf")], [0.0, 7.0, 1.0]], dtype=dtype, requires_grad=True)
    y = state_quant(3, uniform)(x)
    assert y.dtype == torch.float32 and y.shape == x.shape
    grad = torch.randn(2, 3)
    y.backward(grad)
    torch.testing.assert_close(x.grad, grad.to(dtype))


def test_half_precision_reaches_every_level():
    assert len(levels_of(lambda x: state_quant(8)(x.bfloat16()))) > 100
    fine = state_quant(8)(torch.tensor(0.1, dtype=torch.bfloat16))
    torch.testing.assert_close(fine, state_quant(8)(torch.tensor(0.1, dtype=torch.bfloat16).float()))


def test_state_quant_apply_takes_any_levels():
    x = torch.tensor([-3.0, 0.4, 0.6, 9.0, float("nan")], requires_grad=True)
    y = StateQuant.apply(x, torch.tensor([1.0, -1.0, 0.0]))
    torch.testing.assert_close(y, torch.tensor([-1.0, 0.0, 1.0, 1.0, float("nan")]), equal_nan=True)
    y.backward(torch.arange(5.0))
    assert x.grad is not None and x.grad.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("uniform", [True, False])
def test_value_semantics(uniform):
    quant, same, other = (state_quant(b, uniform) for b in (3, 3, 4))
    assert quant == same and hash(quant) == hash(same) and quant != other
    assert pickle.loads(pickle.dumps(quant)) == quant


# torch.compile itself instantiates the autograd functions that it traces.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("uniform", [True, False])
def test_traces_and_maps(uniform):
    quant, x = state_quant(3, uniform), torch.randn(5, 4)
    torch.testing.assert_close(torch.compile(quant, fullgraph=True, backend="aot_eager")(x), quant(x))
    torch.testing.assert_close(torch.vmap(quant)(x), quant(x))


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({"num_bits": 0}, "num_bits"),
        ({"num_bits": 2.0}, "num_bits"),
        ({"num_bits": 25}, "num_bits"),
        ({"threshold": 0}, "threshold"),
        ({"upper_limit": -3}, "upper_limit"),
        ({"uniform": False, "multiplier": 0}, "multiplier"),
        ({"uniform": False, "upper_limit": -0.5}, "centre"),
    ],
)
def test_bad_arguments(kwargs, name):
    with pytest.raises(ValueError, match=name):
        state_quant(**kwargs)
