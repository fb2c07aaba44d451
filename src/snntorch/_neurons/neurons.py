"""What every spiking neuron shares: parameters, stored states, reset and the run of one pure step over time."""

import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .. import surrogate
from .._engine import run, run_feedback

Built = TypeVar("Built")
RESET_MECHANISMS = {"subtract": 0, "zero": 1, "none": 2}


class _Registry(type):
    """Registers an instance once its constructor has returned, and holds it weakly."""

    _live: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __call__(cls: type[Built], *args: Any, **kwargs: Any) -> Built:  # type: ignore[misc]
        neuron = super().__call__(*args, **kwargs)  # type: ignore[misc]
        _Registry._live.add(neuron)
        return neuron

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, which `__call__` would hide from `help`."""
        constructor = inspect.signature(cls.__init__)
        return constructor.replace(parameters=list(constructor.parameters.values())[1:])

    @property
    def instances(cls) -> list:
        """The live neurons of every class."""
        return list(_Registry._live)

    @instances.setter
    def instances(cls, value: Sequence) -> None:
        _Registry._live.clear()
        _Registry._live.update(value)


def reset(mem: Tensor, fired: Tensor, threshold: Tensor, reset_mechanism: str) -> Tensor:
    """The membrane potential after the reset of the neurons that `fired` (0 or 1)."""
    if reset_mechanism == "subtract":
        return mem - fired * threshold
    if reset_mechanism == "zero":
        return mem - fired * mem
    return mem


def quantised(state: Tensor, state_quant: Any) -> Tensor:
    """A state on the grid of `state_quant`, where there is one."""
    return state_quant(state).to(state.dtype) if state_quant else state


def graded(spk: Tensor, factor: Tensor | None) -> Tensor:
    """Spikes times the graded factor; None stands for 1."""
    return spk if factor is None else spk * factor


def initial_tensor(name: str, value: Any) -> Tensor:
    """A tensor of our own holding `value`; integers become floating point, NaN raises ValueError naming `name`."""
    tensor = torch.as_tensor(value).detach().clone()
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.device.type != "meta" and bool(tensor.isnan().any()):
        raise ValueError(f"{name} must not be NaN, got {value}")
    return tensor


class WinnerTakesAll:
    """Spikes of the one neuron of each sample whose `mem - threshold` is largest, where it spikes at all."""

    def __init__(self, spike: surrogate.SpikeGrad) -> None:
        self.spike = spike

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes of x, `[B, ...]`, at most one a sample."""
        flat = x.flatten(1)
        winner = torch.zeros_like(flat).scatter(1, flat.argmax(1, keepdim=True), 1)
        return self.spike(x) * winner.view_as(x)


