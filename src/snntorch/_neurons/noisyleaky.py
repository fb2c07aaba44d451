"""Leaky integrate-and-fire neuron whose spikes escape at random."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._engine import run
from .lif import LIF
from .pieces import fraction, graded, quantised, reset
from .states import state_dtype


class NoisyLeaky(LIF):
    """Leaky integrate-and-fire neuron with escape noise: the nearer to the threshold, the likelier a spike.

    `P(spk = 1) = sigmoid((mem - threshold) / width)`, by noise on the threshold::

        mem = beta * mem + x
        spk = S(mem - threshold + width * log(u / (1 - u)))     u ~ U(0, 1)
        mem = reset(mem) where spk

    Args:
        width: of the noise, in the unit of the membrane potential; with 0 this is `Leaky` with `reset_delay=False`.
        generator: draws u; by default PyTorch's own, which `torch.manual_seed` seeds. It must be of the input's device.
        learn_width: make the width a parameter.

    The other arguments are those of `LIF`. Each step draws once, so that `unroll` and a loop spike alike from one seed,
    save in `torch.compile`. Averaged over the noise, the surrogate gradient is that of a smoother function. States:
    `mem`.

    Source: Gerstner et al., "Neuronal dynamics", chapter 9, Cambridge University Press, 2014; its gradient as in Ma et
    al., "Exploiting noise as a resource for computation and learning in spiking neural networks", Patterns 4(10), 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> neuron = snn.NoisyLeaky(beta=0.0, width=0.2, generator=torch.Generator().manual_seed(0))
        >>> spk, mem = neuron(torch.full((1, 10000), 0.9))  # 1 / (1 + exp(0.5)) = 0.378
        >>> spk.mean()
        tensor(0.37...)
    """

    honours = frozenset()
    states = ("mem",)
    width: Tensor

    def __init__(
        self,
        beta: float | Tensor,
        width: float | Tensor = 0.1,
        generator: torch.Generator | None = None,
        learn_beta: bool = False,
        learn_width: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(beta, learn_beta=learn_beta, **kwargs)
        self.register_value("width", width, learn=learn_width)
        self.generator = generator

    def _noise(self, like: Tensor) -> Tensor:
        """Logistic noise of that shape."""
        dtype = state_dtype(like.dtype)
        if self.generator is None:  # as `torch.compile` and `torch.export` know it
            u = torch.rand_like(like, dtype=dtype)
        else:
            u = torch.rand(like.shape, generator=self.generator, device=like.device, dtype=dtype)
        return u.clamp(min=torch.finfo(dtype).tiny).logit().to(like.dtype)

    def drive(self, projected: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The input and this step's noise, which the step takes."""
        return projected, self._noise(projected)

    def _courses(
        self, projected: Tensor, state: list[Tensor], arguments: dict[str, Any], steps: int, static: bool,
        wanted: Sequence[bool],
    ) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
        now = projected if static else projected[0]
        if torch.compiler.is_compiling():  # which leaves the number of steps open
            noise = self._noise(projected.expand(steps, *now.shape) if static else projected)
        else:
            noise = torch.stack([self._noise(now) for _ in range(steps)])  # step by step, as a loop draws
        inputs, varies = (projected, noise), (not static, True)
        return run(self, inputs, state, arguments, steps=steps, varies=varies, wanted=wanted)

    @staticmethod
    def step(x, noise, mem, *, beta, width, threshold, spike, factor, reset_mechanism, state_quant):
        """One time step, `x, noise, mem -> spk, mem`."""
        mem = quantised(fraction(beta) * mem + x, state_quant)
        spk = spike(mem - threshold + width * noise)
        return graded(spk, factor), reset(mem, spk, threshold, reset_mechanism)
