"""What is recorded: calls whose values are not there yet, and the tensors that stand for these values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from operator import is_not
from typing import Any

import torch
from torch import Tensor

from .._engine.private import hollow_tensor
from .arguments import mapped

Source = tuple["Node", int]  # a recorded call, and which of its outputs


class Meta:
    """What is known of a tensor before its value; one object for all tensors that are alike in this."""

    __slots__ = ("device", "dtype", "hollow", "shape", "stride")
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    hollow: Tensor  # one like this, without memory

    def __new__(cls, shape: Any, stride: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Meta:
        """The one of these."""
        key = (shape, stride, dtype, device)
        meta = _metas.get(key)
        if meta is None:
            meta = object.__new__(cls)
            meta.shape, meta.stride, meta.dtype, meta.device = key
            meta.hollow = hollow_tensor(Later, *key)
            if len(_metas) >= _MOST:
                _metas.clear()  # who compares those before with new ones finds them different, which costs time only
            meta = _metas.setdefault(key, meta)  # once it is whole: other threads find it
        return meta


_metas: dict[tuple, Meta] = {}
_MOST = 4096  # that are remembered


class Batch:
    """What some calls of a group gave: each output's course over the calls, or the values of one call alone.

    Args:
        courses: for each output `[calls, ...]`, or None where nobody asks for it.
        calls: number of calls; 0 for one call alone, whose values have no dimension before their own.
        last: values of the last call, by output, where they are there apart from the courses.
        constant: whether all calls gave the same, so that what should be a course is the value of one of them.
    """

    __slots__ = ("_rows", "calls", "constant", "courses", "last")

    def __init__(
        self, courses: Sequence[Any], calls: int = 0, last: dict[int, Tensor] | None = None, constant: bool = False
    ) -> None:
        self.courses, self.calls, self.last, self.constant = courses, calls, last, constant
        self._rows: dict[int, Sequence[Tensor]] = {}

    def requires_grad(self) -> bool:
        """Whether a value asks for a gradient."""
        return any(t is not None and t.requires_grad for t in (*self.courses, *(self.last or {}).values()))

    def value(self, place: int, out: int) -> Tensor:
        """An output of one of the calls."""
        course = self.courses[out]
        if self.constant or not self.calls:
            return course
        if self.last is not None and place == self.calls - 1 and out in self.last:
            return self.last[out]  # the very tensor that the neuron left
        assert course is not None, "an output that nobody asked for"
        if out not in self._rows:
            with torch.inference_mode(False), torch.enable_grad():  # whoever asks first, others count on gradients
                self._rows[out] = course.unbind()  # once: its gradient is one stack for all rows
        return self._rows[out][place]


class Node:
    """One recorded call.

    Attributes:
        group: the calls like this one; None for a value that is given.
        inputs: where its deferred arguments come from; a neuron's may be tensors too, and are without its states where
            it is linked.
        number: its place in the order of recording.
        static: whether it depends on given values alone, so that to look at it runs little.
        linked: of a neuron's, the call from whose states it goes on, and from no others.
        after: a call of another group that must run before, as both change the same thing.
        batch: its values, once they are there, with its place among them, or the last of its places.
        span: the number of steps that it stands for; who takes a single value of it takes the last one's.
        live, used, spread, continued: whether it must run, which outputs are asked for, as bits, and which of them for
            each of its steps, and whether another one that must run is linked to it; set when it is about to.
    """

    __slots__ = (
        "after", "batch", "continued", "extra", "group", "handles", "inputs", "linked", "live", "number", "place",
        "span", "spread", "static", "used",
    )  # fmt: skip

    def __init__(self, group: Any, inputs: Sequence[Any], number: int, outputs: int) -> None:
        self.group, self.inputs, self.number = group, inputs, number
        self.handles: list[weakref.ref | None] = [None] * outputs
        self.batch: Batch | None = None
        self.place = 0
        self.extra: Any = None
        self.after: Node | None = None
        self.linked: Node | None = None
        self.static = self.live = self.continued = False
        self.used = self.spread = 0
        self.span = 1

    def value(self, out: int, back: int = 0) -> Tensor:
        """An output, which is there; of so many steps before the last one that it stands for."""
        assert self.batch is not None
        return self.batch.value(self.place - back, out)

    def requires_grad(self) -> bool:
        """Whether its values ask, or would ask, for a gradient."""
        todo, seen = [self], {self}
        while todo:
            node = todo.pop()
            if node.batch is not None:
                if node.batch.requires_grad():
                    return True
                continue
            if not node.group.context[0] or node.group.function in (Tensor.detach, torch.detach):
                continue
            if node.group.learns or any(isinstance(i, Tensor) and i.requires_grad for i in node.inputs):
                return True
            before = {i[0] for i in node.inputs if type(i) is tuple} - seen
            if node.linked is not None:
                before.add(node.linked)
            seen |= before
            todo += before
        return False


class Later(Tensor):
    """Stands for an output of a recorded call; it has the shape, dtype and device of its value, and no memory."""

    __slots__ = ("meta", "node", "out", "recorder")
    recorder: Any
    node: Node
    out: int
    meta: Meta
    base: Later | None = None  # what this is a view of
    path: tuple = ()  # by which calls
    views: list[weakref.ref] | None = None  # of this, as far as anybody made one

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Where nobody records any more: run on the values."""
        return func(*resolved(args), **resolved(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What reaches this has passed by PyTorch's functions, and autograd with them."""
        raise TypeError(
            f"{func} was called in a way that snntorch can't record; give the module that calls it the attribute "
            "`memoryless = False`, so that it steps as a whole"
        )

    def bind(self, node: Node, out: int) -> None:
        """Stand for another value from now on, as after a write in place."""
        self.node.handles[self.out] = None
        self.node, self.out = node, out
        node.handles[out] = weakref.ref(self)

    def resolve(self) -> Tensor:
        """The value; what is needed for it runs."""
        if self.node.batch is None:
            self.recorder.flush()
        return self.node.value(self.out)


def resolved(value: Any) -> Any:
    """Nested arguments with values for what stands for them."""
    return mapped(Later.resolve, value, Later)


def settle(where: Any, name: Any, value_of: Callable[[Later], Any]) -> None:
    """Put values for what stands for them, in an attribute and in the lists and dicts that it holds."""
    value = where[name]
    if isinstance(value, Later):
        where[name] = value_of(value)
    elif isinstance(value, list):
        for k in range(len(value)):
            settle(value, k, value_of)
    elif type(value) is dict:
        for key in list(value):
            settle(value, key, value_of)
    elif isinstance(value, tuple):
        items = list(value)
        settle({name: items}, name, value_of)
        if any(map(is_not, items, value)):
            where[name] = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
