"""Records the functions that a forward calls, to run them over time instead of step by step.

While a `FunctionRecorder` is entered, every PyTorch function whose arguments are not there yet becomes a `Node` of a
`Group`: the calls from one place in the code, with the same parameters. Where a value is read, what is recorded runs,
and the rest of the forward runs as it is called.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._engine import note
from .._engine.private import past_torch_function
from . import known
from .arguments import fill, flatten, hollow, leaves, refilled
from .groups import FunctionGroup, Group, ModuleGroup, SelectGroup, StackGroup, WriteGroup
from .infer import Context, Inferred, context_now, infer, meta_of
from .later import Batch, Later, Meta, Node, resolved
from .patches import recording
from .schedule import run_pending
from .sites import line, site
from .writes import UNKNOWN, note_view, rebind


class FunctionRecorder(TorchFunctionMode):
    """Records calls of functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = ""  # why calls run at once
        self.path: list[nn.Module] = []  # the modules whose forward is being recorded
        self.handles: list[weakref.ref] = []  # of all that stands for something
        self.number = 0
        self._runs = False  # what is recorded, now
        self._forget()

    def _forget(self) -> None:
        """Begin anew, as all that was recorded runs."""
        self.pending: dict[Group, None] = {}
        self.reads: set[int] = set()  # tensors that pending calls read, by identity; their groups keep them alive
        self._writes: set[int] = set()  # and that they write
        self._groups: dict[Any, Group] = {}
        self._seen: dict[Any, int] = {}
        self._results: dict[Any, Node] = {}  # of calls that give the same again
        self._changed: dict[int, Node] = {}  # the last call that changes something, by the identity of that

    def given(self, value: Tensor) -> Later:
        """What stands for a tensor that is there."""
        node = Node(None, (), 0, 1)
        node.batch, node.static, node.requires_grad = Batch([value]), True, value.requires_grad
        return self.handle(node, 0, meta_of(value))

    def flush(self) -> None:
        """Run what is recorded."""
        if self.pending:
            groups = list(self.pending)
            self._forget()
            before, self._runs = self._runs, True
            try:
                with recording(None):
                    run_pending(groups)
            finally:
                self._runs = before

    def stop(self, reason: str) -> None:
        """Run what is recorded, and from now on what is called."""
        if not self.stopped:
            self.stopped = reason
            note(self.path[0] if self.path else self, "stepped", reason)
        self.flush()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._runs:
            return func(*args, **kwargs)
        if func in known.KNOWN:
            with past_torch_function():
                return func(*args, **kwargs)
        tensors: list[Any] = []
        structure: list[Any] = []
        flatten(args, structure, tensors)
        if kwargs:
            flatten(kwargs, structure, tensors)
        if Later not in map(type, tensors):
            return self._of_values(func, args, kwargs, structure, tensors)
        if self.stopped:
            return func(*resolved(args), **resolved(kwargs))
        if self._writes and any(id(t) in self._writes for t in tensors):
            self.flush()
        if func is known.REQUIRES_GRAD:
            return args[0].node.requires_grad
        if func in known.CONSTANT:
            return func(*refilled(args, [_stand_in(t) for t in tensors]), **kwargs)
        if func is Tensor.__iter__:
            return iter(self._unbind(args[0], 0))
        if func is Tensor.unbind or func is torch.unbind:
            return self._unbind(args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0))
        if (selected := known.selected(func, args, kwargs)) is not None:
            return self._select(args[0], *selected)
        if func is Tensor.__setitem__:
            func = known.setitem
        return self.record(func, func, args, kwargs, structure, tensors)

    def _of_values(self, func: Any, args: Any, kwargs: Any, structure: list, tensors: list) -> Any:
        """A function of tensors that are all there."""
        name = getattr(func, "__name__", "")
        writes = known.writes_in_place(name, kwargs)
        if self.pending and any(id(t) in self._writes or (writes and id(t) in self.reads) for t in tensors):
            self.flush()
        computes = not writes and (name != "__get__" or func in known.TRANSPOSED)
        if computes and not self.stopped and torch.is_grad_enabled() and learns(tensors):
            # What a weight is made of at every step is made once.
            return self.record(func, func, args, kwargs, structure, tensors)
        result = func(*args, **kwargs)
        if not self.stopped and not writes and type(result) is Tensor and name in known.RANDOM:
            return self.given(result)  # so that each step may have its own, and all steps take part in one call
        return result

    # -- a call as a node

    def record(
        self, function: Any, known_as: Any, args: Any, kwargs: Any, structure: list | None = None,
        tensors: list | None = None, **of_group: Any,
    ) -> Any:  # fmt: skip
        """Make a call a node, and return what stands for its outputs.

        Args:
            function: what is called.
            known_as: what tells it from other functions.
            args: its arguments.
            kwargs: its arguments by keyword.
            structure: of all arguments, as `flatten` gives it.
            tensors: in them.
            **of_group: settings of its group.
        """
        if structure is None or tensors is None:
            structure, tensors = [], []
            flatten(args, structure, tensors)
            flatten(kwargs, structure, tensors)
        laters = [t for t in tensors if type(t) is Later]
        context = context_now()
        reals = tuple([id(t) for t in tensors if type(t) is not Later])
        key = (known_as, tuple(structure), reals, tuple([t.meta for t in laters]), context, site(3))
        try:
            group: Any = self.group_of(key, reals or "module" in of_group)
        except TypeError:  # an argument without a hash
            return self._look(function, args, kwargs)
        if group is None:
            group = self._function_group(key, function, args, kwargs, tensors, context, of_group)
            if group is None:
                return self._look(function, args, kwargs)
            self.add_group(key, group)
        inferred: Inferred = group.inferred
        if inferred.written is not None:
            target = tensors[inferred.written]
            if type(target) is not Later:
                return self._write(group, target, laters)
            if target.path == UNKNOWN or inferred.written not in inferred.same:
                return self._look(function, args, kwargs)
        elif None not in inferred.same and not group.ordered:  # nothing was done
            return fill(inferred.outputs, [tensors[k] for k in inferred.same])  # type: ignore[index]
        inputs = tuple([(t.node, t.out) for t in laters])
        same_again = (group, tuple([(id(n), k) for n, k in inputs])) if group.repeats else None
        node = self._results.get(same_again)
        fresh = node is None
        if node is None:
            node = self.node(group, inputs, len(inferred.metas), context[0], learns(tensors))
            if same_again is not None:
                self._results[same_again] = node
            if group.ordered:
                before = self._changed.get(group.changes)
                node.after = before if before is not None and before.group is not group else None
                self._changed[group.changes] = node
            self.reads.update(reals)
        call = (function, args, kwargs) if fresh and len(laters) == 1 else None
        out = self._outputs(node, inferred, tensors, call)
        if inferred.written is None:
            return out
        k = inferred.same.index(inferred.written)
        new = self.handle(node, k, inferred.metas[k])
        rebind(tensors[inferred.written], new, node, k, self.record)
        return tensors[inferred.written] if isinstance(out, Later) else out

    def group_of(self, key: Any, telling: Any) -> Group | None:
        """The group of a call: a place in the code, but for calls that come there again in the same step.

        A step is told by the return of a call with parameters of its own.
        """
        if telling and key in self._seen:
            self._seen.clear()
        time = self._seen.get(key, 0)
        self._seen[key] = time + 1
        return self._groups.get((key, time))

    def add_group(self, key: Any, group: Group) -> None:
        """A new group, of the call that `group_of` was asked for last."""
        self._groups[key, self._seen[key] - 1] = group

    def _function_group(
        self, key: Any, function: Any, args: Any, kwargs: Any, tensors: list, context: Context, of_group: dict
    ) -> Group | None:
        """A new group; None where what the call gives can't be told before it runs."""
        module = of_group.get("module")
        whole = hollow((args, kwargs), [], lambda t: True)
        metas = [t.meta if type(t) is Later else meta_of(t) for t in tensors]
        inferred = infer(function, whole[0], whole[1], metas, context, key[:2] if module is None else None)
        if inferred is None:
            return None
        name = getattr(function, "__name__", "").strip("_")
        statistics = known.statistics(name, args, kwargs)
        if inferred.written is not None and inferred.written not in inferred.same:
            if type(tensors[inferred.written]) is not Later:  # it writes beside what it gives
                statistics, inferred = tensors[inferred.written], inferred._replace(written=None)
        slots: list[Tensor] = []
        template = hollow((args, kwargs), slots, lambda t: type(t) is Later)
        stacks = function is torch.stack and len(slots) == len(tensors)
        make = ModuleGroup if module is not None else StackGroup if stacks else FunctionGroup
        group = make(function, template, inferred, context, self.owner(), line(), **of_group)
        if statistics is not None:
            group.ordered, group.changes = True, id(statistics)
        elif module is not None:
            group.changes = id(module)
        random = name in known.RANDOM or group.draws or (module is not None and module.training)
        group.repeats = not (random or group.ordered or group.opaque) and inferred.written is None
        return group

    def owner(self) -> nn.Module | None:
        """The module whose forward is being recorded."""
        return self.path[-1] if self.path else None

    def node(self, group: Group, inputs: Sequence[Any], outputs: int, grad: bool, more: Any = False) -> Node:
        """A new call of a group; `more` tells of tensors beside its inputs that ask for a gradient."""
        self.number += 1
        node = Node(group, inputs, self.number, outputs)
        sources = [i[0] for i in inputs if type(i) is tuple]
        node.static = group.can_be_alone and all([n.static for n in sources])
        node.requires_grad = bool(grad and (more or any([n.requires_grad for n in sources])))
        group.nodes.append(node)
        self.pending[group] = None
        return node

    def handle(self, node: Node, out: int, meta: Meta) -> Later:
        """What stands for an output of a node."""
        reference = node.handles[out]
        later = reference() if reference is not None else None
        if later is None:
            later = Later(self, node, out, meta)
            self.handles.append(node.handles[out])  # type: ignore[arg-type]
        return later

    def _outputs(self, node: Node, inferred: Inferred, tensors: list, call: tuple | None) -> Any:
        """What stands for a node's outputs."""
        outs = []
        for k, meta in enumerate(inferred.metas):
            same, alias = inferred.same[k], inferred.aliases[k]
            if same is not None and same != inferred.written:
                outs.append(tensors[same])
                continue
            later = self.handle(node, k, meta)
            if alias is not None and later.base is None and inferred.written is None:
                note_view(later, tensors[alias], call, k)
            outs.append(later)
        return fill(inferred.outputs, outs)

    def _write(self, group: Any, target: Tensor, laters: list[Later]) -> Tensor:
        """A call that writes into a tensor that is there: later, in the order of such calls."""
        writer = WriteGroup(group.function, group.template, group.inferred, group.context, group.owner, group.line)
        self.node(writer, tuple([(t.node, t.out) for t in laters]), 1, False)
        self._writes.add(id(target))
        self.reads.add(id(target))
        return target

    # -- one step out of many

    def _select(self, source: Later, dim: int, index: int) -> Later:
        """`source.select(dim, index)`: the steps of a sequence are one group, whichever they are."""
        size = source.meta.shape[dim]
        if not -size <= index < size:
            raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")
        context = context_now()
        key = ("select", dim, source.meta, context, site(3))
        group: Any = self.group_of(key, source.node.static)
        if group is None:
            shape, stride = list(source.meta.shape), list(source.meta.stride)
            del shape[dim], stride[dim]
            meta = Meta(torch.Size(shape), tuple(stride), source.meta.dtype, source.meta.device)
            group = SelectGroup(dim, meta, context, self.owner(), line())
            self.add_group(key, group)
        index %= size
        same_again = (group, (id(source.node), source.out, index))
        node = self._results.get(same_again)
        if node is None:
            node = self._results[same_again] = self.node(group, ((source.node, source.out),), 1, context[0])
            node.extra = index
        later = self.handle(node, 0, group.meta)
        if later.base is None:
            note_view(later, source, (Tensor.select, (source, dim, index), {}), 0)
        return later

    def _unbind(self, source: Later, dim: int) -> tuple[Later, ...]:
        dim %= len(source.meta.shape)
        return tuple([self._select(source, dim, index) for index in range(source.meta.shape[dim])])

    # -- reading values

    def _look(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A call that needs values: they are computed, and from now on all is, but where these depend on no layer."""
        tensors = leaves((args, kwargs))
        if all([type(t) is not Later or t.node.static for t in tensors]):
            with recording(None):
                args, kwargs = refilled((args, kwargs), [_alone(t) if type(t) is Later else t for t in tensors])
                result = function(*args, **kwargs)
            return self.given(result) if type(result) is Tensor else result
        name = getattr(function, "__name__", type(function).__name__)
        self.stop(f"{line()}: {name} needs a value")
        with recording(None):
            return function(*resolved(args), **resolved(kwargs))


def learns(tensors: Sequence[Any]) -> bool:
    """Whether one of the tensors that are there asks for a gradient."""
    return any([type(t) is not Later and t.requires_grad for t in tensors])


def _stand_in(tensor: Any) -> Tensor:
    """A tensor of the same kind, for functions that read no values."""
    if type(tensor) is not Later:
        return tensor
    return torch.empty((), dtype=tensor.meta.dtype, device=tensor.meta.device).expand(tensor.meta.shape)


def _alone(later: Later) -> Tensor:
    """The value, for which nothing runs but what it needs."""
    todo = [later.node]
    while todo:
        node = todo[-1]
        if waiting := [n for n, _ in node.inputs if n.batch is None]:
            todo += waiting
            continue
        todo.pop()
        if node.batch is None:
            node.group.run([node])
            node.group.nodes.remove(node)
    return later.node.value(later.out)
