"""Records what a network's forward calls: functions, neurons, and modules that are to be called as a whole."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine.private import function_mode
from .._neurons.neurons import SpikingNeuron
from .._neurons.recorder import recording
from ..surrogate import SurrogateFunction
from . import layers, neuron_group, norm, settings
from .arguments import Slot, fill, hollow, leaves, mapped
from .courses import apart
from .groups import SequenceGroup, StackGroup
from .infer import context_now, infer, learns, tried
from .later import Batch, Later, Meta, Node, resolved, settle
from .patches import patched
from .record import FunctionRecorder
from .recording import Entry
from .sites import ends, line, site
from .writes import memory_of

_PLAIN = (Tensor, nn.Parameter)
_HOLD = (Later, list, tuple)  # what may be or hold a value that is not there yet, as a dict may
_APART = ("_buffers", "_modules")  # dicts that are settled by themselves


class Recorder(FunctionRecorder):
    """Records the calls of one forward.

    Args:
        sequences: number of steps where the forward is one of them in a loop of ours, so that a layer that takes whole
            sequences is to be given the steps together.
        ends: where samples end, if some end before the last step.
    """

    def __init__(self, sequences: int = 0, ends: Any = None) -> None:
        super().__init__()
        self.sequences, self.ends = sequences, ends
        self._entered = False  # whether PyTorch shows this its functions
        self._entries: dict[Any, Entry] = {}  # by their places and those around them
        self.neurons: dict[SpikingNeuron, list[Any]] = {}  # with their states before
        self.ways: dict[nn.Module, str | None] = {}  # of the modules that were called
        self.sets = 0  # how often what was recorded ran as a neuron's attribute was about to change
        self.passed: tuple | None = None  # the arguments of a neuron's call that is to be called as a whole

    about_to_set = settings.about_to_set  # an attribute of a neuron

    @ends
    def run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """`function(*args, **kwargs)`, recorded and run."""
        with patched(), recording(self):
            try:
                taken = {memory_of(t) for t in leaves((args, kwargs)) if type(t) in _PLAIN}
                args, kwargs = mapped(lambda t: self.given(t) if type(t) in _PLAIN else t, (args, kwargs))
                self.__enter__()
                self._entered = True
                try:
                    out = function(*args, **kwargs)
                finally:
                    if self._entered:
                        self.__exit__(None, None, None)
                self.flush()
                out = _results(out, taken)
                del args, kwargs
            except BaseException:
                for neuron, before in self.neurons.items():
                    neuron._store(before)
                raise
            self._leave()
            return out

    def stop(self, reason: str, by: Any = None) -> None:
        """Run what is recorded, and from now on what is called; `by` is the module that is the reason."""
        super().stop(reason, by)
        self._settle_neurons()

    def leave(self) -> None:
        """Where nothing is recorded any more, let PyTorch's functions pass by, unless somebody else watches too."""
        if self._entered and function_mode() is self:
            self._entered = False
            self.__exit__(None, None, None)

    def _settle_neurons(self) -> None:
        for neuron in self.neurons:
            neuron._store([self._own_value(getattr(neuron, name)) for name in neuron.states])

    def _own_value(self, value: Any) -> Any:
        """The value of what this recorded; another thread may run the same modules, and settles what it left itself."""
        return value.resolve() if type(value) is Later and value.recorder is self else value

    def _leave(self) -> None:
        """Leave nothing of what was recorded behind."""
        self._forget()
        self._settle_neurons()
        kept = [later for reference in self.handles if (later := reference()) is not None]
        if not kept:
            return
        for module in self.ways:
            for held in (vars(module), module._buffers):
                for name, value in held.items():
                    if (type(value) is dict and name not in _APART) or isinstance(value, _HOLD):
                        settle(held, name, self._own_value)
        for later in kept:
            if later.node.batch is not None:  # it stands for its value
                node = Node(None, (), 0, 1)
                node.batch = Batch([later.resolve()])
                later.bind(node, 0)
                later.base, later.path, later.views = None, (), None
                later.recorder = None  # which holds more

    # -- calls of modules

    def module(self, call: Callable, module: Any, args: tuple, kwargs: dict) -> Any:
        """A module that is called; `call` is how PyTorch does."""
        entry = self._entry(module)
        if entry is not None and entry.call is not None and len(args) == 1 and not kwargs and not self.writes:
            x, group = args[0], entry.call
            if (
                type(x) is Later and x.meta is entry.taken and group.place is not None
                and group.context == context_now() and entry.stays()
            ):  # fmt: skip
                inputs = ((x.node, x.out),)
                self.come_again(group, inputs)
                return self._plain(group, inputs)
        way = self.ways.get(module)
        if way is None:
            way = self.ways[module] = layers.way(module, self.sequences)
        if way == "look through":
            return self._through(call, module, args, kwargs)
        if way == "layer":
            if self.ends is None and norm.normalises(module) and len(args) == 1 and type(args[0]) is Later:
                if not kwargs and norm.takes(module, args[0].meta):
                    return norm.recorded(self, module, args[0])
            return self._layer(call, module, args, kwargs)
        if way == "neuron":
            out = neuron_group.unchecked(self, module, args, kwargs)
            return out if out is not None else self._through(call, module, args, kwargs)
        if way == "whole neuron":
            sources = leaves((args, kwargs))
            template = hollow((args, kwargs), [])
            self.passed = template, [(t.node, t.out) if type(t) is Later else t for t in sources]
            return self._through(_forward, module, args, kwargs)
        if way == "whole sequence":
            return self._sequence(module, args, kwargs)
        if way == "stop":
            why = "carries hooks" if layers.hooks(module) else "gives another dtype where it is recorded"
            self.stop(f"{type(module).__name__} {why}")
            return module(*args, **kwargs)
        if Later not in map(type, leaves((args, kwargs))):
            return call(module, *args, **kwargs)
        self.path.append(module)
        try:
            steps = way != "fold"
            return self.record(module, ("module", id(module)), args, kwargs, module=module, ordered=steps, opaque=steps)
        finally:
            self.path.pop()

    @property
    def modules(self) -> list[nn.Module]:
        """Those that were called."""
        return list(self.ways)

    def forget(self, selected: Node) -> None:
        """Whoever asks for that step of a sequence again is given another one."""
        ((source, out),) = selected.inputs
        self._results.pop((selected.group, source, out, selected.extra), None)

    def _layer(self, call: Callable, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """A layer of PyTorch's, looked through until it is known what that comes to."""
        before, outside = self.number, self.last
        out = self._through(call, module, args, kwargs)
        x: Any = args[0] if len(args) == 1 and not kwargs else None
        if type(x) is Later:
            node, entry = out.node if type(out) is Later else x.node, outside.then
            if before + 1 == self.number == node.number and node.group.plain and node.inputs == ((x.node, x.out),):
                again = len(node.group.nodes) > 1  # a step that stands for all others calls it once
                if again and type(entry) is Entry and entry.then is node.group:
                    entry.is_one_call(node.group, x.meta)
        return out

    def _entry(self, module: Any) -> Entry | None:
        """The entry into a module, if that came last time after the call before."""
        entry = self.last.then
        return entry if type(entry) is Entry and entry.module is module and entry.outside == self.here else None

    def _through(self, call: Callable, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        outside, entries = self.here, self._entries
        entry = self._entry(module)
        if entry is None:
            key = outside, id(module), *site()
            entry = entries.get(key)
            if entry is None:
                entry = entries[key] = Entry(module, outside, len(entries) + 1)
            self.follow(entry)
        self.last, self.here = entry, entry.here
        self.path.append(module)
        try:
            return call(module, *args, **kwargs)
        finally:
            self.path.pop()
            self.here = outside

    def neuron(self, neuron: SpikingNeuron, input_: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One step of a neuron: what stands for its spikes and its new states."""
        if self.stopped:
            return neuron.one_step(resolved(input_), resolved(list(state)))
        if neuron not in self.neurons:
            self.neurons[neuron] = [getattr(neuron, name) for name in neuron.states]
        return neuron_group.recorded(self, neuron, input_, state)

    def autograd_function(self, cls: Any, apply: Callable, args: tuple, kwargs: dict) -> Any:
        """A call of an `autograd.Function`, whose backward counts, whatever its forward calls."""
        tensors = leaves((args, kwargs))
        if Later not in map(type, tensors) and not learns(tensors):
            self.ran = True
            return apply(*args, **kwargs)
        ours = issubclass(cls, SurrogateFunction)
        return self.record(apply, ("apply", cls), args, kwargs, applied=cls, draws=not ours)

    def scripted(self, function: Any, args: tuple, kwargs: dict) -> Any:
        """A call of a function of TorchScript, whose interpreter would lose what stands for a value."""
        if Later in map(type, leaves((args, kwargs))):
            return self.record(function, ("scripted", function), args, kwargs, draws=True)
        self.ran = True
        with self.at_once():
            return function(*args, **kwargs)

    def _sequence(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """A layer that takes whole sequences, called with one step of ours."""
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            raise TypeError(f"{type(module).__name__} takes a whole sequence and nothing else in unroll")
        x = args[0] if type(args[0]) is Later else self.given(args[0])
        context = context_now()
        place = self.place_of(("sequence", id(module), x.meta, context), True)
        group: Any = self.group_of(place)
        if group is None:
            shape, stride = x.meta.shape, x.meta.stride
            whole = Meta(torch.Size((self.sequences, *shape)), (shape.numel(), *stride), x.meta.dtype, x.meta.device)
            call = module.forward, (Slot(0),), {}, [whole], context
            inferred = infer(*call) or tried(*call)
            if inferred is None:
                raise TypeError(f"what {type(module).__name__} gives can't be told before it runs")
            group = SequenceGroup(module, inferred, context, module, line(), self.sequences)
            group.learns = True
            self.add_group(place, group)
        node = self.node(group, ((x.node, x.out),), len(group.inferred.metas))
        outs = [self.handle(node, k, _of_one_step(meta)) for k, meta in enumerate(group.inferred.metas)]
        return fill(group.inferred.outputs, outs)


def _results(out: Any, taken: set[int]) -> Any:
    """What is returned; what was stacked in memory of its own, as `torch.stack` gives it, and not in what is taken."""
    found: dict[int, Tensor] = {}

    def value_of(later: Later) -> Tensor:
        value = later.resolve()
        if type(later.node.group) is not StackGroup:
            return value
        if id(later) not in found:
            found[id(later)] = apart(value, taken)
        return found[id(later)]

    return mapped(value_of, out, Later)


def _forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return module.forward(*args, **kwargs)


def _of_one_step(meta: Meta) -> Meta:
    return Meta(meta.shape[1:], meta.stride[1:], meta.dtype, meta.device)
