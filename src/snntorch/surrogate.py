"""Surrogate gradients: a spike that is a step forward and something smooth backward.

A neuron spikes where its membrane potential exceeds the threshold, `S = H(x)` with `x = mem - threshold` and
`H(x) = 1 if x > 0 else 0`. `dS/dx` is zero almost everywhere, so training replaces it by a surrogate, one of the
functions below (Neftci, Mostafa and Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal
Processing Magazine 36(6), 2019).

Every factory (`atan`, `fast_sigmoid`, ...) returns a `Surrogate`: a callable tensor -> tensor of the same shape and
dtype that pickles, compares by value and works under `torch.func`. A surrogate is one formula, the `derivative` of
its `torch.autograd.Function`; kernels are derived from the same formula.

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

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

SpikeGrad: TypeAlias = Callable[[Tensor], Tensor]


class SurrogateFunction(torch.autograd.Function):
    """`S = H(x)`, whose gradient is `grad_output * derivative(x, *parameters)`.

    A subclass writes `derivative` and nothing else. Its arithmetic uses torch operations only, so that the same lines
    serve autograd, `torch.func`, `torch.compile` and the fused kernels.
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
    """

    function: type[SurrogateFunction]
    parameters: tuple = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x, `H(x)`."""
        if isinstance(x, Tensor):
            return self.function.apply(x, *self.parameters)  # type: ignore[return-value]
        return x.with_vjp(  # a symbol: the engine is tracing a step
            self.function.forward, lambda x, grad: self.function.gradient(x, grad, *self.parameters)
        )

    def __repr__(self) -> str:
        return f"{self.function.__name__}({', '.join(map(repr, self.parameters))})"


class ATan(SurrogateFunction):
    """`dS/dx = (alpha/2) / (1 + (pi/2 * alpha * x)^2)`."""

    @staticmethod
    def derivative(x: Tensor, alpha: float = 2.0) -> Tensor:
        """See the class."""
        return alpha / 2 / (1 + (math.pi / 2 * alpha * x).square())


class FastSigmoid(SurrogateFunction):
    """`dS/dx = 1 / (1 + slope * |x|)^2`."""

    @staticmethod
    def derivative(x: Tensor, slope: float = 25) -> Tensor:
        """See the class."""
        return 1 / (1 + slope * x.abs()).square()


class Sigmoid(SurrogateFunction):
    """`dS/dx = slope * s(slope * x) * s(-slope * x)` with the logistic function s."""

    @staticmethod
    def derivative(x: Tensor, slope: float = 25) -> Tensor:
        """See the class. The product of two sigmoids neither overflows nor cancels."""
        return slope * torch.sigmoid(slope * x) * torch.sigmoid(-slope * x)


class StraightThroughEstimator(SurrogateFunction):
    """`dS/dx = 1`."""

    @staticmethod
    def derivative(x: Tensor) -> Tensor:
        """See the class."""
        return torch.ones_like(x)


class Triangular(SurrogateFunction):
    """`dS/dx = threshold` below the threshold, `-threshold` at and above it."""

    @staticmethod
    def derivative(x: Tensor, threshold: float = 1) -> Tensor:
        """See the class."""
        return threshold * torch.where(x < 0, torch.ones_like(x), -torch.ones_like(x))


class SpikeRateEscape(SurrogateFunction):
    """`dS/dx = slope * exp(-beta * |x - 1|)`."""

    @staticmethod
    def derivative(x: Tensor, beta: float = 1, slope: float = 25) -> Tensor:
        """See the class."""
        return slope * torch.exp(-beta * (x - 1).abs())


class Heaviside(SurrogateFunction):
    """`dS/dx = H(x)`: the gradient passes where the neuron spikes."""

    @staticmethod
    def derivative(x: Tensor) -> Tensor:
        """See the class."""
        return (x > 0).to(x.dtype)


class StochasticSpikeOperator(SurrogateFunction):
    """`dS/dx = 1` where the neuron spikes, else `(u + mean) * variance` with `u ~ U(-1/2, 1/2)` drawn at backward."""

    @staticmethod
    def derivative(x: Tensor, mean: float = 0, variance: float = 0.2) -> Tensor:
        """See the class."""
        return torch.where(x > 0, 1.0, (torch.rand_like(x) - 0.5 + mean) * variance)


class LeakySpikeOperator(SurrogateFunction):
    """`dS/dx = 1` where the neuron spikes, else `slope`."""

    @staticmethod
    def derivative(x: Tensor, slope: float = 0.1) -> Tensor:
        """See the class."""
        return torch.where(x > 0, torch.ones_like(x), slope * torch.ones_like(x))


class SparseFastSigmoid(SurrogateFunction):
    """`dS/dx = 1 / (1 + slope * |x|)^2` where `x > B`, else 0."""

    @staticmethod
    def derivative(x: Tensor, slope: float = 25, B: float = 1) -> Tensor:
        """See the class."""
        return FastSigmoid.derivative(x, slope) * (x > B)


