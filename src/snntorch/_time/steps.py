"""Steps that are alike: a few are recorded, the others are copies of them.

What a step calls depends on its inputs' shapes, on what the step before left, and on Python code. Where that code is
plain, and two steps in a row called the same and left the same, every other step will.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._engine.private import unseen
from . import layers
from .arguments import Slot
from .groups import StackGroup
from .infer import Inferred, context_now
from .later import Later, Meta, Node, settle
from .neuron_group import contiguous
from .plain_code import CONSTANTS, attributes_read
from .sites import line

_OF_MODULES = vars(nn.Module()).keys() - {"training", "_parameters", "_buffers", "_modules"}
_ENOUGH = 5  # recorded steps, two of which would have been alike


class _Step(NamedTuple):
    """A recorded step: its calls, what they take and change, and what it left."""

    nodes: list[Node]
    calls: list[Any]
    left: list[Any]


class Steps:
    """The steps of a module, as far as they are recorded.

    Args:
        recorder: who records them.
        module: the module.
    """

    def __init__(self, recorder: Any, module: nn.Module) -> None:
        self.recorder, self.module = recorder, module
        self.modules: list[nn.Module] = []  # whose code it is
        self.names: set[str] | None = None  # of attributes that it reads
        self.count = 0 if recorder.ends is None else _ENOUGH  # where samples end, steps differ
        self.before: _Step | None = None
        self.where: dict[Node, Any] = {}
        self.copied: list[list[Node]] = []
        self.now: Any = None
        self.nows: list[Node] = []
        self.begin()

    def begin(self) -> None:
        """A step begins."""
        recorder = self.recorder
        self.number, self.pending, self.looks = recorder.number, recorder.pending, recorder.looks

    def alike(self, now: Any, out: Any) -> bool:
        """Whether the step that was recorded, of input `now` and output `out`, is what all that follow will be."""
        recorder, step = self.recorder, None
        self.count += 1
        if self.count > _ENOUGH or recorder.stopped or type(now) is not Later:
            return False
        if recorder.pending is self.pending and recorder.looks == self.looks:  # no value was read
            with unseen():
                step = self._step(now, out)
        alike = step is not None and self.before is not None and step[1:] == self.before[1:]
        self.before, self.now = step, now
        return alike

    def _step(self, now: Later, out: Any) -> _Step | None:
        nodes = []
        for group in self.pending:
            for node in reversed(group.nodes):
                if node.number <= self.number:
                    break
                nodes.append(node)
        if len(nodes) != self.recorder.number - self.number:
            return None
        nodes.sort(key=lambda node: node.number)
        if self.count == 1:  # it begins from other states than those that follow
            return _Step(nodes, [], [])
        modules = list(dict.fromkeys([*self.module.modules(), *self.recorder.modules]))
        if modules != self.modules:
            self.modules = modules
            self.names = None if any([layers.forward_hooks(m) for m in modules]) else attributes_read(modules)
        if self.names is None:
            self.count = _ENOUGH
            return None
        self.where = {now.node: "now"}
        for age, those in enumerate((nodes, self.before.nodes if self.before is not None else ())):
            self.where.update((node, (age, k)) for k, node in enumerate(those))
        calls = [self._call(node) for node in nodes]
        left = [context_now(), self._told(out, True)]
        for module in modules:
            held = vars(module)
            left += [(k, self._told(v, k in self.names)) for k, v in held.items() if k not in _OF_MODULES]
        return _Step(nodes, calls, left)

    def _call(self, node: Node) -> Any:
        """What tells a call from another one."""
        sources = [(self.where.get(s[0], s[0]), s[1]) if type(s) is tuple else object() for s in node.inputs]
        extra = node.extra if node.extra is None or type(node.extra) is int else object()
        after, linked = (self.where.get(n, n) if isinstance(n, Node) else n for n in (node.after, node.linked))
        return node.group, sources, after, linked, node.static, extra

    def _told(self, value: Any, counts: bool) -> Any:
        """What tells a value from another one, where it `counts`."""
        if isinstance(value, CONSTANTS):
            return value
        if type(value) is Later:
            base = value if value.base is None else value.base
            return *(self.where.get(later.node, later.node) for later in (value, base)), value.out
        if isinstance(value, Tensor):
            return id(value), object() if value.is_inference() else value._version
        if isinstance(value, dict):
            return tuple(value), [self._told(v, counts) for v in value.values()]
        if isinstance(value, list | tuple | set | frozenset):
            return type(value), [self._told(v, counts) for v in value]
        return id(value) if not counts or callable(value) else object()

    # -- copies

    def go_on(self, times: Sequence[int]) -> None:
        """Copy the step that was recorded last, once for each of the others."""
        recorder, step = self.recorder, self.before
        assert step is not None
        constant: dict[Node, int] = {}

        def at(node: Any) -> int:
            """Where a call will be in the pool."""
            where = self.where.get(node)
            if where is None:
                return constant.setdefault(node, -len(constant) - 1)
            return 0 if where == "now" else 1 + where[1] + (0 if where[0] else len(step.nodes))

        self.nows = [self._input(t) for t in times]
        plan = []
        for node in step.nodes:
            linked, after = (at(n) if isinstance(n, Node) else None for n in (node.linked, node.after))
            plan.append((node, [(at(n), out) for n, out in node.inputs], linked, after, len(node.handles)))
        constants = list(reversed(list(constant)))
        before, number = step.nodes, recorder.number
        for now in self.nows:
            pool: list[Any] = [now, *before, *[None] * len(before), *constants]
            place = len(before)
            copied = []
            for node, sources, linked, after, outputs in plan:
                number += 1
                place += 1
                copy = Node(node.group, tuple([(pool[k], out) for k, out in sources]), number, outputs)
                copy.static, copy.extra = node.static, node.extra
                copy.linked = node.linked if linked is None else pool[linked]
                if after is not None:
                    copy.after = pool[after]
                node.group.nodes.append(copy)
                pool[place] = copy
                copied.append(copy)
            self.copied.append(copied)
            before = copied
        recorder.number = number
        recorder.followed_by(self._last)
        for module in self.modules:
            for held in (vars(module), module._buffers):
                for name in held.keys() - _OF_MODULES:
                    settle(held, name, self._last_handle)

    def _input(self, time: int) -> Node:
        """The input of a step."""
        node = self.now.node
        if node.extra is None:  # the same at every step
            return node
        other = self.recorder.node(node.group, node.inputs, 1)
        other.extra = time
        return other

    def _source(self, node: Node, out: int, step: int) -> tuple[Node, int]:
        """What an output that the last recorded step takes or gives is in one of the copies."""
        where = self.where.get(node)
        if where is None:
            return node, out
        if where == "now":
            return self.nows[step], out
        age, k = where
        step = step % len(self.copied) - age
        return (self.copied[step] if step >= 0 else self.before.nodes)[k], out  # type: ignore[union-attr]

    def _last(self, node: Node) -> Node:
        """The last copy of a call."""
        return self._source(node, 0, -1)[0]

    def _handle(self, later: Later, step: int) -> Later:
        node, out = self._source(later.node, later.out, step)
        return later if node is later.node else self.recorder.handle(node, out, later.meta)

    def _last_handle(self, later: Later) -> Later:
        return self._handle(later, -1)

    def stacked(self, recorded: Sequence[Any]) -> Tensor:
        """An output of all steps, of which some were recorded, stacked over time."""
        last = recorded[-1]
        if type(last) is not Later:
            return torch.stack([*recorded, *[last] * len(self.copied)])
        if any(type(r) is not Later or r.meta is not last.meta for r in recorded):
            return torch.stack([*recorded, *[self._handle(last, step) for step in range(len(self.copied))]])
        sources = [(r.node, r.out) for r in recorded]
        sources += [self._source(last.node, last.out, step) for step in range(len(self.copied))]
        shape = torch.Size((len(sources), *last.meta.shape))
        whole = Meta(shape, contiguous(shape), last.meta.dtype, last.meta.device)
        inferred = Inferred(Slot(0), (whole,), (None,), (None,), None)
        group = StackGroup(torch.stack, ((None,), {}), inferred, context_now(), self.recorder.owner(), line())
        return self.recorder.handle(self.recorder.node(group, tuple(sources), 1), 0, whole)