class SpikingNeuron(nn.Module, metaclass=_Registry):
    """Base of every neuron that runs step by step.

    A subclass names its `states` and writes `step`, one pure function of one time step::

        step(input, *states, *, parameters...) -> (spk, *new_states)

    Its keyword-only arguments name attributes of the module: tensors (`beta`, `threshold`), `spike` (the spike
    function), `factor` (the graded spikes factor, None for 1), `reset_mechanism`, or any other setting. Tensors arrive
    in the input's dtype. From the step derive the module's call, the stored states, reset, detach and
    `snntorch.unroll`.

    Args:
        threshold: membrane potential above which the neuron spikes; a number or a tensor that broadcasts against the
            input's last dimensions.
        spike_grad: the surrogate gradient: a `snntorch.surrogate`, any callable tensor -> tensor, a name such as
            `"atan"`, or None for `atan()`.
        surrogate_disable: let no gradient through the spike.
        init_hidden: keep the states inside the module; calls then neither take nor (unless `output`) return them.
        inhibition: only the neuron of a sample that is furthest above its threshold may spike.
        learn_threshold: make the threshold a parameter.
        reset_mechanism: `"subtract"` the threshold, reset to `"zero"`, or `"none"`.
        state_quant: a `snntorch.functional.state_quant`, applied to every state after its update.
        output: with `init_hidden`, return the states as well.
        graded_spikes_factor: what a spike is multiplied by.
        learn_graded_spikes_factor: make that factor a parameter.

    Raises:
        ValueError: for an unknown reset mechanism or a NaN parameter.
        TypeError: for a surrogate factory that was not called, or an `autograd.Function` class.

    Example:
        A neuron with an adaptive threshold, `theta = threshold + a`:

        >>> import snntorch as snn, torch
        >>> class Adaptive(snn.SpikingNeuron):
        ...     states = ("mem", "a")
        ...
        ...     def __init__(self, beta, rho, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.register_value("beta", beta)
        ...         self.register_value("rho", rho, learn=True)
        ...
        ...     @staticmethod
        ...     def step(x, mem, a, *, beta, rho, threshold, spike):
        ...         mem = beta * mem + x
        ...         spk = spike(mem - threshold - a)
        ...         return spk, mem - spk * threshold, rho * a + spk
        >>> lif = Adaptive(beta=0.9, rho=0.8)
        >>> spk, mem, a = snn.unroll(lif, torch.ones(10, 2, 3))
        >>> spk.sum(0)[0]
        tensor([5., 5., 5.], grad_fn=<...>)
    """

    instances: ClassVar[list["SpikingNeuron"]]  # a property of the metaclass
    states: ClassVar[tuple[str, ...]] = ()
    takes_sequence: ClassVar[bool] = False
    recurs: bool = True  # where a class has a `drive` of its own: whether it depends on the states
    threshold: Tensor
    graded_spikes_factor: Tensor
    reset_mechanism_val: Tensor
    step: ClassVar[Callable[..., tuple[Tensor, ...]]]

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        spike_grad: surrogate.SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
    ) -> None:
        super().__init__()
        if inhibition:
            warnings.warn("inhibition allows one spike per sample and step at most", UserWarning, stacklevel=2)
        self.init_hidden = init_hidden
        self.inhibition = inhibition
        self.output = output
        self.surrogate_disable = surrogate_disable
        self.state_quant = state_quant
        self.spike_grad = surrogate.no_gradient if surrogate_disable else surrogate.resolve(spike_grad)
        self.register_value("threshold", threshold, learn=learn_threshold)
        self.register_value("graded_spikes_factor", graded_spikes_factor, learn=learn_graded_spikes_factor)
        self._check_reset_mechanism(reset_mechanism)
        self._reset_mechanism = reset_mechanism
        self.register_buffer("reset_mechanism_val", torch.tensor(RESET_MECHANISMS[reset_mechanism]))
        self._graded_seen: tuple = ()
        for name in self.states:
            setattr(self, name, torch.zeros(0))

    def register_value(self, name: str, value: Any, learn: bool = False) -> None:
        """Register a number or tensor as a parameter (`learn=True`) or a buffer of the module.

        An `nn.Parameter` that is to be learnt is shared, everything else copied.

        Raises:
            ValueError: where `value` holds NaN.
        """
        if learn:
            shared = isinstance(value, nn.Parameter)
            self.register_parameter(name, value if shared else nn.Parameter(initial_tensor(name, value)))
        else:
            self.register_buffer(name, initial_tensor(name, value))

    # -- settings that may change after construction

    @staticmethod
    def _check_reset_mechanism(value: str) -> None:
        if value not in RESET_MECHANISMS:
            raise ValueError(f"reset_mechanism must be one of {', '.join(RESET_MECHANISMS)}, got {value!r}")

    @property
    def reset_mechanism(self) -> str:
        """`"subtract"`, `"zero"` or `"none"`; setting it takes effect from the next step."""
        return self._reset_mechanism

    @reset_mechanism.setter
    def reset_mechanism(self, value: str) -> None:
        self._check_reset_mechanism(value)
        self._reset_mechanism = value
        self.reset_mechanism_val = torch.full_like(self.reset_mechanism_val, RESET_MECHANISMS[value])

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.reset_mechanism_val.device.type != "meta":
            self._reset_mechanism = list(RESET_MECHANISMS)[int(self.reset_mechanism_val)]

    @property
    def spike(self) -> surrogate.SpikeGrad:
        """The spike function of `mem - threshold`."""
        return WinnerTakesAll(self.spike_grad) if self.inhibition else self.spike_grad

    @property
    def factor(self) -> Tensor | None:
        """The graded spikes factor, or None where it is the constant 1, so that nothing is multiplied by it."""
        factor = self._buffers.get("graded_spikes_factor")
        if factor is None or torch.compiler.is_compiling():  # a parameter, in a replica a plain attribute
            return self.graded_spikes_factor
        seen = self._graded_seen
        if seen[:2] != (id(factor), factor._version):  # looked at once, not at every step
            if factor.device.type == "meta" or torch._C._len_torch_dispatch_stack():  # someone traces: no looking
                return factor
            seen = self._graded_seen = (id(factor), factor._version, bool((factor == 1).all()))
        return None if seen[2] else factor

    # -- one step

    def state_shape(self, input_: Tensor) -> Sequence[int]:
        """Shape of the states for this input; the input's own unless a class says otherwise."""
        return input_.shape

    def project(self, input_: Tensor) -> Tensor:
        """What a weight makes of the input alone, `[..., B, ...]`, with or without a time dimension before it."""
        return input_

    def drive(self, projected: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """What `step` takes before the states: the projected input, or what a weight makes of the states added."""
        return (projected,)

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor | None] | None:
        """Where `drive` adds `state @ weight.T + bias` to the projected input: the state's number, weight, bias."""
        return None

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The step's keyword arguments, read from the module now; tensors in `dtype`."""
        parameters, buffers = self._parameters, self._buffers
        arguments = {}
        for name in _keywords(type(self).step):
            value = parameters.get(name)  # where getattr of nn.Module would look last
            if value is None:
                value = buffers.get(name)
            if value is None:
                value = getattr(self, name)
            cast = isinstance(value, Tensor) and value.dtype != dtype
            arguments[name] = value.to(dtype) if cast else value
        return arguments

    def forward(self, input_: Tensor, *states: Any, **named_states: Any) -> Any:
        """One time step.

        Args:
            input_: `[B, ...]`, floating point.
            **named_states: the same by keyword.
            *states: the states in the class's order, also by keyword; a state that is left out is the stored one, None
                or an empty tensor means zeros.

        Returns:
            `(spk, *states)`, or `spk` alone with `init_hidden=True` and `output=False`.

        Raises:
            TypeError: for an input that is no floating-point tensor, or states beside `init_hidden=True`.
            ValueError: for a state whose shape does not broadcast to the neuron's.
        """
        state = self._begin(input_, states, named_states)
        driven = self.drive(self.project(input_), *state)
        (spk, *_), state = run(self, driven, state, self.step_arguments(input_.dtype))
        self._store(state)
        return self._returned(spk, state)

    def _begin(self, input_: Tensor, given: Sequence[Any], named: dict[str, Any]) -> list[Tensor]:
        """The states before the step: the given ones, else the stored ones, else zeros."""
        if not hasattr(type(self), "step"):
            raise NotImplementedError(f"{type(self).__name__} defines no step")
        if not isinstance(input_, Tensor) or not input_.is_floating_point():
            kind = input_.dtype if isinstance(input_, Tensor) else type(input_).__name__
            raise TypeError(f"input_ must be a floating-point tensor, got {kind}")
        if len(given) > len(self.states) or (named and not named.keys() <= set(self.states[len(given) :])):
            raise TypeError(f"{type(self).__name__} takes the states {', '.join(self.states)} once each, "
                            f"got {len(given)} by position and {', '.join(named) or 'none'} by name")  # fmt: skip
        if self.init_hidden and any(s is not None for s in (*given, *named.values())):
            raise TypeError(f"{type(self).__name__} keeps its states itself with init_hidden=True, so pass none")
        passed = {} if self.init_hidden else {**dict(zip(self.states, given, strict=False)), **named}
        shape = self.state_shape(input_)
        return [
            self._given_state(name, passed[name], input_, shape)
            if name in passed
            else self._stored_state(name, input_, shape)
            for name in self.states
        ]

    @staticmethod
    def _given_state(name: str, state: Any, input_: Tensor, shape: Sequence[int]) -> Tensor:
        if state is None or (isinstance(state, Tensor) and state.shape == (0,) and tuple(shape) != (0,)):
            return input_.new_zeros(shape)
        if not isinstance(state, Tensor):
            raise TypeError(f"{name} must be a tensor or None, got {type(state).__name__}")
        if state.device != input_.device:
            raise ValueError(f"{name} is on {state.device}, but the input on {input_.device}")
        if state.shape != shape:
            try:
                state = state.expand(shape)
            except RuntimeError:
                raise ValueError(
                    f"{name} of shape {tuple(state.shape)} does not broadcast to the shape {tuple(shape)} "
                    f"that the input of shape {tuple(input_.shape)} asks for"
                ) from None
        return state.to(input_.dtype)

    def _stored_state(self, name: str, input_: Tensor, shape: Sequence[int]) -> Tensor:
        state = self._kept(name)
        if state.shape != shape or state.device != input_.device:
            return input_.new_zeros(shape)
        return state.to(input_.dtype)

    def _kept(self, name: str) -> Tensor:
        """A stored state; empty where a `torch.func.vmap` that has returned left it behind, and its values are gone."""
        state = getattr(self, name)
        func = torch._C._functorch  # type: ignore[attr-defined]  # no public name
        if torch.compiler.is_compiling() or func.maybe_get_level(state) == -1:  # a plain tensor
            return state
        while func.is_dead_tensor_wrapper(state):
            state = func.unwrap_if_dead(state)
        gone = func.maybe_get_level(state) > (func.maybe_current_level() or 0)
        return torch.zeros(0) if gone else state

    def _store(self, state: Sequence[Tensor]) -> None:
        for name, value in zip(self.states, state, strict=True):
            object.__setattr__(self, name, value)  # a state is a plain attribute; nn.Module's check takes longer

    def _returned(self, spk: Tensor, state: Sequence[Tensor]) -> Any:
        if self.init_hidden and not self.output:
            return spk
        return tuple(state) if "spk" in self.states else (spk, *state)

    # -- a whole sequence

    def sequence(self, inputs: Tensor, states: Sequence[Any] = (), num_steps: int | None = None) -> Any:
        """What `snntorch.unroll` returns for this neuron: its outputs stacked over time."""
        static = num_steps is not None
        steps = num_steps if num_steps is not None else inputs.shape[0]
        state = self._begin(inputs if static else inputs[0], states, {})
        arguments = self.step_arguments(inputs.dtype)
        spikes_only = self.init_hidden and not self.output
        wanted = [spikes_only or "spk" not in self.states, *[not spikes_only] * len(self.states)]
        projected = self.project(inputs)
        if type(self).drive is SpikingNeuron.drive or not self.recurs:
            courses, state = run(self, (projected,), state, arguments, steps=steps, varies=(not static,), wanted=wanted)
        elif self.linear_feedback is not None and (
            whole := run_feedback(self, projected, self.linear_feedback, state, arguments, steps, wanted)
        ):
            courses, state = whole
        else:
            trains: list[list[Any]] = []
            for now in (projected,) * steps if static else projected.unbind():
                driven = self.drive(now, *state)
                train, state = run(self, driven, state, arguments)
                trains.append(train)
            courses: list[Any] = [
                torch.stack([train[k] for train in trains]) if w else None for k, w in enumerate(wanted)
            ]
        self._store(state)
        return self._returned(courses[0], courses[1:])

    # -- stored states

    def reset_mem(self) -> Any:
        """Zero the stored states and return them, one tensor or a tuple."""
        # empty stands for zeros of any shape: an exported program is to hold none of the batch size of today
        fresh = torch.compiler.is_exporting()
        self._store([torch.zeros(0) if fresh else torch.zeros_like(self._kept(name)) for name in self.states])
        values = tuple(getattr(self, name) for name in self.states)
        return values[0] if len(values) == 1 else values

    def detach_mem(self) -> None:
        """Cut the stored states from the graph that made them."""
        self._store([self._kept(name).detach() for name in self.states])

    @classmethod
    def reset_hidden(cls) -> None:
        """Zero the stored states of every live neuron of this class."""
        for neuron in SpikingNeuron.instances:
            if isinstance(neuron, cls):
                neuron.reset_mem()

    @classmethod
    def detach_hidden(cls) -> None:
        """Detach the stored states of every live neuron of this class."""
        for neuron in SpikingNeuron.instances:
            if isinstance(neuron, cls):
                neuron.detach_mem()

    @classmethod
    def init(cls) -> None:
        """Forget every live instance."""
        cls.instances = []

    @staticmethod
    def detach(*states: Tensor) -> None:
        """Detach the given tensors in place."""
        for state in states:
            state.detach_()

    @staticmethod
    def zeros(*states: Tensor) -> None:
        """Zero the given tensors in place."""
        with torch.no_grad():
            for state in states:
                state.zero_()

    def _apply(self, fn: Callable, recurse: bool = True) -> "SpikingNeuron":
        super()._apply(fn, recurse)
        self._store([fn(self._kept(name)) for name in self.states])
        return self

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        _Registry._live.add(self)  # copies and unpickled neurons are live too

    def __getstate__(self) -> dict:
        """Stored states travel without the graph that made them."""
        state = self.__dict__.copy()
        state["_graded_seen"] = ()
        for name in self.states:
            state[name] = self._kept(name).detach()
        return state

    # -- pieces of a step that users call

    def fire(self, mem: Tensor) -> Tensor:
        """Spikes of the membrane potential: `graded_spikes_factor * S(mem - threshold)`."""
        return graded(self.spike_grad(mem - self.threshold), self.factor)

    def fire_inhibition(self, batch_size: int, mem: Tensor) -> Tensor:
        """As `fire`, of the one neuron per sample that is furthest above its threshold."""
        if mem.shape[0] != batch_size:
            raise ValueError(f"mem must hold batch_size={batch_size} samples, got shape {tuple(mem.shape)}")
        return graded(WinnerTakesAll(self.spike_grad)(mem - self.threshold), self.factor)

    def mem_reset(self, mem: Tensor) -> Tensor:
        """1 where the membrane potential is above the threshold, else 0; carries no gradient."""
        return (mem > self.threshold).to(mem.dtype)


