"""What a converted network is worth after every step."""

import torch
from torch import Tensor, nn

from .. import utils
from .._time.unroll import unroll
from ..backprop._truncated import bar


@torch.no_grad()
def error_by_steps(net: nn.Module, ann: nn.Module, x: Tensor, num_steps: int, progress: bool = False) -> Tensor:
    """How far the mean output of a converted network is from the ANN's, as a function of how long it runs.

    Args:
        net: the converted network. Its states are reset.
        ann: the network that it comes from, which runs in the mode that it is in.
        x: the input `[B, ...]` of every step.
        num_steps: the longest time, T.
        progress: step with a progress bar that shows the error (needs tqdm), instead of running all steps at once.

    Returns:
        The mean absolute difference of the outputs `[T]`; the one at `t` is that after `t + 1` steps.

    Raises:
        ImportError: without tqdm, where `progress` asks for it.

    Example:
        >>> from snntorch.conversion import ann_to_snn, error_by_steps
        >>> ann = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1, bias=False))
        >>> _ = [nn.init.ones_(p) for p in ann.parameters()]
        >>> spiking = ann_to_snn(ann, torch.tensor([[1.0]]))
        >>> error_by_steps(spiking, ann, torch.tensor([[0.4]]), num_steps=4)
        tensor([1.4000, 0.4000, 0.0667, 0.4000])
    """
    exact = ann(x)
    utils.reset(net)
    if not progress:
        count = torch.arange(1, num_steps + 1, device=exact.device).view(-1, *[1] * exact.dim())
        return (unroll(net, x, num_steps=num_steps).cumsum(0) / count - exact).abs().flatten(1).mean(1)
    total, errors = torch.zeros_like(exact), []
    for t in (steps := bar(range(num_steps))):
        total = total + net(x)
        errors.append((total / (t + 1) - exact).abs().mean())
        steps.set_postfix(error=f"{errors[-1].item():.2e}")
    return torch.stack(errors)


@torch.no_grad()
def accuracy_by_steps(net: nn.Module, x: Tensor, targets: Tensor, num_steps: int) -> Tensor:
    """Accuracy of a spiking classifier as a function of how long it may look.

    Args:
        net: maps a static input to `[B, C]` at every step; its largest sum over time wins. Its states are reset.
        x: the input `[B, ...]` of every step.
        targets: classes `[B]`.
        num_steps: the longest time, T.

    Returns:
        Accuracies `[T]`; the one at `t` is that after `t + 1` steps.

    Example:
        >>> import snntorch as snn
        >>> from snntorch.conversion import accuracy_by_steps
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), snn.Leaky(beta=1.0, init_hidden=True))
        >>> _ = nn.init.eye_(net[0].weight)
        >>> accuracy_by_steps(net, torch.tensor([[0.1, 0.4]]), torch.tensor([1]), num_steps=4)
        tensor([0., 0., 1., 1.])
    """
    utils.reset(net)
    evidence = unroll(net, x, num_steps=num_steps).cumsum(0)
    return (evidence.argmax(-1) == targets).float().mean(-1)