class CustomSurrogate(SurrogateFunction):
    """The user's own gradient, `fn(input, grad_output, spikes)`."""

    @classmethod
    def gradient(cls, x: Tensor, grad_output: Tensor, fn: Callable) -> Tensor:
        """See the class."""
        return fn(x, grad_output, (x > 0).to(x.dtype))


class Gaussian(SurrogateFunction):
    """`dS/dx = N(x; 0, sigma^2)`, the normal density."""

    @staticmethod
    def derivative(x: Tensor, sigma: float = 0.5) -> Tensor:
        """See the class."""
        return torch.exp(-0.5 * (x / sigma).square()) / (sigma * math.sqrt(2 * math.pi))


class MultiGaussian(SurrogateFunction):
    """`dS/dx = (1+h) N(x; 0, sigma^2) - h N(x; sigma, (s sigma)^2) - h N(x; -sigma, (s sigma)^2)`."""

    @staticmethod
    def derivative(x: Tensor, h: float = 0.15, s: float = 6.0, sigma: float = 0.5) -> Tensor:
        """See the class."""
        normal = Gaussian.derivative
        return (1 + h) * normal(x, sigma) - h * (normal(x - sigma, s * sigma) + normal(x + sigma, s * sigma))


class Erf(SurrogateFunction):
    """`dS/dx = alpha / sqrt(pi) * exp(-(alpha * x)^2)`, the derivative of the error function's step."""

    @staticmethod
    def derivative(x: Tensor, alpha: float = 2.0) -> Tensor:
        """See the class."""
        return alpha / math.sqrt(math.pi) * torch.exp(-(alpha * x).square())


class PiecewiseExponential(SurrogateFunction):
    """`dS/dx = (alpha/2) exp(-alpha * |x|)`."""

    @staticmethod
    def derivative(x: Tensor, alpha: float = 1.0) -> Tensor:
        """See the class."""
        return alpha / 2 * torch.exp(-alpha * x.abs())


class SoftSign(SurrogateFunction):
    """`dS/dx = alpha / (2 (1 + |alpha * x|)^2)`."""

    @staticmethod
    def derivative(x: Tensor, alpha: float = 2.0) -> Tensor:
        """See the class."""
        return alpha / 2 / (1 + (alpha * x).abs()).square()


class PiecewiseLinear(SurrogateFunction):
    """`dS/dx = gamma * max(0, 1 - |x|)`."""

    @staticmethod
    def derivative(x: Tensor, gamma: float = 1.0) -> Tensor:
        """See the class."""
        return gamma * (1 - x.abs()).clamp(min=0)


class LeakyReLU(SurrogateFunction):
    """`dS/dx = leak` for `x < 0`, `slope` for `x >= 0`."""

    @staticmethod
    def derivative(x: Tensor, leak: float = 0.1, slope: float = 1.0) -> Tensor:
        """See the class."""
        return torch.where(x < 0, leak * torch.ones_like(x), slope * torch.ones_like(x))


class _NoGradient(SurrogateFunction):
    """`dS/dx = 0`: what `surrogate_disable=True` asks for."""

    @staticmethod
    def derivative(x: Tensor) -> Tensor:
        """See the class."""
        return torch.zeros_like(x)


def atan(alpha: float = 2.0) -> Surrogate:
    """Arctangent, every neuron's default: `dS/dx = (alpha/2) / (1 + (pi/2 * alpha * x)^2)`.

    Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural networks",
    ICCV 2021.
    """
    return Surrogate(ATan, (alpha,))


def fast_sigmoid(slope: float = 25) -> Surrogate:
    """Derivative of the fast sigmoid: `dS/dx = 1 / (1 + slope * |x|)^2`.

    Zenke and Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural Computation
    30(6), 2018.
    """
    return Surrogate(FastSigmoid, (slope,))


def super_spike(beta: float = 10.0) -> Surrogate:
    """SuperSpike, by the parameter name of its paper: `dS/dx = 1 / (1 + beta * |x|)^2` (see `fast_sigmoid`)."""
    return Surrogate(FastSigmoid, (beta,))


def sigmoid(slope: float = 25) -> Surrogate:
    """Derivative of the logistic function: `dS/dx = slope * exp(-slope*x) / (exp(-slope*x) + 1)^2`.

    Finite for every finite x. Zenke and Vogels, "The remarkable robustness of surrogate gradient learning for
    instilling complex function in spiking neural networks", Neural Computation 33(4), 2021.
    """
    return Surrogate(Sigmoid, (slope,))


def straight_through_estimator() -> Surrogate:
    """`dS/dx = 1`.

    Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
    computation", arXiv:1308.3432, 2013.
    """
    return Surrogate(StraightThroughEstimator)


