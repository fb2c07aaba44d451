"""What is recorded so far: calls in groups, values that somebody holds, tensors that are read and written."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import is_, itemgetter
from typing import Any

from torch import Tensor, nn

from .._engine.private import as_subclass
from .._neurons.recorder import recording
from .groups import Group
from .infer import meta_of
from .later import Batch, Later, Meta, Node
from .schedule import run_pending
from .writes import memory_of


class Entry:
    """A module that was entered from a place in the code.

    Attributes:
        module, outside, here: what was entered, from where, and what stands for the place inside of it.
        then: what came after that, see `Recording.last`.
        call, taken: of a layer whose forward is one call, the group of that and what it takes.
    """

    __slots__ = (
        "call", "count", "held", "here", "hooks", "module", "outside", "own", "place", "taken", "then",
    )  # fmt: skip
    known_as = None  # it is no call of a function

    def __init__(self, module: Any, outside: int, here: int) -> None:
        self.module, self.outside, self.here = module, outside, here
        self.then: Any = None
        self.call: Any = None
        self.taken: Any = None
        self.place: Any = None

    def is_one_call(self, group: Group, taken: Meta) -> None:
        """Remember the one call that the layer's forward is, which it stays as long as the layer does."""
        self.call, self.taken, module = group, taken, self.module
        self.own = itemgetter("training", "training", *[name for name in vars(module) if name not in _OF_PYTORCH])
        self.hooks = tuple([getattr(module, name) for name in _HOOKS])
        self.held = *self.own(vars(module)), *module._parameters.values(), *module._buffers.values()
        self.count = len(vars(module)), len(self.held)

    def stays(self) -> bool:
        """Whether the layer still has the same attributes, the very parameters and buffers, and no hooks."""
        attributes = vars(self.module)
        try:
            now = *self.own(attributes), *self.module._parameters.values(), *self.module._buffers.values()
        except KeyError:
            return False
        return (len(attributes), len(now)) == self.count and all(map(is_, now, self.held)) and not any(self.hooks)


_OF_PYTORCH = vars(nn.Module()).keys()
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Place:
    """A place in the code, with the arguments of a call there that do not change from step to step.

    Attributes:
        telling: whether to come there again begins a new step.
        groups: of the calls, by how often in a step they come there.
        step, time, inputs: when a call came there last, how often it has in that step, and with what.
    """

    __slots__ = ("groups", "inputs", "step", "telling", "time")

    def __init__(self, telling: Any) -> None:
        self.telling, self.step, self.time = telling, -1, 0
        self.inputs: Sequence[Any] = ()
        self.groups: list[Group] = []


