"""A neuron of a net, run so that what a step's learning needs can be read off it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._neurons.keywords import keywords
from .._neurons.neurons import SpikingNeuron
from ._products import Product, Products
from ._traces import Synapses, Traces, carried, gradients_of


class Cell:
    """A neuron of the net, run so that the derivatives of one step can be read off it.

    Its old states are leaves of the step's graph; so are copies of the learnable parameters that its step takes, one
    value an element. What its `drive` makes of input and states is its *currents*. With `spike_decay`, the filtered
    spikes `f = spike_decay * f + spk` count as one more state.

    Attributes:
        parameters: those that its step may take, by name.
        within: whether its drive reads a state elementwise, for each; a state that it mixes between neurons is cut
            there. None until the first step has told.
        synapses: the weights that reach it.
    """

    def __init__(self, neuron: SpikingNeuron, spike_decay: float, called: list["Cell"]) -> None:
        self.neuron = neuron
        self.spike_decay = spike_decay
        self.called = called  # in this step, the neurons so far
        self.parameters = {n: p for n, p in neuron.named_parameters() if p.requires_grad}
        self.within: list[bool] | None = None
        self.read: list[bool] | None = None
        self.synapses: dict[Any, Synapses] = {}
        self.traces: dict[str, Traces] = {}
        self.before: list[Tensor] = []
        self.currents: Sequence[Tensor] = ()
        self.seen: list[Tensor] = []
        self.copies: dict[str, nn.Parameter] = {}

    @contextmanager
    def watched(self, products: Products) -> Iterator[None]:
        """Put leaves in the place of the neuron's states and parameters, and read what it makes of them."""
        names = ("project", "drive") if _is_driven(self.neuron) else ()
        with (
            self.neuron.register_forward_pre_hook(self._begin, with_kwargs=True),
            self.neuron.register_forward_hook(self._end, always_call=True),
            products.around(self.neuron, names),
        ):
            if names:
                held: dict[str, Any] = vars(self.neuron)  # type: ignore[assignment]
                of_project, of_drive = (held[name] for name in names)
                held["project"] = lambda x: self._with_originals(of_project, x)
                held["drive"] = lambda *args: self._drive(of_drive, *args)
            yield

    def _begin(self, neuron: nn.Module, args: tuple, kwargs: dict) -> None:
        name = type(neuron).__name__
        if self in self.called:
            raise ValueError(f"every neuron must occur once in net, {name} occurs again")
        if self.neuron.takes_sequence or type(neuron).forward is not SpikingNeuron.forward:
            raise NotImplementedError(f"{name} does not run step by step")
        if self.neuron.overrides:
            overrides = ", ".join(self.neuron.overrides)
            raise NotImplementedError(f"{name} overrides {overrides}, but traces follow its step")
        if len(args) != 1 or kwargs:
            raise NotImplementedError(
                f"{name} is called with states, but traces follow those that it keeps itself; give it init_hidden=True"
            )
        (x,) = args
        self.called.append(self)
        shape = tuple(self.neuron.state_shape(x))
        if self.within is None and tuple(self.neuron.spike_shape(x.shape, [shape])) != shape:
            learnt = [n for n in self.parameters if n in keywords(type(neuron))]
            if learnt:
                raise NotImplementedError(
                    f"{name}'s spikes have another shape than its states, so that its {learnt[0]} is not elementwise"
                )
        # What it starts from may depend on its parameters, so that the first step begins with nothing.
        if self.before:
            old = [self.neuron._stored_state(n, x, shape).detach().requires_grad_() for n in self.neuron.states]
        else:
            old = [torch.zeros(0, device=x.device) for _ in self.neuron.states]
        self.neuron._store(old)
        self.before, self.currents = old, (x,)
        self.copies = {n: c for n, p in self.parameters.items() if (c := self._copy(n, p, shape)) is not None}
        self._let_hold(self.copies)

    def _copy(self, name: str, parameter: Tensor, shape: tuple[int, ...]) -> nn.Parameter | None:
        """A value for each element; None where the parameter has none, which then the step may not take."""
        try:
            return nn.Parameter(parameter.detach().expand(shape).clone())
        except RuntimeError:
            if name not in keywords(type(self.neuron)):
                return None
            raise NotImplementedError(
                f"{type(self.neuron).__name__}.{name} of shape {tuple(parameter.shape)} is not elementwise: it does "
                f"not broadcast to the states' shape {shape}"
            ) from None

    def _with_originals(self, method: Callable, *args: Any) -> Any:
        self._let_hold(self.parameters)
        try:
            return method(*args)
        finally:
            self._let_hold(self.copies)

    def _drive(self, drive: Callable, projected: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The currents, cut from the states that the drive mixes between neurons."""
        if self.within is None:
            self.seen = [s if s.requires_grad else s.detach().requires_grad_() for s in states]
        else:
            self.seen = [s if kept else s.detach() for s, kept in zip(states, self.within, strict=True)]
        made = self._with_originals(drive, projected, *self.seen)
        shape = states[0].shape
        self.currents = tuple([c if c.shape == shape else c.expand(shape) for c in made])
        return self.currents

    def _end(self, neuron: nn.Module, args: tuple, out: Any) -> None:
        self._let_hold(self.parameters)
        if out is not None:  # else an error is on its way
            self.spk = out if isinstance(out, Tensor) else out[0]
            self.after = [getattr(self.neuron, name) for name in self.neuron.states]

    def _let_hold(self, parameters: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            holder, _, own = name.rpartition(".")
            setattr(self.neuron.get_submodule(holder), own, parameter)

    def keep(self, taken: Mapping[int, Any]) -> None:
        """Copy no parameters but those of which the step took the copies, given by `id`."""
        self.copies = {n: c for n, c in self.copies.items() if id(c) in taken}
        self.parameters = {n: self.parameters[n] for n in self.copies}

    @property
    def leaves(self) -> list[Tensor]:
        """What the loss of this step is to be differentiated by: old states, parameters, and the spikes if filtered."""
        return [*self.before, *self.copies.values(), *[self.spk] * bool(self.spike_decay)]

    def learn(self, gradients: list[Tensor | None], products: Sequence[Product]) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters and their gradients from this step's loss, given its gradients by the `leaves`."""
        count = len(self.before)
        credit = gradients[:count]
        if self.spike_decay and (by_spike := gradients[-1]) is not None:
            credit = [*credit, self.spike_decay * by_spike]
        direct = gradients[count : count + len(self.copies)]
        for name, gradient in zip(self.copies, direct, strict=True):
            terms = [] if gradient is None else [gradient]
            past = zip(credit, self.traces.get(name, []), strict=False)
            terms += [c * e for c, e in past if c is not None and e is not None]
            parameter = self.parameters[name]
            yield from ((parameter, term.sum_to_size(parameter.shape)) for term in terms)
        for synapses in self.synapses.values():
            synapses.begin(products, self.currents)
            yield from synapses.gradient(credit)

    def advance(self) -> None:
        """Carry all traces over this step."""
        count = len(self.before)
        reads = [t for synapses in self.synapses.values() for t in synapses.reads]
        by = [*self.before, *self.copies.values(), *reads]
        # A state that nothing reads a step later, such as the spikes that recurrent weights were cut from, needs no
        # trace; the first step does not tell. The spikes' row counts as one more state where they are filtered.
        tells = self.read is None and any(old.requires_grad for old in self.before)
        new = [*self.after, *[self.spk] * (tells or bool(self.spike_decay))]
        nothing: Traces = [None] * len(by)
        rows = [
            gradients_of(state, by) if self.read is None or i >= count or self.read[i] else nothing
            for i, state in enumerate(new)
        ]
        if tells:
            self.read = [any(row[b] is not None for row in rows) for b in range(count)]
            rows = [row if i >= count or self.read[i] else nothing for i, row in enumerate(rows)]
        rows = rows[: count + bool(self.spike_decay)]
        jacobian: list[Traces] = [row[:count] for row in rows]
        if self.spike_decay:
            jacobian = [[*row, None] for row in jacobian]
            jacobian[-1][-1] = self.spk.new_full((), self.spike_decay)
        gains = [iter(row[count + len(self.copies) :]) for row in rows]
        for synapses in self.synapses.values():
            synapses.advance(jacobian, [[next(gain) for _ in synapses.reads] for gain in gains])
        for i, name in enumerate(self.copies):
            here = [[row[count + i]] for row in rows]
            self.traces[name] = carried(self.traces.get(name, []), jacobian, here, [self.spk.new_ones(())])


def _is_driven(neuron: SpikingNeuron) -> bool:
    """Whether the neuron makes something of its input and states before its step."""
    methods = ("project", "drive")
    return any(getattr(type(neuron), n) is not getattr(SpikingNeuron, n) or n in vars(neuron) for n in methods)
