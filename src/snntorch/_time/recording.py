"""What is recorded so far: calls in groups, values that somebody holds, tensors that are read and written."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .._engine.private import as_subclass
from .groups import Group
from .infer import meta_of
from .later import Batch, Later, Meta, Node
from .patches import recording
from .schedule import run_pending


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
        self.together = self.alone = 0  # calls that ran with others, and by themselves; see `run_pending`
        self._placed: list[Group] = []
        self._forget()

    def _forget(self) -> None:
        """Begin anew, as all that was recorded runs."""
        for group in self._placed:
            group.place = None  # which knows the group, and values: they are not to wait for a collection
        self._placed.clear()
        self.pending: dict[Group, None] = {}
        self.reads: set[int] = set()  # memory that pending calls read; their groups keep it alive
        self.writes: set[int] = set()  # and that they write
        self.updated: set[int] = set()  # and the statistics that they update
        self._places: dict[Any, Place] = {}
        self._step = 0
        self._results: dict[Any, Node] = {}  # of calls that give the same again
        self._changed: dict[int, Node] = {}  # the last call that changes something, by the identity of that

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
            with self.at_once():
                together, alone = run_pending(groups)
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
        return place.groups[place.time] if place.time < len(place.groups) else None

    def add_group(self, place: Place, group: Group) -> None:
        """A new group, of the call that `group_of` was asked for last."""
        place.groups.append(group)
        group.place = place
        self._placed.append(group)

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


def _moved_on(now: Sequence[Any], before: Sequence[Any]) -> bool:
    """Whether an input comes from another call than before, of the same group."""
    return any([a is not b and a.group is b.group is not None for (a, _), (b, _) in zip(now, before, strict=False)])
