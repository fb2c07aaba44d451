"""The table that drives the tests of every neuron: a short function a neuron, each row one set of its options."""

import copy
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import snntorch as snn
from snntorch import surrogate
from snntorch.functional.quant import state_quant

FEATURES, CHANNELS, IMAGE = 5, 3, (3, 4, 4)


# -- pieces of rows: at module level, so that rows pickle


class Adaptive(snn.SpikingNeuron):
    """A user's own neuron: each spike raises the threshold, which decays by a learnable rate per neuron."""

    states = ("mem", "raised")

    def __init__(self, beta: float, rho: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_value("beta", beta)
        self.register_value("rho", torch.full((FEATURES,), rho), learn=True)

    @staticmethod
    def step(x, mem, raised, *, beta, rho, threshold, spike):
        mem = beta * mem + x
        spk = spike(mem - threshold - raised)
        return spk, mem - spk.detach() * threshold, rho.clamp(0, 1) * raised + spk


class RestingLeaky(type(snn.refractory(snn.Leaky(0.9), 1))):  # type: ignore[misc]
    """A leaky neuron that waits for 0, 1, 2... steps after a spike."""

    def __init__(self, beta: float, **kwargs: Any) -> None:
        super().__init__(beta, **kwargs)
        self.register_value("refractory_steps", torch.arange(FEATURES))


def smooth(x: Tensor) -> Tensor:
    """A spike that is differentiable, so that gradients can be checked by finite differences."""
    return torch.sigmoid(4 * x)


def hat(x: Tensor, grad: Tensor, spk: Tensor) -> Tensor:
    """A user's surrogate gradient."""
    return grad * (1 - x.abs()).clamp(min=0) * (1 + spk)


def per_neuron(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, FEATURES)


def per_channel(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, CHANNELS)[:, None, None]


# -- a row


@dataclass(frozen=True)
class Row:
    """One neuron with one set of options.

    Args:
        name: for the test's id.
        cls: the neuron's class.
        kwargs: its constructor's arguments.
        shape: of a sample's input at one step.
        scale: of the input, normal noise plus 0.3, chosen so that some neurons fire and some do not.
    """

    name: str
    cls: type
    kwargs: dict[str, Any] = field(repr=False)
    shape: tuple[int, ...] = (FEATURES,)
    scale: float = 0.8

    def make(self, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
        """A new neuron; the same weights every time."""
        with torch.random.fork_rng(devices=()), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.filterwarnings("ignore", "inhibition", UserWarning)
            return self.cls(**{**copy.deepcopy(self.kwargs), **more}).to(dtype)

    def input(self, T: int, B: int, dtype: torch.dtype = torch.float32, generator: torch.Generator | int = 0) -> Tensor:
        """`[T, B, *shape]`."""
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        noise = torch.randn(T, B, *self.shape, dtype=torch.float64, generator=generator)
        return (self.scale * (noise + 0.3)).to(dtype)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the neuron's states; none for those that take a sequence."""
        return getattr(self.cls, "states", ())

    @property
    def takes_sequence(self) -> bool:
        """Whether the neuron's own call is over `[T, B, ...]`."""
        return self.cls.takes_sequence

    @property
    def zeros(self) -> tuple:
        """Initial states as the first call takes them: empty tensors, or a pair of them, stand for zeros."""
        empty = torch.zeros(0)
        return ((empty, empty),) if self.cls is snn.DeltaLeaky else (empty,) * len(self.states)


# -- a short function a neuron

RESETS = ("subtract", "zero", "none")
DELAYS = [(r, d) for r in RESETS for d in (True, False) if d or r != "none"]
QUANT = state_quant(num_bits=4, lower_limit=0.5, upper_limit=1)
LEARN = {"learn_beta": True, "learn_threshold": True}


def _row(label: str, cls: type, shape: tuple[int, ...] = (FEATURES,), scale: float = 0.8, **kwargs: Any) -> Row:
    return Row(f"{cls.__name__}-{label}", cls, kwargs, shape, scale)


def _leaky() -> Iterator[Row]:
    """Everything that a neuron can be told."""
    row = functools.partial(_row, cls=snn.Leaky)
    for r, d in DELAYS:
        yield row(f"{r}-{'delay' if d else 'now'}", beta=0.9, reset_mechanism=r, reset_delay=d)
    for spike in (
        surrogate.fast_sigmoid(10), surrogate.sigmoid(), surrogate.straight_through_estimator(),
        surrogate.triangular(), surrogate.piecewise_linear(), surrogate.spike_rate_escape(), surrogate.heaviside(),
        surrogate.LSO(), surrogate.SFS(B=0.2), surrogate.gaussian(), surrogate.multi_gaussian(), surrogate.erf(),
        surrogate.piecewise_exp(), surrogate.soft_sign(), surrogate.leaky_relu(),
    ):  # fmt: skip
        yield row(spike.function.__name__, beta=0.9, spike_grad=spike)
    yield row("by-name", beta=0.9, spike_grad="super_spike")
    yield row("custom_surrogate", beta=0.9, spike_grad=surrogate.custom_surrogate(hat))
    yield row("LearnableWidth", beta=0.9, spike_grad=surrogate.learnable_width(surrogate.atan(), 1.5))
    yield row("smooth", beta=0.9, spike_grad=smooth)
    yield row("smooth-now", beta=0.9, spike_grad=smooth, reset_delay=False)
    yield row("surrogate_disable", beta=0.9, surrogate_disable=True)
    yield row("learn_threshold-now", beta=0.9, learn_threshold=True, reset_delay=False)
    yield row("learn-integers", beta=1, threshold=1, **LEARN)
    yield row("learn-clamped", beta=1.5, learn_beta=True, reset_mechanism="zero")
    yield row("graded", beta=0.9, graded_spikes_factor=2.5, reset_delay=False)
    yield row("graded-learn", beta=0.9, graded_spikes_factor=per_neuron(0.5, 2), learn_graded_spikes_factor=True)
    yield row("per-neuron", beta=per_neuron(0.5, 1), threshold=per_neuron(0.5, 1.5))
    yield row("per-neuron-learn", beta=per_neuron(0.5, 0.9), threshold=per_neuron(0.5, 1.5), **LEARN)
    yield row("per-channel-learn", shape=IMAGE, beta=per_channel(0.5, 0.9), threshold=per_channel(0.5, 1), **LEARN)
    yield row("scalar-samples", shape=(), beta=0.9, learn_beta=True)
    yield row("image-zero", shape=IMAGE, beta=0.7, reset_mechanism="zero")
    yield row("inhibition", beta=0.9, inhibition=True)
    yield row("inhibition-image", shape=IMAGE, beta=0.9, inhibition=True)
    yield row("quant", beta=0.9, state_quant=QUANT)
    yield row("quant-levels", beta=0.9, state_quant=state_quant(num_bits=4, uniform=False))
    yield row("init_hidden", beta=0.9, init_hidden=True)
    yield row("init_hidden-output", beta=0.9, init_hidden=True, output=True)


def _lapicque() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.Lapicque, scale=4)
    for r in RESETS:
        yield row(r, beta=0.8, reset_mechanism=r)
    yield row("RC", scale=1, R=5.1, C=0.5, time_step=0.5)
    yield row("learn-beta", beta=0.8, learn_beta=True)
    yield row("learn-beta-R", scale=2, beta=0.8, R=2.0, learn_beta=True, learn_threshold=True)
    yield row("learn-beta-C-vector", scale=1, beta=per_neuron(0.6, 0.9), C=1.5, learn_beta=True)


def _synaptic() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.Synaptic, scale=0.5, beta=0.6)
    for r, d in DELAYS:
        yield row(f"{r}-{'delay' if d else 'now'}", alpha=0.8, reset_mechanism=r, reset_delay=d)
    yield row("learn", alpha=0.8, learn_alpha=True, **LEARN)
    yield row("per-neuron-learn", alpha=per_neuron(0.5, 0.9), threshold=per_neuron(0.5, 1.5), learn_alpha=True)
    yield row("inhibition", alpha=0.8, inhibition=True)
    yield row("quant", alpha=0.8, state_quant=QUANT)


