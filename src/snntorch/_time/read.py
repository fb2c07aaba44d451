"""One call of a network, read instead of run over time: what it calls, on what, and where that comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._engine import choices
from .._neurons.neurons import SpikingNeuron
from .arguments import fill, leaves, mapped
from .held import aside
from .infer import meta_of
from .later import Batch, Later, Meta, Node, resolved
from .layers import takes_sequence
from .modules import Recorder


@dataclass(frozen=True)
class Ref:
    """An output of a call: the call's number, and which of its outputs."""

    call: int
    out: int


@dataclass
class Call:
    """A call of a function, or of a module as a whole.

    Attributes:
        function: what is called; None for the sample, which call number 1 stands for.
        args: its arguments, with a `Ref` for each tensor that comes from the sample.
        kwargs: its arguments by keyword, likewise.
        owner: the module that is called, or whose forward calls the function.
        metas: shapes and dtypes of its outputs.
        states: of a neuron, which of its outputs each state is.
    """

    function: Any
    args: tuple
    kwargs: dict[str, Any]
    owner: nn.Module | None
    metas: Sequence[Meta]
    states: dict[str, int] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, where it is called as a whole."""
        return self.function if isinstance(self.function, nn.Module) else None

    @property
    def name(self) -> str:
        """Of the function, without underscores; of a property its own."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        if name == "__get__":
            name = getattr(getattr(self.function, "__self__", None), "__name__", name)
        return name.strip("_")

    @property
    def sources(self) -> list[Ref]:
        """What it takes from other calls."""
        return refs((self.args, self.kwargs))


class Reading(NamedTuple):
    """What a call of a network does.

    Attributes:
        calls: by number, in their order. What does not depend on the sample is computed, and no call.
        output: what the network returned, with a `Ref` for each tensor that comes from the sample.
        paths: names of its modules.
    """

    calls: dict[int, Call]
    output: Any
    paths: dict[nn.Module | None, str]

    def meta(self, ref: Ref) -> Meta:
        """Shape and dtype of an output."""
        return self.calls[ref.call].metas[ref.out]

    def needed(self, of: Any) -> list[int]:
        """The numbers of the calls that something is made by, in their order."""
        needed = {ref.call for ref in refs(of)}
        for number in reversed(self.calls):
            if number in needed:
                needed.update(ref.call for ref in self.calls[number].sources)
        return sorted(needed)

    def where(self, call: Call) -> str:
        """A call's name and place, for messages."""
        path = self.paths.get(call.owner, "")
        if call.module is not None:
            return f"layer {path!r} ({type(call.module).__name__})"
        return f"{call.name} in {path!r}" if path else call.name


def read(
    module: nn.Module,
    sample: Tensor,
    further: Sequence[Any] = (),
    whole: Callable[[nn.Module], bool] = lambda module: False,
    watch: Callable[[Call, Sequence[Tensor]], None] | None = None,
    one_step: bool = False,
) -> Reading:
    """Run a network on a sample, in evaluation mode, and tell what it called; it is as before afterwards.

    Args:
        module: a network or layer.
        sample: its input.
        further: positional arguments behind the sample.
        whole: which modules are one call, beside neurons; the others are looked through.
        watch: is shown each call with its outputs' values, which are not kept.
        one_step: whether the sample is one time step, of which layers that take whole sequences make one of one step.

    Raises:
        NotImplementedError: where a value that depends on the sample is read.
    """
    reader = Reader(module, whole, watch, one_step)
    with torch.no_grad(), aside(module), torch.random.fork_rng(devices=()), choices():
        for neuron in module.eval().modules():  # the sample is of another batch than their states
            if isinstance(neuron, SpikingNeuron):
                neuron.reset_mem()
        reader.run(reader.read, (sample.as_subclass(Tensor), *further), {})
    return Reading(reader.calls, reader.output, reader.paths)


