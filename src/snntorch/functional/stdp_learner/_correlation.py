"""Traces of spikes, and their correlation across a synapse.

The correlation is the synapse's own weight gradient, with the input side in place of its input and the output
side in place of its output's gradient: one matrix product, or one convolution, for all steps, samples and
positions at once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

Synapse = nn.Linear | nn.Conv1d | nn.Conv2d


def filtered(spikes: Tensor, decay: float, trace: Tensor | None) -> Tensor:
    """Traces [T, ...] that follow `trace`: tr[t] = decay · tr[t-1] + spikes[t]."""
    if trace is not None and trace.shape != spikes.shape[1:]:
        raise ValueError(
            f"a step's spikes have shape {list(spikes.shape[1:])}, but the trace of earlier ones has shape "
            f"{list(trace.shape)}: reset before a batch of another size"
        )
    traces = []
    for s in spikes:
        trace = s if trace is None else torch.add(s, trace, alpha=decay)
        traces.append(trace)
    return torch.stack(traces)


def before(traces: Tensor, first: Tensor | None) -> Tensor:
    """The traces just before each step, given those after it and the one before them all."""
    return torch.cat([torch.zeros_like(traces[:1]) if first is None else first[None], traces[:-1]])


def pad(synapse: Synapse, pre: Tensor) -> Tensor:
    """Pad input spikes [..., C, *positions] as the convolution does; leave a linear layer's alone."""
    if isinstance(synapse, nn.Linear) or synapse.padding == "valid":
        return pre
    if synapse.padding == "same":
        total = [d * (k - 1) for d, k in zip(synapse.dilation, synapse.kernel_size, strict=True)]
        sides = [(p // 2, p - p // 2) for p in total]
    else:
        sides = [(int(p), int(p)) for p in synapse.padding]
    mode = "constant" if synapse.padding_mode == "zeros" else synapse.padding_mode
    samples = pre.shape[: -len(sides) - 1]
    last_first = [p for side in reversed(sides) for p in side]
    return F.pad(pre.reshape(-1, *pre.shape[len(samples) :]), last_first, mode).unflatten(0, samples)


def correlate(synapse: Synapse, pre: Tensor, post: Tensor) -> Tensor:
    """Σ post · pre over steps, samples and positions, for every weight."""
    if isinstance(synapse, nn.Linear):
        return post.flatten(0, -2).mT @ pre.flatten(0, -2)
    conv_weight: Callable[..., Tensor] = grad.conv1d_weight if isinstance(synapse, nn.Conv1d) else grad.conv2d_weight
    first_channel = 1 - synapse.weight.dim()
    return conv_weight(
        pre.flatten(0, first_channel - 1),
        synapse.weight.shape,
        post.flatten(0, first_channel - 1),
        stride=synapse.stride,
        dilation=synapse.dilation,
        groups=synapse.groups,
    )