def _alpha() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.Alpha, scale=2)
    for r in RESETS:
        yield row(r, alpha=0.85, beta=0.6, reset_mechanism=r)
    yield row("learn", alpha=0.85, beta=0.6, learn_alpha=True, **LEARN)
    yield row("per-neuron", alpha=per_neuron(0.8, 0.9), beta=per_neuron(0.5, 0.7), reset_mechanism="subtract")


def _rleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.RLeaky, beta=0.9)
    for r in RESETS:
        yield row(f"linear-{r}", linear_features=FEATURES, reset_mechanism=r)
    yield row("one-to-one", all_to_all=False, V=-0.4)
    yield row("linear-now-learn", linear_features=FEATURES, reset_delay=False, **LEARN)
    yield row("one-to-one-now-vector", all_to_all=False, V=per_neuron(-0.5, 0.3), reset_delay=False)
    yield row("conv", shape=IMAGE, conv2d_channels=CHANNELS, kernel_size=(3, 5), reset_mechanism="zero")
    yield row("conv-even", shape=IMAGE, conv2d_channels=CHANNELS, kernel_size=2)
    yield row("frozen", linear_features=FEATURES, learn_recurrent=False)


def _rsynaptic() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.RSynaptic, scale=0.5, beta=0.6, alpha=0.8)
    for r in RESETS:
        yield row(f"linear-{r}", linear_features=FEATURES, reset_mechanism=r)
    yield row("one-to-one-now", all_to_all=False, V=-0.4, reset_delay=False)
    yield row("one-to-one-learn", all_to_all=False, V=per_neuron(-0.5, 0.3), learn_alpha=True, **LEARN)
    yield row("conv", shape=IMAGE, conv2d_channels=CHANNELS, kernel_size=3)