def triangular(threshold: float = 1) -> Surrogate:
    """`dS/dx = threshold` for `x < 0`, `-threshold` for `x >= 0`.

    Kept as published; `piecewise_linear` is what most papers mean by a triangular surrogate.
    """
    return Surrogate(Triangular, (threshold,))


def piecewise_linear(gamma: float = 1.0) -> Surrogate:
    """Triangle of height gamma: `dS/dx = gamma * max(0, 1 - |x|)`.

    Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.
    """
    return Surrogate(PiecewiseLinear, (gamma,))


def spike_rate_escape(beta: float = 1, slope: float = 25) -> Surrogate:
    """Escape rate: `dS/dx = slope * exp(-beta * |x - 1|)`.

    Gerstner and Kistler, "Spiking Neuron Models", chapter 5, Cambridge University Press, 2002.
    """
    return Surrogate(SpikeRateEscape, (beta, slope))


def heaviside() -> Surrogate:
    """`dS/dx = 1` where `x > 0`, else 0."""
    return Surrogate(Heaviside)


def SSO(mean: float = 0, variance: float = 0.2) -> Surrogate:
    """Stochastic spike operator: `dS/dx = 1` where spiking, else `(U(-1/2, 1/2) + mean) * variance`.

    The noise is drawn at backward and honours `torch.manual_seed`.
    """
    return Surrogate(StochasticSpikeOperator, (mean, variance))


def LSO(slope: float = 0.1) -> Surrogate:
    """Leaky spike operator: `dS/dx = 1` where spiking, else `slope`."""
    return Surrogate(LeakySpikeOperator, (slope,))


def SFS(slope: float = 25, B: float = 1) -> Surrogate:
    """Sparse fast sigmoid: `dS/dx = 1 / (1 + slope * |x|)^2` where `x > B`, else 0.

    Perez-Nieves and Goodman, "Sparse spiking gradient descent", NeurIPS 2021.
    """
    return Surrogate(SparseFastSigmoid, (slope, B))


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


def gaussian(sigma: float = 0.5) -> Surrogate:
    """Normal density of standard deviation sigma.

    Yin, Corradi and Bohte, "Effective and efficient computation with multiple-timescale spiking recurrent neural
    networks", ICONS 2020.
    """
    return Surrogate(Gaussian, (sigma,))


def multi_gaussian(h: float = 0.15, s: float = 6.0, sigma: float = 0.5) -> Surrogate:
    """A normal density with two negative side lobes.

    `dS/dx = (1+h) N(x; 0, sigma^2) - h N(x; sigma, (s sigma)^2) - h N(x; -sigma, (s sigma)^2)`; Yin, Corradi and
    Bohte, "Accurate and efficient time-domain classification with adaptive spiking recurrent neural networks",
    Nature Machine Intelligence 3, 2021.
    """
    return Surrogate(MultiGaussian, (h, s, sigma))


def erf(alpha: float = 2.0) -> Surrogate:
    """Derivative of the error function's step: `dS/dx = alpha / sqrt(pi) * exp(-(alpha * x)^2)`.

    Esser et al., "Backpropagation for energy-efficient neuromorphic computing", NeurIPS 2015.
    """
    return Surrogate(Erf, (alpha,))


def piecewise_exp(alpha: float = 1.0) -> Surrogate:
    """Two-sided exponential: `dS/dx = (alpha/2) exp(-alpha * |x|)`.

    Shrestha and Orchard, "SLAYER: spike layer error reassignment in time", NeurIPS 2018.
    """
    return Surrogate(PiecewiseExponential, (alpha,))


def soft_sign(alpha: float = 2.0) -> Surrogate:
    """Derivative of the softsign's step: `dS/dx = alpha / (2 (1 + |alpha * x|)^2)`.

    Neftci, Mostafa and Zenke, 2019 (see the module).
    """
    return Surrogate(SoftSign, (alpha,))


def leaky_relu(leak: float = 0.1, slope: float = 1.0) -> Surrogate:
    """`dS/dx = leak` for `x < 0`, `slope` for `x >= 0`.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML workshops 2013.
    """
    return Surrogate(LeakyReLU, (leak, slope))


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
    """`surrogate` with a trainable width, see `LearnableWidth`."""
    return LearnableWidth(surrogate, width)


FACTORIES: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        atan, fast_sigmoid, super_spike, sigmoid, straight_through_estimator, triangular, piecewise_linear,
        spike_rate_escape, heaviside, SSO, LSO, SFS, gaussian, multi_gaussian, erf, piecewise_exp, soft_sign,
        leaky_relu,
    )
}  # fmt: skip


def resolve(spike_grad: SpikeGrad | str | None) -> SpikeGrad:
    """The spike function that a neuron's `spike_grad` argument means.

    Args:
        spike_grad: None for `atan()`, a factory's name, or any callable tensor -> tensor.

    Raises:
        TypeError: for an uncalled factory or a `torch.autograd.Function` class.
        ValueError: for a name that is no factory.
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


no_gradient = Surrogate(_NoGradient)