class Recording:
    """The calls that wait to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[nn.Module] = []  # the modules whose forward is being recorded
        self.here = 0  # stands for the place from which the last of them is called
        self.handles: list[weakref.ref] = []  # of all that stands for something
        self.number = 0
        self.runs = False  # what is recorded, now
        self.last: Any = None  # what was called last, a group or an entry; `then` it, what came after it the last time
        self.together = self.alone = 0  # calls that ran with others, and by themselves; see `run_pending`
        self._placed: list[Any] = []
        self._forget()

    def _forget(self) -> None:
        """Begin anew, as all that was recorded runs."""
        for item in self._placed:  # which know each other, and values: they are not to wait for a collection
            item.place = item.then = None
        self._placed.clear()
        self.last = Entry(None, 0, 0)
        self.pending: dict[Group, None] = {}
        self.reads: set[int] = set()  # memory that pending calls read; their groups keep it alive
        self.writes: set[int] = set()  # and that they write
        self.updated: set[int] = set()  # and the statistics that they update
        self._places: dict[Any, Place] = {}
        self._step = 0
        self._results: dict[Any, Node] = {}  # of calls that give the same again
        self.changed: dict[int, Node] = {}  # the last call that changes something, by the identity of that

    def given(self, value: Tensor) -> Later:
        """What stands for a tensor that is there."""
        node = Node(None, (), 0, 1)
        node.batch, node.static = Batch([value]), True
        return self.handle(node, 0, meta_of(value))

    def flush(self) -> None:
        """Run what is recorded."""
        if self.pending:
            groups = list(self.pending)
            self._forget()
            try:
                with self.at_once():
                    together, alone = run_pending(groups)
            finally:  # of a run that is stopped, as checkpoint stops its second: calls and their groups hold each other
                for group in groups:
                    group.nodes = []
            self.together, self.alone = self.together + together, self.alone + alone

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Run what is called, of which nothing is recorded."""
        before, self.runs = self.runs, True
        try:
            with recording(None):
                yield
        finally:
            self.runs = before

    def place_of(self, key: Any, telling: Any) -> Place:
        """A place in the code, with its arguments; `telling` whether to come there again begins a new step."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(telling)
        return place

    def group_of(self, place: Place, inputs: Sequence[Any] = ()) -> Group | None:
        """The group of a call: a place in the code, but for calls that come there again in the same step.

        A step is told by the return of a call with parameters of its own, or on what a later call of the same group
        gave.
        """
        if place.step != self._step:
            place.step, place.time = self._step, 0
        elif place.telling or _moved_on(inputs, place.inputs):
            self._step += 1
            place.step, place.time = self._step, 0
        else:
            place.time += 1
        place.inputs = inputs
        if place.time >= len(place.groups):
            return None
        group = self.last.then = place.groups[place.time]
        self.last = group
        return group

    def add_group(self, place: Place, group: Group, there: Sequence[Tensor] = ()) -> None:
        """A new group, of the call that `group_of` was asked for last, which takes these tensors that are there.

        Pending calls that change what it reads, or read what it changes, run before it.
        """
        read = set(map(memory_of, there)) - group.updates
        if not (self.updated.isdisjoint(read) and self.reads.isdisjoint(group.updates)):
            self.flush()
            place = Place(True)
        self.reads |= read
        self.updated |= group.updates
        group.place, group.time = place, len(place.groups)
        place.groups.append(group)
        self.follow(group)

    def follow(self, item: Any) -> None:
        """Something new came after what was called last."""
        self.last.then = item
        self.last = item
        self._placed.append(item)

    def come_again(self, group: Group, inputs: Sequence[Any] = ()) -> None:
        """Note a call of the group that `group_of` would give: what came last time after the call before it."""
        place = group.place
        if place.step == self._step and group.time <= place.time:
            self._step += 1
        place.step, place.time, place.inputs = self._step, group.time, inputs
        self.last = group

    def owner(self) -> nn.Module | None:
        """The module whose forward is being recorded."""
        return self.path[-1] if self.path else None

    def node(self, group: Group, inputs: Sequence[Any], outputs: int) -> Node:
        """A new call of a group."""
        self.number += 1
        node = Node(group, inputs, self.number, outputs)
        if not group.nodes:
            self.pending[group] = None
        group.nodes.append(node)
        if group.can_be_alone:
            for before, _ in inputs:
                if not before.static:
                    return node
            node.static = True
            if group.repeats:
                self._results[group, inputs] = node
        return node

    def keep_order(self, node: Node) -> None:
        """Let a call run after the last one that changes the same thing."""
        if node.group.ordered:
            before = self.changed.get(node.group.changes)
            node.after = before if before is not None and before.group is not node.group else None
            self.changed[node.group.changes] = node

    def handle(self, node: Node, out: int, meta: Meta) -> Later:
        """What stands for an output of a node."""
        reference = node.handles[out]
        if reference is not None and (later := reference()) is not None:
            return later
        return self.new_handle(node, out, meta)

    def new_handle(self, node: Node, out: int, meta: Meta) -> Later:
        """What stands for an output of a node for which nothing does yet."""
        later: Any = as_subclass(Later, meta.hollow)
        later.recorder, later.node, later.out, later.meta = self, node, out, meta
        node.handles[out] = reference = weakref.ref(later)
        self.handles.append(reference)
        return later

    def _plain(self, group: Any, inputs: Sequence[Any]) -> Later:
        """A call that gives one new tensor and does nothing else."""
        node = self._same_again(group, inputs)
        if node is not None:
            return self.handle(node, 0, group.inferred.metas[0])
        return self.new_handle(self.node(group, inputs, 1), 0, group.inferred.metas[0])

    def _same_again(self, group: Group, inputs: Sequence[Any]) -> Node | None:
        """A call of the group on the same values, which do not depend on time."""
        if not group.repeats:
            return None
        for node, _ in inputs:
            if not node.static:
                return None
        return self._results.get((group, inputs))


def _moved_on(now: Sequence[Any], before: Sequence[Any]) -> bool:
    """Whether an input comes from another call than before, of the same group."""
    return any([a is not b and a.group is b.group is not None for (a, _), (b, _) in zip(now, before, strict=False)])
