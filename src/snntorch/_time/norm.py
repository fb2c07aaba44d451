"""Calls of batch normalisation by the statistics of the batch, recorded: all steps are one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .._neurons.states import state_dtype
from .arguments import Slot
from .courses import count, course
from .courses import place as put
from .groups import Group
from .infer import Context, context_now, infer, learns
from .later import Batch, Later, Meta, Node
from .normalised import normalised
from .sites import line, site
from .writes import memory_of

_KINDS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}  # exact types: a subclass may do anything


def normalises(module: Any) -> bool:
    """Whether a layer is PyTorch's own and normalises by the statistics of the batch."""
    own = type(module) in _KINDS and "forward" not in vars(module)
    return own and (module.training or (module.running_mean is None and module.running_var is None))


def takes(module: Any, x: Meta) -> bool:
    """Whether such a layer can take the steps of an input together."""
    held = [*module._parameters.values(), *module._buffers.values()]
    dtype = state_dtype(x.dtype) if x.device.type == "cuda" else x.dtype  # where halves are normalised by float32
    alike = all([t.dtype is dtype and t.device == x.device for t in held if t is not None and t.dim()])
    fits = len(x.shape) > 1 and x.shape[1] == module.num_features < x.shape.numel()
    return alike and fits and x.device.type in ("cpu", "cuda") and dtype in (torch.float32, torch.float64)


def settings(module: Any) -> tuple:
    """What else counts at a call."""
    return module.training and module.track_running_stats, module.momentum, module.eps


class NormGroup(Group):
    """Steps of a batch normalisation by the statistics of the batch."""

    in_one = True

    def __init__(self, module: Any, meta: Meta, context: Context, line: str) -> None:
        inferred = infer(F.batch_norm, (Slot(0), None, None, None, None, True), {}, [meta], context, "batch_norm")
        super().__init__(module, (), inferred, context, module, line, module=module)
        self.settings = settings(module)
        self.ordered = self.settings[0]
        self.changes = id(module.running_mean)
        self.updates = set(map(memory_of, module.buffers())) if self.ordered else set()

    def _run(self, nodes: Sequence[Node]) -> None:
        x, changes = course(nodes)
        steps = count(nodes)
        out = normalised(self.module, x if changes else x[None], steps, *self.settings)
        put(nodes, Batch([out if changes else out[0]], steps, constant=not changes))
        self._tell("folded", "each step by its own statistics")


def recorded(recorder: Any, module: Any, x: Later) -> Later:
    """A call of such a layer, which runs later."""
    module._check_input_dim(x)  # noqa: SLF001
    context = context_now()
    key = ("norm", id(module), x.meta, context, recorder.here, *site(), *settings(module))
    place = recorder.place_of(key, True)
    group: Any = recorder.group_of(place)
    if group is None:
        group, parameters = NormGroup(module, x.meta, context, line()), [*module.parameters()]
        recorder.add_group(place, group, parameters)
        group.learns = learns(parameters)
    node = recorder.node(group, ((x.node, x.out),), 1)
    recorder.keep_order(node)
    return recorder.handle(node, 0, group.inferred.metas[0])
