"""Records the functions that a forward calls, to run them over time instead of step by step.

While a `FunctionRecorder` is entered, every PyTorch function whose arguments are not there yet becomes a `Node` of a
`Group`: the calls from one place in the code, with the same parameters. Where a value is read, what is recorded runs,
and the rest of the forward runs as it is called.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._engine import note
from .._engine.private import past_torch_function
from . import known
from .alike import fits, sign
from .arguments import Slot, fill, hollow, leaves, mapped
from .groups import FunctionGroup, Group, ModuleGroup, SelectGroup, StackGroup, WriteGroup
from .infer import Context, Inferred, context_now, infer, learns, meta_of
from .later import Later, Meta, Node, resolved
from .look import alone, stand_in
from .recording import Recording
from .sites import line, site
from .writes import UNKNOWN, memory_of, note_view, rebind


class FunctionRecorder(Recording, TorchFunctionMode):
    """Records calls of functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = ""  # why calls run at once
        self.looks = 0  # how often a value was read
        self.ran = False  # whether a function of values that are there ran at once

    def stop(self, reason: str, by: Any = None) -> None:
        """Run what is recorded, and from now on what is called; `by` is the module that is the reason."""
        if not self.stopped:
            self.stopped = reason
            note(by if by is not None else self.path[0] if self.path else self, "stepped", reason)
        self.flush()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.runs:
            return func(*args, **kwargs)
        if Later not in types:
            at_once = self.stopped or func in known.AT_ONCE
            return func(*args, **kwargs) if at_once else self._of_values(func, args, kwargs)
        if func in known.KNOWN:
            with past_torch_function():
                return func(*args, **kwargs)
        if self.stopped:
            return func(*resolved(args), **resolved(kwargs))
        if self.writes:  # by pending calls, of these tensors or what they are views of
            written = [t for t in leaves((args, kwargs)) if type(t) is not Later and memory_of(t) in self.writes]
            if written and (len(written) > 1 or written[0] is not args[0] or func not in known.ACCUMULATES):
                self.flush()
        if func in known.SELECT and (selected := known.selected(func, args, kwargs)) is not None:
            return self._select(args[0], *selected)
        if func in known.SPECIAL:
            return self._special(func, args, kwargs)
        return self.record(func, func, args, kwargs)

    def _special(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A function that is not one call of a group."""
        if func == known.REQUIRES_GRAD:  # a method, made anew whenever it is asked for
            return args[0].node.requires_grad()
        if func in known.CONSTANT or func in known.DRAWN:
            self.ran |= func in known.DRAWN
            args, kwargs = mapped(stand_in, (args, kwargs))
            return func(*args, **kwargs) if func in known.CONSTANT else self.given(func(*args, **kwargs))
        if func is Tensor.__setitem__:
            return self.record(known.setitem, known.setitem, args, kwargs)
        if func is known.ASKS or func in known.LEAVES:
            asks = func is known.ASKS and (args[1] if len(args) > 1 else kwargs.get("requires_grad", True))
            if args[0].node.requires_grad() is not asks:
                self.stop(f"{line()}: {func.__name__} changes what asks for a gradient")
            return func(*resolved(args), **kwargs) if self.stopped else args[0]
        source, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
        dim %= len(source.meta.shape)
        rows = tuple([self._select(source, dim, index) for index in range(source.meta.shape[dim])])
        return iter(rows) if func is Tensor.__iter__ else rows

    def _of_values(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A function of tensors that are all there, as far as PyTorch has looked."""
        tensors = leaves((args, kwargs))
        if Later in map(type, tensors):
            return self.record(func, func, args, kwargs)
        name = getattr(func, "__name__", "")
        writes = known.writes_in_place(name, kwargs)
        changing = self.writes | self.updated | (self.reads if writes else set())
        if changing and not changing.isdisjoint(map(memory_of, tensors)):
            self.flush()
        computes = not writes and func not in known.CONSTANT and (name != "__get__" or func in known.TRANSPOSED)
        if computes and torch.is_grad_enabled() and learns(tensors):
            return self.record(func, func, args, kwargs)  # what a weight is made of at every step is made once
        self.ran = True
        result = func(*args, **kwargs)
        if not writes and type(result) is Tensor and name in known.RANDOM:
            return self.given(result)  # so that each step may have its own, and all steps take part in one call
        return result

    # -- a call as a node

    def record(self, function: Any, known_as: Any, args: Any, kwargs: Any, **of_group: Any) -> Any:
        """Make a call a node, and return what stands for its outputs.

        Args:
            function: what is called.
            known_as: what tells it from other functions.
            args: its arguments.
            kwargs: its arguments by keyword.
            **of_group: settings of its group.
        """
        group: Any = self.last.then
        if group is not None and group.known_as == known_as:
            again = self._again(group, function, args, kwargs)
            if again is not None:
                return again
        context = context_now()
        tensors: list[Any] = []
        signature = [known_as, context]
        sign(args, signature, tensors)
        if kwargs:
            signature += kwargs
            sign(kwargs.values(), signature, tensors)
        inputs = tuple([(t.node, t.out) for t in tensors if type(t) is Later])
        there = [t for t in tensors if type(t) is not Later]
        try:
            key = (self.here, *site(), *map(id, there), *signature)
            place = self.place_of(key, bool(there) or "module" in of_group)
        except TypeError:  # an argument without a hash
            return self._look(function, args, kwargs)
        group = self.group_of(place, inputs)
        if group is None:
            group = self._function_group(tuple(signature), function, args, kwargs, tensors, context, of_group)
            if group is None:
                return self._look(function, args, kwargs)
            group.known_as, group.here = known_as, self.here
            self.add_group(place, group, there)
        if group.plain:
            return self._plain(group, inputs)
        return self._record(group, inputs, tensors, (function, args, kwargs))

    def _again(self, group: Any, function: Any, args: Any, kwargs: Any) -> Any:
        """As `record`, where the call is like one of the group but for values that are not there yet; else None."""
        if group.here != self.here or group.context != context_now():
            return None
        tensors: list[Any] = []
        of_args, of_kwargs = group.template
        if not fits(args, of_args, group.taken, tensors):
            return None
        if kwargs or of_kwargs:
            if list(kwargs) != list(of_kwargs) or not fits(kwargs.values(), of_kwargs.values(), group.taken, tensors):
                return None
        inputs = tuple([(t.node, t.out) for t in tensors if type(t) is Later])
        self.come_again(group, inputs)
        if group.plain:
            return self._plain(group, inputs)
        return self._record(group, inputs, tensors, (function, args, kwargs))

    def _record(self, group: Any, inputs: Sequence[Any], tensors: list, call: tuple) -> Any:
        """As `record`, a call that may write in place, give what it got, several tensors or views."""
        inferred: Inferred = group.inferred
        if inferred.written is not None:
            target = tensors[inferred.written]
            if type(target) is not Later:
                return self._write(group, target, inputs)
            if target.path == UNKNOWN or inferred.written not in inferred.same:
                return self._look(*call)
        elif None not in inferred.same and not group.ordered:  # nothing was done
            return fill(inferred.outputs, [tensors[k] for k in inferred.same])  # type: ignore[index]
        node = self._same_again(group, inputs)
        fresh = node is None
        if node is None:
            node = self.node(group, inputs, len(inferred.metas))
            self.keep_order(node)
        out = self._outputs(node, inferred, tensors, call if fresh and len(inputs) == 1 else None)
        if inferred.written is None:
            return out
        k = inferred.same.index(inferred.written)
        new = self.handle(node, k, inferred.metas[k])
        rebind(tensors[inferred.written], new, node, k, self.record)
        return tensors[inferred.written] if isinstance(out, Later) else out

    def _function_group(
        self, signature: tuple, function: Any, args: Any, kwargs: Any, tensors: list, context: Context, of_group: dict
    ) -> Group | None:
        """A new group; None where what the call gives can't be told before it runs."""
        module = of_group.get("module")
        metas = [t.meta if type(t) is Later else meta_of(t) for t in tensors]
        inferred = infer(function, args, kwargs, metas, context, signature if module is None else None)
        if inferred is None:
            return None
        name = getattr(function, "__name__", "").strip("_")
        statistics = known.statistics(name, args, kwargs)
        if inferred.written is not None and inferred.written not in inferred.same:
            if type(tensors[inferred.written]) is not Later:  # it writes beside what it gives
                statistics, inferred = statistics or [tensors[inferred.written]], inferred._replace(written=None)
        slots: list[Tensor] = []
        template = hollow((args, kwargs), slots, Later)
        stacks = function is torch.stack and len(slots) == len(tensors)
        make = ModuleGroup if module is not None else StackGroup if stacks else FunctionGroup
        group = make(function, template, inferred, context, self.owner(), line(), **of_group)
        group.taken = [t.meta for t in slots]  # type: ignore[attr-defined]
        group.changes = id(statistics[0]) if statistics else 0 if module is None else id(module)
        group.ordered = group.ordered or bool(statistics)
        changed = statistics or (module.buffers() if module is not None and group.ordered else ())
        group.updates = set(map(memory_of, changed))
        random = name in known.RANDOM or group.draws or (module is not None and module.training)
        group.repeats = not (random or group.ordered or group.opaque) and inferred.written is None
        group.learns = learns(tensors if module is None else [*tensors, *module.parameters()])
        alone = inferred.outputs == Slot(0) and inferred.aliases == inferred.same == (None,)
        group.plain = alone and inferred.written is None and not group.ordered
        return group

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

    def _write(self, group: Any, target: Tensor, inputs: Sequence[Any]) -> Tensor:
        """A call that writes into a tensor that is there: later, in the order of such calls."""
        writer = WriteGroup(group.function, group.template, group.inferred, group.context, group.owner, group.line)
        self.node(writer, inputs, 1)
        self.writes.add(memory_of(target))
        self.reads.add(memory_of(target))
        return target

    # -- one step out of many

    def _select(self, source: Later, dim: int, index: int) -> Later:
        """`source.select(dim, index)`: the steps of a sequence are one group, whichever they are."""
        size = source.meta.shape[dim]
        if not -size <= index < size:
            raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")
        key = ("select", dim, source.meta, context := context_now(), self.here)
        group: Any = self.last.then
        if group is not None and group.known_as == key:
            self.come_again(group)
            place = group.place
        else:
            is_course = source.node.static or type(source.node.group) is StackGroup
            place = self.place_of((*key, *site()), is_course)
            group = self.group_of(place)
        if group is None:
            shape, stride = list(source.meta.shape), list(source.meta.stride)
            del shape[dim], stride[dim]
            meta = Meta(torch.Size(shape), tuple(stride), source.meta.dtype, source.meta.device)
            group = SelectGroup(dim, meta, context, self.owner(), line())
            group.known_as = key
            self.add_group(place, group)
        index %= size
        same_again = (group, source.node, source.out, index)
        node = self._results.get(same_again)
        if node is None:
            node = self._results[same_again] = self.node(group, ((source.node, source.out),), 1)
            node.extra = index
        later = self.handle(node, 0, group.meta)
        if later.base is None:
            note_view(later, source, (Tensor.select, (source, dim, index), {}), 0)
        return later

    # -- reading values

    def _look(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A call that needs values: they are computed, and from now on all is, but where these depend on no layer."""
        self.looks += 1
        tensors = leaves((args, kwargs))
        name = getattr(function, "__name__", type(function).__name__)
        if known.writes_in_place(name, kwargs):
            self.flush()  # what was called before reads what is written now
        if all([type(t) is not Later or t.node.static for t in tensors]):
            if isinstance(function, nn.Module):
                note(function, "stepped", "what it gives can't be told before it runs")
            with self.at_once():
                args, kwargs = mapped(alone, (args, kwargs), Later)
                result = function(*args, **kwargs)
            return self.given(result) if type(result) is Tensor else result
        self.stop(f"{line()}: {name} needs a value")
        with self.at_once():
            return function(*resolved(args), **resolved(kwargs))
