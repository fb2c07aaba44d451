"""What all learners share: they watch a synapse and its neurons, and hand in the update."""

import torch
from torch import Tensor, nn

from ..probe import InputMonitor, OutputMonitor
from ._bounds import WeightFunction, identity
from ._correlation import Synapse


def spikes_of(x: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The spikes among a layer's inputs or outputs, which come first."""
    return (x[0] if isinstance(x, tuple) else x).detach()


class Learner(nn.Module):
    """Watch the spikes on both sides of a synapse; a subclass turns them into weight updates."""

    trace_pre: Tensor | None
    trace_post: Tensor | None

    def __init__(
        self, synapse: Synapse, sn: nn.Module, tau_pre: float, tau_post: float, f_pre: WeightFunction = identity,
        f_post: WeightFunction = identity,
    ):  # fmt: skip
        super().__init__()
        if not isinstance(synapse, Synapse):
            raise NotImplementedError(f"synapse must be Linear, Conv1d or Conv2d, got {type(synapse).__name__}")
        self.synapse, self.sn = synapse, sn
        self.tau_pre, self.tau_post = tau_pre, tau_post
        self.f_pre, self.f_post = f_pre, f_post
        self.in_spike_monitor = InputMonitor(synapse, function_on_input=spikes_of)
        self.out_spike_monitor = OutputMonitor(sn, function_on_output=spikes_of)
        self.reset()

    def reset(self) -> None:
        """Forget the recorded spikes and the traces: call it before each new sequence."""
        self._clear()
        self.trace_pre = self.trace_post = None

    def enable(self) -> None:
        """Record spikes from now on."""
        self.in_spike_monitor.enable()
        self.out_spike_monitor.enable()

    def disable(self) -> None:
        """Record no spikes until `enable` is called."""
        self.in_spike_monitor.disable()
        self.out_spike_monitor.disable()

    def _clear(self) -> None:
        self.in_spike_monitor.clear_recorded_data()
        self.out_spike_monitor.clear_recorded_data()

    def _take(self) -> tuple[Tensor, Tensor] | None:
        """Take the spikes [T, ...] recorded on both sides, if there are any."""
        pre, post = self.in_spike_monitor.records, self.out_spike_monitor.records
        if len(pre) != len(post):
            raise RuntimeError(f"the synapse was called {len(pre)} times, but its neurons {len(post)} times")
        if not pre:
            return None
        taken = torch.stack(pre), torch.stack(post)
        self._clear()
        return taken

    def _apply_update(self, dw: Tensor, on_grad: bool) -> Tensor | None:
        if not on_grad:
            return dw
        weight = self.synapse.weight
        weight.grad = -dw if weight.grad is None else weight.grad - dw
        return None


class TwoFactorLearner(Learner):
    """Learn from the spikes on both sides alone; a subclass defines the update that recorded spikes make."""

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Use up the recorded spikes.

        Args:
            on_grad: subtract the update from `synapse.weight.grad`, so that an SGD step adds it to the weight.
            scale: factor on the update.

        Returns:
            The update, of the weight's shape, if `on_grad` is false and spikes were recorded; else `None`.

        Raises:
            RuntimeError: the synapse and its neurons were not called equally often.
        """
        spikes = self._take()
        return None if spikes is None else self._apply_update(scale * self._update(*spikes), on_grad)

    def _update(self, pre: Tensor, post: Tensor) -> Tensor:
        """The update by spikes [T, ...], traces carried on."""
        raise NotImplementedError
