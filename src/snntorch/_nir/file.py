"""NIR files, which are HDF5, read as data that anyone may have made.

`nir.read` takes what it finds. A file may refer to other files, contain itself, or declare arrays of any size in a few
bytes; here that is an error, and the memory is bounded by what a file of its size can hold when it is compressed.
"""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .equations import KEY

DEPTH, ITEMS, NAME = 64, 10**6, 4096  # groups inside groups; groups and arrays in all; length of a name
COMPRESSION = 1100  # more than the 1032 of deflate, which HDF5 uses


def read_file(path: str | os.PathLike) -> dict[str, Any]:
    """The graph in a file as nested dicts of arrays, numbers and text.

    Raises:
        ValueError: for a file that is no NIR, is damaged, or is made as above.
        OSError: for a file that can't be opened.
    """
    import h5py

    path = os.fspath(path)
    size = os.stat(path).st_size
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(root := _item(file, "node"), h5py.Group):
                raise ValueError("it has no group 'node'")
            return _Reader(COMPRESSION * size + 2**20).node(root)
    except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # the HDF5 library raises what it likes
        raise ValueError(f"{path!r} is no readable NIR file: {error}") from error


def _item(group: Any, name: str) -> Any:
    """What a group holds under a name, where the file itself holds it."""
    import h5py

    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name[:NAME]!r} is a link to elsewhere")
    return group.get(name)


class _Reader:
    """Reads groups until what they declare exceeds the budget of bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.count = 0
        self.seen: set[tuple[int, int]] = set()

    def node(self, group: Any, depth: int = 0) -> dict[str, Any]:
        """A node and, of a graph, those that it holds; of metadata, snnTorch's alone."""
        import h5py

        result: dict[str, Any] = {}
        for name, item in self.items(group, depth):
            if isinstance(item, h5py.Dataset):
                result[name] = self.edges(item) if name == "edges" else self.value(item, name)
            elif name == "nodes":
                inside = dict(self.items(item, depth + 1))
                result[name] = {n: self.node(child, depth + 2) for n, child in inside.items()}
            elif name == "metadata" and isinstance(noted := _item(item, KEY), h5py.Group):
                values = self.items(noted, depth + 2)
                result[name] = {KEY: {n: self.value(v, n) for n, v in values if isinstance(v, h5py.Dataset)}}
        return result

    def items(self, group: Any, depth: int) -> Iterator[tuple[str, Any]]:
        """What a group holds, by name."""
        from h5py import Group, h5o  # type: ignore[attr-defined]

        if not isinstance(group, Group):
            raise ValueError("a node is no group")
        info = h5o.get_info(group.id)
        if depth > DEPTH or (info.fileno, info.addr) in self.seen:
            raise ValueError(f"groups lie in each other more than {DEPTH} deep, or one of them in several places")
        self.seen.add((info.fileno, info.addr))
        for name in map(str, group):
            self.count += 1
            if self.count > ITEMS or len(name) > NAME:
                raise ValueError(f"it holds more than {ITEMS} items, or a name of more than {NAME} characters")
            yield name, _item(group, name)

    def spend(self, count: int) -> None:
        """Take bytes from the budget."""
        self.budget -= count
        if self.budget < 0:
            raise ValueError("it declares more data than a file of its size can hold")

    def check(self, data: Any, name: str) -> None:
        """Refuse data that lies elsewhere, and charge what reading it takes."""
        if data.shape is None or data.external or data.is_virtual:
            raise ValueError(f"{name!r} holds nothing, or refers to another file")
        self.spend(max(math.prod(data.shape), math.prod(data.chunks or ())) * data.dtype.itemsize)

    def value(self, data: Any, name: str) -> Any:
        """A text, a number or an array of numbers."""
        import h5py

        self.check(data, name)
        text = h5py.check_string_dtype(data.dtype) is not None
        if not text and data.dtype.kind not in "biuf":
            raise ValueError(f"{name!r} must hold numbers or a text, got {data.dtype}")
        if text and data.shape != ():
            raise ValueError(f"{name!r} must be one text, got an array of shape {data.shape}")
        value = data[()]
        return value.decode() if isinstance(value, bytes) else value

    def edges(self, data: Any) -> list[tuple[str, str]]:
        """Pairs of names, read a few at a time, as many of them may refer to the same long text."""
        import h5py

        self.check(data, "edges")
        if data.size and (h5py.check_string_dtype(data.dtype) is None or data.shape[1:] != (2,)):
            raise ValueError(f"edges must be pairs of names, got {data.dtype} of shape {data.shape}")
        pairs: list[tuple[str, str]] = []
        for start in range(0, len(data) if data.size else 0, 16):
            for row in np.asarray(data[start : start + 16]).tolist():
                self.spend(sum(map(len, row)))
                a, b = (name.decode() if isinstance(name, bytes) else name for name in row)
                if max(len(a), len(b)) > NAME:
                    raise ValueError(f"an edge holds a name of more than {NAME} characters")
                pairs.append((a, b))
        return pairs