class Reader(Recorder):
    """Records the calls of one forward, each of which runs at once."""

    def __init__(self, module: nn.Module, whole: Callable, watch: Callable | None, one_step: bool) -> None:
        super().__init__()
        self.one_step = one_step
        self.root, self.whole, self.watch = module, whole, watch
        self.paths: dict[nn.Module | None, str] = {m: name for name, m in module.named_modules()}
        self.calls: dict[int, Call] = {}
        self.output: Any = None
        self._written: dict[int, tuple[Tensor, Later]] = {}  # tensors of the network into which it wrote

    def read(self, sample: Later, *further: Any) -> None:
        """Call the network."""
        sample.node.number = self.number = 1  # what else is given has number 0: it is constant
        self.calls[1] = Call(None, (), {}, None, [sample.meta])
        self.output = self._referred(self.root(sample, *further))

    def _referred(self, value: Any) -> Any:
        """Nested arguments with references for what comes from the sample, and the values of what does not."""
        return mapped(lambda t: self._source(t.node, t.out), value, Later)

    def _source(self, node: Node, out: int) -> Any:
        return Ref(node.number, out) if node.number else node.value(out)

    def _note(self, node: Node, call: Call) -> None:
        """Keep a call that has run, unless it is constant."""
        if not call.sources:
            node.number = 0
            return
        self.calls[node.number] = call
        if self.watch is not None:
            self.watch(call, [node.value(k) for k in range(len(node.handles))])

    # -- functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._written and not self.runs:
            args, kwargs = mapped(lambda t: self._written.get(id(t), (t, t))[1], (args, kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)

    def add_group(self, place: Any, group: Any, there: Sequence[Tensor] = ()) -> None:
        """As before, with a call of its own each time."""
        group.repeats = False
        super().add_group(place, group, there)

    def node(self, group: Any, inputs: Sequence[Any], outputs: int) -> Node:
        """A new call, which runs."""
        node = super().node(group, inputs, outputs)
        args, kwargs = fill(group.template, [self._source(n, k) for n, k in inputs])
        self.pending.clear()
        group.nodes.clear()
        with self.at_once():
            group.run([node])
        self._note(node, Call(group.function, args, kwargs, group.owner, group.inferred.metas))
        return node

    def _select(self, source: Later, dim: int, index: int) -> Later:
        return self.record(Tensor.select, Tensor.select, (source, dim, index), {})

    def _write(self, group: Any, target: Tensor, inputs: Sequence[Any]) -> Tensor:
        super()._write(group, target, inputs)
        node = Node(None, (), self.number, 1)
        node.batch = Batch([target])
        self._written[id(target)] = target, self.handle(node, 0, meta_of(target))
        return target

    def _look(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A call of which can't be told what it gives before it runs."""
        with self.at_once():
            result = function(*resolved(args), **resolved(kwargs))
        call = Call(function, self._referred(args), self._referred(kwargs), self.owner(), ())
        if not call.sources:
            return result
        if not leaves(result):
            where = Reading({}, None, self.paths).where(call)
            raise NotImplementedError(f"{where} reads a value that depends on the sample")
        return self._of_run(call, result, [])

    # -- modules

    def module(self, call: Callable, module: Any, args: tuple, kwargs: dict) -> Any:
        """A module that is called: looked through, but for its forward where it is one call."""
        if self.one_step and takes_sequence(module):
            return self._of_sequence(call, module, args, kwargs)
        if not (self.whole(module) or isinstance(module, SpikingNeuron | torch.jit.ScriptModule)):
            return self._through(call, module, args, kwargs)
        own = vars(module).get("forward")
        vars(module)["forward"] = partial(self._forward, module, module.forward)  # so that what hooks do is seen
        try:
            return self._through(call, module, args, kwargs)
        finally:
            del vars(module)["forward"]
            if own is not None:
                vars(module)["forward"] = own

    def _of_sequence(self, call: Callable, module: Any, args: tuple, kwargs: dict) -> Any:
        """A layer that takes whole sequences, called in a net of one step: the step is a sequence of its own."""
        self.one_step = False
        try:
            x, *further = args
            out = self.module(call, module, (x.unsqueeze(0), *further), kwargs)
        finally:
            self.one_step = True
        return mapped(lambda t: t[0], out)

    def _forward(self, module: Any, forward: Callable, *args: Any, **kwargs: Any) -> Any:
        names = module.states if isinstance(module, SpikingNeuron) else ()
        if names:
            module._store([resolved(getattr(module, name)) for name in names])
        with self.at_once():
            out = forward(*resolved(args), **resolved(kwargs))
        call = Call(module, self._referred(args), self._referred(kwargs), module, ())
        return self._of_run(call, out, names) if call.sources else out

    def _of_run(self, call: Call, result: Any, names: Sequence[str]) -> Any:
        """What stands for the outputs of a call that has run, and for the states that it left."""
        values = {id(t): t for t in leaves(result)}
        values |= {id(state): state for state in (getattr(call.owner, name) for name in names)}
        numbers = {key: k for k, key in enumerate(values)}
        call.metas = [meta_of(t) for t in values.values()]
        call.states = {name: numbers[id(getattr(call.owner, name))] for name in names}
        self.number += 1
        node = Node(None, (), self.number, len(values))
        node.batch = Batch(list(values.values()))
        self._note(node, call)
        laters = [self.handle(node, k, meta) for k, meta in enumerate(call.metas)]
        if names:
            call.owner._store([laters[k] for k in call.states.values()])  # type: ignore[union-attr, operator]
        return mapped(lambda t: laters[numbers[id(t)]], result)


def refs(value: Any) -> list[Ref]:
    """The references in nested arguments, in their order."""
    return leaves(value, Ref)
