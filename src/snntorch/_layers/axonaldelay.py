"""A learnt delay of each input."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .line import Line, gathered
from .taps import check_delays, neighbours, taps, within


class AxonalDelay(Line):
    """A learnt delay of each input, as of the axon that carries it.

    `y[t] = sum over k of w[k] x[t - k]`, zero before the first input arrives, where the taps w sum to 1::

        linear interpolation:  w[k] = max(0, 1 - abs(k - delay))
        a Gaussian of `width`: w[k] ~ exp(-((k - delay) / width)^2 / 2)

    Through a wide Gaussian a delay sees far, and training narrows it: set `layer.width` from epoch to epoch, down to
    0.5, and to 0, the nearest whole step, when it is done. In its call a delay counts as at least 0 and at most
    `max_delay`, and its gradient passes unless it leads further out.

    It takes part in `unroll`, `utils.reset` and `utils.detach` as a neuron does. State: `past`, the last inputs,
    newest first, `[max_delay, B, ...]`.

    Args:
        size: number of inputs, or a shape that broadcasts against the input's last dimensions, such as `(C, 1, 1)`.
        max_delay: the longest delay in steps.
        width: standard deviation of the Gaussian in steps; 0 for the nearest step, None for linear interpolation.
        learn_delay: whether the delays are parameters.
        init_hidden: keep the past inside the module.
        output: with `init_hidden`, return the past as well.

    Attributes:
        delay: in steps, of the given size; drawn from U(0, max_delay).
        width: as the argument; a training loop lowers it. It is in no `state_dict`.

    Raises:
        ValueError: for a `max_delay` that is no positive int, or a negative width.

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings", ICLR 2024; linear interpolation as in Khalfaoui-Hassani, Pellegrini and
    Masquelier, "Dilated convolution with learnable spacings", ICLR 2023.

    Example:
        >>> import snntorch as snn, torch
        >>> layer = snn.AxonalDelay(2, max_delay=3)
        >>> layer.delay.data = torch.tensor([2.0, 0.25])
        >>> out, past = snn.unroll(layer, torch.eye(4)[:, :1].expand(4, 2))
        >>> out.T
        tensor([[0.0000, 0.0000, 1.0000, 0.0000],
                [0.7500, 0.2500, 0.0000, 0.0000]], grad_fn=<...>)
    """

    delay: Tensor

    def __init__(
        self,
        size: int | Sequence[int],
        max_delay: int,
        width: float | None = None,
        learn_delay: bool = True,
        init_hidden: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__(init_hidden=init_hidden, output=output)
        check_delays(max_delay, width)
        shape = (size,) if isinstance(size, int) else tuple(size)
        self.longest = self.max_delay = max_delay
        self.size, self.width = size, width
        self.register_value("delay", max_delay * torch.rand(shape), learn=learn_delay)

    @property
    def delays(self) -> Tensor:
        """In steps, with what is between them."""
        return self.delay

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The taps as they are now."""
        return {"taps": taps(self.delay.to(dtype), self.longest, self.width)}

    @staticmethod
    def step(x, past, *, taps):
        """One time step, `x, past -> y, past`."""
        line = torch.cat([x[None], past])
        return (line.movedim(0, -1) * taps).sum(-1), line[:-1]

    @property
    def reads(self) -> str:  # type: ignore[override]
        """For `explain`."""
        return "takes all steps as one convolution" if self.width else "takes all steps as two gathers"

    def read(self, line: Tensor, steps: int) -> Tensor:
        """All steps; as `Line.read`."""
        delay = self.delay.to(line.dtype)
        if self.width:
            return _convolved(line, taps(delay, self.longest, self.width))
        below, share = neighbours(within(delay, self.longest), self.longest, self.width)
        near = gathered(line, steps, self.longest - below)
        if self.width == 0:
            return near
        return (1 - share) * near + share * gathered(line, steps, self.longest - below - 1)


def _convolved(line: Tensor, weights: Tensor) -> Tensor:
    """Each input of the line, `[S, B, ...]`, with its taps, `[..., K]`: the last `S - K + 1` steps."""
    size = weights.shape[:-1]
    first = line.dim() - len(size)
    own = [first + d for d, n in enumerate(size) if n > 1]
    alike = [d for d in range(1, line.dim()) if d not in own]
    order = [*alike, *own, 0]
    x = line.permute(order)
    channels = weights.flip(-1).reshape(-1, 1, weights.shape[-1])
    y = F.conv1d(x.reshape(-1, len(channels), len(line)), channels, groups=len(channels))
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return y.reshape(*x.shape[:-1], -1).permute(inverse)
