"""Steps that are alike: a few are recorded, the last of which stands for all others.

What a step calls depends on its input's shape, on what the step before left, and on Python code. Where that code is
plain, and two steps in a row left the same, every other step will call the same and leave the same. So will they after
one step that left all as it was, but for neurons' states that nobody but these neurons reads.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._engine.private import unseen
from . import at_once, layers
from .arguments import Slot
from .groups import StackGroup
from .infer import Inferred, context_now
from .later import Later, Meta, Node, settle
from .neuron_group import NeuronGroup, contiguous
from .plain_code import CONSTANTS, attributes_read
from .sites import line
from .start import Start

_OF_MODULES = vars(nn.Module()).keys() - {"training", "_parameters", "_buffers", "_modules"}
_ENOUGH = 5  # recorded steps, two of which would have been alike
_number = attrgetter("number")
_AS_IT_IS = frozenset([bool, *CONSTANTS]) - {float, complex}  # types, to be asked before `_told`


class _Step(NamedTuple):
    """A recorded step.

    Attributes:
        nodes: its calls, but for those that are the same at every step; the first one takes its input.
        kinds: of these calls.
        left: what the next step begins from.
    """

    nodes: list[Node]
    kinds: list[Any]
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
        self.where: dict[Node, tuple[int, int]] = {}  # how many steps ago a call was made, and its place in that step
        self.constant: set[Node] = set()  # calls that are made once for all steps
        self.apart = False  # whether a step needs more of the one before than neurons' states
        self.input: Node | None = None  # a step's, where it changes
        self.times = 0  # steps that are not recorded
        self.copied: list[list[Node]] = []
        self.start = Start(module)
        self.begin()

    def begin(self) -> None:
        """A step begins."""
        recorder = self.recorder
        self.number, self.pending, self.looks = recorder.number, recorder.pending, recorder.looks

    def alike(self, now: Any, out: Any) -> bool:
        """Whether the step that was recorded, of input `now` and output `out`, is what all that follow will be.

        It is where it left what the one before had left, as that and its input are all that a step begins from.
        """
        recorder, step, before, enough = self.recorder, None, self.before, False
        self.count += 1
        if self.count > _ENOUGH or recorder.stopped or type(now) is not Later:
            return False
        if recorder.pending is self.pending and recorder.looks == self.looks:  # no value was read
            with unseen():
                nodes = self._nodes(now)
                enough = nodes is not None and self.count == 1 and self.start.enough(self, now)
                if nodes is not None:
                    step = _Step(nodes, [], []) if enough else self._step(nodes, out)
        self.before = step
        if enough:
            at_once.tell(self.module, fits=True)
        if step is None or before is None:
            return enough
        return step[1:] == before[1:] and all(map(self._like, step.nodes, before.nodes))

    def _nodes(self, now: Later) -> list[Node] | None:
        """The calls of the step, but for those that are the same at every step; None where no others can be like it."""
        nodes = []
        for group in self.pending:
            for node in reversed(group.nodes):
                if node.number <= self.number:
                    break
                nodes.append(node)
        if len(nodes) != self.recorder.number - self.number:
            return None
        nodes.sort(key=_number)
        modules = layers.within([self.module, *self.recorder.modules])
        if modules != self.modules:
            self.modules = modules
            self.names = None if any([layers.forward_hooks(m) for m in modules]) else attributes_read(modules)
        if self.names is None:
            self.count = _ENOUGH
            return None
        self.input = now.node if now.node.extra is not None else None
        self.apart = self.input is not None and self.input.number != self.number  # somebody else takes it too
        self.where = {node: (1, k) for node, (age, k) in self.where.items() if age == 0}
        changing = [] if self.input is None else [self.input]
        for node in nodes:
            if node.group.repeats and all([n.group is None or n in self.constant for n, _ in node.inputs]):
                self.constant.add(node)
            else:
                changing.append(node)
        self.where.update((node, (0, k)) for k, node in enumerate(changing))
        ordered = [node.group for node in changing if node.group.ordered]
        self.apart |= len(set(ordered)) < len(ordered)
        return changing

    def _step(self, changing: list[Node], out: Any) -> _Step:
        left: list[Any] = [context_now(), self._told(out, True)]
        left += [(key, self.where.get(node, node)) for key, node in self.recorder.changed.items()]
        assert self.names is not None
        for module in self.modules:
            held = vars(module)
            left.append(tuple(held))
            left += [
                v if type(v) in _AS_IT_IS else self._told(v, k in self.names)
                for k, v in held.items()
                if k not in _OF_MODULES
            ]
        return _Step(changing, [(node.group, node.static) for node in changing], left)

    def _like(self, node: Node, before: Node) -> bool:
        """Whether a call takes what a step calls, or else what the call like it in the step before took."""
        group = node.group
        for k, source in enumerate(node.inputs):
            if type(source) is not tuple:
                return False
            if source[0] in self.where:
                self.apart |= self.where[source[0]][0] > 0
            elif k < len(before.inputs) and type(before.inputs[k]) is tuple and source == before.inputs[k]:
                self.apart |= source[0].span > 1
            else:
                return False
        if node.after is not None:
            self.apart = True
            return node.after in self.where
        if type(group) is NeuronGroup:
            self.apart |= node.linked is not before
            return node.extra is None and (node.linked is None or node.linked in self.where)
        self.apart |= group.ordered and not group.in_one
        return node is self.input or node.extra == before.extra

    def _told(self, value: Any, counts: bool) -> Any:
        """What tells a value from another one, where it `counts`."""
        if type(value) is Later:
            base = value if value.base is None else value.base
            places = [self.where.get(later.node, later.node) for later in (value, base)]
            self.apart |= any([type(place) is tuple and place[0] > 0 for place in places])
            return *places, value.out
        if isinstance(value, Tensor):
            return id(value), object() if value.is_inference() else value._version
        if isinstance(value, dict):
            return (tuple(value), [self._told(v, counts) for v in value.values()]) if value else ()
        if isinstance(value, nn.Module):
            return id(value)
        if isinstance(value, CONSTANTS):
            return value or repr(value)  # -0.0 == 0.0
        if isinstance(value, list | tuple | set | frozenset):
            return type(value), [self._told(v, counts) for v in value]
        return id(value) if not counts or callable(value) else object()

    # -- the others

    def go_on(self, times: range) -> None:
        """Let the step that was recorded last stand for the others too, or be copied once for each of them."""
        assert self.before is not None
        nodes, self.times = self.before.nodes, len(times)
        if self.apart:
            self._copy(nodes, times)
            return
        if self.input is not None:
            self.recorder.forget(self.input)
            self.input.extra = range(self.input.extra, times.stop)
        for node in nodes:
            node.span += self.times

    def _copy(self, nodes: Sequence[Node], times: range) -> None:
        recorder, size = self.recorder, len(nodes)
        constant: dict[Node, int] = {}

        def at(node: Node) -> int:
            """Where a call will be in the pool."""
            where = self.where.get(node)
            if where is None:
                return constant.setdefault(node, -len(constant) - 1)
            return where[1] + (0 if where[0] else size)

        plan = []
        for node in nodes:
            linked, after = (None if n is None else at(n) for n in (node.linked, node.after))
            plan.append((node, [(at(n), out) for n, out in node.inputs], linked, after, len(node.handles)))
        constants = list(reversed(list(constant)))
        before, number = list(nodes), recorder.number
        for time in times:
            pool: list[Any] = [*before, *[None] * size, *constants]
            for place, (node, sources, linked, after, outputs) in enumerate(plan, size):
                number += 1
                pool[place] = copy = Node(node.group, tuple([(pool[k], out) for k, out in sources]), number, outputs)
                copy.static, copy.extra = node.static, node.extra if node is not self.input else time
                if linked is not None:
                    copy.linked = pool[linked]
                if after is not None:
                    copy.after = pool[after]
                node.group.nodes.append(copy)
            before = pool[size : 2 * size]
            self.copied.append(before)
        recorder.number = number
        recorder.changed.update([(key, self._source(node, 0, -1)[0]) for key, node in recorder.changed.items()])
        for module in self.modules:
            for held in (vars(module), module._buffers):
                for name in {*held.keys()} - _OF_MODULES:
                    settle(held, name, self._last)

    def _source(self, node: Node, out: int, step: int) -> tuple[Node, int]:
        """What an output that the last recorded step takes or gives is in one of the copies."""
        if not self.copied or node not in self.where:
            return node, out
        age, k = self.where[node]
        step = step % len(self.copied) - age
        return (self.copied[step] if step >= 0 else self.before.nodes)[k], out  # type: ignore[union-attr]

    def _last(self, later: Later) -> Later:
        """What stands for an output in the last copy."""
        node, out = self._source(later.node, later.out, -1)
        return later if node is later.node else self.recorder.handle(node, out, later.meta)

    def stacked(self, recorded: Sequence[Any]) -> Tensor:
        """An output of all steps, of which some were recorded, stacked over time."""
        last = recorded[-1]
        if type(last) is not Later:
            return torch.stack([*recorded, *[last] * self.times])
        if any([type(r) is not Later or r.meta is not last.meta for r in recorded]):
            return torch.cat([torch.stack(list(recorded[:-1])), self.stacked(recorded[-1:])])
        sources, spans = [(r.node, r.out) for r in recorded], [1] * len(recorded)
        if not self.copied and last.node in self.where:
            spans[-1] += self.times
        else:
            sources += [self._source(last.node, last.out, step) for step in range(self.times)]
            spans += [1] * self.times
        shape = torch.Size((sum(spans), *last.meta.shape))
        whole = Meta(shape, contiguous(shape), last.meta.dtype, last.meta.device)
        inferred = Inferred(Slot(0), (whole,), (None,), (None,), None)
        group = StackGroup(torch.stack, ((None,), {}), inferred, context_now(), self.recorder.owner(), line())
        node = self.recorder.node(group, tuple(sources), 1)
        node.extra = spans
        return self.recorder.handle(node, 0, whole)