def _slstm() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.SLSTM, scale=2, input_size=FEATURES, threshold=0.1)
    for r in RESETS:
        yield row(r, hidden_size=FEATURES, reset_mechanism=r)
    yield row("other-size-learn", hidden_size=7, learn_threshold=True, bias=False)


def _sconv2dlstm() -> Iterator[Row]:
    row = functools.partial(
        _row, cls=snn.SConv2dLSTM, shape=IMAGE, scale=2, in_channels=CHANNELS, out_channels=4, threshold=0.1
    )
    for r in RESETS:
        yield row(r, kernel_size=3, reset_mechanism=r)
    yield row("max-pool", kernel_size=3, max_pool=2)
    yield row("avg-pool-learn", kernel_size=(3, 5), avg_pool=2, learn_threshold=True)


def _deltaleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.DeltaLeaky)
    yield row("default", delta_threshold=0.5, beta=0.9)
    yield row("learn-graded", delta_threshold=0.5, beta=0.9, graded_spikes_factor=2.0, learn_beta=True)
    yield row("init_hidden-output", delta_threshold=0.5, beta=0.9, init_hidden=True, output=True)


def _stateleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.StateLeaky, channels=FEATURES)
    yield row("default", beta=0.9)
    yield row("learn", beta=per_neuron(0.5, 0.9), learn_beta=True, learn_threshold=True)
    yield row("truncated-graded", beta=0.9, kernel_truncation_steps=3, graded_spikes_factor=per_neuron(1, 2))
    yield row("mem-only", beta=0.9, output=False)


def _linearleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.LinearLeaky, scale=2, in_features=FEATURES, out_features=4)
    yield row("learn", beta=0.7, learn_beta=True)
    yield row("quant", beta=0.7, bias=False, state_quant=QUANT)


def _leakyparallel() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.LeakyParallel, input_size=FEATURES, hidden_size=6, threshold=0.5)
    yield row("learn", beta=0.7, learn_beta=True, learn_threshold=True)
    yield row("all-to-all", weight_hh_enable=True, learn_beta=True)


def _associativeleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.AssociativeLeaky, scale=3, in_dim=FEATURES)
    yield row("square", d_value=3, d_key=3, num_spiking_neurons=9)
    yield row("no-q", d_value=3, d_key=4, num_spiking_neurons=12, use_q_projection=False)


def _alif() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.ALIF, beta=0.9, rho=0.8)
    for r in RESETS:
        yield row(r, reset_mechanism=r)
    yield row("learn", learn_rho=True, learn_strength=True, **LEARN)
    yield row("per-neuron-graded", strength=per_neuron(0, 2), graded_spikes_factor=2.0)
    yield row("inhibition", inhibition=True)


def _plif() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.PLIF, scale=2)
    for r, d in DELAYS:
        yield row(f"{r}-{'delay' if d else 'now'}", reset_mechanism=r, reset_delay=d)
    yield row("whole-input", scale=0.8, beta=0.9, decay_input=False, learn_threshold=True)
    yield row("per-channel", shape=IMAGE, beta=per_channel(0.2, 0.7))


def _izhikevich() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.Izhikevich, scale=60, spike_grad=surrogate.atan(0.1))
    yield row("default")
    yield row("quarter-step", scale=150, time_step=0.25, c=-50, d=2)
    yield row("learn", learn=("a", "b", "c", "d", "rest"), learn_threshold=True)
    yield row("per-neuron-subtract", a=per_neuron(0.02, 0.1), c=per_neuron(-65, -50), reset_mechanism="subtract")
    yield row("inhibition", inhibition=True)


def _eif() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.EIF, scale=2500, spike_grad=surrogate.atan(0.1))
    yield row("default")
    yield row("learn", learn=("C", "g_L", "E_L", "V_T", "delta_T", "V_reset"), learn_threshold=True)
    yield row("per-neuron-none", V_T=per_neuron(-55, -50), reset_mechanism="none")