_KEYWORDS: dict[Any, tuple[str, ...]] = {}


def _keywords(step: Callable) -> tuple[str, ...]:
    """Names of a step's keyword-only arguments."""
    if step not in _KEYWORDS:
        kinds = inspect.signature(step).parameters.items()
        _KEYWORDS[step] = tuple(name for name, p in kinds if p.kind is p.KEYWORD_ONLY)
    return _KEYWORDS[step]


# Else torch.compile would guard on what is remembered, and compile twice.
_keywords._dynamo_marked_constant = True  # type: ignore[attr-defined]


def stack(outputs: Sequence[Any]) -> Any:
    """Stack a list of equal outputs, tensors or (nested) tuples of them, over time."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(list(outputs))
    return tuple(stack([o[i] for o in outputs]) for i in range(len(outputs[0])))


class LIF(SpikingNeuron):
    """Leaky integrate-and-fire neurons' base: a decay `beta` beside what every neuron has. It has no step.

    Args:
        beta: decay of the membrane potential per step, clamped to [0, 1] where it is used; a number or a tensor that
            broadcasts against the input's last dimensions.
        learn_beta: make beta a parameter.

    The other arguments are `SpikingNeuron`'s.
    """

    beta: Tensor

    def __init__(
        self,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: surrogate.SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
    ) -> None:
        super().__init__(
            threshold=threshold,
            spike_grad=spike_grad,
            surrogate_disable=surrogate_disable,
            init_hidden=init_hidden,
            inhibition=inhibition,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
            state_quant=state_quant,
            output=output,
            graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )
        self.register_value("beta", beta, learn=learn_beta)
