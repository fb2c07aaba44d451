"""Records what a forward calls, function by function and neuron by neuron, to run it over time instead of step by step.

While a `Recorder` is entered, every PyTorch function whose arguments are not there yet becomes a `Node` of a `Group`:
the calls from one place in the code, with the same parameters. Modules are looked through, but for those that are to be
called as a whole. Where a value is read, what is recorded runs, and the rest of the forward runs as it is called.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._engine import note
from .._neurons.neurons import SpikingNeuron
from . import layers
from .groups import (
    FunctionGroup,
    Group,
    ModuleGroup,
    NeuronGroup,
    SelectGroup,
    SequenceGroup,
    StackGroup,
    WriteGroup,
)  # fmt: skip
from .infer import context_now, infer, meta_of
from .later import Batch, Later, Meta, Node, Slot, fill, hollow, resolved
from .schedule import run_pending

# Answered by what stands for the value.
_KNOWN = {
    getattr(Tensor, name).__get__
    for name in ("_version", "shape", "dtype", "device", "ndim", "layout", "is_cuda", "is_cpu", "is_meta", "is_sparse",
                 "is_quantized", "is_nested", "is_mkldnn", "is_mps", "itemsize", "nbytes", "names")
    if hasattr(Tensor, name)
} | {
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride, Tensor.element_size,
    Tensor.is_floating_point, Tensor.is_complex, Tensor.is_contiguous, Tensor.is_signed, Tensor.__len__,
    Tensor.get_device, Tensor.is_inference, torch.is_floating_point, torch.is_complex, torch.numel,
    Tensor.storage_offset, torch.is_conj, Tensor.is_conj, Tensor.is_neg,
}  # fmt: skip
_REQUIRES_GRAD = Tensor.requires_grad.__get__  # type: ignore[attr-defined]
_TRANSPOSED = {getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH")}  # properties that compute
# New tensors whose values are known at once.
_CONSTANT = {
    torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, Tensor.new_zeros, Tensor.new_ones,
    Tensor.new_empty, Tensor.new_full, Tensor.new_tensor,
}  # fmt: skip
_RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "normal",
           "poisson", "multinomial", "binomial", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
           "feature_dropout", "feature_alpha_dropout", "rrelu", "gumbel_softmax", "uniform", "exponential",
           "geometric", "cauchy", "log_normal", "random"}  # fmt: skip

_active = threading.local()


def recorder_now() -> Recorder | None:
    """Who records in this thread."""
    return getattr(_active, "recorder", None)


@contextmanager
def _recording(recorder: Recorder | None) -> Iterator[None]:
    before, _active.recorder = recorder_now(), recorder
    try:
        yield
    finally:
        _active.recorder = before


class Recorder(TorchFunctionMode):
    """Records the calls of one forward.

    Args:
        sequences: whether the forward is one step in a loop of ours, so that a layer that takes whole sequences is to
            be given the steps together.
    """

    def __init__(self, sequences: bool = False) -> None:
        super().__init__()
        self.sequences = sequences
        self.stopped = ""  # why calls run at once
        self.pending: dict[Group, None] = {}
        self._groups: dict[Any, Group] = {}
        self._seen: dict[Any, int] = {}
        self._results: dict[Any, Node] = {}  # of calls that give the same again
        self._changed: dict[int, Node] = {}  # the last call that changes something, by the identity of that
        self._reads: set[int] = set()  # tensors that pending calls read, by identity; their groups keep them alive
        self._writes: set[int] = set()  # and that they write
        self._handles: list[weakref.ref] = []
        self._number = 0
        self._path: list[nn.Module] = []
        self._neurons: dict[SpikingNeuron, list[Any]] = {}  # with their states before
        self._modules: set[nn.Module] = set()
        self._passed: tuple | None = None  # the arguments of a neuron's call, for its hooks

    # -- from outside

    def run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """`function(*args, **kwargs)`, recorded and run."""
        with _patched(), _recording(self):
            try:
                given: list[Tensor] = []
                args, kwargs = (hollow(a, given, lambda t: type(t) in _PLAIN) for a in (args, kwargs))
                values = [self.given(t) for t in given]
                with self:
                    out = function(*fill(args, values), **fill(kwargs, values))
                self.flush()
                out = resolved(out)
            except BaseException:
                self._leave(failed=True)
                raise
            self._leave()
            return out

    def given(self, value: Tensor) -> Later:
        """What stands for a tensor that is there."""
        node = Node(None, (), 0, 1)
        node.batch, node.static, node.requires_grad = Batch([value]), True, value.requires_grad
        return self._handle(node, 0, meta_of(value))

    def flush(self) -> None:
        """Run what is recorded."""
        if not self.pending:
            return
        groups = list(self.pending)
        self.pending, self._groups, self._results, self._changed = {}, {}, {}, {}
        self._reads, self._writes = set(), set()
        with _recording(None):
            run_pending(groups)

    def stop(self, reason: str) -> None:
        """Run what is recorded, and from now on what is called."""
        if not self.stopped:
            self.stopped = reason
            note(self._path[0] if self._path else self, "stepped", reason)
        self.flush()
        for neuron in self._neurons:
            neuron._store([resolved(getattr(neuron, name)) for name in neuron.states])

    def _leave(self, failed: bool = False) -> None:
        """Leave nothing of what was recorded behind."""
        for neuron, before in self._neurons.items():
            neuron._store(before if failed else [resolved(getattr(neuron, name)) for name in neuron.states])
        if failed:
            return
        for module in self._modules:
            for name, value in vars(module).items():
                if isinstance(value, Later | list | tuple | dict):
                    _settle(vars(module), name)
        for handle in self._handles:
            later = handle()
            if later is not None and later.node.batch is not None:  # somebody keeps it: it stands for its value
                value = later.resolve()
                later.bind(Node(None, (), 0, 1), 0)
                later.node.batch = Batch([value])
                later.base, later.path, later.views = None, (), []

    # -- calls of functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _KNOWN:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        tensors: list[Any] = []
        structure: list[Any] = []
        _flatten(args, structure, tensors)
        if kwargs:
            _flatten(kwargs, structure, tensors)
        if Later not in map(type, tensors):
            return self._of_values(func, args, kwargs, structure, tensors)
        if self.stopped:
            return func(*resolved(args), **resolved(kwargs))
        if self._writes and any(id(t) in self._writes for t in tensors):
            self.flush()
        if func is _REQUIRES_GRAD:
            return args[0].node.requires_grad
        if func in _CONSTANT:
            stand_in = [t if type(t) is not Later else _empty(t.meta) for t in tensors]
            return func(*_refilled(args, stand_in), **kwargs)
        if func is Tensor.__iter__:
            return iter(self._unbind(args[0], 0))
        if func is Tensor.__setitem__:
            func = _setitem
        if func is Tensor.__getitem__ or func is Tensor.select or func is torch.select:
            found = _selected(func, args, kwargs)
            if found is not None:
                return self._select(args[0], *found)
        if func is Tensor.unbind or func is torch.unbind:
            return self._unbind(args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0))
        return self._record(func, func, args, kwargs, structure, tensors)

    def _of_values(self, func: Any, args: Any, kwargs: Any, structure: list, tensors: list) -> Any:
        """A function of tensors that are all there."""
        name = getattr(func, "__name__", "")
        if tensors and self.pending:
            writes = _writes_in_place(name, kwargs)
            if any(id(t) in self._writes or (writes and id(t) in self._reads) for t in tensors):
                self.flush()
        if self.stopped:
            return func(*args, **kwargs)
        parameters = torch.is_grad_enabled() and _learns(tensors)
        if parameters and not _writes_in_place(name, kwargs) and (name != "__get__" or func in _TRANSPOSED):
            # What a weight is made of at every step is made once.
            return self._record(func, func, args, kwargs, structure, tensors)
        result = func(*args, **kwargs)
        if name.strip("_") in _RANDOM and type(result) is Tensor and not _writes_in_place(name, kwargs):
            return self.given(result)  # so that each step may have its own, and all steps take part in one call
        return result

    def _record(
        self, function: Any, known_as: Any, args: Any, kwargs: Any, structure: list, tensors: list, **of_group: Any
    ) -> Any:
        """Make a call a node, and return what stands for its outputs."""
        laters = [t for t in tensors if type(t) is Later]
        context = context_now()
        reals = tuple([id(t) for t in tensors if type(t) is not Later])
        metas = tuple([t.meta for t in laters])
        key = (known_as, tuple(structure), reals, metas, context, _site())
        try:
            group = self._group_of(key, reals or "module" in of_group)
        except TypeError:  # an argument without a hash
            return self._look(function, args, kwargs)
        if group is None:
            group = self._function_group(key, function, args, kwargs, structure, tensors, context, of_group)
            if group is None:
                return self._look(function, args, kwargs)
            self._add_group(key, group)
        inferred = group.inferred
        if inferred.written is not None:
            target = tensors[inferred.written]
            if type(target) is not Later:
                return self._write(group, target, laters)
            if target.path == ("unknown",) or inferred.written not in inferred.same:
                return self._look(function, args, kwargs)
        elif None not in inferred.same and not group.ordered:  # nothing was done
            return fill(inferred.outputs, [tensors[k] for k in inferred.same])
        inputs = tuple([(t.node, t.out) for t in laters])
        sources = None
        if group.repeats:
            sources = (group, tuple([(id(n), k) for n, k in inputs]))
            known = self._results.get(sources)
            if known is not None:
                return self._outputs(known, inferred, tensors, None)
        node = self._node(group, inputs, len(inferred.metas), context[0], _learns(tensors))
        if sources is not None:
            self._results[sources] = node
        if group.ordered:
            before = self._changed.get(group.changes)
            node.after = before if before is not None and before.group is not group else None
            self._changed[group.changes] = node
        self._reads.update(reals)
        view = (function, args, kwargs, tensors) if len(laters) == 1 else None
        out = self._outputs(node, inferred, tensors, view)
        if inferred.written is None:
            return out
        return self._written(tensors[inferred.written], node, out, inferred)

    def _group_of(self, key: Any, telling: Any) -> Group | None:
        """The group of a call: a place in the code, but for calls that come there again in the same step.

        A step is told by the return of a call with parameters of its own.
        """
        if telling and key in self._seen:
            self._seen.clear()
        time = self._seen.get(key, 0)
        self._seen[key] = time + 1
        return self._groups.get((key, time))

    def _add_group(self, key: Any, group: Group) -> None:
        self._groups[key, self._seen[key] - 1] = group

    def _function_group(
        self, key: Any, function: Any, args: Any, kwargs: Any, structure: list, tensors: list, context: Any,
        of_group: dict,
    ) -> Group | None:  # fmt: skip
        """A new group; None where what the call gives can't be told before it runs."""
        all_slots: list[Tensor] = []
        whole = tuple(hollow(v, all_slots, lambda t: True) for v in (args, kwargs))
        remembered = (key[0], tuple(structure)) if "module" not in of_group else None
        metas = [t.meta if type(t) is Later else meta_of(t) for t in all_slots]
        inferred = infer(function, whole[0], whole[1], metas, context, remembered)
        if inferred is None:
            return None
        slots: list[Tensor] = []
        template = tuple(hollow(v, slots, lambda t: type(t) is Later) for v in (args, kwargs))
        name = getattr(function, "__name__", "").strip("_")
        statistics = _statistics(name, args, kwargs)
        if inferred.written is not None and inferred.written not in inferred.same:
            if type(tensors[inferred.written]) is not Later:  # it writes beside what it gives
                statistics, inferred = tensors[inferred.written], inferred._replace(written=None)
        make = ModuleGroup if "module" in of_group else FunctionGroup
        if function is torch.stack and len(slots) == len(tensors):
            make = StackGroup
        group = make(function, template, inferred, context, self._owner(), _line(), **of_group)
        group.random = name in _RANDOM
        if statistics is not None:
            group.ordered, group.changes = True, id(statistics)
        elif "module" in of_group:
            group.changes = id(of_group["module"])
        group.repeats = not (group.random or group.ordered) and inferred.written is None and not of_group.get("opaque")
        return group

    def _owner(self) -> nn.Module | None:
        return self._path[-1] if self._path else None

    def _node(self, group: Group, inputs: Sequence[Any], outputs: int, grad: bool, more: Any = False) -> Node:
        self._number += 1
        node = Node(group, inputs, self._number, outputs)
        sources = [i for i in inputs if type(i) is tuple]
        node.static = type(group) is not NeuronGroup and all([n.static for n, _ in sources])
        node.requires_grad = bool(grad and (more or any([n.requires_grad for n, _ in sources])))
        group.nodes.append(node)
        self.pending[group] = None
        return node

    def _handle(self, node: Node, out: int, meta: Meta) -> Later:
        handle = node.handles[out]
        later = handle() if handle is not None else None
        if later is None:
            later = Later(self, node, out, meta)
            self._handles.append(node.handles[out])  # type: ignore[arg-type]
        return later

    def _outputs(self, node: Node, inferred: Any, tensors: list, view: Any) -> Any:
        """What stands for a node's outputs."""
        outs = []
        for k, meta in enumerate(inferred.metas):
            same = inferred.same[k]
            if same is not None and same != inferred.written:
                outs.append(tensors[same])
                continue
            later = self._handle(node, k, meta)
            alias = inferred.aliases[k]
            if alias is not None and later.base is None and inferred.written is None:
                of = tensors[alias]
                if type(of) is Later and view is not None:
                    later.base = of.base if of.base is not None else of
                    later.path = (*of.path, (*view, k))
                    later.base.views.append(weakref.ref(later))
                else:
                    later.path = ("unknown",)
            outs.append(later)
        return fill(inferred.outputs, outs)

    # -- writes in place

    def _written(self, target: Later, node: Node, out: Any, inferred: Any) -> Any:
        """After a call that writes in place: who holds the tensor, or a view of it, holds what was written."""
        place = inferred.same.index(inferred.written)
        root = target.base if target.base is not None else target
        if root is target:
            target.bind(node, place)
        else:
            new = self._handle(node, place, inferred.metas[place])
            written = self._record_call(_write_through(target.path), (root, new))
            root.bind(written.node, written.out)
        views = [view for reference in root.views if (view := reference()) is not None]
        for view in views:
            now = root
            for function, args, kwargs, _, k in view.path:
                given = self._record_call(*_again(function, args, kwargs, now))
                now = given if isinstance(given, Later) else _leaves(given)[k]
            view.bind(now.node, now.out)
        root.views = [weakref.ref(view) for view in views]  # without those that were made on the way
        return target if isinstance(out, Later) else out

    def _record_call(self, function: Any, args: tuple, kwargs: dict | None = None) -> Any:
        tensors: list[Any] = []
        structure: list[Any] = []
        _flatten(args, structure, tensors)
        _flatten(kwargs or {}, structure, tensors)
        return self._record(function, getattr(function, "known_as", function), args, kwargs or {}, structure, tensors)

    def _write(self, group: Group, target: Tensor, laters: list[Later]) -> Tensor:
        """A call that writes into a tensor that is there: later, in the order of such calls."""
        writer = WriteGroup(group.function, group.template, group.inferred, group.context, group.owner, group.line)
        self._node(writer, tuple((t.node, t.out) for t in laters), 1, False)
        self._writes.add(id(target))
        self._reads.add(id(target))
        return target

    # -- one step out of many

    def _select(self, source: Later, dim: int, index: int) -> Later:
        """`source.select(dim, index)`: the steps of a sequence are one group, whichever they are."""
        size = source.meta.shape[dim]
        if not -size <= index < size:
            raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")
        key = ("select", dim, source.meta, context_now(), _site())
        group: Any = self._group_of(key, source.node.static)
        if group is None:
            shape, stride = list(source.meta.shape), list(source.meta.stride)
            del shape[dim], stride[dim]
            meta = Meta(torch.Size(shape), tuple(stride), source.meta.dtype, source.meta.device)
            group = SelectGroup(dim, meta, key[3], self._owner(), _line())
            self._add_group(key, group)
        index %= size
        sources = (group, (id(source.node), source.out, index))
        node = self._results.get(sources)
        if node is None:
            node = self._node(group, ((source.node, source.out),), 1, key[3][0])
            node.extra = index
            self._results[sources] = node
        later = self._handle(node, 0, group.meta)
        if later.base is None:
            later.base = source.base if source.base is not None else source
            later.path = (*source.path, (Tensor.select, (source, dim, index), {}, None, 0))
            later.base.views.append(weakref.ref(later))
        return later

    def _unbind(self, source: Later, dim: int) -> tuple[Later, ...]:
        dim %= len(source.meta.shape)
        return tuple(self._select(source, dim, index) for index in range(source.meta.shape[dim]))

    # -- reading values

    def _look(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A call that needs values: they are computed, and from now on all is, but where these depend on no layer."""
        if type(function) is not type and _all_static(args) and _all_static(kwargs):
            with _recording(None):
                result = function(*_values(args), **_values(kwargs))
            if isinstance(result, Tensor) and type(result) is Tensor:
                return self.given(result)
            return result
        name = getattr(function, "__name__", type(function).__name__)
        self.stop(f"{_line()}: {name} needs a value")
        with _recording(None):
            return function(*resolved(args), **resolved(kwargs))

    # -- calls of modules

    def neuron(self, neuron: SpikingNeuron, input_: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One step of a neuron: what stands for its spikes and its new states."""
        if self.stopped:
            input_, *state = (resolved(t) for t in (input_, *state))
            courses, state = neuron.over_time(input_[None], state, 1, False, [True] * (1 + len(state)))
            return courses[0][0], state
        everything = [input_, *state]
        context = context_now()
        metas = tuple([t.meta if type(t) is Later else meta_of(t) for t in everything])
        key = ("neuron", id(neuron), metas, context, None if type(input_) is Later else id(input_))
        group: Any = self._group_of(key, True)
        if group is None:
            group = NeuronGroup(neuron, metas, context, self._owner(), _line())
            self._add_group(key, group)
        self._touch(neuron, state)
        inputs = tuple([(t.node, t.out) if type(t) is Later else t for t in everything])
        learns = _learns(everything) or any(p.requires_grad for p in neuron.parameters())
        node = self._node(group, inputs, 1 + len(state), context[0], learns)
        node.extra, self._passed = self._passed, None
        outs = [self._handle(node, k, meta) for k, meta in enumerate(group.out_metas)]
        return outs[0], outs[1:]  # type: ignore[return-value]

    def _touch(self, neuron: SpikingNeuron, state: Any = None) -> None:
        if neuron not in self._neurons:
            before = [getattr(neuron, name) for name in neuron.states]
            self._neurons[neuron] = [b for b in before]
        tensors = [*neuron._parameters.values(), *neuron._buffers.values()]
        self._reads.update(id(t) for t in tensors if t is not None)

    def module(self, call: Callable, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """A module that is called."""
        self._modules.add(module)
        way = layers.way(module, self.sequences)
        if way == "look through":
            return self._through(call, module, args, kwargs)
        if isinstance(module, SpikingNeuron) and not module.takes_sequence:
            if way == "watched" or module.overrides:
                sources: list[Any] = []
                template = hollow((args, kwargs), sources, lambda t: True)
                self._passed = template, [(t.node, t.out) if type(t) is Later else t for t in sources]
                return self._through(_forward, module, args, kwargs)
            return self._through(call, module, args, kwargs)
        if way == "whole sequence":
            return self._sequence(module, args, kwargs)
        if way == "stop":
            self.stop(f"{type(module).__name__} carries hooks")
            return call(module, *resolved(args), **resolved(kwargs))
        tensors: list[Any] = []
        structure: list[Any] = [id(module)]
        _flatten(args, structure, tensors)
        _flatten(kwargs, structure, tensors)
        if Later not in map(type, tensors):
            return call(module, *args, **kwargs)
        with self._inside(module):
            watched = way == "watched"
            function = module if not watched else _Forward(module)
            return self._record(
                function, ("module", id(module)), args, kwargs, structure, tensors,
                module=module, ordered=way in ("step", "watched"), opaque=way != "fold",
            )  # fmt: skip

    def autograd_function(self, cls: Any, apply: Callable, args: tuple, kwargs: dict) -> Any:
        """A call of an `autograd.Function`, whose backward counts, whatever its forward calls."""
        tensors: list[Any] = []
        structure: list[Any] = []
        _flatten(args, structure, tensors)
        _flatten(kwargs, structure, tensors)
        if Later not in map(type, tensors) and not _learns(tensors):
            return apply(*args, **kwargs)
        return self._record(apply, ("apply", cls), args, kwargs, structure, tensors, applied=cls)

    def _through(self, call: Callable, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        with self._inside(module):
            return call(module, *args, **kwargs)

    @contextmanager
    def _inside(self, module: nn.Module) -> Iterator[None]:
        self._path.append(module)
        try:
            yield
        finally:
            self._path.pop()

    def _sequence(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """A layer that takes whole sequences, called with one step of ours."""
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            raise TypeError(f"{type(module).__name__} takes a whole sequence and nothing else in unroll")
        x = args[0] if type(args[0]) is Later else self.given(args[0])
        context = context_now()
        key = ("sequence", id(module), x.meta, context)
        group = self._group_of(key, True)
        if group is None:
            whole = Meta(torch.Size((1, *x.meta.shape)), (x.meta.shape.numel(), *x.meta.stride), *x.meta[2:])
            inferred = infer(module.forward, (Slot(0),), {}, [whole], context)
            if inferred is None:
                self.stop(f"{type(module).__name__} needs values")
                raise TypeError(f"what {type(module).__name__} gives can't be told before it runs")
            group = SequenceGroup(module, inferred, context, module, _line())
            self._add_group(key, group)
        node = self._node(group, ((x.node, x.out),), len(group.inferred.metas), context[0], True)
        outs = [self._handle(node, k, _a_step(meta)) for k, meta in enumerate(group.inferred.metas)]
        return fill(group.inferred.outputs, outs)


def _refilled(args: Any, values: Sequence[Any]) -> Any:
    """Arguments with other tensors."""
    return fill(hollow(args, [], lambda t: True), values)


_PLAIN = (Tensor, nn.Parameter)


def _setitem(x: Tensor, index: Any, value: Any) -> Tensor:
    """`x[index] = value`, which gives x."""
    x[index] = value
    return x


class _Forward:
    """A module's forward without its hooks, for telling what it gives."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.forward(*args, **kwargs)


def _forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return module.forward(*args, **kwargs)


def _learns(tensors: Sequence[Any]) -> bool:
    """Whether one of the tensors that are there asks for a gradient."""
    return any([type(t) is not Later and t.requires_grad for t in tensors])


def _a_step(meta: Meta) -> Meta:
    return Meta(meta.shape[1:], meta.stride[1:], meta.dtype, meta.device)


def _empty(meta: Meta) -> Tensor:
    return torch.empty((), dtype=meta.dtype, device=meta.device).expand(meta.shape)


def _flatten(value: Any, structure: list, tensors: list) -> None:
    """The structure of nested arguments, as far as two calls must have it in common, and their tensors in order."""
    kind = type(value)
    if kind is Later or isinstance(value, Tensor):
        structure.append(Tensor)
        tensors.append(value)
    elif isinstance(value, tuple | list):
        structure.append((kind, len(value)))
        for item in value:
            _flatten(item, structure, tensors)
    elif kind is dict:
        structure.append((kind, tuple(value)))
        for item in value.values():
            _flatten(item, structure, tensors)
    elif kind is slice:
        structure.append(kind)
        for item in (value.start, value.stop, value.step):
            _flatten(item, structure, tensors)
    else:
        structure.append(kind)
        structure.append(value)


def _site() -> tuple[int, ...]:
    """Where the recorded code is: the lines that are being run, from the innermost call outwards."""
    frame = sys._getframe(3)
    site = []
    while frame is not None:
        code = frame.f_code
        if code is _RUN:
            break
        site.append(id(code))
        site.append(frame.f_lasti)
        frame = frame.f_back
    return tuple(site)


_RUN = Recorder.run.__code__
_SKIPPED = ("/torch/", "/snntorch/_time/", "/contextlib.py")


def _line() -> str:
    """File and line of the user's code."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code is not _RUN:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in name for part in _SKIPPED):
            return f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _selected(func: Any, args: tuple, kwargs: dict) -> tuple[int, int] | None:
    """Dimension and index, where a call takes one step out of a sequence."""
    if kwargs:
        return None
    if func is not Tensor.__getitem__:
        return (args[1] % len(args[0].meta.shape), args[2]) if type(args[0]) is Later and type(args[2]) is int else None
    source, index = args
    if type(source) is not Later:
        return None
    if type(index) is int:
        return 0, index
    if type(index) is tuple and index and type(index[-1]) is int and all(i == slice(None) for i in index[:-1]):
        return len(index) - 1, index[-1]
    if type(index) is tuple and len(index) > 1 and type(index[0]) is int and all(
        (type(i) is slice and i == slice(None)) or i is Ellipsis for i in index[1:]
    ):  # fmt: skip
        return 0, index[0]
    return None


_INPLACE = {f"__{name}__" for name in "iadd isub imul itruediv ifloordiv imod ipow iand ior ixor setitem".split()}


def _writes_in_place(name: str, kwargs: dict) -> bool:
    """Whether a function of that name writes into one of its arguments."""
    if name.startswith("__"):
        return name in _INPLACE
    return name.endswith("_") or kwargs.get("out") is not None or "foreach" in name or kwargs.get("inplace") is True


def _statistics(name: str, args: Any, kwargs: Any) -> Any:
    """The running mean that a functional normalisation in training writes, if it is one."""
    if name not in ("batch_norm", "instance_norm"):
        return None
    order = ("input", "running_mean", "running_var", "weight", "bias", "training")
    if len(args) > 6 and not isinstance(args[6], float):  # torch.batch_norm's own order has `training` there
        order = ("input", "weight", "bias", "running_mean", "running_var", "training")
    named = {**dict(zip(order, args, strict=False)), **kwargs}
    training = named.get("training", named.get("use_input_stats", name == "instance_norm"))
    return named.get("running_mean") if training else None


def _write_through(path: tuple) -> Callable:
    """`(x, new)` -> x with `new` written where the views of the path lead."""

    def write(x: Tensor, new: Tensor) -> Tensor:
        x = whole = x.clone()
        for function, args, kwargs, _, k in path:
            function, args, kwargs = _again(function, args, kwargs, x)
            x = function(*args, **kwargs)
            x = x if isinstance(x, Tensor) else _leaves(x)[k]
        x.copy_(new)
        return whole

    write.known_as = ("write through", _frozen(path))  # type: ignore[attr-defined]
    return write


def _frozen(path: tuple) -> Any:
    structure: list[Any] = []
    for function, args, kwargs, _, k in path:
        structure.append((function, k))
        _flatten((args, kwargs), structure, [])
    return tuple(structure)


def _again(function: Any, args: Any, kwargs: Any, x: Any) -> tuple[Any, Any, Any]:
    """The same call of another tensor."""
    slots: list[Tensor] = []
    template = hollow((args, kwargs), slots, lambda t: type(t) is Later)
    args, kwargs = fill(template, [x] * len(slots))
    return function, args, kwargs


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    hollow(value, found, lambda t: True)
    return found


def _all_static(value: Any) -> bool:
    return all(type(t) is not Later or t.node.static for t in _leaves(value))


def _values(value: Any) -> Any:
    """Nested arguments with values for what stands for them, run alone."""
    slots: list[Any] = []
    template = hollow(value, slots, lambda t: True)
    return fill(template, [_alone(t.node).value(t.out) if type(t) is Later else t for t in slots])


def _alone(node: Node) -> Node:
    todo = [node]
    while todo:
        now = todo[-1]
        waiting = [n for n, _ in now.inputs if n.batch is None]
        if now.batch is None and waiting:
            todo += waiting
            continue
        todo.pop()
        if now.batch is None:
            now.group.run_alone(now)
            now.group.nodes.remove(now)
    return node


def _settle(where: Any, name: Any) -> None:
    """Put values for what stands for them, in an attribute and in the lists and dicts that it holds."""
    value = where[name]
    if isinstance(value, Later):
        where[name] = value.resolve()
    elif isinstance(value, list):
        for k in range(len(value)):
            _settle(value, k)
    elif type(value) is dict:
        for key in list(value):
            _settle(value, key)
    elif isinstance(value, tuple) and any(isinstance(v, Later) for v in value):
        where[name] = resolved(value)


# -- calls that PyTorch does not tell its function modes

_lock = threading.Lock()
_patches = 0


@contextmanager
def _patched() -> Iterator[None]:
    """Calls of modules and of `autograd.Function`s go through the recorder of their thread, where there is one."""
    global _patches
    with _lock:
        _patches += 1
        if _patches == 1:
            nn.Module.__call__, torch.autograd.Function.apply = _call, _apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        with _lock:
            _patches -= 1
            if _patches == 0:
                nn.Module.__call__, torch.autograd.Function.apply = _MODULE_CALL, _FUNCTION_APPLY  # type: ignore[method-assign]


_MODULE_CALL = nn.Module.__call__
_FUNCTION_APPLY = torch.autograd.Function.__dict__["apply"]


def _call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    if recorder is None:
        return _MODULE_CALL(module, *args, **kwargs)
    if recorder.stopped:
        return _MODULE_CALL(module, *resolved(args), **resolved(kwargs))
    return recorder.module(_MODULE_CALL, module, args, kwargs)


@classmethod
def _apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = recorder_now()
    apply = _FUNCTION_APPLY.__get__(None, cls)
    if recorder is None:
        return apply(*args, **kwargs)
    if recorder.stopped:
        return apply(*resolved(args), **resolved(kwargs))
    return recorder.autograd_function(cls, apply, args, kwargs)