def _adex() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.AdEx, scale=3000, spike_grad=surrogate.atan(0.1))
    yield row("default")
    yield row("learn", learn=("C", "g_L", "E_L", "V_T", "delta_T", "V_reset", "a", "b", "tau_w"), learn_threshold=True)
    yield row("per-neuron-graded", b=per_neuron(0, 200), graded_spikes_factor=2.0)


def _qif() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.QIF, scale=4)
    yield row("default")
    yield row("learn", learn=("tau", "rest", "critical", "curvature", "v_reset"), learn_threshold=True)
    yield row("inhibition-subtract", inhibition=True, reset_mechanism="subtract", v_reset=-0.5)


def _noisyleaky() -> Iterator[Row]:
    """Without noise, as no two runs agree with it."""
    row = functools.partial(_row, cls=snn.NoisyLeaky, beta=0.9, width=0.0)
    for r in RESETS:
        yield row(r, reset_mechanism=r)
    yield row("per-neuron-learn", threshold=per_neuron(0.5, 1.5), **LEARN)
    yield row("inhibition", inhibition=True)


def _integerleaky() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.IntegerLeaky, beta=0.6, scale=1.5)
    yield row("default")
    yield row("learn", levels=2, threshold=per_neuron(0.5, 2), **LEARN)


def _brf() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.BRF, scale=60)
    yield row("default")
    yield row("learn", omega=per_neuron(5, 10), learn=("omega", "damping", "gamma"), learn_threshold=True)
    yield row("graded", damping=0, graded_spikes_factor=2.0)


def _sigmadelta() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.SigmaDelta)
    yield row("default", threshold=0.5)
    yield row("identity-learn", threshold=per_neuron(0.5, 1.5), rectify=False, learn_threshold=True)


def _twocompartment() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.TwoCompartment)
    for r in RESETS:
        yield row(r, reset_mechanism=r)
    yield row("learn", beta=0.9, beta_dendrite=per_neuron(0.5, 0.9), learn_coupling=True, **LEARN)


def _glif() -> Iterator[Row]:
    row = functools.partial(_row, cls=snn.GLIF, scale=2)
    yield row("default")
    yield row("per-channel", shape=IMAGE, alpha=per_channel(0.2, 0.8), learn_threshold=True)
    yield row("frozen", learn=False)


def _psn() -> Iterator[Row]:
    yield _row("default", snn.SlidingPSN, order=3)
    yield _row("image", snn.SlidingPSN, shape=IMAGE, order=20, threshold=0.7)


def _refractory() -> Iterator[Row]:
    yield _row("per-neuron", RestingLeaky, beta=0.9, **LEARN)


def _user() -> Iterator[Row]:
    yield _row("user", Adaptive, beta=0.9, rho=0.8)


_NEURONS = (
    _leaky, _lapicque, _synaptic, _alpha, _rleaky, _rsynaptic, _slstm, _sconv2dlstm, _deltaleaky, _stateleaky,
    _linearleaky, _leakyparallel, _associativeleaky, _alif, _plif, _izhikevich, _eif, _adex, _qif, _noisyleaky,
    _integerleaky, _brf, _sigmadelta, _twocompartment, _glif, _psn, _refractory,
    _user,
)  # fmt: skip
ROWS = tuple(row for neuron in _NEURONS for row in neuron())
STEP_ROWS = tuple(r for r in ROWS if not r.takes_sequence)
SEQUENCE_ROWS = tuple(r for r in ROWS if r.takes_sequence)


def one_per_class(rows: tuple[Row, ...] = ROWS) -> tuple[Row, ...]:
    """The first row of every class: for tests that need no more."""
    return tuple({r.cls: r for r in reversed(rows)}.values())[::-1]


def without_hidden(rows: tuple[Row, ...]) -> list[Row]:
    """The rows whose states are passed, one tensor each."""
    return [r for r in rows if not r.kwargs.get("init_hidden") and r.cls is not snn.DeltaLeaky]


def rows(selected: Sequence[Row]) -> pytest.MarkDecorator:
    """The decorator that runs a test on each of the rows."""
    return pytest.mark.parametrize("row", selected, ids=lambda row: row.name)


def row_named(name: str) -> Row:
    """The row of that name."""
    return next(r for r in ROWS if r.name == name)


every_row, every_step_row = rows(ROWS), rows(STEP_ROWS)
every_class, every_step_class = rows(one_per_class()), rows(one_per_class(STEP_ROWS))
