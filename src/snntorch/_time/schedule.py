"""The order in which recorded calls run: group by group, and call by call where groups need each other."""

import heapq
import math
from collections.abc import Iterator, Sequence
from operator import attrgetter

from .courses import count
from .groups import Group, SelectGroup, StackGroup, WriteGroup
from .later import Node
from .neuron_group import NeuronGroup

_SMALL = 1 << 15  # elements, up to which a call takes less time than its recording


def run_pending(groups: Sequence[Group]) -> tuple[int, int]:
    """Run every call of the groups that somebody needs.

    Returns:
        How many calls ran with others of their group, but for `x[t]`, and how many small ones by themselves because
        they feed back on each other.
    """
    together = alone = 0
    nodes = [node for group in groups for node in group.nodes]
    one_each = len(nodes) == len(groups)  # in the order of recording, so that nobody waits for a later one
    _mark(nodes if one_each else sorted(nodes, key=_number))
    for group in groups:
        group.nodes = [node for node in group.nodes if node.live and node.batch is None]
        group.calls = count(group.nodes)
    writes = [group for group in groups if isinstance(group, WriteGroup)]
    needs = {g: {} if one_each else _needs(g) for g in groups if g.nodes and not isinstance(g, WriteGroup)}
    for component in [[group] for group in needs] if one_each else _components(needs):
        if len(component) == 1 and component[0] not in needs[component[0]]:
            group = component[0]
            nodes, group.nodes = group.nodes, []
            together += group.calls if group.calls > 1 and not isinstance(group, SelectGroup) else 0
            group.run(nodes)
        else:
            counts = _run_in_turn(component)
            together, alone = together + counts[0], alone + counts[1]
    for group in writes:
        nodes, group.nodes = group.nodes, []
        group.run(nodes)
    return together, alone


_number = attrgetter("number")


def _mark(nodes: Sequence[Node]) -> None:
    """Find out which calls must run, and which of their outputs are asked for."""
    for node in reversed(nodes):
        used = node.used
        for k, handle in enumerate(node.handles):
            if handle is not None and handle() is not None:
                used |= 1 << k
        if used:
            node.used, node.live = used, True
        elif node.group.ordered:
            node.live = True
        elif not node.live:
            continue
        for source in node.inputs:
            if type(source) is tuple:
                before, out = source
                before.live = True
                before.used |= 1 << out
                if before.span > 1 and (node.span > 1 or type(node.group) is StackGroup):
                    before.spread |= 1 << out
        before = node.linked
        if before is not None:
            before.live = True
            if before.continued:  # twice, of which one goes on from values
                before.used |= (1 << len(before.handles)) - 2
            before.continued = True


def _waits(node: Node) -> list[Node]:
    """The calls that a call needs and that have not run, but for those that it runs together with."""
    found = [source[0] for source in node.inputs if type(source) is tuple and source[0].batch is None]
    if node.after is not None and node.after.batch is None:
        found.append(node.after)
    return found


def _needs(group: Group) -> dict[Group, None]:
    """The groups whose calls a group's calls wait for, in their order."""
    needed = [source[0] for node in group.nodes for source in node.inputs if type(source) is tuple]
    needed += [node.after for node in group.nodes if node.after is not None]
    return {node.group: None for node in needed if node.batch is None}


def _components(needs: dict[Group, dict[Group, None]]) -> list[list[Group]]:
    """Groups that need each other, together; each after those that it needs (Tarjan's algorithm)."""
    low: dict[Group, float] = {}  # number of the first group that each leads back to; infinite once that is told
    stack: list[Group] = []
    path: list[tuple[Group, int, int, Iterator[Group]]] = []
    found: list[list[Group]] = []

    def enter(group: Group) -> None:
        path.append((group, len(low), len(stack), iter(needs[group])))
        stack.append(group)
        low[group] = len(low)

    for root in needs:
        if root not in low:
            enter(root)
        while path:
            group, number, place, rest = path[-1]
            for other in rest:
                if other not in low:
                    enter(other)
                    break
                low[group] = min(low[group], low[other])
            else:
                path.pop()
                if low[group] == number:
                    found.append(stack[place:])
                    del stack[place:]
                    low.update(dict.fromkeys(found[-1], math.inf))
                elif path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[group])
    return found


def _run_in_turn(component: Sequence[Group]) -> tuple[int, int]:
    """Run calls that feed back on each other: the earliest that can run, with those of its group that can too.

    Returns:
        As `run_pending`.
    """
    together = alone = 0
    waiting, followers = _order(component)
    ready = [(node.number, node) for node, number in waiting.items() if not number]
    heapq.heapify(ready)
    ready_of: dict[Group, list[Node]] = {}
    for _, node in ready:
        ready_of.setdefault(node.group, []).append(node)
    while ready:
        _, node = heapq.heappop(ready)
        if node.batch is not None:
            continue
        group = node.group
        if isinstance(group, NeuronGroup):
            batch = _run_of(node, waiting, followers)
            ready_of[group] = []
        else:
            batch = sorted(ready_of.pop(group), key=_number)
        group.run(batch)
        if (steps := count(batch)) > 1:
            together += steps
        elif _size(batch[0]) <= _SMALL:
            alone += 1
        for done in batch:
            for follower in followers.get(done, ()):
                waiting[follower] -= 1
                if not waiting[follower] and follower.batch is None:
                    heapq.heappush(ready, (follower.number, follower))
                    ready_of.setdefault(follower.group, []).append(follower)
    for group in component:
        group.nodes = []
    return together, alone


def _order(component: Sequence[Group]) -> tuple[dict[Node, int], dict[Node, list[Node]]]:
    """For each call of some groups how many of these calls it waits for, and which wait for it."""
    members = {node for group in component for node in group.nodes}
    waiting: dict[Node, int] = {}
    followers: dict[Node, list[Node]] = {}
    for group in component:
        before = None
        for node in group.nodes:
            needed = {b for b in (*_waits(node), node.linked, before) if b in members}
            if group.ordered:
                before = node
            waiting[node] = len(needed)
            for b in needed:
                followers.setdefault(b, []).append(node)
    return waiting, followers


def _size(node: Node) -> int:
    """The number of elements of a call's first output."""
    assert node.batch is not None
    first = node.batch.courses[0]
    return 0 if first is None else first.numel()


def _run_of(node: Node, waiting: dict[Node, int], followers: dict[Node, list[Node]]) -> list[Node]:
    """A neuron's call, and those after it that wait for nothing else."""
    run = [node]
    while True:
        following = (n for n in followers.get(run[-1], ()) if n.group is node.group and waiting[n] == 1)
        after = next(following, None)
        if after is None or after.linked is None or _waits(after):
            return run
        run.append(after)
