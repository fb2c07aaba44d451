"""A delay by whole steps."""

from typing import Any

import torch
from torch import Tensor

from .line import Line, gathered


class Delay(Line):
    """`y[t] = x[t - steps]`, zero before the first input arrives.

    It takes part in `unroll`, `utils.reset` and `utils.detach` as a neuron does; it has no membrane and no spikes of
    its own. State: `past`, the last inputs, newest first, `[max(steps), B, ...]`.

    Args:
        steps: delay in steps, an int or an integer tensor that broadcasts against the input's last dimensions.
        init_hidden: keep the past inside the module.
        output: with `init_hidden`, return the past as well.

    Raises:
        ValueError: for a negative or fractional delay.

    Example:
        >>> import snntorch as snn, torch
        >>> out, past = snn.unroll(snn.Delay(2), torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        >>> out.flatten()
        tensor([0., 0., 1., 2.])
    """

    steps: Tensor

    def __init__(self, steps: int | Tensor, init_hidden: bool = False, output: bool = False) -> None:
        super().__init__(init_hidden=init_hidden, output=output)
        steps = torch.as_tensor(steps)
        if steps.is_floating_point() or bool((steps < 0).any()):
            raise ValueError(f"steps must be non-negative integers, got {steps}")
        self.register_buffer("steps", steps.clone())
        self.longest = int(steps.max())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.longest = int(self.steps.max())

    @property
    def delays(self) -> Tensor:
        """The steps."""
        return self.steps

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The delays stay integers."""
        return {"steps": self.steps}

    @staticmethod
    def step(x, past, *, steps):
        """One time step, `x, past -> y, past`."""
        line = torch.cat([x[None], past])
        return line.gather(0, steps.expand(x.shape)[None])[0], line[:-1]

    def read(self, line: Tensor, steps: int) -> Tensor:
        """All steps; as `Line.read`."""
        return line[:steps] if self.steps.numel() == 1 else gathered(line, steps, self.longest - self.steps)
