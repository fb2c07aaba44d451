"""Every surrogate against its formula, written here once more with numpy; its place in autograd and torch.func."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

import snntorch as snn
from snntorch import surrogate

X = torch.tensor([-200.0, -5.0, -1.5, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.4, 1.0, 1.2, 5.0, 200.0], dtype=torch.float64)


def normal(x, sigma):
    return np.exp(-(x**2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2)


def logistic_density(x, k):
    e = np.exp(-k * np.abs(x))  # symmetric, so |x| keeps it from overflowing
    return k * e / (1 + e) ** 2


# factory, its settings, dS/dx as numpy
FORMULAS = [
    (surrogate.atan, {}, lambda x: 1 / (1 + (math.pi * x) ** 2)),
    (surrogate.atan, {"alpha": 3.0}, lambda x: 1.5 / (1 + (1.5 * math.pi * x) ** 2)),
    (surrogate.fast_sigmoid, {}, lambda x: (1 + 25 * np.abs(x)) ** -2.0),
    (surrogate.fast_sigmoid, {"slope": 4}, lambda x: (1 + 4 * np.abs(x)) ** -2.0),
    (surrogate.super_spike, {}, lambda x: (1 + 10 * np.abs(x)) ** -2.0),
    (surrogate.sigmoid, {}, lambda x: logistic_density(x, 25)),
    (surrogate.sigmoid, {"slope": 2}, lambda x: logistic_density(x, 2)),
    (surrogate.straight_through_estimator, {}, lambda x: np.ones_like(x)),
    (surrogate.triangular, {}, lambda x: np.where(x < 0, 1.0, -1.0)),
    (surrogate.triangular, {"threshold": 0.5}, lambda x: np.where(x < 0, 0.5, -0.5)),
    (surrogate.piecewise_linear, {"gamma": 0.3}, lambda x: 0.3 * np.maximum(0, 1 - np.abs(x))),
    (surrogate.spike_rate_escape, {}, lambda x: 25 * np.exp(-np.abs(x - 1))),
    (surrogate.spike_rate_escape, {"beta": 2, "slope": 5}, lambda x: 5 * np.exp(-2 * np.abs(x - 1))),
    (surrogate.heaviside, {}, lambda x: np.where(x > 0, 1.0, 0.0)),
    (surrogate.LSO, {}, lambda x: np.where(x > 0, 1.0, 0.1)),
    (surrogate.SFS, {}, lambda x: np.where(x > 1, (1 + 25 * np.abs(x)) ** -2.0, 0)),
    (surrogate.SFS, {"slope": 3, "B": -2}, lambda x: np.where(x > -2, (1 + 3 * np.abs(x)) ** -2.0, 0)),
    (surrogate.gaussian, {}, lambda x: normal(x, 0.5)),
    (
        surrogate.multi_gaussian,
        {"h": 0.2, "s": 3.0, "sigma": 0.4},
        lambda x: 1.2 * normal(x, 0.4) - 0.2 * normal(x - 0.4, 1.2) - 0.2 * normal(x + 0.4, 1.2),
    ),
    (surrogate.erf, {}, lambda x: 2 / math.sqrt(math.pi) * np.exp(-4 * x**2)),
    (surrogate.piecewise_exp, {"alpha": 3.0}, lambda x: 1.5 * np.exp(-3 * np.abs(x))),
    (surrogate.soft_sign, {}, lambda x: (1 + 2 * np.abs(x)) ** -2.0),
    (surrogate.leaky_relu, {}, lambda x: np.where(x < 0, 0.1, 1.0)),
]
IDS = [f"{f.__name__}-{'-'.join(map(str, kw.values()))}".rstrip("-") for f, kw, _ in FORMULAS]
every_formula = pytest.mark.parametrize(("factory", "settings", "formula"), FORMULAS, ids=IDS)
SURROGATES = [factory(**settings) for factory, settings, _ in FORMULAS]
every_surrogate = pytest.mark.parametrize("spike", SURROGATES, ids=IDS)


# Its gradient is drawn at backward, with a test of its own below.
DRAWN = {surrogate.SSO}


def test_every_surrogate_has_its_formula():
    missing = {name for name, f in surrogate.FACTORIES.items() if f not in {f for f, _, _ in FORMULAS} | DRAWN}
    assert not missing, f"write the formula of {missing} anew in FORMULAS"


def gradient(spike, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(spike(x).sum(), x)[0]


# -- formulas


@every_formula
def test_gradient_is_the_formula(factory, settings, formula):
    expected = torch.from_numpy(np.asarray(formula(X.numpy()), dtype=np.float64))
    torch.testing.assert_close(gradient(factory(**settings), X), expected, rtol=1e-12, atol=1e-300)


@every_surrogate
def test_gradient_scales_with_the_output_s(spike):
    x, grad_output = X.clone().requires_grad_(), torch.linspace(-2, 3, len(X), dtype=X.dtype)
    found = torch.autograd.grad(spike(x), x, grad_output)[0]
    torch.testing.assert_close(found, gradient(spike, X) * grad_output)


@every_surrogate
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_forward_is_a_strict_step_in_the_input_s_dtype(spike, dtype):
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([-math.inf, -1, -tiny, -0.0, 0.0, tiny, 1, math.inf, math.nan], dtype=dtype)
    spk = spike(x)
    assert spk.dtype == dtype and spk.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0]
    assert gradient(spike, x[1:-2]).dtype == dtype


@every_surrogate
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_gradient_is_finite_for_every_finite_input(spike, dtype):
    largest = torch.finfo(dtype).max
    x = torch.tensor([-largest, -1e4, -88.0, -5.0, 0.0, 5.0, 88.0, 1e4, largest], dtype=dtype)
    assert gradient(spike, x).isfinite().all()


@given(st.floats(-50, 50), st.floats(0.1, 50))
def test_sigmoid_is_symmetric_and_below_its_peak(x, slope):
    spike = surrogate.sigmoid(slope)
    left, right = gradient(spike, torch.tensor([-x, x], dtype=torch.float64))
    assert left == pytest.approx(float(right), rel=1e-9)
    assert 0 <= right <= slope / 4 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("spike", "smooth"),
    [
        (surrogate.atan(), lambda x: torch.atan(math.pi * x) / math.pi + 0.5),
        (surrogate.sigmoid(4), lambda x: torch.sigmoid(4 * x)),
        (surrogate.fast_sigmoid(5), lambda x: x / (1 + 5 * x.abs())),
        (surrogate.gaussian(0.3), lambda x: 0.5 * torch.erf(x / (0.3 * math.sqrt(2)))),
        (surrogate.erf(1.5), lambda x: 0.5 * torch.erf(1.5 * x)),
        (surrogate.soft_sign(3), lambda x: 0.5 * 3 * x / (1 + 3 * x.abs())),
        (surrogate.piecewise_exp(2), lambda x: 0.5 * x.sign() * (1 - torch.exp(-2 * x.abs()))),
        (surrogate.piecewise_linear(0.7), lambda x: 0.7 * (x - 0.5 * x * x.abs()).where(x.abs() < 1, 0.5 * x.sign())),
    ],
    ids=lambda v: repr(v) if isinstance(v, surrogate.Surrogate) else "",
)
def test_gradient_is_the_slope_of_the_smooth_spike(spike, smooth):
    """Central differences of the function that each surrogate stands for."""
    x, h = torch.tensor([-1.7, -0.6, -0.2, 0.1, 0.35, 0.8, 2.3], dtype=torch.float64), 1e-5
    slope = (smooth(x + h) - smooth(x - h)) / (2 * h)
    torch.testing.assert_close(gradient(spike, x), slope, rtol=1e-7, atol=1e-9)


# -- SSO draws at backward


def test_sso_is_uniform_below_the_threshold_and_one_above():
    x = torch.cat((torch.full((20000,), -1.0), torch.full((10,), 1.0)))
    torch.manual_seed(0)
    drawn = gradient(surrogate.SSO(mean=0.25, variance=0.2), x)
    low, high = (-0.5 + 0.25) * 0.2, (0.5 + 0.25) * 0.2
    below = drawn[:20000]
    assert (drawn[20000:] == 1).all()
    assert low <= below.min() < low + 1e-3 and high - 1e-3 < below.max() <= high
    # the mean of n uniform draws lies within 5 standard errors
    assert abs(float(below.mean()) - 0.05) < 5 * 0.2 / math.sqrt(12 * 20000)
    torch.manual_seed(0)
    assert torch.equal(drawn, gradient(surrogate.SSO(0.25, 0.2), x))
    assert not torch.equal(drawn, gradient(surrogate.SSO(0.25, 0.2), x))


# -- custom surrogates, callables and names


def hat(x, grad, spk):
    return grad * (x.abs() < 0.5) + spk


def test_custom_surrogate_gets_input_gradient_and_spikes():
    x = torch.tensor([-0.6, 0.1, 2.0], requires_grad=True)
    spk = surrogate.custom_surrogate(hat)(x)
    assert spk.tolist() == [0, 1, 1]
    spk.backward(torch.tensor([3.0, 5.0, 7.0]))
    assert x.grad.tolist() == [0, 6, 1]


def test_names_resolve_to_the_defaults():
    assert surrogate.resolve(None) == surrogate.atan() == surrogate.resolve("atan")
    for name in surrogate.FACTORIES:
        assert surrogate.resolve(name) == getattr(surrogate, name)()
    assert surrogate.resolve(torch.sigmoid) is torch.sigmoid
    assert snn.Leaky(0.9).spike_grad == surrogate.atan()


@pytest.mark.parametrize(
    "factory", [*surrogate.FACTORIES.values(), surrogate.custom_surrogate, surrogate.learnable_width]
)
def test_uncalled_factory_says_call_it(factory):
    with pytest.raises(TypeError, match=rf"call it: surrogate\.{factory.__name__}\("):
        snn.Leaky(0.9, spike_grad=factory)


@pytest.mark.parametrize("given", [surrogate.ATan, surrogate.FastSigmoid, torch.autograd.Function])
def test_function_class_says_pass_apply(given):
    with pytest.raises(TypeError, match=r"callable tensor -> tensor.*pass its \.apply"):
        snn.Leaky(0.9, spike_grad=given)


def test_other_wrong_surrogates():
    with pytest.raises(TypeError, match="callable tensor -> tensor, got 3"):
        snn.Leaky(0.9, spike_grad=3)
    with pytest.raises(ValueError, match=r"one of atan, .*got 'arctan'"):
        snn.Leaky(0.9, spike_grad="arctan")


@pytest.mark.parametrize(
    ("name", "arguments", "factory"),
    [
        ("ATan", (2.0,), surrogate.atan),
        ("FastSigmoid", (25,), surrogate.fast_sigmoid),
        ("Sigmoid", (25,), surrogate.sigmoid),
        ("StraightThroughEstimator", (), surrogate.straight_through_estimator),
        ("Triangular", (1,), surrogate.triangular),
        ("SpikeRateEscape", (1, 25), surrogate.spike_rate_escape),
        ("Heaviside", (), surrogate.heaviside),
        ("LeakySpikeOperator", (0.1,), surrogate.LSO),
        ("SparseFastSigmoid", (25, 1), surrogate.SFS),
        ("CustomSurrogate", (hat,), lambda: surrogate.custom_surrogate(hat)),
    ],
)
def test_function_classes_by_their_published_names(name, arguments, factory):
    function = getattr(surrogate, name)
    assert issubclass(function, torch.autograd.Function)
    torch.testing.assert_close(gradient(lambda x: function.apply(x, *arguments), X), gradient(factory(), X))
    assert issubclass(surrogate.StochasticSpikeOperator, torch.autograd.Function)


def test_function_classes_are_where_pickles_look_for_them():
    spikes = [factory() for factory in surrogate.FACTORIES.values()]
    for spike in (*spikes, surrogate.custom_surrogate(hat), surrogate.no_gradient):
        name = spike.function.__name__
        assert getattr(surrogate, name, None) is spike.function, f"name the class {name} among those in surrogate.py"
    exported = {c for c in vars(surrogate).values() if isinstance(c, type) and issubclass(c, torch.autograd.Function)}
    made = {spike.function for spike in spikes} | {surrogate.CustomSurrogate, surrogate.no_gradient.function}
    assert exported - made == {surrogate.SurrogateFunction}


def without_default(x, slope):
    return x


def by_keyword_only(x, *, slope=1):
    return x


def of_another_first(slope=1, x=0):
    return x


@pytest.mark.parametrize("derivative", [without_default, by_keyword_only, of_another_first])
def test_a_derivative_that_backward_could_not_call_is_refused(derivative):
    with pytest.raises(TypeError, match=f"{derivative.__name__} must take x and positional parameters with defaults"):
        surrogate.surrogate_gradient("Wrong")(derivative)
    assert derivative.__name__ not in surrogate.FACTORIES


def test_factories_refuse_what_they_do_not_know():
    with pytest.raises(TypeError, match="alfa"):
        surrogate.atan(alfa=2.0)
    with pytest.raises(TypeError, match="too many positional arguments"):
        surrogate.heaviside(1.0)


# -- value semantics


@every_surrogate
def test_pickles_compares_and_hashes_by_value(spike):
    again = pickle.loads(pickle.dumps(spike))
    assert again == spike and hash(again) == hash(spike)
    assert repr(again) == repr(spike)


def test_differing_surrogates_are_unequal():
    assert len(set(SURROGATES)) == len(SURROGATES)
    assert pickle.loads(pickle.dumps(surrogate.custom_surrogate(hat))) == surrogate.custom_surrogate(hat)


# -- torch.func, double backward, forward mode


@every_surrogate
def test_func_grad_and_vmap(spike):
    expected = gradient(spike, X)
    torch.testing.assert_close(torch.func.grad(lambda x: spike(x).sum())(X), expected)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(spike))(X), expected)
    torch.testing.assert_close(torch.func.vmap(spike)(X[None]), spike(X)[None])
    _, pull = torch.func.vjp(spike, X)
    torch.testing.assert_close(pull(torch.ones_like(X))[0], expected)
    torch.testing.assert_close(torch.func.jacrev(spike)(X), expected.diag())


def test_func_vmap_of_sso_draws_for_every_sample():
    x = torch.full((4, 50), -1.0)
    drawn = torch.func.vmap(torch.func.grad(lambda x: surrogate.SSO()(x).sum()), randomness="different")(x)
    assert len(drawn.unique()) > 150


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize("spike", [surrogate.atan(), surrogate.custom_surrogate(hat)])
def test_forward_mode_says_that_it_is_missing(spike):
    """A surrogate is a vector-Jacobian product; that it is no Jacobian of anything is said, not guessed."""
    with pytest.raises(RuntimeError, match="jvp"):
        torch.func.jvp(spike, (X,), (torch.ones_like(X),))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="jvp"):
        spike(forward_ad.make_dual(X, torch.ones_like(X)))


def test_double_backward_differentiates_the_surrogate():
    x = torch.tensor([-0.7, 0.2, 1.3], dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(surrogate.atan()(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), x)[0]
    # d/dx 1/(1 + (pi x)^2)
    expected = -2 * math.pi**2 * x / (1 + (math.pi * x) ** 2) ** 2
    torch.testing.assert_close(second, expected)


# -- learnable width


@pytest.mark.parametrize("shape", [(), (3,)])
def test_learnable_width_gradients(shape):
    """S = H(w x): dS/dx = w s(w x), dS/dw = x s(w x)."""
    width = torch.full(shape, 1.7).double()
    spike = surrogate.learnable_width(surrogate.sigmoid(3), width).double()
    x = torch.tensor([[-0.4, 0.1, 0.9], [1.1, -0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    spk = spike(x)
    torch.testing.assert_close(spk, (x > 0).double())
    spk.sum().backward()
    slope = torch.from_numpy(logistic_density(1.7 * x.detach().numpy(), 3))
    torch.testing.assert_close(x.grad, 1.7 * slope)
    torch.testing.assert_close(spike.width.grad, (x.detach() * slope).sum_to_size(shape))


def test_learnable_width_trains_inside_a_neuron():
    lif = snn.Leaky(beta=0.9, spike_grad=surrogate.learnable_width(surrogate.atan(), 2))
    assert "spike_grad.width" in lif.state_dict()
    snn.unroll(lif, torch.rand(5, 2, 3))[0].sum().backward()
    assert lif.spike_grad.width.grad.abs() > 0
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        surrogate.learnable_width(surrogate.atan(), 0)
    again = pickle.loads(pickle.dumps(lif))
    assert again.spike_grad.width == 2
