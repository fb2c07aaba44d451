"""Surrogate gradients: a spike that is a step forward and something smooth backward.

A neuron spikes where its membrane potential exceeds the threshold, `S = H(x)` with `x = mem - threshold` and
`H(x) = 1 if x > 0 else 0`. `dS/dx` is zero almost everywhere, so training replaces it by a surrogate, one of the
functions below (Neftci, Mostafa and Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal
Processing Magazine 36(6), 2019).

Every factory (`atan`, `fast_sigmoid`, ...) returns a `Surrogate`: a callable tensor -> tensor of the same shape and
dtype that pickles, compares by value and works under `torch.func`. A surrogate is one formula, a decorated function of
x and its parameters: its `torch.autograd.Function`, its factory and its kernels are derived from it. They are all in
this one file, longer than others, to be read side by side.

Example:
    >>> import torch
    >>> from snntorch import surrogate
    >>> x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    >>> spk = surrogate.fast_sigmoid(slope=1)(x)
    >>> spk.detach()
    tensor([0., 0., 1.])
    >>> spk.sum().backward()
    >>> x.grad
    tensor([0.2500, 1.0000, 0.2500])
"""

import functools
import inspect
import math
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn

SpikeGrad: TypeAlias = Callable[[Tensor], Tensor]


class SurrogateFunction(torch.autograd.Function):
    """`S = H(x)`, whose gradient is `grad_output * derivative(x, *parameters)`.

    A subclass writes `derivative` and nothing else. Its arithmetic uses torch operations only, so that the same lines
    serve autograd, `torch.func`, `torch.compile` and the fused kernels.

    Example:
        >>> class Box(SurrogateFunction):
        ...     @staticmethod
        ...     def derivative(x, width):
        ...         return (x.abs() < width / 2) / width
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(Surrogate(Box, (0.5,))(x).sum(), x)
        (tensor([0., 2., 0.]),)
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, *parameters: Any) -> Tensor:
        """`H(x)` in x's dtype."""
        return (x > 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        """Keep x for backward; the spikes are recomputed from it where they are needed."""
        x, *ctx.parameters = inputs
        ctx.save_for_backward(x)

    def __init_subclass__(cls) -> None:
        def backward(ctx: Any, grad_output: Tensor) -> tuple:
            (x,) = ctx.saved_tensors
            return cls.gradient(x, grad_output, *ctx.parameters), *(None for _ in ctx.parameters)

        cls.backward = staticmethod(backward)  # type: ignore[assignment]  # autograd calls it without the class, so it is bound here

    @classmethod
    def gradient(cls, x: Tensor, grad_output: Tensor, *parameters: Any) -> Tensor:
        """The gradient with respect to x."""
        return grad_output * cls.derivative(x, *parameters)

    @staticmethod
    def derivative(x: Tensor, *parameters: Any) -> Tensor:
        """`dS/dx`, elementwise."""
        raise NotImplementedError


@dataclass(frozen=True)
class Surrogate:
    """A spike function with the parameters of its surrogate gradient bound: `spk = surrogate(mem - threshold)`.

    Args:
        function: the `SurrogateFunction` whose `derivative` is the surrogate gradient.
        parameters: what `derivative` takes after x.

    Example:
        >>> spike = Surrogate(FastSigmoid, (25,))
        >>> spike == fast_sigmoid(slope=25), spike
        (True, FastSigmoid(25))
        >>> spike(torch.tensor([-0.1, 0.1]))
        tensor([0., 1.])
    """

    function: type[SurrogateFunction]
    parameters: tuple = ()
    is_step: bool = field(init=False, repr=False, compare=False)  # whether it is H(x), which a function may override

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_step", self.function.forward is SurrogateFunction.forward)

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x, `H(x)`."""
        if isinstance(x, Tensor):
            if torch.compiler.is_compiling() and not (torch.is_grad_enabled() and x.requires_grad):
                return self.function.forward(x, *self.parameters)  # Dynamo would hand it a context
            return self.function.apply(x, *self.parameters)  # type: ignore[return-value]
        return x.with_vjp(  # a symbol: the engine is tracing a step
            self.function.forward, lambda x, grad: self.function.gradient(x, grad, *self.parameters)
        )

    def __repr__(self) -> str:
        return f"{self.function.__name__}({', '.join(map(repr, self.parameters))})"


P = ParamSpec("P")
FACTORIES: dict[str, Callable[..., Surrogate]] = {}


class Factory(Protocol[P]):
    """What makes a `Surrogate` of the parameters that its `derivative` takes after x."""

    __name__: str
    function: type[SurrogateFunction]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Surrogate:
        """The surrogate with these parameters."""
        ...


def surrogate_gradient(name: str) -> Callable[[Callable[Concatenate[Tensor, P], Tensor]], Factory[P]]:
    """Make of `derivative(x, *parameters)` a factory of surrogates, and register it by its name.

    Args:
        name: of the factory's `function`, the `torch.autograd.Function`; the module holds it under this name, so that
            surrogates pickle.

    Raises:
        TypeError: where the derivative takes anything but x and parameters that have defaults.

    Example:
        >>> @surrogate_gradient("Cosine")
        ... def cosine(x, width=1.0):
        ...     return torch.cos(x / width).clamp(min=0) / (2 * width)
        >>> x = torch.tensor([-3.0, 0.0], requires_grad=True)
        >>> torch.autograd.grad(cosine(width=1.0)(x).sum(), x)
        (tensor([0.0000, 0.5000]),)
        >>> del FACTORIES["cosine"]  # which a program of yours keeps
    """

    def decorate(derivative: Callable[Concatenate[Tensor, P], Tensor]) -> Factory[P]:
        x, *parameters = inspect.signature(derivative).parameters.values()
        if x.name != "x" or any(p.default is p.empty or p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
            raise TypeError(f"{derivative.__name__} must take x and positional parameters with defaults")
        signature = inspect.Signature(parameters, return_annotation=Surrogate)
        function = types.new_class(name, (SurrogateFunction,))
        summary, _, _ = (derivative.__doc__ or "").partition("\n")  # the factory's docstring has all of it
        function.__doc__, function.__module__ = summary, derivative.__module__
        function.derivative = staticmethod(derivative)

        @functools.wraps(derivative, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def factory(*args: P.args, **kwargs: P.kwargs) -> Surrogate:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return Surrogate(function, bound.args)

        vars(factory).update(function=function, __signature__=signature)
        FACTORIES[derivative.__name__] = factory
        return cast("Factory[P]", factory)

    return decorate


@surrogate_gradient("ATan")
def atan(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Arctangent, every neuron's default: `dS/dx = (alpha/2) / (1 + (pi/2 * alpha * x)^2)`.

    Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural networks",
    ICCV 2021.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(atan(alpha=2.0)(x).sum(), x)
        (tensor([0.2884, 1.0000, 0.2884]),)
    """
    return alpha / 2 / (1 + (math.pi / 2 * alpha * x).square())


@surrogate_gradient("FastSigmoid")
def fast_sigmoid(x: Tensor, slope: float = 25) -> Tensor:
    """Derivative of the fast sigmoid: `dS/dx = 1 / (1 + slope * |x|)^2`.

    Zenke and Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
    30(6), 2018.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(fast_sigmoid(slope=25)(x).sum(), x)
        (tensor([0.0055, 1.0000, 0.0055]),)
    """
    return 1 / (1 + slope * x.abs()).square()


@surrogate_gradient("Sigmoid")
def sigmoid(x: Tensor, slope: float = 25) -> Tensor:
    """Derivative of the logistic function s: `dS/dx = slope * s(slope * x) * s(-slope * x)`.

    Finite for every finite x. Zenke and Vogels, "The remarkable robustness of surrogate gradient learning for
    instilling complex function in spiking neural networks", Neural Computation 33(4), 2021.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(sigmoid(slope=25)(x).sum(), x)
        (tensor([9.3166e-05, 6.2500e+00, 9.3166e-05]),)
    """
    # The product neither overflows nor cancels.
    return slope * torch.sigmoid(slope * x) * torch.sigmoid(-slope * x)


@surrogate_gradient("StraightThroughEstimator")
def straight_through_estimator(x: Tensor) -> Tensor:
    """The gradient passes as it is: `dS/dx = 1`.

    Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
    computation", arXiv:1308.3432, 2013.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(straight_through_estimator()(x).sum(), x)
        (tensor([1., 1., 1.]),)
    """
    return torch.ones_like(x)


@surrogate_gradient("Triangular")
def triangular(x: Tensor, threshold: float = 1) -> Tensor:
    """A step, kept as published: `dS/dx = threshold` for `x < 0`, `-threshold` for `x >= 0`.

    `piecewise_linear` is what most papers mean by a triangular surrogate.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(triangular(threshold=1)(x).sum(), x)
        (tensor([ 1., -1., -1.]),)
    """
    return threshold * torch.where(x < 0, torch.ones_like(x), -torch.ones_like(x))


@surrogate_gradient("PiecewiseLinear")
def piecewise_linear(x: Tensor, gamma: float = 1.0) -> Tensor:
    """Triangle of height gamma: `dS/dx = gamma * max(0, 1 - |x|)`.

    Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(piecewise_linear(gamma=1.0)(x).sum(), x)
        (tensor([0.5000, 1.0000, 0.5000]),)
    """
    return gamma * (1 - x.abs()).clamp(min=0)


@surrogate_gradient("SpikeRateEscape")
def spike_rate_escape(x: Tensor, beta: float = 1, slope: float = 25) -> Tensor:
    """Escape rate: `dS/dx = slope * exp(-beta * |x - 1|)`.

    Gerstner and Kistler, "Spiking Neuron Models", chapter 5, Cambridge University Press, 2002.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(spike_rate_escape(beta=1, slope=25)(x).sum(), x)
        (tensor([ 5.5783,  9.1970, 15.1633]),)
    """
    return slope * torch.exp(-beta * (x - 1).abs())


@surrogate_gradient("Heaviside")
def heaviside(x: Tensor) -> Tensor:
    """The gradient passes where the neuron spikes: `dS/dx = H(x)`.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(heaviside()(x).sum(), x)
        (tensor([0., 0., 1.]),)
    """
    return (x > 0).to(x.dtype)


@surrogate_gradient("StochasticSpikeOperator")
def SSO(x: Tensor, mean: float = 0, variance: float = 0.2) -> Tensor:
    """Stochastic spike operator: `dS/dx = 1` where spiking, else `(u + mean) * variance` with `u ~ U(-1/2, 1/2)`.

    The noise u is drawn at backward and honours `torch.manual_seed`.

    Example:
        >>> x = torch.tensor([-0.5, 0.5], requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(SSO(variance=0.2)(x).sum(), x)
        >>> bool(gradient[0].abs() <= 0.1), gradient[1]
        (True, tensor(1.))
    """
    return torch.where(x > 0, 1.0, (torch.rand_like(x) - 0.5 + mean) * variance)


@surrogate_gradient("LeakySpikeOperator")
def LSO(x: Tensor, slope: float = 0.1) -> Tensor:
    """Leaky spike operator: `dS/dx = 1` where spiking, else `slope`.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(LSO(slope=0.1)(x).sum(), x)
        (tensor([0.1000, 0.1000, 1.0000]),)
    """
    return torch.where(x > 0, torch.ones_like(x), slope * torch.ones_like(x))


@surrogate_gradient("SparseFastSigmoid")
def SFS(x: Tensor, slope: float = 25, B: float = 1) -> Tensor:
    """Sparse fast sigmoid: `dS/dx = 1 / (1 + slope * |x|)^2` where `x > B`, else 0.

    Perez-Nieves and Goodman, "Sparse spiking gradient descent", NeurIPS 2021.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(SFS(slope=25, B=0.2)(x).sum(), x)
        (tensor([0.0000, 0.0000, 0.0055]),)
    """
    return FastSigmoid.derivative(x, slope) * (x > B)


@surrogate_gradient("Gaussian")
def gaussian(x: Tensor, sigma: float = 0.5) -> Tensor:
    """Normal density: `dS/dx = N(x; 0, sigma^2)`.

    Yin, Corradi and Bohte, "Effective and efficient computation with multiple-timescale spiking recurrent neural
    networks", ICONS 2020.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(gaussian(sigma=0.5)(x).sum(), x)
        (tensor([0.4839, 0.7979, 0.4839]),)
    """
    return torch.exp(-0.5 * (x / sigma).square()) / (sigma * math.sqrt(2 * math.pi))


@surrogate_gradient("MultiGaussian")
def multi_gaussian(x: Tensor, h: float = 0.15, s: float = 6.0, sigma: float = 0.5) -> Tensor:
    """A normal density with two negative side lobes.

    `dS/dx = (1+h) N(x; 0, sigma^2) - h N(x; sigma, (s sigma)^2) - h N(x; -sigma, (s sigma)^2)`; Yin, Corradi and
    Bohte, "Accurate and efficient time-domain classification with adaptive spiking recurrent neural networks",
    Nature Machine Intelligence 3, 2021.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(multi_gaussian()(x).sum(), x)
        (tensor([0.5177, 0.8782, 0.5177]),)
    """
    normal = Gaussian.derivative
    return (1 + h) * normal(x, sigma) - h * (normal(x - sigma, s * sigma) + normal(x + sigma, s * sigma))


@surrogate_gradient("Erf")
def erf(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Derivative of the error function's step: `dS/dx = alpha / sqrt(pi) * exp(-(alpha * x)^2)`.

    Esser et al., "Backpropagation for energy-efficient neuromorphic computing", NeurIPS 2015.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(erf(alpha=2.0)(x).sum(), x)
        (tensor([0.4151, 1.1284, 0.4151]),)
    """
    return alpha / math.sqrt(math.pi) * torch.exp(-(alpha * x).square())


@surrogate_gradient("PiecewiseExponential")
def piecewise_exp(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Two-sided exponential: `dS/dx = (alpha/2) exp(-alpha * |x|)`.

    Shrestha and Orchard, "SLAYER: spike layer error reassignment in time", NeurIPS 2018.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(piecewise_exp(alpha=1.0)(x).sum(), x)
        (tensor([0.3033, 0.5000, 0.3033]),)
    """
    return alpha / 2 * torch.exp(-alpha * x.abs())


@surrogate_gradient("SoftSign")
def soft_sign(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Derivative of the softsign's step: `dS/dx = alpha / (2 (1 + |alpha * x|)^2)`.

    Neftci, Mostafa and Zenke, 2019 (see the module).

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(soft_sign(alpha=2.0)(x).sum(), x)
        (tensor([0.2500, 1.0000, 0.2500]),)
    """
    return alpha / 2 / (1 + (alpha * x).abs()).square()


@surrogate_gradient("LeakyReLU")
def leaky_relu(x: Tensor, leak: float = 0.1, slope: float = 1.0) -> Tensor:
    """Slope of a leaky rectifier: `dS/dx = leak` for `x < 0`, `slope` for `x >= 0`.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML workshops 2013.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(leaky_relu(leak=0.1)(x).sum(), x)
        (tensor([0.1000, 1.0000, 1.0000]),)
    """
    return torch.where(x < 0, leak * torch.ones_like(x), slope * torch.ones_like(x))


# The classes by their names, as published programs apply them and pickles look for them.
ATan, FastSigmoid, Sigmoid = atan.function, fast_sigmoid.function, sigmoid.function
StraightThroughEstimator, Triangular = straight_through_estimator.function, triangular.function
PiecewiseLinear, SpikeRateEscape, Heaviside = piecewise_linear.function, spike_rate_escape.function, heaviside.function
StochasticSpikeOperator, LeakySpikeOperator, SparseFastSigmoid = SSO.function, LSO.function, SFS.function
Gaussian, MultiGaussian, Erf = gaussian.function, multi_gaussian.function, erf.function
PiecewiseExponential, SoftSign, LeakyReLU = piecewise_exp.function, soft_sign.function, leaky_relu.function


def super_spike(beta: float = 10.0) -> Surrogate:
    """SuperSpike, by the parameter name of its paper: `dS/dx = 1 / (1 + beta * |x|)^2` (see `fast_sigmoid`).

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> torch.autograd.grad(super_spike(beta=10.0)(x).sum(), x)
        (tensor([0.0278, 1.0000, 0.0278]),)
    """
    return fast_sigmoid(beta)


FACTORIES["super_spike"] = super_spike


class CustomSurrogate(SurrogateFunction):
    """The user's own gradient, `fn(input, grad_output, spikes)`; made by `custom_surrogate`."""

    @classmethod
    def gradient(cls, x: Tensor, grad_output: Tensor, fn: Callable) -> Tensor:
        """What the user's function says it is."""
        return fn(x, grad_output, (x > 0).to(x.dtype))


def custom_surrogate(custom_surrogate_function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Surrogate:
    """The user's gradient: `fn(input, grad_output, spikes)` returns the gradient with respect to the input.

    Written in torch operations it runs inside the fused kernels as well.

    Example:
        >>> spike = custom_surrogate(lambda x, grad, spk: grad * (x.abs() < 0.5))
        >>> x = torch.tensor([-0.6, 0.1, 2.0], requires_grad=True)
        >>> spike(x).sum().backward()
        >>> x.grad
        tensor([0., 1., 0.])
    """
    return Surrogate(CustomSurrogate, (custom_surrogate_function,))


class _NoGradient(SurrogateFunction):
    """`dS/dx = 0`: what `surrogate_disable=True` asks for."""

    @staticmethod
    def derivative(x: Tensor) -> Tensor:
        return torch.zeros_like(x)


no_gradient = Surrogate(_NoGradient)


class LearnableWidth(nn.Module):
    """A surrogate whose width trains: `S = H(width * x)`.

    `dS/dx = width * s(width * x)` and `dS/dwidth = x * s(width * x)`, where s is the derivative of the wrapped
    surrogate. Forward is `H(x)` as long as the width is positive. Lian et al., "Learnable surrogate gradient for
    direct training spiking neural networks", IJCAI 2023.

    Args:
        surrogate: the surrogate to widen or narrow.
        width: initial factor on x, positive; larger is narrower. A number, or a tensor that broadcasts to x.

    Raises:
        ValueError: where the width is not positive.

    Example:
        >>> spike = learnable_width(atan(), width=1.0)
        >>> spike(torch.tensor([0.5], requires_grad=True)).backward()
        >>> spike.width.grad
        tensor(0.1442)
    """

    def __init__(self, surrogate: SpikeGrad, width: float | Tensor = 1.0) -> None:
        super().__init__()
        value = torch.as_tensor(width, dtype=torch.get_default_dtype()).detach().clone()
        if not bool((value > 0).all()):
            raise ValueError(f"width must be positive, got {width}")
        self.surrogate = surrogate
        self.width = nn.Parameter(value)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of x."""
        return self.surrogate(self.width * x)


def learnable_width(surrogate: SpikeGrad, width: float | Tensor = 1.0) -> LearnableWidth:
    """`surrogate` with a trainable width, see `LearnableWidth`.

    Example:
        >>> learnable_width(fast_sigmoid(), width=2.0).width
        Parameter containing:
        tensor(2., requires_grad=True)
    """
    return LearnableWidth(surrogate, width)


def resolve(spike_grad: SpikeGrad | str | None) -> SpikeGrad:
    """The spike function that a neuron's `spike_grad` argument means.

    Args:
        spike_grad: None for `atan()`, a factory's name, or any callable tensor -> tensor.

    Raises:
        TypeError: for an uncalled factory or a `torch.autograd.Function` class.
        ValueError: for a name that is no factory.

    Example:
        >>> resolve(None), resolve("sigmoid")
        (ATan(2.0), Sigmoid(25))
    """
    if spike_grad is None:
        return atan()
    if isinstance(spike_grad, str):
        if spike_grad not in FACTORIES:
            raise ValueError(f"spike_grad must be one of {', '.join(FACTORIES)}, got {spike_grad!r}")
        return FACTORIES[spike_grad]()
    if spike_grad in (*FACTORIES.values(), custom_surrogate, learnable_width):
        name = spike_grad.__name__  # type: ignore[union-attr]
        raise TypeError(f"spike_grad got the factory surrogate.{name} itself; call it: surrogate.{name}(...)")
    if isinstance(spike_grad, type) or not callable(spike_grad):
        hint = " (pass its .apply)" if isinstance(spike_grad, type) else ""
        raise TypeError(f"spike_grad must be a callable tensor -> tensor, got {spike_grad!r}{hint}")
    return spike_grad
