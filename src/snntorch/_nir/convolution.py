"""Conv1d and Conv2d.

nir 1.0.8 reads a file of a convolution with groups, or with a kernel that is not square, as one of another shape, and
refuses it. Groups are therefore written as the dense weights that they stand for, and a kernel is filled up to a square
by zeros on both sides, with more padding; that is the same function. Metadata hold the groups and the kernel's size,
from which import restores the layer. A kernel of an even and an odd size can't be filled up on both sides: such a file
takes `nir.read(path, type_check=False)`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._layers.of_functions import with_weights
from .._neurons.recurrent import SameConv2d
from .equations import KEY
from .exporting import Context, NIRNode, as_array, nir_node
from .importing import Node


def export_convolution(layer: Any, context: Context) -> NIRNode:
    """Dense weights, and zeros for a bias that is missing."""
    if layer.padding_mode != "zeros":
        raise context.missing(f"padding mode {layer.padding_mode!r}")
    weight, padding, dilation = as_array(layer.weight), layer.padding, layer.dilation
    noted = {}
    if layer.groups > 1:
        weight, noted["groups"] = dense(weight, layer.groups), layer.groups
    if isinstance(layer, SameConv2d):  # of an even kernel's result it drops the first row or column
        weight = np.pad(weight, [(0, 0), (0, 0), *((1 - k % 2, 0) for k in weight.shape[2:])])
    kernel = weight.shape[2:]
    if padding == "valid" and len(set(kernel)) > 1:
        padding = (0,) * len(kernel)
    missing = [max(kernel) - k for k in kernel]
    if any(missing) and not isinstance(padding, str) and not any(m % 2 for m in missing):
        noted |= {f"kernel_size_{axis}": k for axis, k in enumerate(kernel)}
        weight = np.pad(weight, [(0, 0), (0, 0), *((m // 2, m // 2) for m in missing)])
        padding = tuple(p + d * m // 2 for p, d, m in zip(padding, dilation, missing, strict=True))
    one = len(kernel) == 1
    return context.typed(
        nir_node(
            f"Conv{len(kernel)}d",
            input_shape=context.in_shape[1] if one else context.in_shape[1:],
            weight=weight,
            stride=layer.stride[0] if one else layer.stride,
            padding=padding[0] if one and not isinstance(padding, str) else padding,
            dilation=dilation[0] if one else dilation,
            groups=1,
            bias=np.zeros(len(weight), weight.dtype) if layer.bias is None else as_array(layer.bias),
            metadata={KEY: noted} if noted else {},
        )
    )


def dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights of one group in place of several: zero from the inputs of one to the outputs of another."""
    out, of_group = len(weight) // groups, weight.shape[1]
    result = np.zeros((len(weight), groups * of_group, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * out, (group + 1) * out)
        result[rows, group * of_group : (group + 1) * of_group] = weight[rows]
    return result


def import_convolution(node: Node) -> nn.Module:
    """A convolution, with groups and an oblong kernel where snnTorch's export had written them otherwise."""
    weight, dims = node.tensor("weight"), int(node.kind[4])
    if weight.dim() != dims + 2 or 0 in weight.shape:
        raise ValueError(f"weight must have {dims + 2} dimensions, none of them empty, got shape {tuple(weight.shape)}")
    (groups,) = node.integers("groups", 1, least=1)
    stride, dilation = (node.integers(name, dims, least=1) for name in ("stride", "dilation"))
    padding = node.text("padding") or node.integers("padding", dims)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f"padding must be 'same', 'valid' or integers, got {padding[:20]!r}")
    if groups == 1:
        weight, groups = _grouped(weight, node)
    if not isinstance(padding, str):
        weight, padding = _cropped(weight, padding, dilation, node)
    layer = (nn.Conv1d, nn.Conv2d)[dims - 1](
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        kernel_size=tuple(weight.shape[2:]),  # type: ignore[arg-type]
        stride=stride,  # type: ignore[arg-type]
        padding=padding,  # type: ignore[arg-type]
        dilation=dilation,  # type: ignore[arg-type]
        groups=groups,
        device="meta",  # the weights follow, so none are drawn
    )
    return with_weights(layer, weight, node.tensor("bias"))


def _grouped(weight: Tensor, node: Node) -> tuple[Tensor, int]:
    """The weights by group, where the noted groups are what the weights say."""
    groups = node.noted.get("groups")
    if not isinstance(groups, int) or groups < 2 or len(weight) % groups or weight.shape[1] % groups:
        return weight, 1
    of_group, out = weight.shape[1] // groups, len(weight) // groups
    blocks = [weight[g * out : (g + 1) * out, g * of_group : (g + 1) * of_group] for g in range(groups)]
    alone = sum(b.count_nonzero() for b in blocks) == weight.count_nonzero()
    return (torch.cat(blocks), groups) if alone else (weight, 1)


def _cropped(weight: Tensor, padding: tuple[int, ...], dilation: tuple[int, ...], node: Node) -> tuple[Tensor, Any]:
    """The weights without the zeros that made the kernel a square, and the padding without what they took."""
    margins = []
    for axis, size in enumerate(weight.shape[2:]):
        kernel = node.noted.get(f"kernel_size_{axis}")
        if not isinstance(kernel, int) or not 0 < kernel <= size or (size - kernel) % 2:
            return weight, padding
        margins.append((size - kernel) // 2)
    inner = weight[(..., *(slice(m, n - m) for m, n in zip(margins, weight.shape[2:], strict=True)))]
    less = tuple(p - d * m for p, d, m in zip(padding, dilation, margins, strict=True))
    fits = min(less) >= 0 and inner.count_nonzero() == weight.count_nonzero()
    return (inner.contiguous(), less) if fits else (weight, padding)


EXPORTERS = {nn.Conv1d: export_convolution, nn.Conv2d: export_convolution, SameConv2d: export_convolution}
IMPORTERS = {"Conv1d": import_convolution, "Conv2d": import_convolution}
