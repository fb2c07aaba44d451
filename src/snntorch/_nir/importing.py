"""What the conversion of a NIR node to a layer gets. Nothing in it is trusted: nodes may come from anyone's file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGEST = 2**16  # of a stride, padding, dilation or pooling window


@dataclass(frozen=True)
class Node:
    """A node of a NIR graph: its type, parameters by name, and what snnTorch's export noted in its metadata."""

    name: str
    kind: str
    values: Mapping[str, Any]
    noted: Mapping[str, Any]
    dt: float

    def array(self, name: str, infinite: bool = False) -> np.ndarray:
        """A parameter in double precision; a ValueError where it is missing, not real, NaN or infinite unasked."""
        value = self.values.get(name)
        if value is None:
            raise ValueError(f"{name} is missing")
        values = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, got {values.dtype}")
        values = values.astype(np.float64)
        if not (~np.isnan(values) if infinite else np.isfinite(values)).all():
            raise ValueError(f"{name} must not hold NaN{'' if infinite else ' or infinity'}")
        return values

    def arrays(self, *names: str, infinite: bool = False) -> list[np.ndarray]:
        """Parameters in double precision, in the shape of the largest, to which the others must broadcast."""
        values = [self.array(name, infinite) for name in names]
        shapes = {name: value.shape for name, value in zip(names, values, strict=True)}
        largest = max(shapes.values(), key=lambda shape: (len(shape), np.prod(shape)))
        try:
            return [np.broadcast_to(value, largest).copy() for value in values]
        except ValueError:
            raise ValueError(f"parameters must have the same shape, got {shapes}") from None

    def tensor(self, name: str) -> Tensor:
        """A parameter in PyTorch's default dtype."""
        return as_tensor(self.array(name))

    def integers(self, name: str, count: int, least: int = 0) -> tuple[int, ...]:
        """A size of `count` dimensions, from a number or as many, which must be small integers."""
        values = self.array(name).reshape(-1)
        if len(values) not in (1, count) or ((values != np.rint(values)) | (values < least) | (values > LARGEST)).any():
            some = values[:count].tolist()
            raise ValueError(f"{name} must be {count} integers from {least} to {LARGEST}, got {some} of {len(values)}")
        return tuple(int(n) for n in values) * (count if len(values) == 1 else 1)

    def text(self, name: str) -> str | None:
        """A parameter that is text; None where it is something else."""
        value = self.values.get(name)
        return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else None

    def missing(self, what: str) -> NotImplementedError:
        """The error that snnTorch lacks something."""
        return NotImplementedError(f"node {self.name!r} ({self.kind}): {what}")


Importer = Callable[[Node], nn.Module]


def as_tensor(values: np.ndarray) -> Tensor:
    """A tensor in PyTorch's default dtype."""
    return torch.tensor(values, dtype=torch.get_default_dtype())
