"""What the conversion of a layer to NIR gets and gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from nir import NIRNode as NIRNode
else:
    NIRNode = Any  # as nir is imported where it is wanted

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Context:
    """What a conversion needs to know beside the layer. Shapes are one sample's."""

    name: str
    in_shape: Shape
    out_shape: Shape
    dt: float
    states: frozenset[str]  # the states that the network uses as signals
    rank: int  # dimensions of the layer's whole input, of which
    ignored: frozenset[int]  # these belong to no sample

    def array(self, value: Any, what: str) -> np.ndarray:
        """A parameter in double precision and the shape of the layer's input; a ValueError where it has no such."""
        values = as_array(value).astype(np.float64)
        while values.ndim > len(self.in_shape) and values.shape[0] == 1:
            values = values[0]
        try:
            return np.broadcast_to(values, self.in_shape).copy()
        except ValueError:
            raise ValueError(f"layer {self.name!r}: {what} of shape {values.shape} does not broadcast to the shape "
                             f"{self.in_shape} of one sample") from None  # fmt: skip

    def missing(self, what: str) -> NotImplementedError:
        """The error that NIR lacks something."""
        return NotImplementedError(f"layer {self.name!r}: NIR has no {what}")

    def typed(self, node: NIRNode) -> NIRNode:
        """The node with the shapes that were seen, where it has none of its own."""
        node.input_type, node.output_type = {"input": np.array(self.in_shape)}, {"output": np.array(self.out_shape)}
        return node


@dataclass
class Part:
    """The nodes that stand for one layer, by the suffix of their names, and which of them give its outputs."""

    nodes: dict[str, NIRNode]
    exits: dict[str, str] = field(default_factory=lambda: {"out": ""})
    edges: list[tuple[str, str]] = field(default_factory=list)
    entry: str = ""


Exporter = Callable[[Any, Context], "NIRNode | Part"]


def as_array(value: Any) -> np.ndarray:
    """An array of a tensor or number; half types, which NumPy or HDF5 may lack, become single."""
    tensor = torch.as_tensor(value).detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy().copy()


def nir_node(kind: str, **values: Any) -> NIRNode:
    """A node of the installed nir: before 1.0.8 it lacks `v_reset`, which is 0 here, CubaLI, and some metadata.

    A NotImplementedError names a node that it lacks.
    """
    import nir

    cls = getattr(nir, kind, None)
    if cls is None:
        raise NotImplementedError(f"nir {nir.version} has no {kind}; nir 1.0.8 has")
    fields = {f.name for f in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in fields})


def overrides(layer: nn.Module, base: type) -> bool:
    """Whether the layer's class computes something else than its base, which NIR would not know."""
    return any(
        getattr(type(layer), method, None) is not getattr(base, method, None)
        for method in ("forward", "step", "drive", "project")
    )
